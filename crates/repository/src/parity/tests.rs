//! What heals and what does not, and never a wrong byte.

use proptest::prelude::*;
use reed_solomon_simd::engine::DefaultEngine;
use reed_solomon_simd::rate::{HighRateEncoder, RateEncoder};
use strongroom_format::registry::ObjectKind;
use strongroom_keys::derive::content_hash;

use super::*;

/// A pack of bytes that do not repeat, and its parity.
struct Made {
    pack: PackRef,
    bytes: Vec<u8>,
    header: ParityHeader,
    parity: Vec<u8>,
}

impl Made {
    fn new(length: usize, percent: u8) -> Self {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&length.to_le_bytes()).finalize_xof().fill(&mut bytes);
        Self::of(bytes, percent)
    }

    fn of(bytes: Vec<u8>, percent: u8) -> Self {
        let (kind, id) = (ObjectKind::DataPack, PackId(content_hash(&bytes).0));
        let pack = PackRef { kind, id, length: bytes.len() as u64 };
        let header = ParityHeader::new(kind, id, pack.length, percent).unwrap();
        let parity = encode(&header, &bytes).unwrap();
        assert_eq!(parity.len() as u64, header.length());
        Self { pack, bytes, header, parity }
    }

    fn heal(&self, pack: &[u8], parity: &[u8]) -> Option<Vec<u8>> {
        heal(pack.to_vec(), parity, &self.pack)
    }

    /// Flips a bit of each of these blocks: those of the pack come first, then the recovery blocks.
    fn flipped(&self, blocks: impl IntoIterator<Item = usize>) -> (Vec<u8>, Vec<u8>) {
        let (mut pack, mut parity) = (self.bytes.clone(), self.parity.clone());
        let (count, length) = (self.header.data_blocks(), self.header.block_bytes());
        for block in blocks {
            match block.checked_sub(count) {
                None => pack[block * length] ^= 1,
                Some(block) => {
                    parity[self.header.recovery_range().start + block * length + length / 2] ^= 0x80
                }
            }
        }
        (pack, parity)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn as_many_blocks_heal_as_there_are_recovery_blocks(
        length in 1_usize..50_000,
        percent in 1_u8..=100,
        tickets in prop::collection::vec(any::<u16>(), 128),
        some in any::<prop::sample::Index>(),
    ) {
        let made = Made::new(length, percent);
        let (data, recovery) = (made.header.data_blocks(), made.header.recovery_blocks);
        let mut order: Vec<_> = (0..data + recovery).zip(&tickets).map(|(block, ticket)| (*ticket, block)).collect();
        order.sort_unstable();
        let order = || order.iter().map(|(_, block)| *block);
        for bad in [some.index(recovery), recovery] {
            let (pack, parity) = made.flipped(order().take(bad));
            prop_assert_eq!(made.heal(&pack, &parity), Some(made.bytes.clone()));
        }
        let (pack, parity) = made.flipped(order().take(recovery + 1));
        prop_assert_eq!(made.heal(&pack, &parity), None);
    }

    #[test]
    fn a_pack_that_is_cut_short_heals_as_far_as_its_blocks_do(
        length in 1_usize..50_000,
        percent in 1_u8..=100,
        left in any::<prop::sample::Index>(),
    ) {
        let made = Made::new(length, percent);
        let left = left.index(length);
        // What is cut off may have been zeros.
        let mut filled = made.bytes[..left].to_vec();
        filled.resize(length, 0);
        let blocks = |bytes: &[u8]| bytes.chunks(made.header.block_bytes()).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let lost = blocks(&filled).iter().zip(blocks(&made.bytes)).filter(|(filled, block)| *filled != block).count();
        let healed = made.heal(&made.bytes[..left], &made.parity);
        prop_assert_eq!(healed.is_some(), lost <= made.header.recovery_blocks);
        prop_assert!(healed.is_none_or(|healed| healed == made.bytes));
    }

    #[test]
    fn whatever_is_damaged_no_wrong_byte_comes_out(
        length in 1_usize..20_000,
        percent in 1_u8..=100,
        edits in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<u8>()), 0..40),
        cuts in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let made = Made::new(length, percent);
        let (mut pack, mut parity) = (made.bytes.clone(), made.parity.clone());
        for (is_of_pack, at, value) in edits {
            let bytes = if is_of_pack { &mut pack } else { &mut parity };
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        prop_assert!(made.heal(&pack, &parity).is_none_or(|healed| healed == made.bytes));
        pack.truncate(cuts.0.index(length + 1));
        parity.truncate(cuts.1.index(parity.len() + 1));
        prop_assert!(made.heal(&pack, &parity).is_none_or(|healed| healed == made.bytes));
        prop_assert!(made.heal(&parity, &pack).is_none());
    }
}

