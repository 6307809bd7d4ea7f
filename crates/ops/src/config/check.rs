//! All that is wrong with a configuration: reading it stops at the first.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error, ValueDeserializer};

use super::{Config, ConfigError, Source, read};

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// In which line, from 1.
    pub line: usize,
    /// What.
    pub what: String,
}

/// What a look at a configuration gives.
#[derive(Debug)]
pub struct Checked {
    /// What it says; of one with problems nothing.
    pub config: Config,
    /// By their lines.
    pub problems: Vec<Problem>,
    /// Where each source begins.
    pub lines: BTreeMap<String, usize>,
}

/// Looks at a file.
///
/// # Errors
/// `Unreadable`.
pub fn check(path: &Path) -> Result<Checked, ConfigError> {
    Ok(check_text(&read(path)?))
}

fn check_text(text: &str) -> Checked {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut look = Look { text, problems: Vec::new(), lines: BTreeMap::new() };
    errors.iter().for_each(|error| look.tell(error));
    // What was made of the rest of one that is no TOML says nothing.
    let fields = Some(table.into_inner()).filter(|_| errors.is_empty());
    for (key, value) in fields.into_iter().flatten() {
        let span = value.span();
        match (key.get_ref().as_ref(), value.into_inner()) {
            ("sources", DeValue::Table(sources)) => look.sources(sources),
            (_, value) => look.field::<Config>(key, Spanned::new(span, value)),
        }
    }
    if look.problems.is_empty()
        && let Err(error) = Config::parse(text)
    {
        look.tell(&error);
    }
    let Look { mut problems, lines, .. } = look;
    problems.sort();
    problems.dedup();
    let config = Some(text).filter(|_| problems.is_empty()).and_then(|text| Config::parse(text).ok());
    Checked { config: config.unwrap_or_default(), problems, lines }
}

struct Look<'t> {
    text: &'t str,
    problems: Vec<Problem>,
    lines: BTreeMap<String, usize>,
}

impl Look<'_> {
    fn sources(&mut self, sources: DeTable<'_>) {
        for (name, source) in sources {
            let line = self.line_of(name.span().start);
            self.lines.insert(name.get_ref().to_string(), line);
            let span = source.span();
            match source.into_inner() {
                DeValue::Table(fields) => {
                    fields.into_iter().for_each(|(key, value)| self.field::<Source>(key, value));
                }
                other => self.value::<Source>(Spanned::new(span, other)),
            }
        }
    }

    /// A table with this field alone.
    fn field<T: DeserializeOwned>(
        &mut self,
        key: Spanned<toml::de::DeString<'_>>,
        value: Spanned<DeValue<'_>>,
    ) {
        let span = key.span().start..value.span().end;
        let table = DeTable::from_iter([(key, value)]);
        self.value::<T>(Spanned::new(span, DeValue::Table(table)));
    }

    fn value<T: DeserializeOwned>(&mut self, value: Spanned<DeValue<'_>>) {
        if let Err(error) = T::deserialize(ValueDeserializer::from(value)) {
            self.tell(&error);
        }
    }

    fn tell(&mut self, error: &Error) {
        let line = self.line_of(error.span().map_or(0, |span| span.start));
        self.problems.push(Problem { line, what: error.message().to_owned() });
    }

    fn line_of(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told_with_its_line() {
        let text = "[retention]\nday = 30\n\n[sources.a]\ntypo = 1\nretention = 5\n\n[sources.b.retention]\nkeep_within = \"3 moons\"\n\n\
                    [[sources.b.assertions]]\nname = \"x\"\n\n[typo]\n";
        let checked = check_text(text);
        let lines: Vec<usize> = checked.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [2, 5, 6, 9, 11, 14], "{:?}", checked.problems);
        assert_eq!(checked.lines, BTreeMap::from([("a".into(), 4), ("b".into(), 8)]));
        assert!(checked.problems[3].what.contains("3 moons") && checked.problems[4].what.contains("sql"));
    }

    #[test]
    fn what_is_no_toml_is_told_too() {
        let checked = check_text("[retention]\ndays = 30\nkeep_last = = 4\nkeep_tag = [\"x\"\n");
        assert!(checked.problems.first().is_some_and(|problem| problem.line == 3), "{:?}", checked.problems);
    }

    #[test]
    fn what_is_right_has_no_problems() {
        let checked = check_text(
            "[sources.a]\npostgres = \"host=db1\"\n[[sources.a.assertions]]\nname = \"x\"\nsql = \"SELECT true\"\n",
        );
        assert!(checked.problems.is_empty(), "{:?}", checked.problems);
        assert_eq!(checked.config.postgres_sources().collect::<Vec<_>>(), [("a", "host=db1")]);
        assert_eq!(checked.config.assertions("a").len(), 1);
        assert!(checked.config.assertions("b").is_empty());
    }
}
