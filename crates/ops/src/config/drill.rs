//! Drills: what people practise by a schedule, and note themselves.

use std::time::Duration;

use serde::Deserialize;

use super::schedule::{Cron, When, Zone, duration};

/// When a drill is due, and what is practised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Fields")]
pub struct DrillPlan(Fields);

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Fields {
    /// When it is due: a cron expression.
    schedule: Option<Cron>,
    /// So long after the last one it is due.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    every: Option<Duration>,
    /// What is practised.
    what: Option<String>,
}

impl TryFrom<Fields> for DrillPlan {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        match (&fields.schedule, fields.every) {
            (Some(_), Some(_)) => Err("either `schedule` or `every` says when a drill is due"),
            _ => Ok(Self(fields)),
        }
    }
}

impl DrillPlan {
    /// When it is due; `None` where it is held when people think of it.
    #[must_use]
    pub fn when(&self, zone: &Zone) -> Option<When> {
        // It was read before.
        let at = self.0.schedule.as_ref().and_then(|cron| cron.within(zone).ok());
        at.or(self.0.every.map(When::Every))
    }

    /// What is practised.
    #[must_use]
    pub fn what(&self) -> Option<&str> {
        self.0.what.as_deref()
    }
}
