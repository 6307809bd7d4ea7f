//! Copying sealed frames from pack to pack. They are not opened, so no data key is needed; that they are whole, their
//! author's signature tells.

use std::collections::btree_map::{BTreeMap, Entry};

use strongroom_format::entry::{IndexRef, PackRef};
use strongroom_format::pack::KeyRef;
use strongroom_format::registry::ObjectKind;
use strongroom_format::{KeyId, SourceTag};
use strongroom_keys::frame::{BoundRecord, verify_author};
use strongroom_store::Store;

use crate::backup::put;
use crate::cache::PackEntry;
use crate::error::RepositoryError;
use crate::index_writer::IndexWriter;
use crate::names;
use crate::pack_writer::{FinishedPack, PackWriter, SealedFrame};
use crate::repository::Repository;
use crate::stage::stage;

/// Frames that are not wanted are read with those around them when they are no longer than this, bytes: a request costs
/// about as much.
const GAP_BYTES: u64 = 256 << 10;
/// Most that is read at once, bytes: the frames of a pack that a writer made.
const STRETCH_BYTES: u64 = 16 << 20;

/// What was copied, durably: content that an entry may name.
#[derive(Default)]
pub(crate) struct Copies {
    pub(crate) packs: Vec<PackRef>,
    pub(crate) indexes: Vec<IndexRef>,
    /// The data keys of the frames.
    pub(crate) keys: BTreeMap<KeyId, KeyRef>,
}

/// New packs that are being filled: one of each kind for each source.
pub(crate) struct Copier<'a> {
    repository: &'a Repository,
    store: &'a dyn Store,
    /// Packs that are stored at the same time.
    uploads: usize,
    open: BTreeMap<(SourceTag, u8), PackWriter>,
    full: Vec<(SourceTag, FinishedPack)>,
    indexes: BTreeMap<SourceTag, IndexWriter<'a>>,
    copies: Copies,
}

impl<'a> Copier<'a> {
    pub(crate) fn new(repository: &'a Repository, store: &'a dyn Store, uploads: usize) -> Self {
        Self {
            repository,
            store,
            uploads: uploads.max(1),
            open: BTreeMap::new(),
            full: Vec::new(),
            indexes: BTreeMap::new(),
            copies: Copies::default(),
        }
    }

    /// Copies a frame into a pack of a source.
    pub(crate) fn push(
        &mut self,
        tag: SourceTag,
        kind: ObjectKind,
        frame: SealedFrame,
    ) -> Result<(), RepositoryError> {
        let _packing = stage!("pack");
        if kind == ObjectKind::DataPack {
            self.copies.keys.insert(frame.key.id, frame.key);
        }
        let new = || PackWriter::new(kind, self.repository.metadata_key()?, &*self.repository.random);
        let at = (tag, kind.number());
        let writer = match self.open.entry(at) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => place.insert(new()?),
        };
        if writer.fits(&frame) {
            return writer.push(frame);
        }
        let full = std::mem::replace(writer, new()?);
        writer.push(frame)?;
        self.finish_pack(tag, full, false)
    }

    /// Takes a pack that is stored already, and holds copies of an earlier try.
    pub(crate) fn adopt(
        &mut self,
        tag: SourceTag,
        pack: PackRef,
        entry: &PackEntry,
        indexed: strongroom_format::index::IndexedPack,
    ) -> Result<(), RepositoryError> {
        if pack.kind == ObjectKind::DataPack {
            self.copies.keys.extend(entry.footer.keys.iter().map(|key| (key.id, *key)));
        }
        self.copies.packs.push(pack);
        self.index(tag)?.push(indexed)
    }

    fn finish_pack(
        &mut self,
        tag: SourceTag,
        pack: PackWriter,
        is_last: bool,
    ) -> Result<(), RepositoryError> {
        self.full.push((tag, pack.finish(self.repository.signer()?, is_last)?));
        if self.full.len() < self.uploads { Ok(()) } else { self.store_full() }
    }

    fn index(&mut self, tag: SourceTag) -> Result<&mut IndexWriter<'a>, RepositoryError> {
        let repository = self.repository;
        let (metadata, signer) = (repository.metadata_key()?, repository.signer()?);
        let new = || IndexWriter::new(self.store, metadata, signer, &*repository.random, tag);
        Ok(self.indexes.entry(tag).or_insert_with(new))
    }

    fn store_full(&mut self) -> Result<(), RepositoryError> {
        let full = std::mem::take(&mut self.full);
        let (store, parity) = (self.store, self.repository.state.policy.parity);
        let stored: Vec<_> = std::thread::scope(|scope| {
            let storing: Vec<_> =
                full.iter().map(|(_, pack)| scope.spawn(move || put(store, parity, pack))).collect();
            storing.into_iter().map(|one| one.join().unwrap_or(Err(RepositoryError::Cancelled))).collect()
        });
        for ((tag, pack), stored) in full.into_iter().zip(stored) {
            self.copies.packs.push(stored?);
            self.index(tag)?.push(pack.indexed)?;
        }
        Ok(())
    }

    /// Stores what is left; all of it is durable then.
    pub(crate) fn finish(mut self) -> Result<Copies, RepositoryError> {
        for ((tag, _), writer) in std::mem::take(&mut self.open) {
            if !writer.is_empty() {
                self.finish_pack(tag, writer, true)?;
            }
        }
        self.store_full()?;
        let mut copies = self.copies;
        for (_, index) in self.indexes {
            copies.indexes.extend(index.finish()?);
        }
        Ok(copies)
    }
}

