//! What was backed up and what was stored for it, day by day. A day without a backup is none with nothing in it.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use strongroom_ops::history::Attempt;

/// How many days are shown.
const DAYS: i64 = 30;

/// One day, by UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) date: Date,
    /// Bytes as they are restored, and as they were stored; `None` without a backup.
    pub(super) sizes: Option<(u64, u64)>,
}

impl Day {
    /// What deduplication, compression and deltas saved, as a share; less than nothing where small things cost more than they are.
    pub(super) fn saved(&self) -> Option<f64> {
        let (logical, stored) = self.sizes.filter(|(logical, _)| *logical > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "a share is shown")]
        let share = 1.0 - stored as f64 / logical as f64;
        Some(share)
    }
}

/// The last days up to now, oldest first; nothing where nothing was ever backed up in them.
pub(super) fn days<'a>(attempts: impl Iterator<Item = &'a Attempt>, now: Timestamp) -> Vec<Day> {
    let of = |time: Timestamp| TimeZone::UTC.to_datetime(time).date();
    let today = of(now);
    let Ok(first) = today.checked_sub((DAYS - 1).days()) else { return Vec::new() };
    let mut known: BTreeMap<Date, (u64, u64)> = BTreeMap::new();
    for attempt in attempts.filter(|attempt| attempt.snapshot.is_some() && attempt.is_success()) {
        let date = of(attempt.time);
        if (first..=today).contains(&date) {
            let (logical, stored) = known.entry(date).or_default();
            *logical = logical.saturating_add(attempt.sizes.logical);
            *stored = stored.saturating_add(attempt.sizes.stored);
        }
    }
    if known.is_empty() {
        return Vec::new();
    }
    let days = (0..DAYS).filter_map(|day| first.checked_add(day.days()).ok());
    days.map(|date| Day { date, sizes: known.get(&date).copied() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_ops::history::Sizes;
    use strongroom_ops::run::RunResult;

    fn attempt(time: &str, logical: u64, stored: u64) -> Attempt {
        Attempt {
            time: time.parse().unwrap(),
            seconds: None,
            result: RunResult::Done,
            host: String::new(),
            error: None,
            cause: None,
            exit_code: None,
            snapshot: strongroom_format::SnapshotId::from_hex(&"ab".repeat(32)),
            sizes: Sizes { logical, new: 0, stored },
        }
    }

    #[test]
    fn a_day_without_a_backup_is_a_gap() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        assert_eq!(days([].iter(), now), []);
        let failed =
            Attempt { snapshot: None, result: RunResult::Failed, ..attempt("2026-11-21T02:00:00Z", 9, 9) };
        assert_eq!(days([failed.clone()].iter(), now), []);
        let attempts = [
            attempt("2026-09-01T02:00:00Z", 1000, 1000),
            attempt("2026-11-20T02:00:00Z", 100, 25),
            failed,
            attempt("2026-11-22T02:00:00Z", 60, 5),
            attempt("2026-11-22T03:00:00Z", 40, 5),
        ];
        let days = days(attempts.iter(), now);
        assert_eq!(days.len(), 30);
        let sizes: Vec<_> = days.iter().map(|day| day.sizes).collect();
        assert_eq!(sizes[27..], [Some((100, 25)), None, Some((100, 10))]);
        assert!(sizes[..27].iter().all(Option::is_none));
        assert_eq!((days[27].saved(), days[28].saved()), (Some(0.75), None));
    }
}
