//! A table of a configuration, read field by field, so that all that is wrong is told and not only the first.

use serde::de::DeserializeOwned;

use super::Problem;
use super::text::{Key, Node, Value};
use super::value::Setting;

/// Fields that belong together.
pub(super) struct Section {
    line: usize,
    fields: Vec<(Key, Node)>,
}

impl Section {
    /// The fields of a table.
    pub(super) fn new(node: Node, problems: &mut Vec<Problem>) -> Self {
        let line = node.line;
        let kind = node.kind();
        let fields = match node.value {
            Value::Table(fields) => fields,
            Value::Null => Vec::new(),
            _ => {
                problems.push(Problem { line, what: format!("this is {kind}: a table is expected") });
                Vec::new()
            }
        };
        Self { line, fields }
    }

    /// Those of the given names, and the others.
    pub(super) fn split(node: Node, names: &[&str], problems: &mut Vec<Problem>) -> (Self, Self) {
        let Self { line, fields } = Self::new(node, problems);
        let (own, rest) = fields.into_iter().partition(|(key, _)| names.contains(&key.name.as_str()));
        (Self { line, fields: own }, Self { line, fields: rest })
    }

    /// Takes a field out.
    pub(super) fn take(&mut self, name: &str) -> Option<(Key, Node)> {
        let at = self.fields.iter().position(|(key, _)| key.name == name)?;
        Some(self.fields.remove(at))
    }

    /// What they say; where something is wrong, it is told, and nothing is said.
    pub(super) fn read<T: DeserializeOwned + Default>(self, problems: &mut Vec<Problem>) -> T {
        let known = problems.len();
        for field in &self.fields {
            let alone = Node { line: field.0.line, value: Value::Table(vec![field.clone()]) };
            if let Err(problem) = T::deserialize(alone) {
                problems.push(problem);
            }
        }
        if problems.len() > known {
            return T::default();
        }
        T::deserialize(Node { line: self.line, value: Value::Table(self.fields) }).unwrap_or_else(|problem| {
            problems.push(problem);
            T::default()
        })
    }

    /// Which field stands where.
    pub(super) fn lines(&self) -> Vec<(String, usize)> {
        self.fields.iter().map(|(key, _)| (key.name.clone(), key.line)).collect()
    }

    /// Options of a command, whatever they are called.
    pub(super) fn settings(self, problems: &mut Vec<Problem>) -> Vec<Setting> {
        self.fields.into_iter().filter_map(|(key, node)| Setting::read(key, &node, problems)).collect()
    }

    pub(super) fn into_fields(self) -> Vec<(Key, Node)> {
        self.fields
    }
}
