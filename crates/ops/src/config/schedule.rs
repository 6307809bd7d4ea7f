//! When something is due: by a cron expression in a time zone, or so long after the last time.
//!
//! Cron as POSIX and Vixie have it: minute, hour, day of month, month, day of week; `@hourly`, `@daily`, `@weekly`, `@monthly`
//! and `@yearly`. As Vixie's cron has it, what names its hour is due once a day, also in the nights in which clocks are set: an
//! hour later where its own is left out, the first time where it comes twice. What is due every hour is due every hour.

use std::time::Duration;

use cronexpr::{Crontab, MakeTimestamp};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, de};

use super::parse_duration;

/// A cron expression, checked; without a time zone.
#[derive(Debug, Clone, PartialEq, Eq, schemars::JsonSchema)]
pub(super) struct Cron(String);

/// A time zone by its name in the IANA database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(String);

/// When something is due.
#[derive(Debug, Clone)]
pub enum When {
    /// At these times.
    At(Box<Times>),
    /// So long after the last time.
    Every(Duration),
}

/// What a cron expression says, in a time zone.
#[derive(Debug, Clone)]
pub struct Times {
    /// Of moments where every hour is meant, else of what clocks show, as if it were UTC.
    crontab: Crontab,
    zone: TimeZone,
    is_every_hour: bool,
}

impl Default for Zone {
    fn default() -> Self {
        Self("UTC".into())
    }
}

impl Zone {
    /// With its rules.
    #[must_use]
    pub fn rules(&self) -> TimeZone {
        // It was looked up when it was read.
        TimeZone::get(&self.0).unwrap_or(TimeZone::UTC)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        match TimeZone::get(&name) {
            Ok(_) => Ok(Self(name)),
            Err(_) => Err(de::Error::custom(format!(
                "`{name}` is no time zone of the IANA database: write UTC, Europe/Berlin, America/New_York"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Cron {
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let cron = Self(text.to_owned());
        match cron.within(&Zone::default()) {
            Ok(_) => Ok(cron),
            Err(why) => Err(format!(
                "`{text}` is no cron expression ({why}): write minute, hour, day of month, month and day of week, as in `0 2 * * *`, \
                 or @hourly, @daily, @weekly, @monthly"
            )),
        }
    }

    /// As it is written.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// In a time zone.
    ///
    /// # Errors
    /// What is wrong with the expression.
    pub(super) fn within(&self, zone: &Zone) -> Result<When, String> {
        let fields = match self.0.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            fields => fields,
        };
        let [_, hour, _, _, _] = fields.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err("it has not five fields".into());
        };
        let is_every_hour = hour.starts_with('*');
        let read_in = if is_every_hour { &zone.0 } else { "UTC" };
        let said = |error: cronexpr::Error| {
            let said = error.to_string();
            said.lines().last().unwrap_or_default().trim_start_matches([' ', '^']).to_owned()
        };
        let crontab = cronexpr::parse_crontab(&format!("{fields} {read_in}")).map_err(said)?;
        // One that is never due is a mistake: `0 0 31 2 *`.
        crontab.find_next(MakeTimestamp(Timestamp::UNIX_EPOCH)).map_err(|_| "it never comes")?;
        let zone = TimeZone::get(&zone.0).map_err(|error| error.to_string())?;
        Ok(When::At(Box::new(Times { crontab, zone, is_every_hour })))
    }
}

impl When {
    /// The first time after a moment, or after what was done last.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(times) => times.next(after),
            Self::Every(time) => after.checked_add(*time).ok(),
        }
    }

    /// From when on it was left out, when it was last done then: where dates say it, when the one behind the next has come; else
    /// `slack` after it was due.
    #[must_use]
    pub fn missed(&self, last: Timestamp, slack: Duration) -> Option<Timestamp> {
        let due = self.next(last)?;
        match self {
            Self::At(_) => self.next(due),
            Self::Every(_) => due.checked_add(slack).ok(),
        }
    }

    /// Whether it is due, when it was last done then; what was never done is.
    #[must_use]
    pub fn is_due(&self, last: Option<Timestamp>, now: Timestamp) -> bool {
        last.is_none_or(|last| self.next(last).is_some_and(|next| next <= now))
    }
}

impl Times {
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let next_of = |moment| Some(self.crontab.find_next(MakeTimestamp(moment)).ok()?.timestamp());
        if self.is_every_hour {
            return next_of(after);
        }
        let mut shown = self.zone.to_datetime(after).to_zoned(TimeZone::UTC).ok()?.timestamp();
        loop {
            shown = next_of(shown)?;
            let next = self.zone.to_timestamp(TimeZone::UTC.to_datetime(shown)).ok()?;
            // The hour that comes twice has been here already.
            if next > after {
                return Some(next);
            }
        }
    }
}