#[test]
fn damage_to_either_head_loses_nothing_and_to_both_all() {
    let made = Made::new(9000, 40);
    let (pack, _) = made.flipped([1, 5]);
    let second = made.header.recovery_range().end;
    for start in [0, second] {
        for at in 0..made.header.head_length() {
            let mut parity = made.parity.clone();
            parity[start + at] ^= 0x04;
            assert_eq!(made.heal(&pack, &parity).as_ref(), Some(&made.bytes), "{start} {at}");
        }
    }
    let mut parity = made.parity.clone();
    (parity[0], parity[second + 1]) = (0, 0);
    assert_eq!(made.heal(&pack, &parity), None);
    // Cut short: the first head, and the recovery blocks that are left, serve.
    let one_block_more = made.header.recovery_range().start + 2 * made.header.block_bytes();
    for length in [one_block_more, second, made.parity.len() - 1] {
        assert_eq!(made.heal(&pack, &made.parity[..length]).as_ref(), Some(&made.bytes), "{length}");
    }
    assert_eq!(made.heal(&pack, &made.parity[..one_block_more - 1]), None);
    // Its beginning is gone, and the rest in its place.
    let mut parity = made.parity.clone();
    parity[..made.header.head_length() + 10].fill(0);
    assert_eq!(made.heal(&pack, &parity).as_ref(), Some(&made.bytes));
}

#[test]
fn with_parity_for_every_block_the_pack_itself_is_not_needed() {
    for length in [1, 1024, 1025, 70_000] {
        let made = Made::new(length, 100);
        assert_eq!(made.heal(&[], &made.parity), Some(made.bytes.clone()), "{length}");
        assert_eq!(made.heal(&vec![0xff; length + 100], &made.parity), Some(made.bytes.clone()), "{length}");
    }
}

#[test]
fn what_is_appended_is_cut_off_and_blocks_of_zeros_are_no_damage_when_cut_off() {
    let made = Made::new(5000, 20);
    assert_eq!(made.heal(&[&made.bytes[..], b"more"].concat(), &made.parity), Some(made.bytes.clone()));
    let zeros = Made::of([noise(2000), vec![0; 60_000]].concat(), 1);
    assert_eq!(zeros.heal(&zeros.bytes[..2000], &zeros.parity), Some(zeros.bytes.clone()));
}

fn noise(length: usize) -> Vec<u8> {
    Made::new(length, 1).bytes
}

#[test]
fn parity_of_another_pack_heals_nothing() {
    let (made, other) = (Made::new(5000, 100), Made::new(5001, 100));
    assert_eq!(made.heal(&[], &other.parity), None);
    assert_eq!(heal(Vec::new(), &made.parity, &PackRef { length: 5001, ..made.pack }), None);
    assert_eq!(
        heal(Vec::new(), &made.parity, &PackRef { kind: ObjectKind::MetadataPack, ..made.pack }),
        None
    );
    // A whole pack needs none.
    assert_eq!(made.heal(&made.bytes, &[]), Some(made.bytes.clone()));
    assert!(encode(&made.header, &other.bytes).is_err());
}

#[test]
fn only_all_of_it_as_it_is_made_again_is_the_parity_of_a_pack() {
    let made = Made::new(5000, 20);
    let is = |parity: &[u8]| is_parity_of(parity, &made.pack, &made.bytes).unwrap();
    assert!(is(&made.parity));
    for at in (0..made.parity.len()).step_by(37) {
        let mut parity = made.parity.clone();
        parity[at] ^= 1;
        assert!(!is(&parity), "{at}");
    }
    assert!(!is(&[]) && !is(&made.parity[1..]) && !is(&[&made.parity[..], &[0]].concat()));
    // Another share of the same pack.
    assert!(is(&Made::new(5000, 100).parity));
}

/// Blocks that are no multiple of a stripe, and a last block that is cut short within one.
#[test]
fn stripes_make_no_difference() {
    let made = Made::new(1_300_000, 5);
    let (block, count) = (made.header.block_bytes(), made.header.data_blocks());
    assert_eq!((block, count), (1280, 1016));
    let mut encoder =
        HighRateEncoder::new(count, made.header.recovery_blocks, block, DefaultEngine::new(), None).unwrap();
    let mut filled = made.bytes.clone();
    filled.resize(block * count, 0);
    filled.chunks_exact(block).for_each(|block| encoder.add_original_shard(block).unwrap());
    let whole: Vec<u8> = encoder.encode().unwrap().recovery_iter().flatten().copied().collect();
    assert!(whole == made.parity[made.header.recovery_range()]);
}

/// Blocks of 16 KiB, which are decoded in four stripes.
#[test]
fn a_full_pack_heals_a_burst() {
    let made = Made::new(16 << 20, 5);
    let recovery = made.header.recovery_blocks;
    let mut pack = made.bytes.clone();
    pack[5_000_000..5_000_000 + (recovery - 1) * (16 << 10)].fill(0xee);
    assert!(made.heal(&pack, &made.parity) == Some(made.bytes.clone()));
    assert!(
        made.heal(&made.bytes[..(16 << 20) - recovery * (16 << 10)], &made.parity)
            == Some(made.bytes.clone())
    );
    pack[0] ^= 1;
    assert_eq!(made.heal(&pack, &made.parity), None);
}
