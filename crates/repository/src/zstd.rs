//! Compressing and decompressing the payload of frames (`format-spec/sealing.md#zstd`): contexts are reused,
//! prefixes are raw content.

use strongroom_format::zstd_frame;
use strongroom_keys::KeysError;
use zstd_safe::{CCtx, CParameter, DCtx};

use crate::error::RepositoryError;

/// 8 MiB: the window of the largest frame, so that every frame is a single segment. zstd takes a smaller one for
/// smaller frames.
const WINDOW_LOG: u32 = 23;
/// 32 MiB: the window of the largest part of a log file.
const LOG_WINDOW_LOG: u32 = 25;

/// The level that is tried beside a higher one: several times as fast, and on text full of hashes and numbers, as
/// databases dump it, no worse.
const FAST_LEVEL: i32 = 1;
/// By one part in so many a frame of the fast level may be the larger one.
const FAST_TOLERANCE: usize = 100;
/// After so many frames both levels are tried again: the first number at first, the second where nothing changes.
const TRIAL_INTERVALS: (u32, u32) = (4, 32);

/// The highest level at which a delta is tried at the fast level first; and the logarithm of that one's hash table, which
/// finds all of a prefix that is some times as long as the frame.
const FAST_DELTA_LEVEL_LIMIT: i32 = 3;
const FAST_DELTA_HASH_LOG: u32 = 17;
/// A delta is obviously better than the frame by itself when it is shorter than one part in so many.
pub(crate) const OBVIOUS: usize = 12;

/// Compresses frames.
pub struct Compressor {
    level: i32,
    strong: CCtx<'static>,
    fast: CCtx<'static>,
    trial: Trial,
    other: Vec<u8>,
}

/// Which level serves the frames that come now.
struct Trial {
    is_fast: bool,
    interval: u32,
    left: u32,
}

impl Trial {
    /// Whether the next frame is to be compressed at both levels.
    fn is_due(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }

    fn decide(&mut self, is_fast: bool) {
        let (shortest, longest) = TRIAL_INTERVALS;
        self.interval = if is_fast == self.is_fast { longest.min(self.interval * 2) } else { shortest };
        self.left = self.interval;
        self.is_fast = is_fast;
    }
}

impl Compressor {
    /// Compresses at `level`, or at a lower one as long as that makes frames no larger.
    pub fn new(level: i32) -> Result<Self, RepositoryError> {
        let trial = Trial { is_fast: false, interval: TRIAL_INTERVALS.0, left: 1 };
        Ok(Self { level, strong: context(level)?, fast: context(FAST_LEVEL)?, trial, other: Vec::new() })
    }

