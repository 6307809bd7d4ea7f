//! Sizes, times and errors as people read them: on a terminal, on a page, in a report.

pub use strongroom_store::with_causes;

/// Bytes in the largest fitting unit of 1024.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// So many of a thing whose plural ends in `s`: `1 pack`, `2 packs`.
#[must_use]
pub fn count(number: u64, thing: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{ending}")
}

/// Of a snapshot: `1 file or stream`, `2 files and streams`.
#[must_use]
pub fn files(number: u64) -> String {
    if number == 1 { "1 file or stream".to_owned() } else { format!("{number} files and streams") }
}

/// A length of time in its two largest units, of whole seconds: `26 h 5 min`, `9 s`.
#[must_use]
pub fn span(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |first: String, rest: i64, unit: &str| match rest {
        0 => first,
        rest => format!("{first} {rest} {unit}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => two(format!("{hours} h"), minutes % 60, "min"),
        _ => two(format!("{days} d"), hours % 24, "h"),
    }
}

/// The same of a length that is known to the second.
#[must_use]
pub fn length(time: std::time::Duration) -> String {
    span(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

/// A moment, to the minute: `2026-11-22 02:00 UTC`.
#[must_use]
pub fn moment(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// How long something took: `6.1 s`, and from a minute on as [`span`], to the nearest minute.
#[must_use]
pub fn took(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole minutes of a time that is shown")]
    let minutes = (seconds / 60.0).round() as i64;
    span(minutes.saturating_mul(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1 << 20, "1.0 MiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn lengths_of_time() {
        for (seconds, text) in [
            (5, "5 s"),
            (65, "1 min"),
            (3600, "1 h"),
            (3660, "1 h 1 min"),
            (90_000, "1 d 1 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(span(seconds), text);
        }
        for (seconds, text) in [
            (0.04, "0.0 s"),
            (59.9, "59.9 s"),
            (60.0, "1 min"),
            (3600.0, "1 h"),
            (93_900.0, "1 d 2 h"),
            (5400.0, "1 h 30 min"),
            (86_400.0, "1 d"),
        ] {
            assert_eq!(took(seconds), text);
        }
    }
}
