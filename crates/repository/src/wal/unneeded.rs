//! What of a log no base backup needs any more: decided from the names of segments alone.

use strongroom_format::entry::SegmentRange;
use strongroom_format::wal_file::Segment;

use super::LogTimeline;

/// The segments before those that recovery reads which begins at one of these `bases`, each the first segment of a base
/// backup that is kept. A later timeline may go on from an earlier one, so its segments are needed from the earliest base on
/// that it or an earlier one has; no base leads to the segments of timelines earlier than all of them.
///
/// Without any base nothing is known, and nothing unneeded.
#[must_use]
pub fn unneeded(timelines: &[LogTimeline], bases: &[Segment]) -> Vec<SegmentRange> {
    if bases.is_empty() {
        return Vec::new();
    }
    let mut ranges = Vec::new();
    for line in timelines {
        let (Some(first), Some(last)) = (line.first, line.last) else { continue };
        let needed = bases.iter().filter(|base| base.timeline <= line.timeline).map(|base| base.place).min();
        // Places are in the order of positions; between two of them lies no other.
        let before = needed.map_or(Some(last.place), |needed| needed.checked_sub(1));
        if let Some(end) = before.filter(|end| *end >= first.place) {
            ranges.push(SegmentRange {
                timeline: line.timeline,
                first: first.place,
                last: end.min(last.place),
            });
        }
    }
    ranges.sort_unstable();
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(timeline: u32, place: u64) -> Segment {
        Segment { timeline, place }
    }

    fn line(timeline: u32, first: u64, last: u64) -> LogTimeline {
        LogTimeline {
            timeline,
            first: Some(segment(timeline, first)),
            last: Some(segment(timeline, last)),
            segments: last - first + 1,
            others: 0,
            stored_bytes: 0,
            newest: None,
            gaps: Vec::new(),
        }
    }

    fn range(timeline: u32, first: u64, last: u64) -> SegmentRange {
        SegmentRange { timeline, first, last }
    }

    #[test]
    fn what_lies_before_the_earliest_base_is_unneeded() {
        let lines = [line(1, 3, 20)];
        assert_eq!(unneeded(&lines, &[]), []);
        assert_eq!(unneeded(&lines, &[segment(1, 3)]), []);
        assert_eq!(unneeded(&lines, &[segment(1, 9), segment(1, 7)]), [range(1, 3, 6)]);
        // All of it was before.
        assert_eq!(unneeded(&lines, &[segment(1, 30)]), [range(1, 3, 20)]);
    }

    #[test]
    fn later_timelines_go_on_from_earlier_bases() {
        let lines = [line(1, 3, 20), line(2, 15, 40), line(3, 38, 50)];
        assert_eq!(unneeded(&lines, &[segment(1, 10)]), [range(1, 3, 9)]);
        assert_eq!(unneeded(&lines, &[segment(2, 30)]), [range(1, 3, 20), range(2, 15, 29)]);
        assert_eq!(unneeded(&lines, &[segment(2, 30), segment(1, 18)]), [range(1, 3, 17), range(2, 15, 17)]);
        assert_eq!(unneeded(&lines, &[segment(3, 1 << 32)]).len(), 3);
    }
}
