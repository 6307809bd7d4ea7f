//! Chunker parameters: what a snapshot records of each of its streams, so that a later run cuts the same way.

/// Smallest size that parameters may ask for (the last chunk of a stream may be shorter). Smaller chunks are easy
/// to guess.
pub const CHUNK_MIN_BYTES: u32 = 4 << 10;

/// Largest chunk any parameters may ask for: a reader allocates no more for one chunk.
pub const CHUNK_MAX_BYTES: u32 = 8 << 20;

/// Largest average of FastCDC: the mask table ends there.
pub const FAST_CDC_AVG_MAX_BYTES: u32 = 4 << 20;

const NORMALIZATION_MAX: u8 = 3;

/// How a stream is cut. Build it with [`ChunkerParams::fast_cdc`] or [`ChunkerParams::fixed`]; values put together
/// by hand, or read from a manifest, are checked by [`ChunkerParams::validate`] and again by
/// [`Chunker::new`](crate::Chunker::new).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChunkerParams {
    /// Content-defined cut points (format-spec/chunking.md, section "FastCDC").
    FastCdc {
        /// No chunk but the last is shorter. Even.
        min: u32,
        /// Where the looser mask takes over from the stricter one. A power of two.
        avg: u32,
        /// No chunk is longer. Even.
        max: u32,
        /// How far the two masks lie apart, 0 to 3: the higher, the closer chunk sizes lie around `avg`.
        normalization: u8,
    },
    /// Chunks of one size, for data that changes page by page in place (heap files, SQLite).
    Fixed {
        /// A multiple of 4096; every chunk but the last is this long, so every chunk starts on a page.
        size: u32,
    },
}

/// The number by which a manifest records which chunker cut a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChunkerId {
    /// [`ChunkerParams::FastCdc`]
    FastCdc = 1,
    /// [`ChunkerParams::Fixed`]
    Fixed = 2,
}

/// Why parameters are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// Not `CHUNK_MIN_BYTES <= min < avg < max <= CHUNK_MAX_BYTES`.
    #[error(
        "chunk sizes {min}/{avg}/{max} bytes are not in order between {CHUNK_MIN_BYTES} and {CHUNK_MAX_BYTES}"
    )]
    SizesOutOfOrder {
        /// Minimum asked for, in bytes.
        min: u32,
        /// Average asked for, in bytes.
        avg: u32,
        /// Maximum asked for, in bytes.
        max: u32,
    },
    /// The scan goes in pairs of bytes.
    #[error("chunk sizes {min} (minimum) and {max} (maximum) bytes must be even")]
    OddSize {
        /// Minimum asked for, in bytes.
        min: u32,
        /// Maximum asked for, in bytes.
        max: u32,
    },
    /// The mask table has one entry a power of two.
    #[error("average chunk size {avg} bytes is not a power of two up to {FAST_CDC_AVG_MAX_BYTES}")]
    Average {
        /// Average asked for, in bytes.
        avg: u32,
    },
    /// Levels are 0 to 3.
    #[error("normalization level {normalization} is not one of 0 to {NORMALIZATION_MAX}")]
    Normalization {
        /// Level asked for.
        normalization: u8,
    },
    /// Not a multiple of 4096 between [`CHUNK_MIN_BYTES`] and [`CHUNK_MAX_BYTES`].
    #[error("fixed chunk size {size} bytes is not a multiple of {CHUNK_MIN_BYTES} up to {CHUNK_MAX_BYTES}")]
    FixedSize {
        /// Size asked for, in bytes.
        size: u32,
    },
}

impl ChunkerParams {
    /// FastCDC with sizes in bytes.
    ///
    /// # Errors
    /// As [`ChunkerParams::validate`].
    pub fn fast_cdc(min: u32, avg: u32, max: u32, normalization: u8) -> Result<Self, ParamsError> {
        Self::FastCdc { min, avg, max, normalization }.validate()
    }

    /// Chunks of `size` bytes.
    ///
    /// # Errors
    /// [`ParamsError::FixedSize`].
    pub fn fixed(size: u32) -> Result<Self, ParamsError> {
        Self::Fixed { size }.validate()
    }

