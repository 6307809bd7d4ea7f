//! Bytes without repetition, the same for the same seed.

/// So many bytes of it.
#[must_use]
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let next = || {
        // Knuth's generator (MMIX): its high bits are good enough for data that shall not compress.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    std::iter::repeat_with(next).take(length).collect()
}
