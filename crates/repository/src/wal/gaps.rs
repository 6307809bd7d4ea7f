//! What is missing of a log: decided from the names of files alone.
//!
//! Segments of a timeline follow each other without a gap from the first that is there to the last. A timeline that
//! branches from another begins with the segment in which it branches, and the other is needed up to there. What is
//! expired is not missing.

use std::collections::BTreeMap;

use strongroom_format::entry::SegmentRange;
use strongroom_format::wal_file::Segment;

/// A segment that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Present {
    /// Which.
    pub segment: Segment,
    /// Its length, bytes.
    pub bytes: u64,
}

/// Where a timeline branches from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    /// The timeline that it branches from.
    pub parent: u32,
    /// The position in the log (LSN).
    pub position: u64,
}

/// Segments that are missing, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogGap {
    /// The first.
    pub first: Segment,
    /// The last.
    pub last: Segment,
    /// How many.
    pub segments: u64,
}

/// A timeline's segments, from the byte that the first begins with to that behind the last.
struct Line {
    timeline: u32,
    start: u64,
    end: u64,
    /// Length of its last segment.
    bytes: u64,
}

/// What is missing of the timelines of one archive, in order. `branches` tells
/// from where those branch of which that is known; `expired` is in order.
#[must_use]
pub fn gaps(
    present: &BTreeMap<u32, Vec<Present>>,
    branches: &BTreeMap<u32, Branch>,
    expired: &[SegmentRange],
) -> Vec<LogGap> {
    let mut gaps = Vec::new();
    let mut lines = BTreeMap::new();
    for (timeline, segments) in present {
        let Some(line) = follow(*timeline, segments, expired, &mut gaps) else { continue };
        lines.insert(*timeline, line);
    }
    for (timeline, branch) in branches {
        let Some(child) = lines.get(timeline) else { continue };
        let begins = branch.position / child.bytes * child.bytes;
        if child.start > begins {
            missing(child, begins..child.start, expired, &mut gaps);
        }
        if let Some(parent) = lines.get(&branch.parent) {
            let needed = branch.position / parent.bytes * parent.bytes;
            if parent.end < needed {
                missing(parent, parent.end..needed, expired, &mut gaps);
            }
        }
    }
    gaps.sort_unstable();
    gaps.dedup();
    gaps
}

fn follow(
    timeline: u32,
    segments: &[Present],
    expired: &[SegmentRange],
    gaps: &mut Vec<LogGap>,
) -> Option<Line> {
    // What no server names so is no part of the log.
    let place =
        |one: &Present| Some((one.segment.position(one.bytes)?, one.bytes)).filter(|(_, bytes)| *bytes > 0);
    let mut places: Vec<(u64, u64)> = segments.iter().filter_map(place).collect();
    // Where their length has changed, not in the order of their names.
    places.sort_unstable();
    let mut line: Option<Line> = None;
    for (start, bytes) in places {
        let end = start.saturating_add(bytes);
        line = Some(match line {
            None => Line { timeline, start, end, bytes },
            Some(known) => {
                if known.end < start {
                    missing(&known, known.end..start, expired, gaps);
                }
                Line { end: known.end.max(end), bytes, ..known }
            }
        });
    }
    line
}

/// Notes what of a range of positions is not expired.
fn missing(line: &Line, range: std::ops::Range<u64>, expired: &[SegmentRange], gaps: &mut Vec<LogGap>) {
    let mut next = range.start;
    for gone in expired.iter().filter(|gone| gone.timeline == line.timeline) {
        let (from, to) = (position(gone.first, line.bytes), position_behind(gone.last, line.bytes));
        if to <= next || from >= range.end {
            continue;
        }
        if from > next {
            gaps.push(gap(line, next, from));
        }
        next = next.max(to);
    }
    if next < range.end {
        gaps.push(gap(line, next, range.end));
    }
}

fn gap(line: &Line, from: u64, to: u64) -> LogGap {
    LogGap {
        first: Segment::at(line.timeline, from, line.bytes),
        last: Segment::at(line.timeline, to.saturating_sub(1), line.bytes),
        segments: (to - from).div_ceil(line.bytes),
    }
}

/// Where a place begins; one that no segment of that length has, where the next one does.
fn position(place: u64, bytes: u64) -> u64 {
    let (high, low) = (place >> 32 << 32, place & 0xffff_ffff);
    high.saturating_add(low.saturating_mul(bytes).min(1 << 32))
}

