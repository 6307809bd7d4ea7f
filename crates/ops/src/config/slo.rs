//! What share of what is tried is to succeed.

use serde::Deserialize;

/// Service level objectives of a source, percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Fields")]
pub struct Slo {
    /// Of backups.
    pub backup_success_percent: Option<f64>,
    /// Of restore tests.
    pub restore_test_success_percent: Option<f64>,
}

#[derive(Deserialize, schemars::JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
struct Fields {
    /// Of backups, percent.
    #[schemars(range(min = 0, max = 100))]
    backup_success_percent: Option<f64>,
    /// Of restore tests, percent.
    #[schemars(range(min = 0, max = 100))]
    restore_test_success_percent: Option<f64>,
}

impl TryFrom<Fields> for Slo {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let Fields { backup_success_percent, restore_test_success_percent } = fields;
        let all = [backup_success_percent, restore_test_success_percent];
        match all.into_iter().flatten().all(|percent| (0.0..=100.0).contains(&percent)) {
            true => Ok(Self { backup_success_percent, restore_test_success_percent }),
            false => Err("an objective is a percentage from 0 to 100"),
        }
    }
}
