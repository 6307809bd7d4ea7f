//! What to do with each pack: a decision without effects.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use strongroom_format::registry::ObjectKind;
use strongroom_format::{PackId, SourceTag};

use crate::pack_writer::target;

/// A pack and how much of it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PackUse {
    pub(super) id: PackId,
    pub(super) kind: ObjectKind,
    /// The source whose index object describes it.
    pub(super) tag: SourceTag,
    /// Stored bytes.
    pub(super) length: u64,
    /// Bytes of its frames.
    pub(super) frames: u64,
    /// Bytes of those that are needed.
    pub(super) needed: u64,
    /// Whether it stays, whatever is needed of it.
    pub(super) must_stay: bool,
}

impl PackUse {
    fn unused(&self) -> u64 {
        self.frames.saturating_sub(self.needed)
    }

    /// Smaller than writers make them, because a run ended.
    fn is_small(&self) -> bool {
        self.length < target(self.kind) as u64 / 2
    }
}

/// How much of what is stored may be unused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxUnused {
    /// So many hundredths of what is stored.
    Percent(u8),
    /// So many bytes.
    Bytes(u64),
    /// Packs stay as long as anything in them is needed.
    Unlimited,
}

impl MaxUnused {
    fn bytes(self, needed: u64) -> u64 {
        match self {
            Self::Percent(percent @ 0..100) => {
                let share = u128::from(needed) * u128::from(percent) / u128::from(100 - percent);
                u64::try_from(share).unwrap_or(u64::MAX)
            }
            Self::Percent(_) | Self::Unlimited => u64::MAX,
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// What a plan keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) max_unused: MaxUnused,
    /// Bytes that may be copied.
    pub(super) max_repack: u64,
}

/// What becomes of packs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// Nothing of them is needed.
    pub(super) unneeded: BTreeSet<PackId>,
    /// What is needed of them is copied.
    pub(super) copied: BTreeSet<PackId>,
}

impl Choice {
    pub(super) fn retires(&self, pack: PackId) -> bool {
        self.unneeded.contains(&pack) || self.copied.contains(&pack)
    }
}

/// Packs of which nothing is needed go. Thin ones are copied, the thinnest first, until no more is unused than may be;
/// small ones of a source when together they fill a pack, so that each byte is merged once.
pub(super) fn choose(packs: &[PackUse], limits: Limits) -> Choice {
    let mut choice = Choice::default();
    let may_go = || packs.iter().filter(|pack| !pack.must_stay);
    choice.unneeded.extend(may_go().filter(|pack| pack.needed == 0).map(|pack| pack.id));
    let mut copied = 0_u64;
    let mut copy = |pack: &PackUse| {
        let after = copied.saturating_add(pack.needed);
        let fits = after <= limits.max_repack;
        if fits {
            copied = after;
        }
        fits
    };
    let mut thin: Vec<_> = may_go().filter(|pack| pack.needed > 0 && pack.unused() > 0).collect();
    // By the share that is unused, in millionths.
    thin.sort_by_key(|pack| {
        let share = u128::from(pack.unused()) * 1_000_000 / u128::from(pack.frames.max(1));
        (Reverse(share), pack.id)
    });
    let may_be_unused = limits.max_unused.bytes(packs.iter().map(|pack| pack.needed).sum());
    let stays_unused = packs.iter().filter(|pack| pack.must_stay).map(PackUse::unused).sum::<u64>();
    let mut unused = stays_unused + thin.iter().map(|pack| pack.unused()).sum::<u64>();
    for pack in thin {
        if unused <= may_be_unused {
            break;
        }
        if copy(pack) {
            unused -= pack.unused();
            choice.copied.insert(pack.id);
        }
    }
    for small in small_by_source(may_go().filter(|pack| pack.needed > 0 && pack.is_small())) {
        // Those of them that are copied anyway fill the new pack too.
        if small.len() < 2 || small.iter().map(|pack| pack.needed).sum::<u64>() < target(small[0].kind) as u64
        {
            continue;
        }
        for pack in small {
            if choice.copied.contains(&pack.id) || copy(pack) {
                choice.copied.insert(pack.id);
            }
        }
    }
    choice
}

fn small_by_source<'p>(small: impl Iterator<Item = &'p PackUse>) -> impl Iterator<Item = Vec<&'p PackUse>> {
    let mut groups = BTreeMap::<_, Vec<&PackUse>>::new();
    for pack in small {
        groups.entry((pack.tag, pack.kind.number())).or_default().push(pack);
    }
    groups.into_values()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;
    const NO_LIMIT: Limits = Limits { max_unused: MaxUnused::Percent(5), max_repack: u64::MAX };

    fn pack(id: u8, length: u64, needed: u64) -> PackUse {
        PackUse {
            id: PackId([id; 32]),
            kind: ObjectKind::DataPack,
            tag: SourceTag([0; 16]),
            length,
            frames: length,
            needed,
            must_stay: false,
        }
    }

    fn ids(packs: &BTreeSet<PackId>) -> Vec<u8> {
        packs.iter().map(|id| id.0[0]).collect()
    }

    #[test]
    fn what_nobody_needs_goes_and_what_is_needed_stays() {
        let packs = [pack(1, 16 * MIB, 0), pack(2, 16 * MIB, 16 * MIB)];
        let choice = choose(&packs, NO_LIMIT);
        assert_eq!((ids(&choice.unneeded), ids(&choice.copied)), (vec![1], vec![]));
        let kept = [PackUse { must_stay: true, ..pack(1, 16 * MIB, 0) }];
        assert_eq!(choose(&kept, NO_LIMIT), Choice::default());
    }

    #[test]
    fn the_thinnest_are_copied_until_little_is_unused() {
        let mut packs: Vec<_> = (10..30).map(|id| pack(id, 16 * MIB, 16 * MIB)).collect();
        packs.extend([pack(1, 16 * MIB, MIB), pack(2, 16 * MIB, 8 * MIB), pack(3, 16 * MIB, 15 * MIB)]);
        let limits = |max_unused| Limits { max_unused, ..NO_LIMIT };
        let copied = |max_unused| ids(&choose(&packs, limits(max_unused)).copied);
        assert_eq!(copied(MaxUnused::Percent(5)), [1]);
        assert_eq!(copied(MaxUnused::Bytes(2 * MIB)), [1, 2]);
        assert_eq!(copied(MaxUnused::Percent(0)), [1, 2, 3]);
        assert!(copied(MaxUnused::Unlimited).is_empty());
        assert!(copied(MaxUnused::Percent(100)).is_empty());
        let little = Limits { max_unused: MaxUnused::Bytes(0), max_repack: 9 * MIB };
        assert_eq!(ids(&choose(&packs, little).copied), [1, 2]);
    }

    #[test]
    fn small_packs_are_merged_once_they_fill_one() {
        let day = |id| pack(id, MIB, MIB);
        let few: Vec<_> = (0..15).map(day).collect();
        assert_eq!(choose(&few, NO_LIMIT), Choice::default());
        let enough: Vec<_> = (0..16).map(day).collect();
        assert_eq!(choose(&enough, NO_LIMIT).copied.len(), 16);
        let of_others: Vec<_> =
            (0..16).map(|id| PackUse { tag: SourceTag([id % 2; 16]), ..day(id) }).collect();
        assert_eq!(choose(&of_others, NO_LIMIT), Choice::default());
    }

    proptest! {
        /// Nothing that must stay is chosen, nothing in two ways, no more is copied than may be, and no more is unused
        /// than may be unless copying is limited.
        #[test]
        fn limits_hold(
            given in prop::collection::vec((1..32 * MIB, 0..=100_u64, any::<bool>(), 0..3_u8), 0..40),
            percent in 0..=100_u8,
            max_repack in prop_oneof![Just(u64::MAX), 0..100 * MIB],
        ) {
            let packs: Vec<_> = given.iter().enumerate().map(|(at, (length, needed, must_stay, tag))| PackUse {
                must_stay: *must_stay,
                tag: SourceTag([*tag; 16]),
                ..pack(u8::try_from(at).unwrap(), *length, length * needed / 100)
            }).collect();
            let choice = choose(&packs, Limits { max_unused: MaxUnused::Percent(percent), max_repack });
            prop_assert!(choice.unneeded.is_disjoint(&choice.copied));
            let (mut copied, mut unused, mut needed) = (0, 0, 0);
            for pack in &packs {
                prop_assert!(!pack.must_stay || !choice.retires(pack.id));
                prop_assert_eq!(choice.unneeded.contains(&pack.id), pack.needed == 0 && !pack.must_stay);
                copied += if choice.copied.contains(&pack.id) { pack.needed } else { 0 };
                let is_fixed = pack.must_stay || choice.retires(pack.id);
                unused += if is_fixed { 0 } else { pack.unused() };
                needed += pack.needed;
            }
            prop_assert!(copied <= max_repack);
            let may_be_unused = MaxUnused::Percent(percent).bytes(needed);
            prop_assert!(max_repack != u64::MAX || unused <= may_be_unused);
        }
    }
}
