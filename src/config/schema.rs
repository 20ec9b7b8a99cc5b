//! The format as a JSON Schema, the names of its variables, and its manual: all from the sections of `raw`.

use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::Code;
use super::raw::Root;

/// The JSON Schema (2020-12) of the file.
#[must_use]
pub fn schema() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<Root>();
    schema.insert("title".to_owned(), "Cardea".into());
    schema.insert("required".to_owned(), vec!["server"].into());
    schema.to_value()
}

/// Which keys a variable can set.
pub(super) struct VariableKeys(Vec<Vec<String>>);

/// The keys of all sections that stand alone. Objects, of which there are many, have no variables.
pub(super) fn variable_keys() -> VariableKeys {
    fn walk(properties: &Map<String, Value>, path: &[String], keys: &mut Vec<Vec<String>>) {
        for (name, property) in properties {
            let path = [path, std::slice::from_ref(name)].concat();
            match property.get("properties").and_then(Value::as_object) {
                Some(inner) => walk(inner, &path, keys),
                None if path.len() > 1 => keys.push(path),
                None => {}
            }
        }
    }
    let mut keys = Vec::new();
    if let Some(properties) = schema().get("properties").and_then(Value::as_object) {
        walk(properties, &[], &mut keys);
    }
    VariableKeys(keys)
}

impl VariableKeys {
    /// The key that a variable sets, and whether it names a file with the value.
    pub(super) fn path(&self, variable: &str) -> Option<(Vec<String>, bool)> {
        let find = |name: &str| {
            self.0.iter().find(|path| variable_of(path) == name).cloned().or_else(|| network(name))
        };
        if let Some(path) = find(variable) {
            return Some((path, false));
        }
        find(variable.strip_suffix("_FILE")?).map(|path| (path, true))
    }

    /// The names of all of them.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|path| variable_of(path))
    }
}

/// `CARDEA_NETWORKS__HEAD_OFFICE` is the network `head-office`: names of networks have no underscores.
fn network(variable: &str) -> Option<Vec<String>> {
    let name = variable
        .strip_prefix("CARDEA_NETWORKS__")
        .filter(|name| !name.is_empty() && !name.ends_with("_FILE"))?;
    Some(vec!["networks".to_owned(), name.to_lowercase().replace('_', "-")])
}

/// `CARDEA_SIGN_IN__LOCKOUT__AFTER`
fn variable_of(path: &[String]) -> String {
    format!("CARDEA_{}", path.join("__").to_uppercase())
}

/// `docs/configuration.md`.
#[must_use]
pub fn manual() -> String {
    let schema = schema();
    let mut text = INTRODUCTION.to_owned();
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    text.push_str("\n## Top level\n\n");
    rows(&mut text, &schema, "");
    let mut sections: Vec<_> = properties.iter().collect();
    sections.sort_by_key(|(name, _)| ORDER.iter().position(|known| known == name).unwrap_or(ORDER.len()));
    for (name, section) in sections {
        part(&mut text, name, section);
    }
    text.push_str("\n## Faults\n\n| code | what is wrong |\n|---|---|\n");
    for code in Code::ALL {
        let _ = writeln!(text, "| `{}` | {} |", code.id(), code.meaning());
    }
    text
}

/// The order in which people need the sections.
const ORDER: [&str; 16] = [
    "server", "tls", "storage", "secrets", "log", "session", "sign_in", "mfa", "networks", "brand",
    "outbound", "tenant", "role", "group", "idp", "route",
];

/// Writes a section and those within it.
fn part(text: &mut String, path: &str, section: &Value) {
    let list = section.get("items");
    let inner = list.unwrap_or(section);
    let Some(properties) = inner.get("properties").and_then(Value::as_object) else {
        if path == "networks" {
            let _ = writeln!(text, "\n## `[networks]`\n\n{}\n", described(section));
            text.push_str("```toml\n[networks]\noffice = [\"203.0.113.0/24\", \"2001:db8:40::/48\"]\n```\n");
        }
        return;
    };
    // Departments are written as inline tables, all other lists as sections.
    let heading = if list.is_some() { format!("[[{path}]]") } else { format!("[{path}]") };
    let level = if path.contains('.') { "###" } else { "##" };
    let _ = writeln!(text, "\n{level} `{heading}`\n\n{}\n", described(inner));
    rows(text, inner, path);
    for (name, property) in properties {
        part(text, &format!("{path}.{name}"), property);
    }
}

