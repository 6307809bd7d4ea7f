//! What is kept of a source.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;
use strongroom_repository::retention::{Keep, Period};

use super::schedule::duration;

/// The tag of snapshots that are kept for `compliance_days`.
const COMPLIANCE_TAG: &str = "compliance";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// As `forget` takes it by its options, and in days as people agree on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Fields")]
pub(super) struct Retention(Fields);

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Fields {
    /// All of so many days.
    days: Option<NonZeroU32>,
    /// Those tagged `compliance`, of so many days.
    compliance_days: Option<NonZeroU32>,
    keep_last: Option<NonZeroU32>,
    keep_hourly: Option<NonZeroU32>,
    keep_daily: Option<NonZeroU32>,
    keep_weekly: Option<NonZeroU32>,
    keep_monthly: Option<NonZeroU32>,
    keep_yearly: Option<NonZeroU32>,
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    keep_within: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    keep_within_hourly: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    keep_within_daily: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    keep_within_weekly: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    keep_within_monthly: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    keep_within_yearly: Option<Duration>,
    keep_tag: Vec<String>,
}

impl TryFrom<Fields> for Retention {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        if fields == Fields::default() {
            return Err("this retention keeps nothing but the newest snapshot: say what it is to keep");
        }
        Ok(Self(fields))
    }
}

impl Retention {
    /// Sets its days, or those of compliance; gives whether they were set before.
    pub(super) fn set_days(&mut self, is_compliance: bool, days: NonZeroU32) -> bool {
        let own = if is_compliance { &mut self.0.compliance_days } else { &mut self.0.days };
        own.replace(days).is_some()
    }

    pub(super) fn keep(&self) -> Keep {
        let fields = &self.0;
        let counts = [
            (Period::Hour, fields.keep_hourly),
            (Period::Day, fields.keep_daily),
            (Period::Week, fields.keep_weekly),
            (Period::Month, fields.keep_monthly),
            (Period::Year, fields.keep_yearly),
        ];
        let times = [
            (Period::Hour, fields.keep_within_hourly),
            (Period::Day, fields.keep_within_daily),
            (Period::Week, fields.keep_within_weekly),
            (Period::Month, fields.keep_within_monthly),
            (Period::Year, fields.keep_within_yearly),
        ];
        let of_days = |days: NonZeroU32| DAY * days.get();
        let compliance = fields.compliance_days.map(|days| (COMPLIANCE_TAG.to_owned(), of_days(days)));
        Keep {
            last: fields.keep_last.map_or(0, NonZeroU32::get),
            periods: counts.into_iter().filter_map(|(period, count)| Some((period, count?.get()))).collect(),
            within: fields.days.map(of_days).max(fields.keep_within),
            periods_within: times.into_iter().filter_map(|(period, time)| Some((period, time?))).collect(),
            tags: fields.keep_tag.clone(),
            tags_within: compliance.into_iter().collect(),
        }
    }
}
