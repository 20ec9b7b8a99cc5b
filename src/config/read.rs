//! From the tree to typed sections: one definition per section gives its reader and its schema.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::json;

use super::Code;
use super::desk::{Desk, nearest, row};
use super::raw::{how_to_get, not_built};
use super::tree::{Key, Node, Spot, Table, Value};
use crate::domain::text::BadText;

/// What can be read from the tree.
pub(super) trait Read: Sized {
    /// `None` when it could not be read; the desk has the fault then.
    fn read(node: &Node, desk: &mut Desk<'_>) -> Option<Self>;

    /// What it is when the key is absent and has no default; `None` when the key is needed.
    fn absent() -> Option<Self> {
        None
    }
}

/// What a value is called in TOML.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Flag,
    Text,
    Whole,
}

/// One value that is written as text, a number or a flag.
pub(super) trait Scalar: Sized {
    /// How it is written.
    const KIND: Kind = Kind::Text;

    /// Reads it from its text.
    fn parse(text: &str) -> Result<Self, Bad>;

    /// Its part of the schema.
    fn shape() -> serde_json::Value {
        json!({ "type": "string" })
    }
}

/// Why a value was not taken.
pub(super) struct Bad {
    pub(super) code: Code,
    /// Beside the carets; may be empty.
    pub(super) why: Cow<'static, str>,
    /// The remedy.
    pub(super) help: Cow<'static, str>,
}

impl Bad {
    pub(super) fn value(why: impl Into<Cow<'static, str>>, help: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Code::BadValue, why: why.into(), help: help.into() }
    }

    pub(super) fn not_built(what: &'static str) -> Self {
        Self { code: Code::NotBuilt, why: Cow::Borrowed(what), help: Cow::Borrowed(REMOVE) }
    }

    pub(super) fn with(mut self, code: Code) -> Self {
        self.code = code;
        self
    }
}

/// The remedy for what is not built yet.
pub(super) const REMOVE: &str = "it is not built yet in this version; remove it";

impl From<BadText> for Bad {
    fn from(bad: BadText) -> Self {
        // The policy words say themselves what is still to come.
        if bad.0.contains("not built yet") {
            Self { code: Code::NotBuilt, why: Cow::Borrowed(bad.0), help: Cow::Borrowed("remove it") }
        } else {
            Self { code: Code::BadValue, why: Cow::Borrowed(""), help: Cow::Borrowed(bad.0) }
        }
    }
}

/// A value and where it is written.
#[derive(Clone, Debug)]
pub(super) struct Written<T> {
    pub(super) value: T,
    pub(super) spot: Spot,
}

impl<T: Scalar> Read for Written<T> {
    fn read(node: &Node, desk: &mut Desk<'_>) -> Option<Self> {
        let text: Cow<'_, str> = match (&node.value, T::KIND) {
            (Value::Text(text), Kind::Text) | (Value::Loose(text), _) => Cow::Borrowed(text),
            (Value::Whole(number), Kind::Whole) => Cow::Owned(number.to_string()),
            (Value::Flag(flag), Kind::Flag) => Cow::Owned(flag.to_string()),
            (found, wanted) => {
                let (wanted, help) = match wanted {
                    Kind::Flag => ("true or false", "write true or false, without quotation marks"),
                    Kind::Text => ("text", "write it between quotation marks"),
                    Kind::Whole => ("a whole number", "write a number, without quotation marks"),
                };
                wrong_kind(desk, node.spot, wanted, found.words()).help(help);
                return None;
            }
        };
        match T::parse(&text) {
            Ok(value) => Some(Self { value, spot: node.spot }),
            Err(bad) => {
                refuse(desk, node.spot, bad);
                None
            }
        }
    }
}

/// Notes why a value was not taken.
pub(super) fn refuse(desk: &mut Desk<'_>, spot: Spot, bad: Bad) {
    let message = match bad.code {
        Code::NotBuilt => format!("`{}` has a value that is not built yet", desk.key()),
        Code::OutOfRange => format!("the value of `{}` is out of range", desk.key()),
        _ => format!("the value of `{}` cannot be taken", desk.key()),
    };
    desk.fault(bad.code, spot, message).label(bad.why).help(bad.help);
}

fn wrong_kind<'d>(
    desk: &'d mut Desk<'_>,
    spot: Spot,
    wanted: &str,
    found: &str,
) -> &'d mut super::desk::Draft {
    let message = format!("`{}` takes {wanted}", desk.key());
    desk.fault(Code::WrongKind, spot, message).label(format!("this is {found}"))
}

impl<T: Read> Read for Vec<T> {
    /// What cannot be read is left out, so that one wrong item hides no other fault.
    fn read(node: &Node, desk: &mut Desk<'_>) -> Option<Self> {
        let inline;
        let items = match &node.value {
            Value::List(items) => items,
            Value::Loose(text) => {
                inline = loose_list(text, node.spot);
                &inline
            }
            found => {
                let section = matches!(found, Value::Table(_));
                let key = desk.key();
                let help = if section {
                    format!("there can be several: write [[{key}]], with two brackets")
                } else {
                    "write a list: [\"…\"]".to_owned()
                };
                let found = found.words();
                wrong_kind(desk, node.spot, "a list", found).help(help);
                return None;
            }
        };
        Some(items.iter().filter_map(|item| T::read(item, desk)).collect())
    }
}

