//! Retiring a data key: what is sealed under it is sealed under a new one, so that nobody who has the old one can read
//! what the store keeps.

use std::collections::{BTreeMap, BTreeSet};

use strongroom_format::entry::{Attestation, IndexRef, PackRef, RetireBody, Statement};
use strongroom_format::pack::{ChunkRecord, KeyRef};
use strongroom_format::registry::{ObjectKind, Roles};
use strongroom_format::{KeyId, PackId, RecipientId, SourceTag};
use strongroom_store::ObjectName;

use crate::backup::{FrameJob, FrameSealer, Run, put};
use crate::cache::description;
use crate::error::RepositoryError;
use crate::index_writer::IndexWriter;
use crate::monitor::Monitor;
use crate::names;
use crate::pack_writer::{FinishedPack, PackWriter};
use crate::reader::Reader;
use crate::repository::Repository;

/// Level of zstd for what is sealed anew.
const COMPRESSION_LEVEL: i32 = 3;

/// How far the retiring of a data key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetiredKey {
    /// What was sealed under it is sealed under another; the old packs are retired, and prune deletes them.
    Resealed {
        /// The old packs.
        packs: usize,
        /// Their bytes.
        bytes: u64,
        /// The new key.
        by: KeyId,
    },
    /// Packs that are retired and not deleted yet still hold frames under it.
    Waiting {
        /// So many.
        packs: usize,
    },
    /// Nothing is sealed under it any more, and its wraps are deleted.
    Deleted {
        /// Wraps that are deleted.
        deleted: usize,
        /// Wraps that this host has no right to delete.
        left: Vec<ObjectName>,
    },
}

/// What sealing anew has stored.
#[derive(Default)]
struct Resealed {
    packs: Vec<PackRef>,
    indexes: Vec<IndexRef>,
    key: Option<KeyRef>,
    descriptions: Vec<Attestation>,
}

