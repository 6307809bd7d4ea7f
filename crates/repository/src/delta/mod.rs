//! Deltas: new chunks are compressed against what the same region of the stream was in an earlier snapshot.
//!
//! A [`Base`] is the content of the stream in that snapshot. Where the new bytes come from in it is found by
//! [anchors](anchors): positions chosen by the bytes themselves, near where the last bytes came from first, then further
//! away. What is found is read and verified like any chunk, so a delta never builds on something that cannot be read.

mod anchors;
mod base;

pub use base::Base;
pub(crate) use base::{New, Prefix};

use crate::state::{Snapshot, State};

/// Generations in which chains of deltas begin anew.
const CHAIN: u64 = 32;

/// The snapshot whose streams new ones are stored against, for a snapshot that follows `parent`: that of the generation
/// with the lowest bit of the new one's number cleared, so that a chain of n snapshots is log n deep; without it, the
/// parent itself. Every 32nd generation has none.
pub(crate) fn base_snapshot<'a>(state: &'a State, parent: &'a Snapshot) -> Option<&'a Snapshot> {
    let generation = parent.manifest.generation.checked_add(1)?;
    if generation % CHAIN == 0 {
        return None;
    }
    let wanted = generation & (generation - 1);
    let of_source = |snapshot: &&Snapshot| {
        snapshot.manifest.generation == wanted
            && snapshot.manifest.source == parent.manifest.source
            && snapshot.manifest.host == parent.manifest.host
    };
    Some(state.snapshots.iter().rfind(of_source).unwrap_or(parent))
}
