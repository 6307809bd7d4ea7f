//! Anchors: where bytes look so that the same bytes are found again, wherever they have moved to.
//!
//! A rolling hash over the last 64 bytes (the gear hash of FastCDC) names one position in about 1024, chosen by the
//! bytes alone. Nothing of it is stored.

/// One position in so many, on average, is an anchor.
const SPACING_BITS: u32 = 10;
/// What a position's hash must begin with.
const MASK: u64 = !(u64::MAX >> SPACING_BITS);

/// Bytes that a hash is of.
const WINDOW: usize = 64;
/// Parts that are scanned at a time.
const LANES: usize = 4;

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

impl Anchor {
    /// Chunks are shorter than 4 GiB by far.
    fn new(hash: u64, at: usize) -> Self {
        // The middle bits: the upper ones are all the same.
        let [_, _, a, b, c, d, _, _] = hash.to_le_bytes();
        Self { hash: u32::from_le_bytes([a, b, c, d]), at: u32::try_from(at).unwrap_or(u32::MAX) }
    }
}

/// The anchors of some bytes, in order.
pub(super) fn anchors(bytes: &[u8]) -> Vec<Anchor> {
    let mut found = Vec::with_capacity(bytes.len() >> SPACING_BITS);
    // Four parts at a time: a hash waits for the one before it, and the processor has room for more.
    let part = bytes.len() / LANES;
    if part < WINDOW {
        scan(bytes, 0, 0, &mut found);
        return found;
    }
    let (first, rest) = bytes.split_at(part);
    let (second, rest) = rest.split_at(part);
    let (third, rest) = rest.split_at(part);
    let (fourth, left) = rest.split_at(part);
    let [mut a, mut b, mut c, mut d] = [0, warm_up(first), warm_up(second), warm_up(third)];
    let mut behind: [Vec<Anchor>; LANES - 1] = Default::default();
    let bytes_at = first.iter().zip(second).zip(third.iter().zip(fourth)).enumerate();
    for (at, ((first, second), (third, fourth))) in bytes_at {
        (a, b) = (roll(a, *first), roll(b, *second));
        (c, d) = (roll(c, *third), roll(d, *fourth));
        if is_anchor(a) | is_anchor(b) | is_anchor(c) | is_anchor(d) {
            let lists = std::iter::once(&mut found).chain(&mut behind);
            for (lane, (list, hash)) in lists.zip([a, b, c, d]).enumerate() {
                if is_anchor(hash) {
                    list.push(Anchor::new(hash, lane * part + at + 1));
                }
            }
        }
    }
    behind.iter().for_each(|anchors| found.extend_from_slice(anchors));
    scan(left, d, bytes.len() - left.len(), &mut found);
    found
}

/// Goes on with `hash`, behind `start` bytes.
fn scan(bytes: &[u8], mut hash: u64, start: usize, found: &mut Vec<Anchor>) {
    for (at, byte) in (start + 1..).zip(bytes) {
        hash = roll(hash, *byte);
        if is_anchor(hash) {
            found.push(Anchor::new(hash, at));
        }
    }
}

/// The hash behind these bytes.
fn warm_up(bytes: &[u8]) -> u64 {
    bytes[bytes.len().saturating_sub(WINDOW)..].iter().fold(0, |hash, byte| roll(hash, *byte))
}

fn roll(hash: u64, byte: u8) -> u64 {
    (hash << 1).wrapping_add(GEAR[usize::from(byte)])
}

fn is_anchor(hash: u64) -> bool {
    hash & MASK == 0
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
        assert!((800..1300).contains(&all.len()), "{}", all.len());
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
    fn parts_make_no_difference() {
        let bytes = noise(40_000);
        for length in [0, 1, 63, 64, 255, 256, 257, 4099, 39_999, 40_000] {
            let mut expected = Vec::new();
            scan(&bytes[..length], 0, 0, &mut expected);
            assert_eq!(anchors(&bytes[..length]), expected, "{length}");
        }
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
