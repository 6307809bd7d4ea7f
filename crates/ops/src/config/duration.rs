//! Lengths of time as people write them.

use std::time::Duration;

const DAY_S: u64 = 24 * 60 * 60;

/// Reads seconds, or a number with s, m, h, d, w or y (of 365 days).
///
/// # Errors
/// What is to be written instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let form = "write seconds, or a number with s, m, h, d, w or y";
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => DAY_S,
        "w" => 7 * DAY_S,
        "y" => 365 * DAY_S,
        _ => return Err(form.into()),
    };
    let number: u64 = digits.parse().map_err(|_| form)?;
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(|| "out of range".into())
}
