//! How values are read.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
pub(super) use strongroom_ops::config::parse_bytes;
use strongroom_repository::memory::MemoryBound;
use strongroom_repository::prune::MaxUnused;

/// Set to nothing means not set.
pub(super) fn parse_memory(text: &str) -> Result<u64, String> {
    if text.is_empty() { Ok(MemoryBound::DEFAULT_BYTES) } else { parse_bytes(text) }
}

pub(super) fn parse_count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "write a number from 1 on".into())
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

/// A share of what is stored, a size, or no limit.
pub(super) fn parse_max_unused(text: &str) -> Result<MaxUnused, String> {
    if text == "unlimited" {
        return Ok(MaxUnused::Unlimited);
    }
    if let Some(percent) = text.strip_suffix('%') {
        let percent = percent.parse().ok().filter(|percent| *percent <= 100);
        return percent.map(MaxUnused::Percent).ok_or_else(|| "write a percentage up to 100%".into());
    }
    if text == "0" {
        return Ok(MaxUnused::Bytes(0));
    }
    parse_bytes(text)
        .map(MaxUnused::Bytes)
        .map_err(|error| format!("{error}; or a percentage, or `unlimited`"))
}

/// 0 for none.
pub(super) fn parse_parity(text: &str) -> Result<u8, String> {
    if text == "off" { Ok(0) } else { parse_percent(text) }
}

/// How many to keep.
pub(super) fn parse_keep(text: &str) -> Result<u32, String> {
    match text {
        "unlimited" => Ok(u32::MAX),
        "0" => Err("nothing of it is kept when the option is left out".into()),
        number => number.parse().map_err(|_| "write a number, or `unlimited`".into()),
    }
}
/// `NAME=DIR`.
pub(super) fn parse_tablespace(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, folder)) if !name.is_empty() && !folder.is_empty() => Ok((name.into(), folder.into())),
        _ => Err("write NAME=DIR".into()),
    }
}