impl Repository {
    /// Reads sealed frames of a pack, in ascending order, and verifies their authors' signatures.
    ///
    /// # Errors
    /// `Store`; `Damaged` and `Inconsistent` for a frame that is not what its author signed.
    pub(crate) fn read_sealed(
        &self,
        store: &dyn Store,
        entry: &PackEntry,
        frames: &[u32],
    ) -> Result<Vec<SealedFrame>, RepositoryError> {
        let name = names::pack(entry.kind, entry.id)?;
        let broken = |reason: &str| RepositoryError::Inconsistent {
            object: name.to_string(),
            reason: reason.to_owned(),
        };
        let range = |frame: u32| {
            entry.footer.frame_range(frame as usize).ok_or_else(|| broken("it has fewer frames than that"))
        };
        let mut read = Vec::with_capacity(frames.len());
        let mut left = frames;
        while let Some(first) = left.first() {
            let start = range(*first)?.start;
            let (mut end, mut count) = (start, 0);
            for frame in left {
                let next = range(*frame)?;
                let is_near = next.start.saturating_sub(end) <= GAP_BYTES;
                if count > 0 && (!is_near || next.end - start > STRETCH_BYTES) {
                    break;
                }
                end = next.end;
                count += 1;
            }
            let fetching = stage!("fetch");
            let bytes = store.get_range(&name, start, end - start)?;
            drop(fetching);
            let (stretch, rest) = left.split_at(count);
            left = rest;
            for frame in stretch {
                let range = range(*frame)?;
                let at = |offset: u64| usize::try_from(offset - start).unwrap_or(usize::MAX);
                let sealed = bytes.get(at(range.start)..at(range.end));
                let sealed = sealed.ok_or_else(|| broken("it is shorter than it should be"))?.to_vec();
                read.push(self.verified_frame(entry, *frame, sealed)?);
            }
        }
        Ok(read)
    }

    /// A sealed frame that is what its author signed.
    ///
    /// # Errors
    /// `Damaged`, `Inconsistent`.
    pub(crate) fn verified_frame(
        &self,
        entry: &PackEntry,
        frame: u32,
        sealed: Vec<u8>,
    ) -> Result<SealedFrame, RepositoryError> {
        let footer = &entry.footer;
        let object = || format!("frame {frame} of pack {}", entry.id);
        let broken =
            |reason: &str| RepositoryError::Inconsistent { object: object(), reason: reason.to_owned() };
        let record = *footer.frames.get(frame as usize).ok_or_else(|| broken("there is none"))?;
        let (chunks, bases) = (footer.chunks_of(&record), footer.bases_of(&record));
        let key = footer.keys.get(usize::from(record.key)).ok_or_else(|| broken("it has no key"))?;
        let author =
            footer.authors.get(usize::from(record.author)).and_then(|id| self.state.known_signer(*id));
        let author = author.ok_or_else(|| broken("its author is nobody whom a policy lists"))?;
        let _verifying = stage!("verify");
        verify_author(&author.public, &BoundRecord::new(&record, chunks, bases), &sealed)
            .map_err(RepositoryError::damaged(object()))?;
        Ok(SealedFrame {
            record,
            chunks: chunks.to_vec(),
            bases: bases.to_vec(),
            key: *key,
            author: author.id,
            sealed,
        })
    }
}
