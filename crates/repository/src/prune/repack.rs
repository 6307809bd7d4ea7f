//! Copying what is needed of thin packs.

use std::collections::{BTreeSet, HashMap, HashSet};

use fixedbitset::FixedBitSet;
use strongroom_format::entry::PackRef;
use strongroom_format::pack::{ChunkRecord, PACK_LIMIT_BYTES};
use strongroom_format::registry::ObjectKind;
use strongroom_format::{KeyId, PackId};
use strongroom_keys::derive::content_hash;

use super::listing::Listing;
use super::plan::Choice;
use super::planner::Planner;
use super::{Amount, PruneOptions};
use crate::cache::PackNumber;
use crate::copier::{Copier, Copies};
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::names;
use crate::pack_writer::SealedFrame;
use crate::parity;
use crate::repository::Repository;
use crate::state::describe;

/// What was copied of which packs.
#[derive(Default)]
pub(super) struct Repacked {
    pub(super) copies: Copies,
    /// The frames that were needed of packs that are retired: all of them are copied.
    pub(super) frames: HashMap<PackNumber, FixedBitSet>,
    /// Packs of an earlier try that are taken over.
    pub(super) adopted: BTreeSet<PackId>,
}

impl Repacked {
    pub(super) fn written(&self) -> Amount {
        let mut written = Amount::default();
        self.copies.packs.iter().for_each(|pack| written.add(pack.length));
        written
    }
}

/// A frame, as the index describes it.
#[derive(PartialEq, Eq, Hash)]
struct Described {
    key: KeyId,
    sealed_length: u32,
    chunks: Vec<[u8; 36]>,
}

impl Described {
    fn new(key: KeyId, sealed_length: u32, chunks: &[ChunkRecord]) -> Self {
        Self { key, sealed_length, chunks: chunks.iter().map(ChunkRecord::encode).collect() }
    }
}

