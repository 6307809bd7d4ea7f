//! The configuration, `strongroom.toml`: what is to be kept of which source, and what its restore tests ask.

mod assertion;
mod check;
mod duration;
mod retention;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use strongroom_repository::retention::Keep;

pub use self::assertion::Assertion;
pub use self::check::{Checked, Problem, check};
pub use self::duration::parse_duration;
use self::retention::Retention;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("the configuration {path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what a configuration is; says where.
    #[error("the configuration {path} is wrong")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where, and what.
        source: Box<toml::de::Error>,
    },
}

/// What a configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Of sources that say nothing else.
    retention: Option<Retention>,
    #[serde(default)]
    sources: BTreeMap<String, Source>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    retention: Option<Retention>,
    /// How its server is reached, as libpq takes it.
    postgres: Option<String>,
    #[serde(default)]
    assertions: Vec<Assertion>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// `Unreadable`; `Invalid`, with line and column.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&read(path)?)
            .map_err(|source| ConfigError::Invalid { path: path.to_owned(), source: Box::new(source) })
    }

    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// What a restore test of a source asks.
    #[must_use]
    pub fn assertions(&self, source: &str) -> &[Assertion] {
        self.sources.get(source).map(|source| source.assertions.as_slice()).unwrap_or_default()
    }

    /// The sources that it speaks of.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().map(String::as_str)
    }

    /// Those whose server it names, with how it is reached.
    pub fn postgres_sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sources.iter().filter_map(|(name, source)| Some((name.as_str(), source.postgres.as_deref()?)))
    }

    /// What is kept of a source; `None` where nothing is said, so that all is.
    #[must_use]
    pub fn keep(&self, source: &str) -> Option<Keep> {
        let own = self.sources.get(source).and_then(|source| source.retention.as_ref());
        own.or(self.retention.as_ref()).map(Retention::keep)
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn a_source_says_for_itself_or_the_default_does() {
        let config = Config::parse(
            r#"
            [retention]
            days = 30

            [sources.ledger.retention]
            days = 30
            compliance_days = 2555
            keep_monthly = 12

            [sources.scratch]
            "#,
        )
        .unwrap();
        let operational = config.keep("coordinator-db").unwrap();
        assert_eq!(operational.within, Some(30 * DAY));
        assert_eq!(config.keep("scratch").unwrap(), operational);
        let ledger = config.keep("ledger").unwrap();
        assert_eq!(ledger.tags_within, [("compliance".to_owned(), 2555 * DAY)]);
        assert_eq!(ledger.periods.values().collect::<Vec<_>>(), [&12]);
        assert_eq!(Config::default().keep("ledger"), None);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, said) in [
            ("[retention]\nday = 30", "day"),
            ("[retention]\nkeep_within = \"30 moons\"", "30 moons"),
            ("[retention]\n", "keeps nothing"),
            ("[retention]\ndays = 0", "0"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("line"), "{error}");
        }
    }
}