fn described(schema: &Value) -> String {
    schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// The keys of a section as a table.
fn rows(text: &mut String, section: &Value, path: &str) {
    let Some(properties) = section.get("properties").and_then(Value::as_object) else { return };
    let required = |name: &str| {
        section
            .get("required")
            .and_then(Value::as_array)
            .is_some_and(|list| list.iter().any(|known| known == name))
    };
    let mut keys: Vec<_> = properties
        .iter()
        .filter(|(_, property)| {
            let inner = property.get("items").unwrap_or(property);
            inner.get("properties").is_none()
                && !(path.is_empty() && inner.get("additionalProperties").is_some())
        })
        .collect();
    if keys.is_empty() {
        return;
    }
    keys.sort_by_key(|(name, _)| (!required(name), name.as_str()));
    text.push_str("| key | value | default | |\n|---|---|---|---|\n");
    for (name, property) in keys {
        let default = match property.get("default") {
            Some(default) => format!("`{default}`"),
            None if required(name) => "needed".to_owned(),
            None => String::new(),
        };
        let words = described(property).replace('|', "\\|");
        let _ = writeln!(text, "| `{name}` | {} | {default} | {words} |", kind(property).replace('|', "\\|"));
    }
}

/// What a key takes, in words.
fn kind(property: &Value) -> String {
    if let Some(several) = property.get("anyOf").and_then(Value::as_array) {
        let mut kinds: Vec<String> = Vec::new();
        for one in several.iter().map(kind) {
            if !kinds.contains(&one) {
                kinds.push(one);
            }
        }
        return kinds.join(" or ");
    }
    if let Some(words) = property.get("enum").and_then(Value::as_array) {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    match property.get("type").and_then(Value::as_str) {
        Some("array") => {
            let inner = property.get("items").map(kind).unwrap_or_default();
            if inner.is_empty() { "list".to_owned() } else { format!("list: {inner}") }
        }
        Some("boolean") => "`true`, `false`".to_owned(),
        Some("integer") => "number".to_owned(),
        Some("object") => "table".to_owned(),
        _ => match property.get("examples").and_then(Value::as_array).and_then(|examples| examples.first()) {
            Some(example) => format!("text like `{example}`"),
            None => "text".to_owned(),
        },
    }
}

const INTRODUCTION: &str = "\
# Configuration

This page is made from the program; `cardea schema` prints the same as a JSON Schema for editors. `config/` has files to
start from, `cardea check` says what is wrong with yours.

**Where it is.** `cardea --config FILE`, else the variable `CARDEA_CONFIG`, else `cardea.toml` in the working directory,
else `/etc/cardea/cardea.toml`. It is [TOML](https://toml.io). Relative paths in a file are relative to that file.

**Layers.** Built-in defaults, then the file, then the files it includes, then the environment. A key that two files set
is an error naming both places; `[[tenant]]`, `[[role]]`, `[[group]]` and `[[route]]` of several files are put together.
Keys that Cardea does not know are errors.

**Environment.** `CARDEA_SECTION__KEY` sets a key of a section that exists once, with two underscores between the parts:
`CARDEA_SERVER__PUBLIC_URL`, `CARDEA_SIGN_IN__LOCKOUT__AFTER`. Lists are written with commas or as in TOML. The same name
with `_FILE` at its end names a file that holds the value. `CARDEA_CONFIG`, `CARDEA_URL` and `CARDEA_TEST_…` mean something
else; any other name that begins with `CARDEA_` is an error. `ADMIN_USER`, `ADMIN_PASSWORD` (or `ADMIN_PASSWORD_FILE`) and
`ADMIN_EMAIL` create the first administrator on an empty database.

**Secrets** are written `{ file = \"…\" }`, `{ env = \"NAME\" }` or `{ credential = \"NAME\" }` (systemd's `LoadCredential=`).
A secret in the file itself works and is a warning. No report shows one.

**Durations** are a whole number and a unit: `500ms`, `30s`, `15m`, `8h`, `7d`.

**Changes** are taken over while Cardea runs, all of them or none. Listeners, storage, keys and logs need a restart.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_described() {
        fn walk(path: &str, schema: &Value) {
            let inner = schema.get("items").unwrap_or(schema);
            let Some(properties) = inner.get("properties").and_then(Value::as_object) else { return };
            for (name, property) in properties {
                let path = format!("{path}.{name}");
                assert!(!described(property).is_empty(), "{path} has no description");
                walk(&path, property);
            }
        }
        let schema = schema();
        walk("", &schema);
        assert!(!schema.to_string().contains("x-optional"));
        assert_eq!(schema["properties"]["server"]["required"], serde_json::json!(["public_url"]));
    }

    #[test]
    fn the_manual_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        // At build time, so that the program itself never asks the environment.
        if option_env!("CARDEA_REGENERATE").is_some() {
            std::fs::write(path, manual()).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == manual(), "run the tests once with CARDEA_REGENERATE=1");
    }

    #[test]
    fn variables_name_keys() {
        let keys = variable_keys();
        for (variable, path, file) in [
            ("CARDEA_SERVER__PUBLIC_URL", "server.public_url", false),
            ("CARDEA_SIGN_IN__LOCKOUT__AFTER", "sign_in.lockout.after", false),
            ("CARDEA_STORAGE__URL_FILE", "storage.url", true),
            ("CARDEA_NETWORKS__HEAD_OFFICE", "networks.head-office", false),
        ] {
            let (found, is_file) = keys.path(variable).unwrap();
            assert_eq!((found.join("."), is_file), (path.to_owned(), file), "{variable}");
        }
        for wrong in
            ["CARDEA_SERVER_PUBLIC_URL", "CARDEA_ROUTE__NAME", "CARDEA_INCLUDE", "CARDEA_", "CARDEA_SERVER__"]
        {
            assert!(keys.path(wrong).is_none(), "{wrong}");
        }
    }
}
