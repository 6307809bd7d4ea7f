//! What a prune costs at a store that bills requests, and objects that are deleted early.

use std::collections::BTreeMap;

use strongroom_store::ObjectInfo;

use super::plan::{Choice, PackUse};
use super::{Amount, PruneReport};
use crate::index_writer::INDEX_BYTES;
use crate::pack_writer::target;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Requests, and what is billed for objects that are gone. Of requests for packs and index objects only: those that read
/// trees and the journal are the same without a prune.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Objects that are created.
    pub puts: u64,
    /// Objects that are read, or parts of them.
    pub gets: u64,
    /// Objects that are deleted.
    pub deletes: u64,
    /// Objects that are younger than their storage class is billed for at least.
    pub early: Amount,
    /// What is billed for the time that they are gone before, bytes times days.
    pub early_byte_days: u128,
}

impl Cost {
    /// Of copying: an estimate.
    pub(super) fn of_copying(choice: &Choice, uses: &[PackUse]) -> (Self, Amount) {
        let mut cost = Self::default();
        let mut bytes = BTreeMap::<_, u64>::new();
        for pack in uses.iter().filter(|pack| choice.copied.contains(&pack.id)) {
            cost.gets += 1;
            *bytes.entry((pack.tag, pack.kind)).or_default() += pack.needed;
        }
        let mut written = Amount::default();
        for ((_, kind), bytes) in bytes {
            let packs = bytes.div_ceil(target(kind) as u64).max(1);
            written.objects += packs;
            written.bytes += bytes;
            cost.puts += packs + bytes.div_ceil(100 * INDEX_BYTES as u64).max(1);
        }
        (cost, written)
    }

    /// Counts an object that is deleted, now or when its grace has passed.
    pub(super) fn add_early(&mut self, info: &ObjectInfo, now_ms: u64) {
        let age_days = now_ms.saturating_sub(info.modified_ms) / DAY_MS;
        let left = u64::from(info.billed_days).saturating_sub(age_days);
        if left > 0 {
            self.early.add(info.length_bytes);
            self.early_byte_days += u128::from(info.length_bytes) * u128::from(left);
        }
    }

    /// Counts what is always asked for.
    pub(super) fn complete(&mut self, report: &PruneReport) {
        self.deletes = report.deleted.objects;
        // The note, and the entry.
        self.puts +=
            1 + u64::from(report.unneeded.objects + report.leftovers.objects + report.copied.objects > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deleted_early_is_billed_to_the_end() {
        let info = |billed_days| ObjectInfo { length_bytes: 100, modified_ms: 5 * DAY_MS, billed_days };
        let mut cost = Cost::default();
        cost.add_early(&info(0), 6 * DAY_MS);
        cost.add_early(&info(30), 35 * DAY_MS);
        assert_eq!(cost, Cost::default());
        cost.add_early(&info(30), 15 * DAY_MS);
        cost.add_early(&info(90), 15 * DAY_MS + 1);
        assert_eq!((cost.early.objects, cost.early.bytes), (2, 200));
        assert_eq!(cost.early_byte_days, 100 * (20 + 80));
    }
}