impl Repository {
    /// Takes a data key out of use: the first call seals what it protects under a new key and retires the old packs;
    /// a call after prune has deleted these deletes the key's wraps. Writers that rely on an old pack run again.
    ///
    /// # Errors
    /// `NoSuchDataKey`; `KeyOfLogArchive`; `NoSigner` without the role maintain; `DataKey` without the right to read; `ChunkUnavailable`
    /// when something of it is damaged, then nothing has changed; `PackRetired` when a prune came in between: run it
    /// again; `Store`, `Interrupted`.
    pub fn retire_data_key(
        &mut self,
        key: KeyId,
        monitor: &dyn Monitor,
    ) -> Result<RetiredKey, RepositoryError> {
        self.require_role(Roles::MAINTAIN, "maintain")?;
        self.refresh()?;
        // Objects of log archives are not sealed anew; and of one that was stored meanwhile the key is needed as well.
        if let Some(objects) = self.keys_of_logs()?.used.get(&key) {
            return Err(RepositoryError::KeyOfLogArchive { key, objects: *objects });
        }
        if let Some(number) = self.state.retired_keys.get(&key).copied() {
            return self.delete_retired_key(key, number);
        }
        self.require_read_access()?;
        self.load_index()?;
        let old = self.packs_under(key)?;
        if old.is_empty() {
            return Err(RepositoryError::NoSuchDataKey { key: key.to_hex() });
        }
        let bytes = old.iter().filter_map(|id| self.state.packs.get(id)).map(|pack| pack.length).sum();
        monitor.begin("sealing anew", Some(bytes));
        let resealed = self.reseal(&old, monitor)?;
        let by = resealed.key.map(|key| key.id).ok_or(RepositoryError::Cancelled)?;
        let body = RetireBody {
            retired: old.iter().copied().collect(),
            packs: resealed.packs,
            indexes: resealed.indexes,
            keys: resealed.key.into_iter().collect(),
            retired_keys: vec![key],
        };
        let known: BTreeSet<PackId> = self.state.packs.keys().copied().collect();
        let mut has_more = false;
        let appended = self.append(|state| {
            let is_gone = |pack: &&PackId| !state.packs.contains_key(pack);
            // Of its own packs, too, some may have been taken for leftovers.
            let mut brought = body.packs.iter().map(|pack| &pack.id);
            let lost = old.iter().find(is_gone).or_else(|| brought.find(|id| state.retired.contains_key(id)));
            if let Some(pack) = lost {
                return Err(RepositoryError::PackRetired { pack: *pack });
            }
            // What came meanwhile may be sealed under the key: a backup may have copied some of it.
            has_more = state.packs.keys().any(|pack| !known.contains(pack));
            if has_more { Err(RepositoryError::Cancelled) } else { Ok(Statement::Retire(body.clone())) }
        });
        match appended {
            Err(RepositoryError::Cancelled) if has_more => return self.retire_data_key(key, monitor),
            appended => appended?,
        };
        self.load_index()?;
        // Every chunk in them was verified; others may rely on that if this signer's word counts.
        match self.attest(&resealed.descriptions) {
            Ok(_) | Err(RepositoryError::NoSigner { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(RetiredKey::Resealed { packs: old.len(), bytes, by })
    }

    /// Data packs that count and have frames under a key.
    fn packs_under(&self, key: KeyId) -> Result<BTreeSet<PackId>, RepositoryError> {
        let mut packs = BTreeSet::new();
        for number in self.cache.pack_numbers()? {
            let Some(entry) = self.cache.pack(number)? else { continue };
            if entry.kind == ObjectKind::DataPack && entry.footer.keys.iter().any(|used| used.id == key) {
                packs.insert(entry.id);
            }
        }
        Ok(packs)
    }

    fn reseal(&self, old: &BTreeSet<PackId>, monitor: &dyn Monitor) -> Result<Resealed, RepositoryError> {
        let run = Run::new(self, COMPRESSION_LEVEL, monitor)?;
        let reader = Reader::new(self);
        let mut resealed = Resealed::default();
        for (tag, packs) in self.by_source(old)? {
            let mut index =
                IndexWriter::new(&*self.store, self.metadata_key()?, self.signer()?, &*self.random, tag);
            let mut store = |pack: FinishedPack| -> Result<(), RepositoryError> {
                resealed.packs.push(put(&*self.store, self.state.policy.parity, &pack)?);
                let said = description(&pack.indexed.header, &pack.indexed.footer);
                resealed.descriptions.push(Attestation { pack: pack.id, description: said });
                index.push(pack.indexed)
            };
            let new = || PackWriter::new(ObjectKind::DataPack, self.metadata_key()?, &*self.random);
            let (mut writer, mut sealer) = (new()?, FrameSealer::new(&run)?);
            for id in packs {
                for chunks in self.frames_of(id)? {
                    if monitor.is_cancelled() {
                        return Err(RepositoryError::Interrupted);
                    }
                    let frame = sealer.seal_data(fill(chunks, &reader)?)?;
                    if !writer.fits(&frame) {
                        store(std::mem::replace(&mut writer, new()?).finish(self.signer()?, false)?)?;
                    }
                    writer.push(frame)?;
                }
                monitor.advance(self.state.packs.get(&id).map_or(0, |pack| pack.length));
            }
            if !writer.is_empty() {
                store(writer.finish(self.signer()?, true)?)?;
            }
            resealed.indexes.extend(index.finish()?);
        }
        resealed.key = Some(run.data_key()?.1);
        Ok(resealed)
    }

    /// The packs, by the source whose index objects describe them.
    fn by_source(
        &self,
        packs: &BTreeSet<PackId>,
    ) -> Result<BTreeMap<SourceTag, BTreeSet<PackId>>, RepositoryError> {
        let mut left = packs.clone();
        let mut by_source = BTreeMap::<_, BTreeSet<PackId>>::new();
        for index in self.state.indexes.values() {
            for (_, entry) in self.read_index(index)? {
                if left.remove(&entry.id) {
                    by_source.entry(index.source_tag).or_default().insert(entry.id);
                }
            }
        }
        match left.first() {
            Some(pack) => Err(RepositoryError::Inconsistent {
                object: format!("the index of pack {pack}"),
                reason: "no index object describes the pack".into(),
            }),
            None => Ok(by_source),
        }
    }

    /// The chunks of each frame of a pack.
    fn frames_of(&self, id: PackId) -> Result<Vec<Vec<ChunkRecord>>, RepositoryError> {
        let footer = match &self.cache.numbers_of(id)?[..] {
            [only] => self.cache.pack(*only)?.map(|entry| entry.footer),
            _ => None,
        };
        let footer = footer.ok_or_else(|| RepositoryError::Inconsistent {
            object: format!("the index of pack {id}"),
            reason: "it describes the pack in several ways".into(),
        })?;
        Ok(footer.frames.iter().map(|frame| footer.chunks_of(frame).to_vec()).collect())
    }

    fn delete_retired_key(&self, key: KeyId, number: u64) -> Result<RetiredKey, RepositoryError> {
        let mut waiting = 0;
        for (pack, _) in self.state.retired.iter().filter(|(_, retired)| **retired == number) {
            match self.origin.stat(&names::pack(ObjectKind::DataPack, *pack)?) {
                Ok(_) => waiting += 1,
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        if waiting > 0 {
            return Ok(RetiredKey::Waiting { packs: waiting });
        }
        let mut wraps: Vec<(KeyId, RecipientId)> = Vec::new();
        self.origin.list(&format!("keys/{key}/"), &mut |name, _| {
            wraps.extend(names::key_of(&name));
            Ok(())
        })?;
        let left = self.delete_wraps(&wraps)?;
        Ok(RetiredKey::Deleted { deleted: wraps.len() - left.len(), left })
    }
}

/// Reads what a frame holds: each chunk from whichever place has it, verified.
fn fill(chunks: Vec<ChunkRecord>, reader: &Reader<'_>) -> Result<FrameJob, RepositoryError> {
    let mut plain = Vec::with_capacity(chunks.iter().map(|chunk| chunk.length as usize).sum());
    for chunk in &chunks {
        let read = reader.chunk(chunk.id)?;
        if read.as_bytes().len() != chunk.length as usize {
            return Err(RepositoryError::Inconsistent {
                object: format!("chunk {}", chunk.id),
                reason: "it has another length than the index says".into(),
            });
        }
        plain.extend_from_slice(read.as_bytes());
    }
    Ok(FrameJob { plain, chunks, ..FrameJob::default() })
}
