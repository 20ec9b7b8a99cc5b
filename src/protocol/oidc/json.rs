//! JSON that can be read in one way: no member twice, bounded depth.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Refused;

/// The deepest nesting.
const DEPTH: usize = 32;

/// Reads an object.
///
/// # Errors
/// When it is anything else, has a member twice (`OIDC-09`), or is nested too deeply (`OIDC-27`).
pub fn object(bytes: &[u8], what: &'static str) -> Result<Map<String, Value>, Refused> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(Value::Object(map))) if depth(&map) <= DEPTH => Ok(map),
        Ok(Strict(Value::Object(_))) => Err(Refused::by(what, "it is nested too deeply")),
        Ok(_) => Err(Refused::by(what, "it is JSON, and no object")),
        // The library says where, and repeats no more than the name of a member.
        Err(error) => Err(Refused::by(what, format!("it is no sound JSON: {error}"))),
    }
}

fn depth(map: &Map<String, Value>) -> usize {
    fn of(value: &Value) -> usize {
        match value {
            Value::Array(list) => 1 + list.iter().map(of).max().unwrap_or_default(),
            Value::Object(map) => depth(map),
            _ => 0,
        }
    }
    1 + map.values().map(of).max().unwrap_or_default()
}

/// A value in which no object has a member twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(value)) = from.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Strict(value))) = from.next_entry::<String, Strict>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom("a member is there twice"));
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