    /// The same parameters, once they are known to be within the limits.
    ///
    /// # Errors
    /// The first rule that is broken, in the order of [`ParamsError`]'s variants.
    pub fn validate(self) -> Result<Self, ParamsError> {
        match self {
            Self::FastCdc { min, avg, max, normalization } => {
                if !(CHUNK_MIN_BYTES <= min && min < avg && avg < max && max <= CHUNK_MAX_BYTES) {
                    return Err(ParamsError::SizesOutOfOrder { min, avg, max });
                }
                if !min.is_multiple_of(2) || !max.is_multiple_of(2) {
                    return Err(ParamsError::OddSize { min, max });
                }
                if !avg.is_power_of_two() || avg > FAST_CDC_AVG_MAX_BYTES {
                    return Err(ParamsError::Average { avg });
                }
                if normalization > NORMALIZATION_MAX {
                    return Err(ParamsError::Normalization { normalization });
                }
            }
            Self::Fixed { size } => {
                let in_range = (CHUNK_MIN_BYTES..=CHUNK_MAX_BYTES).contains(&size);
                if !in_range || !size.is_multiple_of(CHUNK_MIN_BYTES) {
                    return Err(ParamsError::FixedSize { size });
                }
            }
        }
        Ok(self)
    }

    /// The chunker's number in a manifest.
    #[must_use]
    pub fn id(self) -> ChunkerId {
        match self {
            Self::FastCdc { .. } => ChunkerId::FastCdc,
            Self::Fixed { .. } => ChunkerId::Fixed,
        }
    }

    /// Length of the longest chunk, in bytes.
    #[must_use]
    pub fn max_bytes(self) -> u32 {
        match self {
            Self::FastCdc { max, .. } => max,
            Self::Fixed { size } => size,
        }
    }
}

impl Default for ChunkerParams {
    /// FastCDC, 16 KiB / 64 KiB / 256 KiB, normalization level 2.
    fn default() -> Self {
        Self::FastCdc { min: 16 << 10, avg: 64 << 10, max: 256 << 10, normalization: 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_accepted_and_one_step_beyond_is_not() {
        assert!(ChunkerParams::default().validate().is_ok());
        assert!(ChunkerParams::fast_cdc(4096, 8192, 8194, 0).is_ok());
        assert!(ChunkerParams::fast_cdc(1 << 20, 4 << 20, 8 << 20, 3).is_ok());
        let refused = |min, avg, max, level| ChunkerParams::fast_cdc(min, avg, max, level).unwrap_err();
        assert_eq!(
            refused(4094, 8192, 16384, 2),
            ParamsError::SizesOutOfOrder { min: 4094, avg: 8192, max: 16384 }
        );
        assert_eq!(
            refused(8192, 8192, 16384, 2),
            ParamsError::SizesOutOfOrder { min: 8192, avg: 8192, max: 16384 }
        );
        assert_eq!(
            refused(4096, 8192, 8192, 2),
            ParamsError::SizesOutOfOrder { min: 4096, avg: 8192, max: 8192 }
        );
        let max = (8 << 20) + 2;
        assert_eq!(refused(4096, 8192, max, 2), ParamsError::SizesOutOfOrder { min: 4096, avg: 8192, max });
        assert_eq!(refused(4097, 8192, 16384, 2), ParamsError::OddSize { min: 4097, max: 16384 });
        assert_eq!(refused(4096, 8192, 16383, 2), ParamsError::OddSize { min: 4096, max: 16383 });
        assert_eq!(refused(4096, 12288, 16384, 2), ParamsError::Average { avg: 12288 });
        assert_eq!(refused(4096, 8192, 16384, 4), ParamsError::Normalization { normalization: 4 });
    }

    #[test]
    fn fixed_sizes_are_pages() {
        for size in [4096, 8192, 12288, 8 << 20] {
            assert_eq!(ChunkerParams::fixed(size), Ok(ChunkerParams::Fixed { size }));
        }
        for size in [0, 1, 4095, 4097, 6144, (8 << 20) + 4096, u32::MAX] {
            assert_eq!(ChunkerParams::fixed(size), Err(ParamsError::FixedSize { size }));
        }
    }
}
