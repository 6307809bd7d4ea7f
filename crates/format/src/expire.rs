//! What an entry takes out of a log archive (`format-spec/objects.md#journal-entry`).

use crate::FormatError;
use crate::cbor::{Decoder, Encoder};
use crate::wal_file::LogFile;

/// Most ranges of one entry.
pub const RANGE_LIMIT: usize = 1024;

/// Segments of a timeline, by the places that their names say, with what is about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentRange {
    /// The timeline.
    pub timeline: u32,
    /// The first place.
    pub first: u64,
    /// The last place, itself included.
    pub last: u64,
}

/// Segments of a log archive that may be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpireBody {
    /// Whose log it is.
    pub source: String,
    /// The database system identifier.
    pub system: u64,
    /// Which: in order, none overlapping another.
    pub ranges: Vec<SegmentRange>,
    /// Why, for people.
    pub reason: String,
}

impl SegmentRange {
    /// Whether a file goes with it: a segment, a part of one, or what a base backup left there. Histories never go.
    #[must_use]
    pub fn covers(&self, file: LogFile) -> bool {
        file.segment().is_some_and(|segment| {
            segment.timeline == self.timeline && (self.first..=self.last).contains(&segment.place)
        })
    }
}

impl ExpireBody {
    pub(crate) fn encode(&self, encoder: &mut Encoder) {
        encoder.map(|map| {
            map.text(1, &self.source);
            map.uint(2, self.system);
            map.field(3, |e| e.array(&self.ranges, encode_range));
            map.text(4, &self.reason);
        });
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, FormatError> {
        let (mut source, mut system, mut ranges, mut reason) = (None, None, None, None);
        decoder.map("expire entry", |key, value| {
            match key {
                1 => source = Some(value.text()?.to_owned()),
                2 => system = Some(value.uint()?),
                3 => ranges = Some(value.array(decode_range)?),
                4 => reason = Some(value.text()?.to_owned()),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let body = Self {
            source: source.ok_or(FormatError::Missing { what: "source of a log archive" })?,
            system: system.ok_or(FormatError::Missing { what: "system identifier" })?,
            ranges: ranges.ok_or(FormatError::Missing { what: "expired segments" })?,
            reason: reason.ok_or(FormatError::Missing { what: "why they are expired" })?,
        };
        body.check()?;
        Ok(body)
    }

    /// Whether a reader would take it.
    ///
    /// # Errors
    /// `Limit` for too many ranges; `Rule` for such as are not in order.
    pub fn check(&self) -> Result<(), FormatError> {
        let what = "ranges of expired segments";
        if self.ranges.len() > RANGE_LIMIT {
            let (value, limit) = (self.ranges.len() as u64, RANGE_LIMIT as u64);
            return Err(FormatError::Limit { what, value, limit });
        }
        if !are_in_order(&self.ranges) {
            let rule = "they are in order, and none overlaps another";
            return Err(FormatError::Rule { what, rule });
        }
        Ok(())
    }
}

fn are_in_order(ranges: &[SegmentRange]) -> bool {
    ranges.iter().all(|range| range.timeline > 0 && range.first <= range.last)
        && ranges.windows(2).all(|pair| (pair[0].timeline, pair[0].last) < (pair[1].timeline, pair[1].first))
}

fn encode_range(encoder: &mut Encoder, range: &SegmentRange) {
    encoder.array_head(3);
    encoder.uint(range.timeline.into());
    encoder.uint(range.first);
    encoder.uint(range.last);
}

fn decode_range(decoder: &mut Decoder<'_>) -> Result<SegmentRange, FormatError> {
    decoder.tuple(3, |v| Ok(SegmentRange { timeline: timeline(v)?, first: v.uint()?, last: v.uint()? }))
}

/// Reads a timeline.
pub(crate) fn timeline(decoder: &mut Decoder<'_>) -> Result<u32, FormatError> {
    let value = decoder.uint()?;
    u32::try_from(value).map_err(|_| FormatError::Limit { what: "timeline", value, limit: u32::MAX.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal_file::Segment;

    fn decoded(ranges: &[(u32, u64, u64)]) -> Result<ExpireBody, FormatError> {
        let ranges = ranges
            .iter()
            .map(|(timeline, first, last)| SegmentRange { timeline: *timeline, first: *first, last: *last })
            .collect();
        let body = ExpireBody { source: "db".into(), system: 7, ranges, reason: "old".into() };
        let mut encoder = Encoder::default();
        body.encode(&mut encoder);
        let bytes = encoder.into_bytes();
        let decoded = ExpireBody::decode(&mut Decoder::new(&bytes))?;
        assert_eq!(decoded, body);
        Ok(decoded)
    }

    #[test]
    fn ranges_are_in_order() {
        assert!(decoded(&[]).is_ok());
        assert!(decoded(&[(1, 0, 5), (1, 6, 6), (2, 0, u64::MAX), (3, 0, 0)]).is_ok());
        for bad in [
            &[(0, 0, 5)][..],
            &[(1, 5, 4)],
            &[(1, 0, 5), (1, 5, 6)],
            &[(2, 0, 5), (1, 0, 5)],
            &[(1, 6, 7), (1, 0, 5)],
        ] {
            assert!(matches!(decoded(bad), Err(FormatError::Rule { .. })), "{bad:?}");
        }
        let many: Vec<_> = (0..=RANGE_LIMIT as u64).map(|n| (1, 2 * n, 2 * n)).collect();
        assert!(matches!(decoded(&many), Err(FormatError::Limit { .. })));
        assert!(decoded(&many[1..]).is_ok());
    }

    #[test]
    fn what_is_about_a_segment_goes_with_it() {
        let range = SegmentRange { timeline: 1, first: 3, last: 4 };
        let segment = |place| Segment { timeline: 1, place };
        assert!(range.covers(LogFile::Segment(segment(3))) && range.covers(LogFile::Partial(segment(4))));
        assert!(range.covers(LogFile::Backup(segment(4), 40)));
        assert!(!range.covers(LogFile::Segment(segment(5))) && !range.covers(LogFile::History(1)));
        assert!(!range.covers(LogFile::Segment(Segment { timeline: 2, place: 3 })));
    }
}
