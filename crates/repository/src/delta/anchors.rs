//! Anchors: where bytes look so that the same bytes are found again, wherever they have moved to.
//!
//! A rolling hash over the last 64 bytes (the gear hash of FastCDC) names one position in about 512, chosen by the
//! bytes alone. Nothing of it is stored.

/// One position in so many, on average, is an anchor.
const SPACING_BITS: u32 = 9;
/// What a position's hash must begin with.
const MASK: u64 = !(u64::MAX >> SPACING_BITS);

/// Adds a pseudo-random number a byte (SplitMix64 of the byte).
const GEAR: [u64; 256] = gear();

const fn gear() -> [u64; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < table.len() {
        let mut mixed = (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        table[at] = mixed ^ (mixed >> 31);
        at += 1;
    }
    table
}

/// An anchor: a hash of the bytes before it, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) hash: u32,
    /// Behind its last byte.
    pub(super) at: u32,
}

/// The anchors of some bytes, in order.
pub(super) fn anchors(bytes: &[u8]) -> Vec<Anchor> {
    let mut found = Vec::with_capacity(bytes.len() >> SPACING_BITS);
    let mut hash = 0_u64;
    for (at, byte) in (1_u32..).zip(bytes) {
        hash = (hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
        if hash & MASK == 0 {
            // The middle bits: the upper ones are all the same.
            let [_, _, a, b, c, d, _, _] = hash.to_le_bytes();
            found.push(Anchor { hash: u32::from_le_bytes([a, b, c, d]), at });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn the_same_bytes_have_the_same_anchors_wherever_they_are() {
        let bytes = noise(1 << 20);
        let all = anchors(&bytes);
        assert!((1500..2600).contains(&all.len()), "{}", all.len());
        let moved = [&b"something before it"[..], &bytes[..]].concat();
        let shift = u32::try_from(moved.len() - bytes.len()).unwrap();
        // But for those that see what comes before.
        let behind: Vec<_> = all.iter().filter(|anchor| anchor.at > 64).copied().collect();
        let found: Vec<_> = anchors(&moved)
            .into_iter()
            .filter(|anchor| anchor.at > shift + 64)
            .map(|anchor| Anchor { at: anchor.at - shift, ..anchor })
            .collect();
        assert_eq!(found, behind);
    }

    #[test]
    fn a_changed_byte_changes_what_follows_it_closely_only() {
        let bytes = noise(1 << 20);
        let mut changed = bytes.clone();
        changed[500_000] ^= 1;
        let (before, after) = (anchors(&bytes), anchors(&changed));
        let differs = |anchor: &&Anchor| !(500_001..=500_064).contains(&anchor.at);
        let kept = |all: &[Anchor]| all.iter().filter(differs).copied().collect::<Vec<_>>();
        assert_eq!(kept(&before), kept(&after));
    }
}
