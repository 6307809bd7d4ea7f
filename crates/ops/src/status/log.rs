//! How things stand with log archives.

use std::time::Duration;

use jiff::Timestamp;
use strongroom_repository::wal::gaps::LogGap;
use strongroom_repository::wal::{LogArchive, LogArchives};

use super::finding::{Finding, Kind};
use crate::words::length;

/// What there is of logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logs {
    /// Of each source the archive in which anything was stored last: of a system that is gone nothing more comes.
    pub written: Vec<LogStatus>,
    /// What the store holds of all of them, also of systems that are gone, bytes.
    pub stored_bytes: u64,
}

/// The log of a source that is written to now, or should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStatus {
    /// Whose.
    pub source: String,
    /// The database system identifier.
    pub system: u64,
    /// When anything of it was stored last, by the store's clock; `None` where nothing ever was.
    pub newest: Option<Timestamp>,
    /// Since when it is expected, where nothing ever was stored.
    pub expected_since: Option<Timestamp>,
    /// The file that was.
    pub newest_file: String,
    /// Whole segments that are there.
    pub segments: u64,
    /// Segments that are missing.
    pub missing_segments: u64,
    /// What is missing: `FIRST..LAST`.
    pub gaps: Vec<String>,
    /// What the store holds of it, bytes.
    pub stored_bytes: u64,
    /// When each of its segments was stored, in order.
    pub stored: Vec<Timestamp>,
    /// Whether anything of it is expired.
    pub is_expired: bool,
}

impl Logs {
    /// Of what was listed.
    #[must_use]
    pub fn of(found: &LogArchives) -> Self {
        let mut written: Vec<&LogArchive> = Vec::new();
        for log in &found.archives {
            match written.iter_mut().find(|known| known.source == log.source) {
                Some(known) if known.newest_ms() >= log.newest_ms() => {}
                Some(known) => *known = log,
                None => written.push(log),
            }
        }
        let stored_bytes = found.archives.iter().flat_map(|log| &log.timelines).map(|line| line.stored_bytes);
        let stored_bytes = stored_bytes.fold(0, u64::saturating_add);
        Self { written: written.into_iter().map(LogStatus::of).collect(), stored_bytes }
    }
}

impl LogStatus {
    fn of(log: &LogArchive) -> Self {
        let time = |ms: u64| i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let newest = log.timelines.iter().filter_map(|line| line.newest).max_by_key(|newest| newest.time_ms);
        let gaps = log.timelines.iter().flat_map(|line| &line.gaps);
        Self {
            newest: time(log.newest_ms()),
            newest_file: newest.map(|newest| newest.file.to_string()).unwrap_or_default(),
            segments: log.timelines.iter().map(|line| line.segments).sum(),
            missing_segments: log.missing_segments(),
            gaps: gaps.map(place).collect(),
            stored_bytes: log.timelines.iter().map(|line| line.stored_bytes).sum(),
            stored: log.segment_times_ms.iter().copied().filter_map(time).collect(),
            is_expired: log.is_expired,
            ..Self::none(&log.source, log.system)
        }
    }

    fn none(source: &str, system: u64) -> Self {
        Self {
            source: source.to_owned(),
            system,
            newest: None,
            expected_since: None,
            newest_file: String::new(),
            segments: 0,
            missing_segments: 0,
            gaps: Vec::new(),
            stored_bytes: 0,
            stored: Vec::new(),
            is_expired: false,
        }
    }

    /// Of a source of which nothing was ever archived, though it should be since then.
    pub(super) fn awaited(source: &str, since: Timestamp) -> Self {
        Self { expected_since: Some(since), ..Self::none(source, 0) }
    }

    /// For how long nothing was stored.
    #[must_use]
    pub fn lag(&self, now: Timestamp) -> Option<Duration> {
        let since = self.newest.or(self.expected_since)?;
        Some(Duration::try_from(now.duration_since(since)).unwrap_or_default())
    }

    /// That nothing was stored for too long, in words.
    #[must_use]
    pub fn late(&self, max_lag: Duration, now: Timestamp) -> Option<String> {
        let lag = length(self.lag(now).filter(|lag| *lag > max_lag)?);
        let limit = length(max_lag);
        Some(match self.newest {
            Some(_) => format!("nothing was archived for {lag} (limit: {limit})"),
            None => {
                format!("nothing was ever archived, and the first snapshot is {lag} old (limit: {limit})")
            }
        })
    }

    /// What is missing, in words.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let gaps = || self.gaps.join(", ");
        match self.missing_segments {
            0 => None,
            1 => Some(format!("1 segment is missing: {}", gaps())),
            several => Some(format!("{several} segments are missing: {}", gaps())),
        }
    }

    /// What somebody should know.
    pub(super) fn findings(&self, max_lag: Option<Duration>, now: Timestamp) -> Vec<Finding> {
        let late = max_lag.and_then(|max| self.late(max, now)).map(|what| (Kind::WalLate, what));
        let missing = self.missing().map(|what| (Kind::WalGap, what));
        let finding = |(kind, what): (Kind, String)| Finding {
            since: self.newest.or(self.expected_since),
            ..Finding::new(kind, &format!("its log: {what}")).of(&self.source)
        };
        late.into_iter().chain(missing).map(finding).collect()
    }
}

fn place(gap: &LogGap) -> String {
    match gap.segments {
        1 => gap.first.to_string(),
        _ => format!("{}..{}", gap.first, gap.last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_or_missing_is_told() {
        let newest: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        let log = LogStatus { newest: Some(newest), segments: 3, ..LogStatus::none("db", 7) };
        let later = newest + jiff::SignedDuration::from_secs(61);
        let minute = Some(Duration::from_secs(60));
        assert_eq!(log.findings(minute, newest), []);
        assert_eq!(log.findings(None, later), []);
        assert_eq!(log.findings(minute, later)[0].kind, Kind::WalLate);
        assert_eq!(
            log.findings(minute, newest + jiff::SignedDuration::from_hours(2))[0].what,
            "its log: nothing was archived for 2 h (limit: 1 min)"
        );
        let gap = LogStatus { missing_segments: 2, gaps: vec!["A..B".into()], ..log };
        let findings = gap.findings(minute, newest);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].kind == Kind::WalGap && findings[0].what.contains("A..B"), "{findings:?}");
        // A store that is ahead of this host.
        assert_eq!(gap.lag(newest - jiff::SignedDuration::from_secs(5)), Some(Duration::ZERO));
    }
}