/// A list out of a variable: as in a file, or with commas between.
fn loose_list(text: &str, spot: Spot) -> Vec<Node> {
    let text = text.trim();
    if text.starts_with('[')
        && let Some(Node { value: Value::List(items), .. }) = Node::inline(text, spot)
    {
        return items;
    }
    let part = |part: &str| Node { value: Value::Loose(part.to_owned()), spot };
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(part).collect()
}

/// A value that may be absent. One that cannot be read is absent, too: the desk has the fault.
#[derive(Clone, Debug)]
pub(super) struct Maybe<T>(pub(super) Option<T>);

impl<T: Read> Read for Maybe<T> {
    fn read(node: &Node, desk: &mut Desk<'_>) -> Option<Self> {
        Some(Self(T::read(node, desk)))
    }

    fn absent() -> Option<Self> {
        Some(Self(None))
    }
}

impl<T> JsonSchema for Written<T>
where
    T: Scalar,
{
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("value")
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema(T::shape())
    }
}

/// Marks what need not be there, until [`tidy`] has seen it.
const OPTIONAL: &str = "x-optional";

impl<T: JsonSchema> JsonSchema for Maybe<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator);
        schema.insert(OPTIONAL.to_owned(), true.into());
        schema
    }
}

/// A schema out of an object.
pub(super) fn schema(shape: serde_json::Value) -> Schema {
    Schema::try_from(shape).unwrap_or_default()
}

/// What has a default, or says that it need not be there, is not required.
pub(super) fn tidy(schema: &mut Schema) {
    let mut free = Vec::new();
    if let Some(properties) = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut) {
        for (name, property) in properties {
            if let Some(property) = property.as_object_mut()
                && (property.remove(OPTIONAL).is_some() || property.contains_key("default"))
            {
                free.push(name.clone());
            }
        }
    }
    if let Some(required) = schema.get_mut("required").and_then(serde_json::Value::as_array_mut) {
        required.retain(|name| !free.iter().any(|free| name == free));
    }
}

impl Desk<'_> {
    /// The entries of a table, after every key was found to be known.
    pub(super) fn table<'n>(&mut self, node: &'n Node, known: &[&str]) -> Option<&'n Table> {
        let Value::Table(table) = &node.value else {
            let found = node.value.words();
            let help = format!("its keys are {}", row(known.iter().copied()));
            wrong_kind(self, node.spot, "a table", found).help(help);
            return None;
        };
        for (key, _) in table {
            if !known.contains(&key.text.as_str()) {
                self.unknown_key(key, known);
            }
        }
        Some(table)
    }

    fn unknown_key(&mut self, key: &Key, known: &[&str]) {
        self.path.push(key.text.clone());
        let path = self.key();
        self.path.pop();
        if let Some(what) = not_built(&path) {
            self.fault(Code::NotBuilt, key.spot, format!("`{path}` is not built yet"))
                .label(what)
                .help(REMOVE);
            return;
        }
        let help = match nearest(&key.text, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the keys here are {}", row(known.iter().copied())),
        };
        self.fault(Code::UnknownKey, key.spot, format!("unknown key `{path}`")).help(help);
    }

    /// One entry, its default, or what stands for its absence.
    pub(super) fn field<T: Read>(
        &mut self,
        owner: &Node,
        name: &str,
        default: Option<serde_json::Value>,
    ) -> Option<T> {
        self.path.push(name.to_owned());
        let fallback = |desk: &mut Self| {
            default
                .and_then(|default| T::read(&Node::from_json(&default, owner.spot), desk))
                .or_else(T::absent)
        };
        let value = if let Some(node) = owner.get(name) {
            // The fault is noted; the default keeps the rest of the section readable.
            T::read(node, self).or_else(|| fallback(self))
        } else {
            let value = fallback(self);
            if value.is_none() {
                let key = self.key();
                let help = how_to_get(&key).map_or_else(
                    || format!("write `{name} = …`; docs/configuration.md says what it takes"),
                    str::to_owned,
                );
                self.fault(Code::Missing, owner.spot, format!("`{key}` is missing")).help(help);
            }
            value
        };
        self.path.pop();
        value
    }
}

/// Something that stands somewhere.
pub(super) trait Section {
    /// Where.
    fn spot(&self) -> Spot;
}

/// Defines a section: a struct with a reader and a schema. A key without default is needed, unless it is a [`Maybe`].
macro_rules! section {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $field:ident : $type:ty $(= $default:tt)?),* $(,)? }) => {
        $(#[$outer])*
        #[derive(Clone, Debug, ::schemars::JsonSchema)]
        #[schemars(deny_unknown_fields, transform = $crate::config::read::tidy)]
        pub(super) struct $name {
            #[schemars(skip)]
            pub(super) spot: $crate::config::tree::Spot,
            $($(#[$inner])* $(#[schemars(extend("default" = $default))])? pub(super) $field: $type),*
        }

        impl $crate::config::read::Section for $name {
            fn spot(&self) -> $crate::config::tree::Spot {
                self.spot
            }
        }

        impl $crate::config::read::Read for $name {
            fn read(node: &$crate::config::tree::Node, desk: &mut $crate::config::desk::Desk<'_>) -> Option<Self> {
                desk.table(node, &[$(stringify!($field).trim_start_matches("r#")),*])?;
                $(let $field = desk.field::<$type>(
                    node,
                    stringify!($field).trim_start_matches("r#"),
                    section!(@default $($default)?),
                );)*
                Some(Self { spot: node.spot, $($field: $field?),* })
            }
        }
    };
    (@default) => { None };
    (@default $default:tt) => { Some(::serde_json::json!($default)) };
}
pub(super) use section;
