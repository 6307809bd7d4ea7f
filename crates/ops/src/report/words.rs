//! Values as people read them in a report.

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub(super) fn percent(percent: Option<f64>) -> String {
    percent.map_or_else(|| "-".into(), |percent| format!("{percent:.2}%"))
}

/// To the second, in the time zone of the configuration.
pub(super) fn time(time: Option<Timestamp>, zone: &TimeZone) -> String {
    time.map_or_else(
        || "-".into(),
        |time| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

pub(super) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}
