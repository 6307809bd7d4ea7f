//! Values of options: written down, or named to be looked up when they are needed, so that a configuration holds no secret.

use std::path::{Path, PathBuf};

use super::Problem;
use super::text::{Key, Node, Value};

/// What an option is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// Of one that is there or not.
    Flag(bool),
    /// Of one that has a value.
    One(Text),
    /// Of one that may be repeated.
    Many(Vec<Text>),
}

/// A text, or where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// Itself.
    Literal(String),
    /// `env:NAME`, a variable of the environment.
    Environment(String),
    /// `file:PATH`, what a file holds, without the end of its last line.
    File(PathBuf),
}

/// An option as a configuration sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Where, from 1.
    pub line: usize,
    /// `exclude_table`
    pub name: String,
    /// To what.
    pub value: OptionValue,
}

/// A variable of the environment as a configuration sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Where, from 1.
    pub line: usize,
    /// `AWS_PROFILE`
    pub name: String,
    /// To what.
    pub value: Text,
}

/// Why a value cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The variable is not set, or is no text.
    #[error("the environment has no variable {name}, which the configuration refers to")]
    NoVariable {
        /// Its name.
        name: String,
    },
    /// The file cannot be read.
    #[error("{path}, which the configuration refers to, cannot be read")]
    NoFile {
        /// It.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Text {
    /// As it is written.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some(("env", name)) => Self::Environment(name.to_owned()),
            Some(("file", path)) if !path.starts_with("//") => Self::File(PathBuf::from(path)),
            _ => Self::Literal(text.to_owned()),
        }
    }

    /// Whether it stands elsewhere, as secrets do.
    #[must_use]
    pub fn is_reference(&self) -> bool {
        !matches!(self, Self::Literal(_))
    }

    /// What it comes to now.
    ///
    /// # Errors
    /// `NoVariable`, `NoFile`.
    pub fn resolve(&self) -> Result<String, ReferenceError> {
        self.resolve_with(|name| std::env::var(name).ok())
    }

    fn resolve_with(&self, variable: impl Fn(&str) -> Option<String>) -> Result<String, ReferenceError> {
        match self {
            Self::Literal(text) => Ok(text.clone()),
            Self::Environment(name) => {
                variable(name).ok_or_else(|| ReferenceError::NoVariable { name: name.clone() })
            }
            Self::File(path) => read(path),
        }
    }
}

fn read(path: &Path) -> Result<String, ReferenceError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ReferenceError::NoFile { path: path.to_owned(), source })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl Setting {
    /// From a field; nothing where it is set to nothing.
    pub(super) fn read(key: Key, node: &Node, problems: &mut Vec<Problem>) -> Option<Self> {
        let wrong = |node: &Node| Problem {
            line: node.line,
            what: format!(
                "`{}` is {}: it is a text, a number, true or false, or a list of texts",
                key.name,
                node.kind()
            ),
        };
        let value = match &node.value {
            Value::Null => return None,
            Value::Bool(is) => OptionValue::Flag(*is),
            Value::List(items) => {
                let read: Option<Vec<Text>> = items.iter().map(text).collect();
                let Some(read) = read else {
                    problems.push(wrong(node));
                    return None;
                };
                OptionValue::Many(read)
            }
            _ => match text(node) {
                Some(text) => OptionValue::One(text),
                None => {
                    problems.push(wrong(node));
                    return None;
                }
            },
        };
        Some(Self { line: key.line, name: key.name, value })
    }
}

/// Of a text or a number.
pub(super) fn text(node: &Node) -> Option<Text> {
    match &node.value {
        Value::Text(text) => Some(Text::parse(text)),
        Value::Integer(number) => Some(Text::Literal(number.to_string())),
        Value::Float(number) => Some(Text::Literal(number.to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_looked_up_when_they_are_needed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret \r\n").unwrap();
        let of_file = Text::parse(&format!("file:{}", file.path().display()));
        assert_eq!(of_file.resolve().unwrap(), "secret ");
        let variable = |name: &str| (name == "URL").then(|| "redis://h".to_owned());
        assert_eq!(Text::parse("env:URL").resolve_with(variable).unwrap(), "redis://h");
        assert!(matches!(
            Text::parse("env:NONE").resolve_with(variable),
            Err(ReferenceError::NoVariable { .. })
        ));
        assert!(matches!(Text::parse("file:/nowhere/x").resolve(), Err(ReferenceError::NoFile { .. })));
        for literal in ["postgres://me@env:5432/x", "file:///repo", "0 2 * * *", ""] {
            assert_eq!(Text::parse(literal), Text::Literal(literal.into()));
        }
    }
}
