//! TOML: <https://toml.io/en/v1.1.0>.

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue};

use super::{Key, Node, Problem, Value};

pub(super) fn parse(text: &str) -> Result<Node, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let place = Place { text };
    if !errors.is_empty() {
        let problem = |error: ::toml::de::Error| {
            let line = place.line(error.span().map_or(0, |span| span.start));
            Problem { line, what: error.message().to_owned() }
        };
        return Err(errors.into_iter().map(problem).collect());
    }
    Ok(Node { line: 1, value: place.table(table.into_inner()).map_err(|problem| vec![problem])? })
}

struct Place<'t> {
    text: &'t str,
}

impl Place<'_> {
    fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }

    fn table(&self, table: DeTable<'_>) -> Result<Value, Problem> {
        let mut fields = Vec::new();
        for (key, value) in table {
            let line = self.line(key.span().start);
            fields.push((Key { line, name: key.into_inner().into_owned() }, self.node(value)?));
        }
        // As they stand in the file.
        fields.sort_by_key(|(key, _)| key.line);
        Ok(Value::Table(fields))
    }

    fn node(&self, value: Spanned<DeValue<'_>>) -> Result<Node, Problem> {
        let line = self.line(value.span().start);
        let wrong = |what: &str| Problem { line, what: what.to_owned() };
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => Value::Integer(
                i64::from_str_radix(number.as_str(), number.radix())
                    .map_err(|_| wrong("the number is too large"))?,
            ),
            DeValue::Float(number) => {
                Value::Float(number.as_str().parse().map_err(|_| wrong("the number is not understood"))?)
            }
            DeValue::Boolean(is) => Value::Bool(is),
            DeValue::Datetime(moment) => Value::Text(moment.to_string()),
            DeValue::Array(items) => {
                Value::List(items.into_iter().map(|item| self.node(item)).collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => self.table(table)?,
        };
        Ok(Node { line, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_has_its_line() {
        let text = "a = 1\nb = 0x1f\n\n[c]\nd = [true,\n  'x']\ne = 1.5\n[[f]]\ng = 2026-11-22\n";
        let Value::Table(fields) = parse(text).unwrap().value else { panic!("a table") };
        let lines: Vec<(&str, usize)> = fields.iter().map(|(key, _)| (key.name.as_str(), key.line)).collect();
        assert_eq!(lines, [("a", 1), ("b", 2), ("c", 4), ("f", 8)]);
        assert_eq!(fields[1].1.value, Value::Integer(31));
        let Value::Table(inner) = &fields[2].1.value else { panic!("a table") };
        let Value::List(items) = &inner[0].1.value else { panic!("a list") };
        assert_eq!((items[0].line, items[1].line), (5, 6));
        assert_eq!(inner[1].1.value, Value::Float(1.5));
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let problems = parse("a = 1\nb = = 2\n").unwrap_err();
        assert_eq!(problems[0].line, 2, "{problems:?}");
    }
}
