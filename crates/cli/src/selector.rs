//! What a person writes for a snapshot: an ID prefix, `latest`, `latest:SOURCE`, `latest@TIME`, `latest:SOURCE@TIME`.

use anyhow::Context as _;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use strongroom_repository::select::Selector;

use crate::exit::Usage;

/// Reads a selector.
pub(crate) fn parse(text: &str) -> anyhow::Result<Selector> {
    let Some(rest) = text.strip_prefix("latest") else { return Ok(Selector::Prefix(text.to_owned())) };
    // Sources may hold an `@`; a time is what follows the last one and reads as a time.
    let (source, until_ms) = match rest.rsplit_once('@') {
        Some((source, time)) => match time_ms(time) {
            Ok(until) => (source, Some(until)),
            Err(error) if source.is_empty() => return Err(error),
            Err(_) => (rest, None),
        },
        None => (rest, None),
    };
    let source = match source.strip_prefix(':') {
        Some(source) => Some(source.to_owned()),
        None if source.is_empty() => None,
        None => {
            return Err(Usage(format!(
                "`{text}` is no snapshot: write latest, latest:SOURCE, latest@TIME or an ID"
            ))
            .into());
        }
    };
    Ok(Selector::Latest { source, until_ms })
}

/// Reads a time: RFC 3339, or local time to the day, minute or second; a day means its end.
pub(crate) fn time_ms(text: &str) -> anyhow::Result<i64> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let local = |time: civil::DateTime| {
        time.to_zoned(TimeZone::system()).map(|time| time.timestamp().as_millisecond())
    };
    if let Ok(date) = text.parse::<civil::Date>()
        && text.len() == 10
    {
        return Ok(local(date.at(23, 59, 59, 999_999_999))?);
    }
    let time = text
        .replace(' ', "T")
        .parse::<civil::DateTime>()
        .map_err(|error| Usage(format!("`{text}` is no time: {error}")))?;
    local(time).context("this local time does not exist")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let latest =
            |source: Option<&str>, until_ms| Selector::Latest { source: source.map(str::to_owned), until_ms };
        assert_eq!(parse("latest").unwrap(), latest(None, None));
        assert_eq!(parse("latest:db@host").unwrap(), latest(Some("db@host"), None));
        assert_eq!(parse("latest@2026-01-01T00:00:00Z").unwrap(), latest(None, Some(1_767_225_600_000)));
        assert_eq!(
            parse("latest:db@2026-01-01T00:00:00Z").unwrap(),
            latest(Some("db"), Some(1_767_225_600_000))
        );
        assert_eq!(parse("0a1b").unwrap(), Selector::Prefix("0a1b".into()));
        assert!(parse("latestfoo").is_err());
        assert!(parse("latest@nonsense").is_err());
    }
}
