//! Deltas: new chunks are compressed against what the same region of the stream was in an earlier snapshot.
//!
//! A [`Base`] is the content of the stream in that snapshot. Where the new bytes come from in it is found by
//! [anchors](anchors): positions chosen by the bytes themselves, near where the last bytes came from first, then further
//! away. What is found is read and verified like any chunk, so a delta never builds on something that cannot be read.

mod anchors;
mod base;

pub use base::Base;
pub(crate) use base::{New, Prefix};

use strongroom_format::WriterId;

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
    let base = of_source(state, parent).find(|snapshot| snapshot.manifest.generation == wanted);
    Some(base.unwrap_or(parent))
}

/// The same for a writer that can read only what its own last runs stored: where that snapshot is none of these, its last
/// one.
pub(crate) fn own_base_snapshot<'a>(
    state: &'a State,
    parent: &'a Snapshot,
    (writer, runs): (WriterId, usize),
) -> Option<&'a Snapshot> {
    let base = base_snapshot(state, parent)?;
    let mut own = of_source(state, parent).filter(|snapshot| snapshot.state.signer == writer).take(runs);
    let last = own.next()?;
    Some(if own.any(|snapshot| snapshot.id() == base.id()) { base } else { last })
}

/// Snapshots of the same source and host, newest first.
fn of_source<'a>(state: &'a State, parent: &'a Snapshot) -> impl Iterator<Item = &'a Snapshot> {
    state.snapshots.iter().rev().filter(|snapshot| {
        snapshot.manifest.source == parent.manifest.source && snapshot.manifest.host == parent.manifest.host
    })
}
