//! Padmé: padded lengths that leak O(log log n) bits (PURBs, PoPETs 2019, section 4).

/// The padded length of `length`, at least `floor`; the overhead is at most 12%, and less for larger lengths.
#[must_use]
pub const fn padme(length: u64, floor: u64) -> u64 {
    let length = if length > floor { length } else { floor };
    let length = if length > 2 { length } else { 2 };
    // At least 1.
    let exponent = length.ilog2();
    let kept_bits = exponent.ilog2() + 1;
    let mask = (1_u64 << exponent.saturating_sub(kept_bits)) - 1;
    length.saturating_add(mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_the_paper_and_bounds() {
        for (length, padded) in [
            (2, 2),
            (9, 10),
            (100, 104),
            (1000, 1024),
            (65_537, 67_584),
            (1 << 20, 1 << 20),
            ((1 << 20) + 1, (1 << 20) + 32_768),
        ] {
            assert_eq!(padme(length, 0), padded, "{length}");
        }
        assert_eq!(padme(5, 4096), 4096);
        for length in (1..200_000_u64).step_by(7) {
            let padded = padme(length, 0);
            assert!(
                padded >= length && (padded <= 16 || padded * 100 <= length * 112),
                "{length} -> {padded}"
            );
            assert_eq!(padme(padded, 0), padded);
        }
    }
}