fn position_behind(place: u64, bytes: u64) -> u64 {
    place.checked_add(1).map_or(u64::MAX, |next| position(next, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn line(timeline: u32, places: &[u64]) -> (u32, Vec<Present>) {
        let segments = places
            .iter()
            .map(|place| Present { segment: Segment { timeline, place: *place }, bytes: 16 * MIB })
            .collect();
        (timeline, segments)
    }

    fn found(
        lines: &[(u32, Vec<Present>)],
        branches: &[(u32, u32, u64)],
        expired: &[(u32, u64, u64)],
    ) -> Vec<(u32, u64, u64, u64)> {
        let branches = branches
            .iter()
            .map(|(timeline, parent, position)| (*timeline, Branch { parent: *parent, position: *position }))
            .collect();
        let expired: Vec<_> = expired
            .iter()
            .map(|(timeline, first, last)| SegmentRange { timeline: *timeline, first: *first, last: *last })
            .collect();
        gaps(&lines.iter().cloned().collect(), &branches, &expired)
            .into_iter()
            .map(|gap| (gap.first.timeline, gap.first.place, gap.last.place, gap.segments))
            .collect()
    }

    #[test]
    fn segments_follow_each_other() {
        assert_eq!(found(&[], &[], &[]), []);
        assert_eq!(found(&[line(1, &[1, 2, 3])], &[], &[]), []);
        assert_eq!(found(&[line(1, &[1, 3, 4, 8])], &[], &[]), [(1, 2, 2, 1), (1, 5, 7, 3)]);
        assert_eq!(found(&[line(1, &[0xfe, 0xff, 1 << 32, (1 << 32) + 1])], &[], &[]), []);
        assert_eq!(found(&[line(1, &[0xfe, 1 << 32])], &[], &[]), [(1, 0xff, 0xff, 1)]);
        assert_eq!(found(&[line(1, &[1, 3]), line(2, &[5, 6])], &[], &[]), [(1, 2, 2, 1)]);
    }

    #[test]
    fn a_server_may_change_the_length_of_segments() {
        let small = Present { segment: Segment { timeline: 1, place: 3 }, bytes: 16 * MIB };
        let large = Present { segment: Segment { timeline: 1, place: 1 }, bytes: 64 * MIB };
        assert_eq!(found(&[(1, vec![large, small])], &[], &[]), []);
        let later = Present { segment: Segment { timeline: 1, place: 2 }, ..large };
        assert_eq!(found(&[(1, vec![small, later])], &[], &[]), [(1, 4, 7, 4)]);
    }

    #[test]
    fn a_timeline_begins_where_it_branches() {
        let at = 3 * 16 * MIB + 40;
        let first = line(1, &[1, 2]);
        assert_eq!(found(&[first.clone(), line(2, &[3, 4])], &[(2, 1, at)], &[]), []);
        assert_eq!(found(&[first.clone(), line(2, &[4])], &[(2, 1, at)], &[]), [(2, 3, 3, 1)]);
        assert_eq!(found(&[line(1, &[1]), line(2, &[3])], &[(2, 1, at)], &[]), [(1, 2, 2, 1)]);
        // A server that died wrote on for a while.
        assert_eq!(found(&[line(1, &[1, 2, 3, 4]), line(2, &[3])], &[(2, 1, at)], &[]), []);
        // At the first byte of a segment nothing of the one before is copied.
        assert_eq!(found(&[first, line(2, &[3])], &[(2, 1, 3 * 16 * MIB)], &[]), []);
        // Of a timeline that has archived nothing yet nothing is missing.
        assert_eq!(found(&[line(1, &[1])], &[(2, 1, at)], &[]), []);
    }

    #[test]
    fn what_is_expired_is_not_missing() {
        let kept_and_new = [line(1, &[2, 3, 8, 9])];
        assert_eq!(found(&kept_and_new, &[], &[(1, 0, 1), (1, 4, 7)]), []);
        assert_eq!(found(&kept_and_new, &[], &[(1, 0, 1), (1, 5, 6)]), [(1, 4, 4, 1), (1, 7, 7, 1)]);
        assert_eq!(found(&kept_and_new, &[], &[(2, 0, 9)]), [(1, 4, 7, 4)]);
        assert_eq!(found(&kept_and_new, &[], &[(1, 0, u64::MAX)]), []);
        let far = [line(1, &[0xf0, (1 << 32) + 2])];
        assert_eq!(found(&far, &[], &[(1, 0, 1 << 32)]), [(1, (1 << 32) + 1, (1 << 32) + 1, 1)]);
    }
}
