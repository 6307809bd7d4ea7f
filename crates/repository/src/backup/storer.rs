//! Storing: frames are assembled into packs, packs are stored by a few threads, and indexed once they are durable.

use std::sync::Mutex;

use crossbeam_channel::{Receiver, Sender};
use strongroom_format::entry::PackRef;
use strongroom_format::registry::ObjectKind;
use strongroom_store::Store;

use super::run::Run;
use crate::error::RepositoryError;
use crate::index_writer::IndexWriter;
use crate::names;
use crate::pack_writer::{FinishedPack, PackWriter, SealedFrame};
use crate::parity;
use crate::stage::stage;

/// Assembles packs until no more frames come.
pub(crate) fn assemble(
    run: &Run<'_>,
    frames: &Receiver<(ObjectKind, SealedFrame)>,
    packs: &Sender<FinishedPack>,
) -> Result<(), RepositoryError> {
    let new = |kind| PackWriter::new(kind, run.metadata, run.random);
    let mut data = new(ObjectKind::DataPack)?;
    let mut nodes = new(ObjectKind::MetadataPack)?;
    while let Some((kind, frame)) = run.failure.receive(frames)? {
        let _packing = stage!("pack");
        let pack = if kind == ObjectKind::DataPack { &mut data } else { &mut nodes };
        if !pack.fits(&frame) {
            let full = std::mem::replace(pack, new(kind)?);
            run.failure.send(packs, full.finish(run.signer, false)?)?;
        }
        pack.push(frame)?;
    }
    for last in [data, nodes] {
        if !last.is_empty() {
            run.failure.send(packs, last.finish(run.signer, true)?)?;
        }
    }
    Ok(())
}

/// Stores packs until no more come.
pub(crate) fn store(
    run: &Run<'_>,
    packs: &Receiver<FinishedPack>,
    stored: &Mutex<Stored<'_>>,
) -> Result<(), RepositoryError> {
    while let Some(pack) = run.failure.receive(packs)? {
        let reference = put(run.store, run.parity_percent, &pack)?;
        let length = reference.length + parity::length(run.parity_percent, &reference);
        run.monitor.stored(length);
        let mut stored = stored.lock().map_err(|_| RepositoryError::Cancelled)?;
        stored.bytes += length;
        stored.packs.push(reference);
        stored.index.push(pack.indexed)?;
        if run.indexes_in_steps {
            stored.index.step(reference.length)?;
        }
    }
    Ok(())
}

/// Stores a pack, durably, and then its parity, if the policy asks for any.
pub(crate) fn put(
    store: &dyn Store,
    parity_percent: u8,
    pack: &FinishedPack,
) -> Result<PackRef, RepositoryError> {
    let reference = PackRef { kind: pack.kind, id: pack.id, length: pack.bytes.len() as u64 };
    let storing = stage!("store");
    // Every pack has a salt of its own: a name that is taken is our own, after an answer that was lost.
    let _ = store.put_if_absent(&names::pack(pack.kind, pack.id)?, &pack.bytes)?;
    drop(storing);
    parity::put(store, parity_percent, &reference, &pack.bytes)?;
    Ok(reference)
}

/// What has been stored, durably.
pub(crate) struct Stored<'a> {
    pub(crate) packs: Vec<PackRef>,
    pub(crate) bytes: u64,
    pub(crate) index: IndexWriter<'a>,
}
