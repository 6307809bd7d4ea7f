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
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err("write seconds, or a number with s, m, h or d".into()),
    };
    let number: u64 = digits.parse().map_err(|_| "write seconds, or a number with s, m, h or d")?;
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
