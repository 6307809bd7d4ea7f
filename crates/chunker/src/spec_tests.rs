//! Holds the crate against format-spec/chunking.md: its algorithm written down a second time, and its vectors.

use std::fmt::Write as _;
use std::sync::Arc;

use fastcdc::v2020::MASKS;
use proptest::prelude::*;

use crate::{Chunker, ChunkerParams, GEAR_TABLE_BYTES, GearTable};

const SPEC: &str = include_str!("../../../format-spec/chunking.md");

/// The table of the spec's vectors.
pub(crate) fn gear_table() -> Arc<GearTable> {
    Arc::new(GearTable::from_bytes(&gear_bytes()))
}

fn gear_bytes() -> [u8; GEAR_TABLE_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key("strongroom 2026 v1 gear table");
    hasher.update(&[1; 32]);
    let mut bytes = [0; GEAR_TABLE_BYTES];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// Stream `random` of the spec, of any length.
pub(crate) fn random_bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Stream `text` of the spec, of any length.
pub(crate) fn text_bytes(length: usize) -> Vec<u8> {
    let mut text = String::with_capacity(length + 64);
    let mut line = 0_u64;
    while text.len() < length {
        writeln!(text, "{line}\tcustomer-{}\t2026-01-01\tpaid", line * 7919 % 1000).unwrap();
        line += 1;
    }
    text.truncate(length);
    text.into_bytes()
}

/// FastCDC byte by byte, as the spec's pseudocode has it.
fn reference_cut(data: &[u8], [min, avg, max]: [usize; 3], normalization: usize, gear: &[u64]) -> usize {
    let n = data.len().min(max);
    if n <= min {
        return n;
    }
    let bits = avg.trailing_zeros() as usize;
    let (strict, loose) = (MASKS[bits + normalization], MASKS[bits - normalization]);
    let center = avg.min(n);
    let mut h = 0_u64;
    for (i, byte) in data.iter().enumerate().take(n - n % 2).skip(min) {
        h = (h << 1).wrapping_add(gear[usize::from(*byte)]);
        let mask = if i < center { strict } else { loose };
        if h & mask == 0 {
            return i;
        }
    }
    n
}

fn cuts(data: &[u8], mut cut: impl FnMut(&[u8]) -> usize) -> Vec<usize> {
    let mut rest = data;
    let mut lengths = Vec::new();
    while !rest.is_empty() {
        let length = cut(rest);
        lengths.push(length);
        rest = &rest[length..];
    }
    lengths
}

fn gear_values() -> Vec<u64> {
    gear_bytes().as_chunks::<8>().0.iter().map(|entry| u64::from_le_bytes(*entry)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_crate_is_the_reference(
        length in 0_usize..300_000,
        offset in 0_usize..100_000,
        repeat in 1_usize..100_000,
        is_text: bool,
        params in prop::sample::select(vec![
            ([4096, 8192, 8194], 2),
            ([4096, 8192, 16384], 0),
            ([4098, 16384, 20002], 1),
            ([4096, 8192, 65536], 2),
            ([4096, 16384, 65536], 3),
            ([16384, 65536, 262_144], 2),
        ]),
    ) {
        let base = if is_text { text_bytes(offset + repeat) } else { random_bytes(offset + repeat) };
        let data: Vec<u8> = base[offset..].iter().copied().cycle().take(length).collect();
        let ([min, avg, max], normalization) = params;
        let sizes = [min, avg, max];
        let [min, avg, max] = sizes.map(|size: usize| u32::try_from(size).unwrap());
        let level = u8::try_from(normalization).unwrap();
        let chunker = Chunker::new(ChunkerParams::fast_cdc(min, avg, max, level).unwrap(), gear_table()).unwrap();
        let gear = gear_values();
        prop_assert_eq!(
            cuts(&data, |rest| chunker.next_cut(rest, true).unwrap()),
            cuts(&data, |rest| reference_cut(rest, sizes, normalization, &gear))
        );
    }
}

/// The spec owns the masks; a new version of the crate must not change them unseen.
#[test]
fn masks_are_those_of_the_spec() {
    for (index, mask) in MASKS.iter().enumerate().skip(10) {
        let row = format!("| {index} | `{mask:016x}` |");
        assert!(SPEC.contains(&row), "missing: {row}");
        // The pairwise scan tests `mask << 1`, which is the same test only while no bit is lost.
        assert_eq!(mask >> 63, 0);
    }
}

#[test]
fn vectors_are_those_of_the_spec() {
    let gear = gear_values();
    let row = format!("`gear[0]` = `{:016x}`, `gear[255]` = `{:016x}`", gear[0], gear[255]);
    assert!(SPEC.contains(&row), "missing: {row}");
    let chunker = Chunker::new(ChunkerParams::default(), gear_table()).unwrap();
    let streams =
        [("random", random_bytes(1_000_003)), ("text", text_bytes(1_000_000)), ("zeros", vec![0; 600_001])];
    for (name, data) in streams {
        let lengths = cuts(&data, |rest| chunker.next_cut(rest, true).unwrap());
        let lengths: Vec<_> = lengths.iter().map(ToString::to_string).collect();
        let row =
            format!("| `{name}` | {} | `{}` | {} |", data.len(), blake3::hash(&data), lengths.join(" "));
        assert!(SPEC.contains(&row), "missing: {row}");
    }
}
