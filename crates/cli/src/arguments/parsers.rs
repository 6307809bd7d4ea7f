//! How values are read.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use strongroom_repository::memory::MemoryBound;

pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return Err("write a number of bytes, or one with K, M or G".into()),
    };
    let number: u64 = digits.parse().map_err(|_| "write a number of bytes, or one with K, M or G")?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(|| "out of range".into())
}

/// Set to nothing means not set.
pub(super) fn parse_memory(text: &str) -> Result<u64, String> {
    if text.is_empty() { Ok(MemoryBound::DEFAULT_BYTES) } else { parse_bytes(text) }
}

pub(super) fn parse_count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "write a number from 1 on".into())
}

pub(super) fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    const DAY: u64 = 24 * 60 * 60;
    let form = "write seconds, or a number with s, m, h, d, w or y";
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => DAY,
        "w" => 7 * DAY,
        "y" => 365 * DAY,
        _ => return Err(form.into()),
    };
    let number: u64 = digits.parse().map_err(|_| form)?;
    number.checked_mul(unit).map(std::time::Duration::from_secs).ok_or_else(|| "out of range".into())
}

/// Any path, the empty one too.
pub(super) fn path_parser() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

pub(super) fn parse_percent(text: &str) -> Result<u8, String> {
    match text.trim_end_matches('%').parse::<u8>() {
        Ok(percent @ 1..=100) => Ok(percent),
        _ => Err("write a percentage from 1% to 100%".into()),
    }
}

/// How many to keep.
pub(super) fn parse_keep(text: &str) -> Result<u32, String> {
    match text {
        "unlimited" => Ok(u32::MAX),
        "0" => Err("nothing of it is kept when the option is left out".into()),
        number => number.parse().map_err(|_| "write a number, or `unlimited`".into()),
    }
}
