//! To which moments one could have gone back.

use jiff::Timestamp;

use super::period::Period;
use crate::status::LogStatus;

/// The longest time between two of them, or between the last and the end; seconds, and since when. `snapshots` are in order.
///
/// A whole log leads from any snapshot that it does not begin behind to whatever of it was stored. What was stored before it was expired
/// nobody knows any more: then the time before is not looked at.
pub(super) fn longest_gap(
    snapshots: &[Timestamp],
    log: Option<&LogStatus>,
    period: &Period,
    now: Timestamp,
) -> Option<(f64, Option<Timestamp>)> {
    let end = period.end(now);
    let points = points(snapshots, log);
    let before = points.iter().rev().find(|time| **time < period.from);
    let mut last = *before.or_else(|| points.iter().find(|time| period.contains(**time)))?;
    let mut longest: Option<(f64, Option<Timestamp>)> = None;
    for next in points.iter().copied().filter(|time| period.contains(*time)).chain([end]) {
        // What began before the period counts from its beginning on, as long as it was.
        let gap = next.duration_since(last).as_secs_f64().max(0.0);
        if longest.is_none_or(|(seconds, _)| seconds < gap) {
            longest = Some((gap, Some(last)));
        }
        last = next.max(last);
    }
    longest
}

fn points(snapshots: &[Timestamp], log: Option<&LogStatus>) -> Vec<Timestamp> {
    let mut points = snapshots.to_vec();
    let whole = log.filter(|log| log.missing_segments == 0);
    let Some((log, first)) = whole.and_then(|log| Some((log, *log.stored.first()?))) else { return points };
    let Some(base) = snapshots.iter().copied().find(|time| *time >= first) else { return points };
    points.retain(|time| *time >= base || !log.is_expired);
    points.extend(log.stored.iter().copied().filter(|time| *time > base));
    points.sort_unstable();
    points
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-10-{text}:00Z").parse().unwrap()
    }

    fn log(stored: &[&str], missing_segments: u64, is_expired: bool) -> LogStatus {
        LogStatus {
            source: "db".into(),
            system: 7,
            newest: None,
            expected_since: None,
            newest_file: String::new(),
            segments: stored.len() as u64,
            missing_segments,
            gaps: Vec::new(),
            stored_bytes: 0,
            stored: stored.iter().map(|text| at(text)).collect(),
            is_expired,
        }
    }

    #[test]
    fn a_log_leads_on_from_a_snapshot() {
        let snapshots = ["01T02:00", "02T02:00", "03T02:00"].map(at);
        let gap = |log: Option<&LogStatus>| {
            let period = Period::between(at("01T00:00"), at("03T03:00"), &TimeZone::UTC);
            let (seconds, since) = longest_gap(&snapshots, log, &period, at("03T03:00")).unwrap();
            (seconds / 3600.0, since.unwrap())
        };
        assert_eq!(gap(None), (24.0, at("01T02:00")));
        let stored = ["02T01:00", "02T09:00", "02T14:00", "03T01:00"];
        // Before it there were snapshots alone.
        assert_eq!(gap(Some(&log(&stored, 0, false))), (24.0, at("01T02:00")));
        // Or it is not known what there was.
        assert_eq!(gap(Some(&log(&stored, 0, true))), (11.0, at("02T14:00")));
        // What is missing leads nowhere.
        assert_eq!(gap(Some(&log(&stored, 1, true))), (24.0, at("01T02:00")));
        // Nor what no snapshot was taken in.
        assert_eq!(gap(Some(&log(&["03T02:30"], 0, true))), (24.0, at("01T02:00")));
    }
}