impl Repository {
    /// Copies the needed frames of the packs that a choice copies. One of which some cannot be read is taken out of the
    /// choice, and stays as it is.
    pub(super) fn repack(
        &self,
        options: &PruneOptions,
        planner: &mut Planner<'_>,
        choice: &mut Choice,
        listing: &Listing,
        monitor: &dyn Monitor,
    ) -> Result<Repacked, RepositoryError> {
        let mut repacked = Repacked::default();
        let mut copier = Copier::new(self, &*self.origin, options.uploads);
        let mut left = Vec::new();
        let mut bytes = 0;
        for (number, id) in planner.packs()? {
            if choice.copied.contains(&id) {
                let entry = planner.marks().entry(number)?;
                let frames = planner.marks().frames_of(number);
                let lengths = frames.ones().filter_map(|at| entry.footer.frames.get(at));
                bytes += lengths.map(|record| u64::from(record.sealed_length)).sum::<u64>();
                left.push((number, frames));
            }
        }
        monitor.begin("copying what is needed of thin packs", Some(bytes));
        let done = self.adopt(planner, &left, listing, &mut copier, &mut repacked)?;
        let mut failed = Vec::new();
        for window in left.chunks(options.uploads.max(1)) {
            if monitor.is_cancelled() {
                return Err(RepositoryError::Interrupted);
            }
            let read = self.read_window(planner, window, &done);
            for ((number, frames), read) in window.iter().zip(read) {
                let entry = planner.marks().entry(*number)?;
                let read = match read {
                    Ok(read) => read,
                    Err(error) if is_of_pack(&error) => {
                        monitor.warn(&format!(
                            "{} stays as it is, because what is needed of it cannot be copied: {}",
                            names::pack(entry.kind, entry.id)?,
                            describe(&error)
                        ));
                        failed.push(entry.id);
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                for frame in read {
                    monitor.advance(frame.sealed.len() as u64);
                    copier.push(planner.tag_of(entry.id), entry.kind, frame)?;
                }
                repacked.frames.insert(*number, frames.clone());
            }
        }
        repacked.copies = copier.finish()?;
        for pack in failed {
            planner.keep(choice, pack)?;
        }
        planner.keep_what_is_needed_now(choice, &repacked.frames)?;
        Ok(repacked)
    }

    fn read_window(
        &self,
        planner: &Planner<'_>,
        window: &[(PackNumber, FixedBitSet)],
        done: &HashSet<(PackNumber, u32)>,
    ) -> Vec<Result<Vec<SealedFrame>, RepositoryError>> {
        std::thread::scope(|scope| {
            let reading: Vec<_> = window
                .iter()
                .map(|(number, frames)| {
                    scope.spawn(move || {
                        let entry = planner.marks().entry(*number)?;
                        let frames = frames.ones().filter_map(|frame| u32::try_from(frame).ok());
                        let frames: Vec<u32> =
                            frames.filter(|frame| !done.contains(&(*number, *frame))).collect();
                        self.read_sealed(&*self.origin, &entry, &frames)
                    })
                })
                .collect();
            reading.into_iter().map(|one| one.join().unwrap_or(Err(RepositoryError::Cancelled))).collect()
        })
    }

    /// Takes over packs that an earlier try copied, and whose entry was never appended. Gives the frames that are in
    /// them.
    fn adopt(
        &self,
        planner: &Planner<'_>,
        wanted: &[(PackNumber, FixedBitSet)],
        listing: &Listing,
        copier: &mut Copier<'_>,
        repacked: &mut Repacked,
    ) -> Result<HashSet<(PackNumber, u32)>, RepositoryError> {
        let mut done = HashSet::new();
        if listing.unnamed.is_empty() || wanted.is_empty() {
            return Ok(done);
        }
        let mut places = HashMap::new();
        for (number, frames) in wanted {
            let entry = planner.marks().entry(*number)?;
            for frame in frames.ones() {
                let Some(record) = entry.footer.frames.get(frame) else { continue };
                let key = entry.footer.keys.get(usize::from(record.key)).map_or(KeyId([0; 16]), |key| key.id);
                let described = Described::new(key, record.sealed_length, entry.footer.chunks_of(record));
                places.insert(described, (*number, u32::try_from(frame).unwrap_or(u32::MAX), entry.id));
            }
        }
        let me = self.signer()?.id();
        for (id, stored) in &listing.unnamed {
            let kind = match stored.name.as_str().starts_with("meta/") {
                true => ObjectKind::MetadataPack,
                false => ObjectKind::DataPack,
            };
            let pack = PackRef { kind, id: *id, length: stored.info.length_bytes };
            // Whatever it is, it may have been a copy or not: what is none is copied again.
            let Ok((indexed, entry)) = self.read_footer(&pack) else { continue };
            if entry.footer.signer != me || !self.footer_verifies(&entry) {
                continue;
            }
            let found: Option<Vec<_>> = entry
                .footer
                .frames
                .iter()
                .map(|record| {
                    let key = entry.footer.keys.get(usize::from(record.key))?.id;
                    let described = Described::new(key, record.sealed_length, entry.footer.chunks_of(record));
                    places.get(&described).copied()
                })
                .collect();
            let Some(found) = found else { continue };
            if found.iter().any(|(number, frame, _)| done.contains(&(*number, *frame))) {
                continue;
            }
            let Ok(bytes) = self.origin.get(&stored.name, PACK_LIMIT_BYTES) else { continue };
            let Some((_, _, first)) = found.first() else { continue };
            if content_hash(&bytes).0 == id.0 {
                // The try may have ended between the pack and its parity.
                parity::put(&*self.origin, self.state.policy.parity, &pack, &bytes)?;
                copier.adopt(planner.tag_of(*first), pack, &entry, indexed)?;
                repacked.adopted.insert(*id);
                done.extend(found.into_iter().map(|(number, frame, _)| (number, frame)));
            }
        }
        Ok(done)
    }
}

/// Whether an error is about what one pack holds, and not about the store or this host.
fn is_of_pack(error: &RepositoryError) -> bool {
    use strongroom_store::StoreError;
    match error {
        RepositoryError::Damaged { .. } | RepositoryError::Inconsistent { .. } => true,
        RepositoryError::Store(error) => matches!(
            error,
            StoreError::NotFound { .. }
                | StoreError::Truncated { .. }
                | StoreError::TooLarge { .. }
                | StoreError::Archived { .. }
        ),
        _ => false,
    }
}
