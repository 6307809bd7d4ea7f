//! How things stand with a log archive.

use std::time::Duration;

use jiff::Timestamp;
use strongroom_repository::wal::LogArchives;

use super::finding::{Finding, Kind};

/// The log of a source that is written to now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStatus {
    /// Whose.
    pub source: String,
    /// The database system identifier.
    pub system: u64,
    /// When anything of it was stored last, by the store's clock.
    pub newest: Option<Timestamp>,
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

impl LogStatus {
    /// Of each source the archive in which anything was stored last: of a system that is gone nothing more comes.
    #[must_use]
    pub fn of(found: &LogArchives) -> Vec<Self> {
        let mut written: Vec<&strongroom_repository::wal::LogArchive> = Vec::new();
        for log in &found.archives {
            match written.iter_mut().find(|known| known.source == log.source) {
                Some(known) if known.newest_ms() >= log.newest_ms() => {}
                Some(known) => *known = log,
                None => written.push(log),
            }
        }
        let time = |ms: u64| i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let of = |log: &strongroom_repository::wal::LogArchive| {
            let newest =
                log.timelines.iter().filter_map(|line| line.newest).max_by_key(|newest| newest.time_ms);
            let gaps = log.timelines.iter().flat_map(|line| &line.gaps);
            Self {
                source: log.source.clone(),
                system: log.system,
                newest: time(log.newest_ms()),
                newest_file: newest.map(|newest| newest.file.to_string()).unwrap_or_default(),
                segments: log.timelines.iter().map(|line| line.segments).sum(),
                missing_segments: log.missing_segments(),
                gaps: gaps.map(|gap| format!("{}..{}", gap.first, gap.last)).collect(),
                stored_bytes: log.timelines.iter().map(|line| line.stored_bytes).sum(),
                stored: log.segment_times_ms.iter().copied().filter_map(time).collect(),
                is_expired: log.is_expired,
            }
        };
        written.into_iter().map(of).collect()
    }

    /// For how long nothing was stored.
    #[must_use]
    pub fn lag(&self, now: Timestamp) -> Option<Duration> {
        Some(Duration::try_from(now.duration_since(self.newest?)).unwrap_or_default())
    }

    /// What somebody should know.
    pub(super) fn findings(&self, max_lag: Option<Duration>, now: Timestamp) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |kind: Kind, what: String| {
            let (severity, source) = (kind.severity(), Some(self.source.clone()));
            findings.push(Finding { kind, severity, source, since: self.newest, what });
        };
        if let (Some(lag), Some(max)) = (self.lag(now), max_lag)
            && lag > max
        {
            let what = format!(
                "nothing of its log was archived for {} s, and it may be {} s",
                lag.as_secs(),
                max.as_secs()
            );
            add(Kind::WalLate, what);
        }
        if self.missing_segments > 0 {
            let what = format!(
                "{} segments of its log are missing: {}",
                self.missing_segments,
                self.gaps.join(", ")
            );
            add(Kind::WalGap, what);
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_or_missing_is_told() {
        let newest: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        let log = LogStatus {
            source: "db".into(),
            system: 7,
            newest: Some(newest),
            newest_file: "000000010000000000000004".into(),
            segments: 3,
            missing_segments: 0,
            gaps: Vec::new(),
            stored_bytes: 5,
            stored: Vec::new(),
            is_expired: false,
        };
        let later = newest + jiff::SignedDuration::from_secs(61);
        let minute = Some(Duration::from_secs(60));
        assert_eq!(log.findings(minute, newest), []);
        assert_eq!(log.findings(None, later), []);
        assert_eq!(log.findings(minute, later)[0].kind, Kind::WalLate);
        let gap = LogStatus { missing_segments: 2, gaps: vec!["A..B".into()], ..log };
        let findings = gap.findings(minute, newest);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].kind == Kind::WalGap && findings[0].what.contains("A..B"), "{findings:?}");
        // A store that is ahead of this host.
        assert_eq!(gap.lag(newest - jiff::SignedDuration::from_secs(5)), Some(Duration::ZERO));
    }
}
