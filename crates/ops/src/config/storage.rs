//! How large a repository may become.

use serde::{Deserialize, Deserializer, de};

use super::parse_bytes;

/// When somebody is told, where the configuration does not say it.
const WARN_PERCENT: u32 = 80;

/// How large a repository may become.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Bytes.
    #[serde(deserialize_with = "bytes")]
    #[schemars(with = "super::schema::Size")]
    pub capacity: Option<u64>,
    /// From which share of it on somebody is told.
    warn_percent: Option<u32>,
}

impl Storage {
    /// From which share of the capacity on somebody is told.
    #[must_use]
    pub fn warn_percent(&self) -> u32 {
        self.warn_percent.unwrap_or(WARN_PERCENT)
    }
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_bytes(&text).map(Some).map_err(|error| de::Error::custom(format!("`{text}`: {error}")))
}
