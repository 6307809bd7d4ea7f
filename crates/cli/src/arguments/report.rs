//! Of `report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::parsers::path_parser;
use crate::{clock, selector};

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Format
    #[arg(long, value_enum, default_value_t = ReportFormat::Markdown, value_name = "FORMAT")]
    pub(crate) format: ReportFormat,
    /// Period: a month, 2026-10
    #[arg(long, value_name = "MONTH", conflicts_with_all = ["quarter", "since", "until"])]
    pub(crate) month: Option<String>,
    /// Period: a quarter, 2026-Q3
    #[arg(long, value_name = "QUARTER", conflicts_with_all = ["since", "until"])]
    pub(crate) quarter: Option<String>,
    /// Since this time, or this long ago (default: 30d)
    #[arg(long, value_name = "TIME", value_parser = parse_begin)]
    pub(crate) since: Option<Timestamp>,
    /// Until this time (default: now)
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub(crate) until: Option<Timestamp>,
    /// File to write, whole or not at all (default: standard output)
    #[arg(long, short = 'o', value_name = "FILE", value_parser = path_parser())]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// One self-contained page, for screens and paper
    Html,
    Markdown,
    /// For programs
    Json,
}

/// As [`parse_moment`]; a day means its beginning.
pub(super) fn parse_begin(text: &str) -> Result<Timestamp, String> {
    match text.parse::<jiff::civil::Date>() {
        Ok(date) if text.len() == 10 => {
            let begin = date.to_zoned(jiff::tz::TimeZone::system()).map_err(|error| error.to_string())?;
            Ok(begin.timestamp())
        }
        _ => parse_moment(text),
    }
}

/// A time, or how long ago it is; a day means its end.
pub(super) fn parse_moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = strongroom_ops::config::parse_duration(text)
        && text.len() < 10
    {
        return clock::now().checked_sub(ago).map_err(|_| format!("{text} is too long ago"));
    }
    let ms = selector::time_ms(text).map_err(|error| {
        format!("{error}; write a time (2026-10-31, 2026-10-31T12:00:00Z), or how long ago (30d)")
    })?;
    Timestamp::from_millisecond(ms).map_err(|error| error.to_string())
}