    /// Compresses `plain` into `out`, which is cleared; `false` when it does not shrink and is better stored raw.
    pub fn compress(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<bool, RepositoryError> {
        if self.level > FAST_LEVEL && self.trial.is_due() {
            compress(&mut self.strong, plain, out)?;
            compress(&mut self.fast, plain, &mut self.other)?;
            self.trial.decide(self.other.len() <= out.len() + out.len() / FAST_TOLERANCE);
            if self.other.len() < out.len() {
                std::mem::swap(out, &mut self.other);
            }
        } else {
            let context = if self.trial.is_fast { &mut self.fast } else { &mut self.strong };
            compress(context, plain, out)?;
        }
        Ok(is_worth_it(plain, out))
    }

    /// The same, against what a reader has already: its prefix.
    pub fn compress_against(
        &self,
        prefix: &[u8],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, RepositoryError> {
        // Where little differs, no level finds more than the fast one.
        if self.level <= FAST_DELTA_LEVEL_LIMIT {
            let mut fast = context(FAST_LEVEL)?;
            fast.set_parameter(CParameter::HashLog(FAST_DELTA_HASH_LOG)).map_err(failed)?;
            fast.ref_prefix(prefix).map_err(failed)?;
            compress(&mut fast, plain, out)?;
            if out.len() * OBVIOUS <= plain.len() {
                return Ok(is_worth_it(plain, out));
            }
        }
        // A context borrows its prefix for good, so each delta has one of its own.
        let mut context = context(self.level)?;
        context.ref_prefix(prefix).map_err(failed)?;
        compress(&mut context, plain, out)?;
        Ok(is_worth_it(plain, out))
    }
}

fn compress(context: &mut CCtx<'_>, plain: &[u8], out: &mut Vec<u8>) -> Result<(), RepositoryError> {
    out.clear();
    out.reserve(zstd_safe::compress_bound(plain.len()));
    context.compress2(out, plain).map(drop).map_err(failed)
}

/// Compresses a part of a log file, up to 32 MiB, into `out`; `false` when it does not shrink and is better stored raw.
pub(crate) fn compress_log(level: i32, plain: &[u8], out: &mut Vec<u8>) -> Result<bool, RepositoryError> {
    let mut context = context(level)?;
    context.set_parameter(CParameter::WindowLog(LOG_WINDOW_LOG)).map_err(failed)?;
    compress(&mut context, plain, out)?;
    Ok(is_worth_it(plain, out))
}

/// zstd leaves out the single-segment form only where the window is smaller than the content; such a frame would not be
/// readable, so it is stored raw.
fn is_worth_it(plain: &[u8], compressed: &[u8]) -> bool {
    let is_readable =
        u32::try_from(plain.len()).is_ok_and(|length| zstd_frame::check(compressed, length).is_ok());
    compressed.len() < plain.len() && is_readable
}

fn context<'p>(level: i32) -> Result<CCtx<'p>, RepositoryError> {
    let mut context = CCtx::create();
    set_parameters(&mut context, level)?;
    Ok(context)
}

fn set_parameters(context: &mut CCtx<'_>, level: i32) -> Result<(), RepositoryError> {
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::WindowLog(WINDOW_LOG),
        CParameter::ContentSizeFlag(true),
        CParameter::ChecksumFlag(false),
        CParameter::DictIdFlag(false),
    ] {
        context.set_parameter(parameter).map_err(failed)?;
    }
    Ok(())
}

/// Decompresses frames, with a context that is reused.
pub struct Decompressor {
    context: DCtx<'static>,
}

impl Default for Decompressor {
    fn default() -> Self {
        Self { context: DCtx::create() }
    }
}

impl Decompressor {
    /// A context of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Decompresses `payload` into exactly `plain_length` bytes, in `plain`; `prefix` is what it was compressed
    /// against.
    ///
    /// # Errors
    /// `Format` for a frame of another shape or length.
    pub fn decompress(
        &mut self,
        payload: &[u8],
        prefix: &[u8],
        plain_length: u32,
        plain: &mut Vec<u8>,
    ) -> Result<(), KeysError> {
        zstd_frame::check(payload, plain_length)?;
        let bad = |rule| KeysError::Format(strongroom_format::FormatError::Rule { what: "zstd frame", rule });
        match zstd_safe::find_frame_compressed_size(payload) {
            Ok(length) if length == payload.len() => {}
            Ok(_) => return Err(bad("nothing follows it")),
            Err(_) => return Err(bad("it is whole")),
        }
        plain.clear();
        plain.reserve_exact(plain_length as usize);
        let result = if prefix.is_empty() {
            self.context.decompress(plain, payload)
        } else if prefix.starts_with(&zstd_safe::MAGIC_DICTIONARY.to_le_bytes()) {
            // What begins like a dictionary of zstd would be taken for one.
            let mut context = DCtx::create();
            context.ref_prefix(prefix).map_err(|_| bad("its prefix loads"))?;
            context.decompress(plain, payload)
        } else {
            self.context.decompress_using_dict(plain, payload, prefix)
        };
        match result {
            Ok(length) if length == plain_length as usize => Ok(()),
            _ => Err(bad("it decompresses to exactly its length")),
        }
    }
}

fn failed(code: zstd_safe::ErrorCode) -> RepositoryError {
    RepositoryError::Compression { reason: zstd_safe::get_error_name(code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decompress(payload: &[u8], prefix: &[u8], plain_length: u32) -> Result<Vec<u8>, KeysError> {
        let mut plain = Vec::new();
        Decompressor::new().decompress(payload, prefix, plain_length, &mut plain).map(|()| plain)
    }

    fn delta(prefix: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(Compressor::new(3).unwrap().compress_against(prefix, plain, &mut out).unwrap());
        out
    }

    #[test]
    fn sizes_from_one_byte_to_eight_mebibytes() {
        let mut compressor = Compressor::new(3).unwrap();
        let mut out = Vec::new();
        for length in [1_u32, 100, 255, 256, 65_791, 65_792, 1 << 20, 8 << 20] {
            let plain: Vec<u8> = (0..length).map(|i| (i / 7 % 251).to_le_bytes()[0]).collect();
            if compressor.compress(&plain, &mut out).unwrap() {
                assert_eq!(decompress(&out, &[], length).unwrap(), plain);
            } else {
                assert!(length < 20, "{length}");
            }
        }
    }

    #[test]
    fn prefixes_are_raw_content_and_longer_than_the_frame() {
        let mut base = 0xEC30_A437_u32.to_le_bytes().to_vec();
        let mut seed = 1_u64;
        base.extend((0..4 << 20).map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed.to_be_bytes()[0]
        }));
        // At this level zstd looks into the last part of a long prefix only; a reader gets all of it.
        let mut plain = base[base.len() - (1 << 20)..].to_vec();
        plain[5000] ^= 1;
        let payload = delta(&base, &plain);
        assert!(payload.len() < 4096, "{}", payload.len());
        assert_eq!(decompress(&payload, &base, 1 << 20).unwrap(), plain);
        assert!(decompress(&payload, &base[..base.len() - 1], 1 << 20).map_or(true, |other| other != plain));
    }

    /// Rows as a database dumps them: hashes and numbers.
    fn rows(length: usize) -> Vec<u8> {
        let mut rows = Vec::with_capacity(length + 100);
        for id in 0_u64.. {
            if rows.len() >= length {
                break;
            }
            let hash = blake3::hash(&id.to_le_bytes()).to_hex();
            rows.extend_from_slice(format!("{id}\t{}\tcompleted\t{}\n", &hash[..32], id % 97).as_bytes());
        }
        rows.truncate(length);
        rows
    }

    /// Program text, of which the higher level makes much less.
    fn text(length: usize) -> Vec<u8> {
        let source =
            [include_str!("reader/mod.rs"), include_str!("state.rs"), include_str!("zstd.rs")].concat();
        (0_u32..).flat_map(|n| source.replace("self", &format!("s{n}")).into_bytes()).take(length).collect()
    }

    fn lengths(level: i32, frames: &[&[u8]]) -> usize {
        let mut context = context(level).unwrap();
        let mut out = Vec::new();
        let mut total = 0;
        for frame in frames {
            compress(&mut context, frame, &mut out).unwrap();
            total += out.len();
        }
        total
    }

    #[test]
    fn the_fast_level_serves_where_it_is_no_worse_and_only_there() {
        let (rows, text) = (rows(6 << 20), text(6 << 20));
        for (data, is_fast) in [(&rows, true), (&text, false)] {
            let frames: Vec<_> = data.chunks(128 << 10).collect();
            let (fast, strong) = (lengths(FAST_LEVEL, &frames), lengths(3, &frames));
            assert_eq!(fast <= strong + strong / FAST_TOLERANCE, is_fast, "{fast} and {strong} bytes");
            let mut compressor = Compressor::new(3).unwrap();
            let mut out = Vec::new();
            let mut total = 0;
            for frame in frames {
                assert!(compressor.compress(frame, &mut out).unwrap());
                assert_eq!(decompress(&out, &[], frame.len().try_into().unwrap()).unwrap(), frame);
                total += out.len();
            }
            assert_eq!(compressor.trial.is_fast, is_fast);
            assert!(total <= strong + strong / FAST_TOLERANCE, "{total} of {strong}");
        }
    }

    #[test]
    fn another_kind_of_data_is_noticed() {
        let (rows, text) = (rows(8 << 20), text(4 << 20));
        let mut compressor = Compressor::new(3).unwrap();
        let mut out = Vec::new();
        for frame in rows.chunks(128 << 10) {
            compressor.compress(frame, &mut out).unwrap();
        }
        assert!(compressor.trial.is_fast);
        let frames: Vec<_> = text.chunks(128 << 10).collect();
        let total: usize = frames.iter().fold(0, |total, frame| {
            compressor.compress(frame, &mut out).unwrap();
            total + out.len()
        });
        assert!(!compressor.trial.is_fast);
        let (longest, strong) = (TRIAL_INTERVALS.1 as usize, lengths(3, &frames));
        let until_noticed = lengths(FAST_LEVEL, &frames[..longest]);
        assert!(total <= until_noticed + lengths(3, &frames[longest..]).max(strong / 100), "{total}");
    }

    #[test]
    fn a_delta_of_much_change_is_no_longer_than_at_the_level_itself() {
        let rows = rows(512 << 10);
        let mut changed = rows.clone();
        changed.iter_mut().step_by(97).for_each(|byte| *byte ^= 1);
        let mut out = Vec::new();
        Compressor::new(3).unwrap().compress_against(&rows, &changed, &mut out).unwrap();
        let mut context = context(3).unwrap();
        context.ref_prefix(&rows).unwrap();
        let mut expected = Vec::new();
        compress(&mut context, &changed, &mut expected).unwrap();
        assert!(out.len() <= expected.len().max(changed.len() / OBVIOUS));
    }

    #[test]
    fn a_prefix_that_looks_like_a_dictionary_is_none() {
        let mut base = rows(64 << 10);
        base[..4].copy_from_slice(&zstd_safe::MAGIC_DICTIONARY.to_le_bytes());
        let plain = [&base[100..], &base[..100]].concat();
        let payload = delta(&base, &plain);
        assert!(payload.len() < 4096, "{}", payload.len());
        assert_eq!(decompress(&payload, &base, 64 << 10).unwrap(), plain);
    }

    #[test]
    fn frames_of_another_shape_are_refused() {
        let mut out = Vec::new();
        assert!(Compressor::new(3).unwrap().compress(&[7; 5000], &mut out).unwrap());
        assert!(decompress(&[&out[..], &[0]].concat(), &[], 5000).is_err(), "trailing byte");
        assert!(decompress(&[&out[..], &out[..]].concat(), &[], 5000).is_err(), "two frames");
        assert!(decompress(&out, &[], 4999).is_err(), "another size");
        assert!(decompress(&out[..out.len() - 1], &[], 5000).is_err(), "cut short");
        let mut bomb = out.clone();
        bomb[5..7].copy_from_slice(&[0xff, 0xff]);
        assert!(decompress(&bomb, &[], 5000).is_err(), "a bomb");
    }
}