/// A length of time as people write it.
pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map(Some).map_err(|error| de::Error::custom(format!("`{text}`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn daily(cron: &str, zone: &str) -> When {
        Cron(cron.into()).within(&Zone(zone.into())).unwrap()
    }

    #[test]
    fn a_day_begins_where_its_zone_says() {
        let when = daily("0 2 * * *", "UTC");
        assert_eq!(when.next(at("2026-11-22T01:59:59Z")).unwrap(), at("2026-11-22T02:00:00Z"));
        assert_eq!(when.next(at("2026-11-22T02:00:00Z")).unwrap(), at("2026-11-23T02:00:00Z"));
        let berlin = daily("@daily", "Europe/Berlin");
        assert_eq!(berlin.next(at("2026-07-01T00:00:00Z")).unwrap(), at("2026-07-01T22:00:00Z"));
        assert!(when.is_due(None, at("2026-11-22T00:00:00Z")));
        assert!(when.is_due(Some(at("2026-11-21T02:00:10Z")), at("2026-11-22T02:00:00Z")));
        assert!(!when.is_due(Some(at("2026-11-22T02:00:10Z")), at("2026-11-23T01:59:00Z")));
        let every = When::Every(Duration::from_secs(3600));
        assert!(!every.is_due(Some(at("2026-11-22T02:00:00Z")), at("2026-11-22T02:59:59Z")));
        assert!(every.is_due(Some(at("2026-11-22T02:00:00Z")), at("2026-11-22T03:00:00Z")));
    }

    #[test]
    fn no_night_is_left_out_or_doubled_when_clocks_are_set() {
        // 2026-03-29: 02:00 to 03:00 are not there; 2026-10-25: they come twice.
        let when = daily("30 2 * * *", "Europe/Berlin");
        for begin in ["2026-03-27T12:00:00Z", "2026-10-23T12:00:00Z"] {
            let mut moment = at(begin);
            let mut days = Vec::new();
            for _ in 0..4 {
                moment = when.next(moment).unwrap();
                days.push(moment.to_zoned(TimeZone::get("Europe/Berlin").unwrap()).date());
            }
            let one_apart = days.windows(2).all(|pair| pair[0].tomorrow().unwrap() == pair[1]);
            assert!(one_apart, "{days:?}");
        }
        assert_eq!(when.next(at("2026-03-29T00:00:00Z")).unwrap(), at("2026-03-29T01:30:00Z"));
        assert_eq!(when.next(at("2026-10-25T00:00:00Z")).unwrap(), at("2026-10-25T00:30:00Z"));
        let hourly = daily("0 * * * *", "Europe/Berlin");
        let mut moment = at("2026-10-24T22:30:00Z");
        for hour in 23..27 {
            moment = hourly.next(moment).unwrap();
            assert_eq!(moment, at("2026-10-24T00:00:00Z") + jiff::SignedDuration::from_hours(hour));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["0 2 * *", "61 * * * *", "0 0 31 2 *", "@often", "0 2 * * * UTC", ""] {
            assert!(Cron(text.into()).within(&Zone::default()).is_err(), "{text}");
        }
    }
}
