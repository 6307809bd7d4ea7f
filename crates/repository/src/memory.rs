//! The bound on what a process holds in memory, and what of it is left for the index.

use crate::cache::Allowance;
use crate::error::RepositoryError;
use crate::state::State;

/// What a run takes besides what is counted below, whatever it is of, bytes: as measured, with room.
const BASE_BYTES: u64 = 72 << 20;
/// What each thread takes that hashes, compresses, seals, or opens, bytes.
const THREAD_BYTES: u64 = 6 << 20;
/// A pack on its way to the store, bytes.
const UPLOAD_BYTES: u64 = 16 << 20;
/// What computing parity takes besides the parity itself, bytes: tables of the code, and that packs wait for longer. As
/// measured.
const PARITY_BYTES: u64 = 24 << 20;
/// More threads than these are not provided for, where memory does not suffice for all else.
const THREADS: u64 = 16;
/// What the state takes for a pack, and for a snapshot, bytes.
const PACK_BYTES: u64 = 220;
const SNAPSHOT_BYTES: u64 = 2048;
/// What an index object has at least for a chunk, bytes.
const CHUNK_RECORD_BYTES: u64 = 36;

/// A bound on what a process holds in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBound {
    bytes: u64,
    threads: u64,
    uploads: u64,
}

impl Default for MemoryBound {
    fn default() -> Self {
        Self::new(Self::DEFAULT_BYTES, 2)
    }
}

impl MemoryBound {
    /// The bound where none is given, bytes.
    pub const DEFAULT_BYTES: u64 = 512 << 20;

    /// A bound for runs that store so many packs at a time.
    #[must_use]
    pub fn new(bytes: u64, uploads: usize) -> Self {
        let uploads = uploads as u64;
        // Half of what is not needed in any case: the other half is for the index.
        let left = bytes.saturating_sub(BASE_BYTES + uploads * UPLOAD_BYTES);
        let threads = (left / 2 / THREAD_BYTES).clamp(1, THREADS.max(left / 8 / THREAD_BYTES));
        Self { bytes, threads, uploads }
    }

    /// The most threads that a run may have within it.
    #[must_use]
    pub fn threads(&self) -> usize {
        usize::try_from(self.threads).unwrap_or(usize::MAX)
    }

    fn work_bytes(&self) -> u64 {
        BASE_BYTES + self.uploads * UPLOAD_BYTES + self.threads * THREAD_BYTES
    }

    /// What storing parity takes: with each pack on its way to the store its parity, and that of the pack before, whose
    /// memory the allocator has not given back.
    fn parity_bytes(&self, percent: u8) -> u64 {
        match percent {
            0 => 0,
            percent => PARITY_BYTES + 2 * self.uploads * UPLOAD_BYTES * u64::from(percent) / 100,
        }
    }

    /// What is left for the index.
    ///
    /// # Errors
    /// `TooLittleMemory` when that does not do, even without filters.
    pub(crate) fn allowance(&self, state: &State) -> Result<Allowance, RepositoryError> {
        let packs = state.packs.len() as u64;
        let chunks = state.indexes.values().map(|index| index.length).sum::<u64>() / CHUNK_RECORD_BYTES;
        let taken = self.work_bytes()
            + self.parity_bytes(state.policy.parity)
            + packs * PACK_BYTES
            + state.snapshots.len() as u64 * SNAPSHOT_BYTES;
        let needed_bytes = taken + Allowance::least_bytes(chunks, packs);
        if self.bytes < needed_bytes {
            return Err(RepositoryError::TooLittleMemory { bound_bytes: self.bytes, needed_bytes, chunks });
        }
        Ok(Allowance::of(self.bytes - taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_grow_with_the_bound() {
        let threads = |mebibytes: u64| MemoryBound::new(mebibytes << 20, 2).threads();
        assert_eq!([1, 110, 128, 256, 512, 1024, 4096].map(threads), [1, 1, 2, 12, 16, 19, 83]);
    }

    #[test]
    fn parity_is_counted_by_its_share() {
        let bound = MemoryBound::default();
        assert_eq!([0, 5, 100].map(|percent| bound.parity_bytes(percent) >> 20), [0, 27, 88]);
    }

    #[test]
    fn what_the_work_takes_is_within_the_bound_from_the_least_that_does() {
        for mebibytes in 117..4096 {
            let bound = MemoryBound::new(mebibytes << 20, 2);
            assert!(bound.work_bytes() + Allowance::least_bytes(0, 0) <= bound.bytes, "{mebibytes} MiB");
        }
    }
}
