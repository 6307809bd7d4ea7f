//! The time that a report is about.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan as _};
use serde::Serialize;

/// From when to when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Period {
    /// The first moment.
    pub from: Timestamp,
    /// The first moment behind it.
    pub until: Timestamp,
    /// As people call it.
    pub label: String,
}

impl Period {
    /// `2026-10`, in a time zone.
    ///
    /// # Errors
    /// How it is to be written.
    pub fn month(text: &str, zone: &TimeZone) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no month: write 2026-10");
        let (year, month) = text.split_once('-').ok_or_else(wrong)?;
        let (year, month) = (year.parse().map_err(|_| wrong())?, month.parse().map_err(|_| wrong())?);
        Self::of_months(year, month, 1, zone).ok_or_else(wrong)
    }

    /// `2026-Q3`, in a time zone.
    ///
    /// # Errors
    /// How it is to be written.
    pub fn quarter(text: &str, zone: &TimeZone) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no quarter: write 2026-Q3");
        let (year, quarter) = text.split_once("-Q").or_else(|| text.split_once("-q")).ok_or_else(wrong)?;
        let quarter: i8 =
            quarter.parse().ok().filter(|quarter| (1..=4).contains(quarter)).ok_or_else(wrong)?;
        let year = year.parse().map_err(|_| wrong())?;
        let period = Self::of_months(year, quarter * 3 - 2, 3, zone).ok_or_else(wrong)?;
        Ok(Self { label: format!("{year}-Q{quarter}"), ..period })
    }

    fn of_months(year: i16, month: i8, months: i32, zone: &TimeZone) -> Option<Self> {
        let first = Date::new(year, month, 1).ok()?;
        let behind = first.checked_add(Span::new().months(months)).ok()?;
        let moment = |date: Date| Some(date.to_zoned(zone.clone()).ok()?.timestamp());
        Some(Self { from: moment(first)?, until: moment(behind)?, label: format!("{year}-{month:02}") })
    }

    /// From then to then.
    #[must_use]
    pub fn between(from: Timestamp, until: Timestamp, zone: &TimeZone) -> Self {
        let day = |time: Timestamp| time.to_zoned(zone.clone()).date();
        // The last moment in it names its day.
        let last = until.checked_sub(1.nanosecond()).unwrap_or(until);
        Self { from, until, label: format!("{} to {}", day(from), day(last)) }
    }

    /// Whether a moment lies in it.
    #[must_use]
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from <= time && time < self.until
    }

    /// Up to when something can be said of it.
    #[must_use]
    pub fn end(&self, now: Timestamp) -> Timestamp {
        self.until.min(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_and_quarters_begin_where_their_zone_says() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let october = Period::month("2026-10", &berlin).unwrap();
        assert_eq!(october.from.to_string(), "2026-09-30T22:00:00Z");
        // Clocks were set back.
        assert_eq!(october.until.to_string(), "2026-10-31T23:00:00Z");
        assert!(october.contains(october.from) && !october.contains(october.until));
        let quarter = Period::quarter("2026-Q4", &TimeZone::UTC).unwrap();
        assert_eq!(quarter.until.to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(quarter.label, "2026-Q4");
        for wrong in ["2026", "2026-13", "2026-Q3", "x-1", "2026-00"] {
            assert!(Period::month(wrong, &TimeZone::UTC).is_err(), "{wrong}");
        }
        for wrong in ["2026-Q5", "2026-3", "Q3", "2026-Q0"] {
            assert!(Period::quarter(wrong, &TimeZone::UTC).is_err(), "{wrong}");
        }
    }
}
