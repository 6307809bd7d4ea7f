//! What a configuration is written in, TOML, YAML or JSON, as one kind of tree that knows its lines.

mod deserialize;
mod toml;
mod yaml;

use std::path::Path;

pub(super) use self::deserialize::unknown;
use super::Problem;

/// How deep tables and lists may lie in each other.
const DEEPEST: usize = 32;

/// A value, and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// From 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file, no key twice.
    Table(Vec<(Key, Node)>),
}

/// The name of a field, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) line: usize,
    pub(super) name: String,
}

impl Node {
    /// Reads a text; the file's name says what it is written in, and TOML is it where the name does not say.
    ///
    /// # Errors
    /// All that is seen to be wrong.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, Vec<Problem>> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            // What is JSON is YAML, too.
            "yaml" | "yml" | "json" => yaml::parse(text).map_err(|problem| vec![problem]),
            _ => toml::parse(text),
        }
    }

    /// What people call a value of its kind.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Integer(_) => "a number",
            Value::Float(_) => "a fraction",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}
