//! Values as people read them in a report.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `26 h 5 min`, `6.1 s`.
pub(super) fn length(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole minutes of a time that is shown"
    )]
    let minutes = (seconds / 60.0).round() as u64;
    match (minutes / (24 * 60), minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (seconds, text) in [
            (0.04, "0.0 s"),
            (59.9, "59.9 s"),
            (60.0, "1 min"),
            (3600.0, "1 h"),
            (93_900.0, "1 d 2 h"),
            (5400.0, "1 h 30 min"),
            (86_400.0, "1 d"),
        ] {
            assert_eq!(length(seconds), text);
        }
    }
}
