//! The bound on what a process holds in memory, and what of it is left for the index.

use crate::cache::Allowance;
use crate::error::RepositoryError;
use crate::state::State;

/// The bound where none is given, bytes.
pub const DEFAULT_MEMORY_BYTES: u64 = 512 << 20;
/// What a run takes besides the index and the state, whatever the size of either, bytes.
const WORK_BYTES: u64 = 128 << 20;
/// What the state takes for a pack, and for a snapshot, bytes.
const PACK_BYTES: u64 = 200;
const SNAPSHOT_BYTES: u64 = 2048;
/// What an index object has at least for a chunk, bytes.
const CHUNK_RECORD_BYTES: u64 = 36;

/// What is left for the index of a bound.
///
/// # Errors
/// `TooLittleMemory` when that does not do, even without filters.
pub(crate) fn allowance(bound_bytes: u64, state: &State) -> Result<Allowance, RepositoryError> {
    let packs = state.packs.len() as u64;
    let chunks = state.indexes.values().map(|index| index.length).sum::<u64>() / CHUNK_RECORD_BYTES;
    let taken = WORK_BYTES + packs * PACK_BYTES + state.snapshots.len() as u64 * SNAPSHOT_BYTES;
    let needed_bytes = taken + Allowance::least_bytes(chunks, packs);
    if bound_bytes < needed_bytes {
        return Err(RepositoryError::TooLittleMemory { bound_bytes, needed_bytes, chunks });
    }
    Ok(Allowance::of(bound_bytes - taken))
}
