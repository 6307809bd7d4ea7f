//! Compressing and decompressing the payload of frames (`format-spec/sealing.md#zstd`): contexts are reused,
//! prefixes are raw content.

use strongroom_format::zstd_frame;
use strongroom_keys::KeysError;
use zstd_safe::{CCtx, CParameter, DCtx};

use crate::error::RepositoryError;

/// 8 MiB: the window of the largest frame, so that every frame is a single segment. zstd takes a smaller one for
/// smaller frames.
const WINDOW_LOG: u32 = 23;

/// Compresses frames.
pub(crate) struct Compressor {
    context: CCtx<'static>,
    level: i32,
}

impl Compressor {
    pub(crate) fn new(level: i32) -> Result<Self, RepositoryError> {
        let mut context = CCtx::create();
        set_parameters(&mut context, level)?;
        Ok(Self { context, level })
    }

    /// Compresses `plain` into `out`, which is cleared; `false` when it does not shrink and is better stored raw.
    pub(crate) fn compress(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<bool, RepositoryError> {
        self.compress_against(&[], plain, out)
    }

    /// The same, against what a reader has already: its prefix.
    pub(crate) fn compress_against(
        &mut self,
        prefix: &[u8],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, RepositoryError> {
        out.clear();
        out.reserve(zstd_safe::compress_bound(plain.len()));
        if prefix.is_empty() {
            self.context.compress2(out, plain).map_err(failed)?;
        } else {
            self.with_prefix(prefix, plain, out)?;
        }
        // zstd leaves out the single-segment form only where the window is smaller than the content; such a frame
        // would not be readable, so it is stored raw.
        let readable = u32::try_from(plain.len()).is_ok_and(|length| zstd_frame::check(out, length).is_ok());
        Ok(out.len() < plain.len() && readable)
    }

    /// A prefix serves one frame only.
    fn with_prefix(&mut self, prefix: &[u8], plain: &[u8], out: &mut Vec<u8>) -> Result<(), RepositoryError> {
        let mut context = CCtx::create();
        set_parameters(&mut context, self.level)?;
        context.ref_prefix(prefix).map_err(failed)?;
        context.compress2(out, plain).map_err(failed)?;
        Ok(())
    }
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

    /// Decompresses `payload` into exactly `plain_length` bytes; `prefix` is what it was compressed against.
    ///
    /// # Errors
    /// `Format` for a frame of another shape or length.
    pub fn decompress(
        &mut self,
        payload: &[u8],
        prefix: &[u8],
        plain_length: u32,
    ) -> Result<Vec<u8>, KeysError> {
        zstd_frame::check(payload, plain_length)?;
        let bad = |rule| KeysError::Format(strongroom_format::FormatError::Rule { what: "zstd frame", rule });
        match zstd_safe::find_frame_compressed_size(payload) {
            Ok(length) if length == payload.len() => {}
            Ok(_) => return Err(bad("nothing follows it")),
            Err(_) => return Err(bad("it is whole")),
        }
        let mut plain = Vec::with_capacity(plain_length as usize);
        let result = if prefix.is_empty() {
            self.context.decompress(&mut plain, payload)
        } else {
            let mut context = DCtx::create();
            context.ref_prefix(prefix).map_err(|_| bad("its prefix loads"))?;
            context.decompress(&mut plain, payload)
        };
        match result {
            Ok(length) if length == plain_length as usize => Ok(plain),
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
                assert_eq!(Decompressor::new().decompress(&out, &[], length).unwrap(), plain);
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
        assert_eq!(Decompressor::new().decompress(&payload, &base, 1 << 20).unwrap(), plain);
        assert!(
            Decompressor::new()
                .decompress(&payload, &base[..base.len() - 1], 1 << 20)
                .map_or(true, |other| other != plain)
        );
    }

    #[test]
    fn frames_of_another_shape_are_refused() {
        let mut out = Vec::new();
        assert!(Compressor::new(3).unwrap().compress(&[7; 5000], &mut out).unwrap());
        let mut decompressor = Decompressor::new();
        assert!(decompressor.decompress(&[&out[..], &[0]].concat(), &[], 5000).is_err(), "trailing byte");
        assert!(decompressor.decompress(&[&out[..], &out[..]].concat(), &[], 5000).is_err(), "two frames");
        assert!(decompressor.decompress(&out, &[], 4999).is_err(), "another size");
        assert!(decompressor.decompress(&out[..out.len() - 1], &[], 5000).is_err(), "cut short");
        let mut bomb = out.clone();
        bomb[5..7].copy_from_slice(&[0xff, 0xff]);
        assert!(decompressor.decompress(&bomb, &[], 5000).is_err(), "a bomb");
    }
}
