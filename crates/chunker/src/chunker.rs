//! Where the next chunk ends.

use std::sync::Arc;

use fastcdc::v2020::{Normalization, cut_gear, select_masks};

use crate::gear::GearTable;
use crate::params::{ChunkerParams, ParamsError};

/// Finds cut points. Holds no position: the same bytes give the same answer, from any thread.
#[derive(Debug, Clone)]
pub struct Chunker {
    params: ChunkerParams,
    method: Method,
    max_size: usize,
}

#[derive(Debug, Clone)]
enum Method {
    FastCdc { min: usize, avg: usize, strict: u64, loose: u64, gear: Arc<GearTable> },
    Fixed,
}

impl Chunker {
    /// A chunker for `params`; fixed-size chunking leaves the gear table unused.
    ///
    /// # Errors
    /// As [`ChunkerParams::validate`]: parameters may come from a manifest.
    pub fn new(params: ChunkerParams, gear: Arc<GearTable>) -> Result<Self, ParamsError> {
        let params = params.validate()?;
        let method = match params {
            ChunkerParams::FastCdc { min, avg, normalization, .. } => {
                let (strict, loose) = select_masks(avg as usize, level(normalization)?);
                Method::FastCdc { min: min as usize, avg: avg as usize, strict, loose, gear }
            }
            ChunkerParams::Fixed { .. } => Method::Fixed,
        };
        Ok(Self { params, method, max_size: params.max_bytes() as usize })
    }

    /// Length of the chunk that starts at the start of `data`, from 1 to [`Chunker::max_size`] bytes.
    ///
    /// `is_end` says that `data` runs to the end of the stream. `None` means that nothing can be said yet: `data`
    /// is shorter than the largest chunk and the stream goes on, or `data` is empty.
    #[must_use]
    pub fn next_cut(&self, data: &[u8], is_end: bool) -> Option<usize> {
        if data.is_empty() || (data.len() < self.max_size && !is_end) {
            return None;
        }
        match &self.method {
            Method::FastCdc { min, avg, strict, loose, gear } => {
                let (min, avg) = (*min, *avg);
                let (_, length) = cut_gear(
                    data,
                    min,
                    avg,
                    self.max_size,
                    *strict,
                    *loose,
                    strict << 1,
                    loose << 1,
                    gear.gear(),
                    gear.shifted(),
                );
                Some(length)
            }
            Method::Fixed => Some(data.len().min(self.max_size)),
        }
    }

    /// Length of the longest chunk in bytes: with so much data [`Chunker::next_cut`] always answers.
    #[must_use]
    pub fn max_size(&self) -> usize {
        self.max_size
    }

    /// What the chunker was made with, for the manifest.
    #[must_use]
    pub fn params(&self) -> ChunkerParams {
        self.params
    }
}

fn level(normalization: u8) -> Result<Normalization, ParamsError> {
    match normalization {
        0 => Ok(Normalization::Level0),
        1 => Ok(Normalization::Level1),
        2 => Ok(Normalization::Level2),
        3 => Ok(Normalization::Level3),
        _ => Err(ParamsError::Normalization { normalization }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec_tests::{gear_table, random_bytes};

    fn chunker(params: ChunkerParams) -> Chunker {
        Chunker::new(params, gear_table()).unwrap()
    }

    #[test]
    fn fixed_chunks_are_aligned() {
        let chunker = chunker(ChunkerParams::fixed(8192).unwrap());
        let data = random_bytes(3 * 8192 + 5);
        assert_eq!(chunker.next_cut(&data, false), Some(8192));
        assert_eq!(chunker.next_cut(&data[..8192], false), Some(8192));
        assert_eq!(chunker.next_cut(&data[..8191], false), None);
        assert_eq!(chunker.next_cut(&data[3 * 8192..], true), Some(5));
    }

    #[test]
    fn nothing_is_cut_from_nothing() {
        for params in [ChunkerParams::default(), ChunkerParams::fixed(4096).unwrap()] {
            assert_eq!(chunker(params).next_cut(&[], true), None);
            assert_eq!(chunker(params).next_cut(&[], false), None);
        }
    }

    #[test]
    fn a_short_stream_is_one_chunk_once_it_has_ended() {
        let chunker = chunker(ChunkerParams::default());
        let data = random_bytes(16 << 10);
        assert_eq!(chunker.next_cut(&data, false), None);
        assert_eq!(chunker.next_cut(&data, true), Some(16 << 10));
        assert_eq!(chunker.next_cut(&data[..1], true), Some(1));
    }

    #[test]
    fn parameters_are_checked_again() {
        let params = ChunkerParams::Fixed { size: 1 };
        assert_eq!(Chunker::new(params, gear_table()).unwrap_err(), ParamsError::FixedSize { size: 1 });
    }
}
