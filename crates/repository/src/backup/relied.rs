//! The frames that a run relies on: what it found stored already.

use std::collections::BTreeMap;

use fixedbitset::FixedBitSet;
use strongroom_format::PackId;

/// Frames by pack, a bit each.
#[derive(Default)]
pub(crate) struct Relied(BTreeMap<PackId, FixedBitSet>);

impl Relied {
    pub(super) fn insert(&mut self, pack: PackId, frame: u32) {
        self.0.entry(pack).or_default().grow_and_insert(frame as usize);
    }

    pub(super) fn packs(&self) -> impl Iterator<Item = PackId> {
        self.0.keys().copied()
    }

    /// All of them, by pack.
    pub(super) fn frames(&self) -> impl Iterator<Item = (PackId, impl Iterator<Item = u32> + '_)> {
        self.0
            .iter()
            .map(|(pack, frames)| (*pack, frames.ones().filter_map(|frame| u32::try_from(frame).ok())))
    }

    /// Takes out the packs for which this does not hold: their frames.
    pub(super) fn take_unless(&mut self, counts: impl Fn(PackId) -> bool) -> Vec<(PackId, u32)> {
        let mut taken = Vec::new();
        self.0.retain(|pack, frames| {
            let stays = counts(*pack);
            if !stays {
                let numbers = frames.ones().filter_map(|frame| u32::try_from(frame).ok());
                taken.extend(numbers.map(|frame| (*pack, frame)));
            }
            stays
        });
        taken
    }
}
