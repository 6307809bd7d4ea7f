//! What may be deleted of log archives.

use strongroom_format::checkpoint::ExpiredLog;
use strongroom_format::entry::{ExpireBody, SegmentRange};
use strongroom_format::wal_file::LogFile;

use super::State;

impl State {
    /// The entry that expired a file of a log archive first, if any did.
    #[must_use]
    pub fn expired_by(&self, source: &str, system: u64, file: LogFile) -> Option<u64> {
        self.expired_ranges(source, system).find(|(range, _)| range.covers(file)).map(|(_, number)| number)
    }

    /// What is expired of a log archive, in order, and the entry that said so first of each range.
    pub fn expired_ranges(&self, source: &str, system: u64) -> impl Iterator<Item = (SegmentRange, u64)> {
        self.expired.get(&(source.to_owned(), system)).into_iter().flatten().copied()
    }

    /// What was expired before keeps its entry, from which its grace counts.
    pub(super) fn expire(&mut self, body: &ExpireBody, number: u64) {
        let known = self.expired.entry((body.source.clone(), body.system)).or_default();
        for range in &body.ranges {
            let new = without(*range, known);
            known.extend(new.into_iter().map(|range| (range, number)));
            known.sort_unstable();
        }
        if known.is_empty() {
            self.expired.remove(&(body.source.clone(), body.system));
        }
    }

    pub(super) fn expired_for_checkpoint(&self) -> Vec<ExpiredLog> {
        let logs = self.expired.iter();
        logs.map(|((source, system), ranges)| ExpiredLog {
            source: source.clone(),
            system: *system,
            ranges: ranges.clone(),
        })
        .collect()
    }
}

/// What is left of a range without others, which are in order.
fn without(range: SegmentRange, others: &[(SegmentRange, u64)]) -> Vec<SegmentRange> {
    let (mut left, mut next) = (Vec::new(), Some(range.first));
    for (other, _) in others.iter().filter(|(other, _)| other.timeline == range.timeline) {
        let Some(first) = next.filter(|first| *first <= range.last) else { break };
        if other.last < first || other.first > range.last {
            continue;
        }
        if other.first > first {
            left.push(SegmentRange { first, last: other.first - 1, ..range });
        }
        next = other.last.checked_add(1);
    }
    if let Some(first) = next.filter(|first| *first <= range.last) {
        left.push(SegmentRange { first, ..range });
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> SegmentRange {
        SegmentRange { timeline: 1, first, last }
    }

    #[test]
    fn what_is_expired_again_stays_as_it_was() {
        let known = [(range(2, 4), 1), (range(6, 6), 2), (range(10, u64::MAX), 3)];
        for (new, left) in [
            (range(0, 1), vec![range(0, 1)]),
            (range(0, 3), vec![range(0, 1)]),
            (range(3, 4), vec![]),
            (range(3, 5), vec![range(5, 5)]),
            (range(0, u64::MAX), vec![range(0, 1), range(5, 5), range(7, 9)]),
            (range(7, 9), vec![range(7, 9)]),
            (range(12, u64::MAX), vec![]),
        ] {
            assert_eq!(without(new, &known), left, "{new:?}");
        }
        let other = SegmentRange { timeline: 2, first: 0, last: 9 };
        assert_eq!(without(other, &known), [other]);
    }
}
