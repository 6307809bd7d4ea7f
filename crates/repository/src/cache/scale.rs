//! An index of any size, made up: to measure what lookups cost, and what they need, long before a repository is so large.
//! It goes the way that a real one goes when it is loaded, but that nothing is read from a store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use strongroom_format::entry::{IndexRef, PackRef};
use strongroom_format::header::{HEADER_LENGTH, Header};
use strongroom_format::index::IndexedPack;
use strongroom_format::pack::{
    ChunkRecord, FOOTER_UNIT, FRAME_OVERHEAD, Footer, FrameRecord, KeyRef, TAG_LENGTH, TRAILER_LENGTH,
};
use strongroom_format::registry::{Codec, ObjectKind, Trust};
use strongroom_format::{
    ChunkId, Commitment, ContentHash, IndexId, KeyId, PackId, Salt, Signature, SourceTag, WriterId,
};
use strongroom_keys::random::SeededRandom;
use strongroom_keys::unlock::Credential;
use strongroom_keys::wrap::WrapTo;
use strongroom_keys::{KeysError, Secret};
use strongroom_store::{MemoryStore, Store};

use super::{Cache, DescribedPack, PackEntry};
use crate::clock::FixedClock;
use crate::error::RepositoryError;
use crate::init::{InitOptions, init};
use crate::memory::MemoryBound;
use crate::repository::{OpenOptions, Repository};
use crate::state::State;

/// Chunks of a pack, a frame and a chunk's bytes, as a stream of 64 KiB chunks has them.
const PACK_CHUNKS: u64 = 266;
const FRAME_CHUNKS: usize = 16;
const CHUNK_BYTES: u32 = 62_000;
/// Packs of an index object of 8 MiB.
const INDEX_PACKS: u64 = 700;

/// A made-up index and the cache that has it.
pub struct GeneratedIndex {
    chunks: u64,
    cache: Cache,
    state: State,
}

/// What a cache is at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Resident {
    /// Files that lookups may have to read.
    pub runs: usize,
    /// Chunks in them.
    pub entries: u64,
    /// Bytes of memory.
    pub bytes: u64,
}

impl GeneratedIndex {
    /// An index of so many chunks, with its cache below `folder`, as a repository opens it within so much memory.
    /// Nothing is loaded yet.
    ///
    /// # Errors
    /// As [`Repository::load_index`].
    pub fn open(folder: Option<&Path>, chunks: u64, memory_bytes: u64) -> Result<Self, RepositoryError> {
        let mut state = empty_state()?;
        state.policy.trust = Trust::All;
        for number in 0..chunks.div_ceil(PACK_CHUNKS) {
            let (_, entry) = pack(number, chunks);
            let length = entry.footer.pack_length;
            state.packs.insert(entry.id, PackRef { kind: entry.kind, id: entry.id, length });
            state.brought_by.insert(entry.id, entry.footer.signer);
        }
        for number in 0..(state.packs.len() as u64).div_ceil(INDEX_PACKS) {
            let length = INDEX_PACKS * PACK_CHUNKS * 40;
            let index = IndexRef { id: IndexId(id(3, number)), source_tag: SourceTag([0; 16]), length };
            state.indexes.insert(index.id, index);
        }
        let allowance = MemoryBound::new(memory_bytes, 2).allowance(&state)?;
        let cache = Cache::open_within(folder, "0000 0000", allowance)?.0;
        Ok(Self { chunks, cache, state })
    }

    /// Brings the cache up to date; gives how many packs were new.
    ///
    /// # Errors
    /// `Cache`, `CacheFile`.
    pub fn load(&self) -> Result<u64, RepositoryError> {
        let numbers: BTreeMap<IndexId, u64> =
            (0..self.state.indexes.len() as u64).map(|number| (IndexId(id(3, number)), number)).collect();
        let packs = self.state.packs.len() as u64;
        let mut new = 0;
        self.cache.synchronize(&self.state, None, |index| {
            let first = numbers.get(&index.id).copied().unwrap_or_default() * INDEX_PACKS;
            let covered = first..(first + INDEX_PACKS).min(packs);
            new += covered.end - covered.start;
            let described = |number| -> DescribedPack {
                let (stored, entry) = pack(number, self.chunks);
                (stored, entry, true)
            };
            Ok(Some(covered.map(described).collect()))
        })?;
        Ok(new)
    }

    /// For each chunk whether it is known: as a backup asks.
    ///
    /// # Errors
    /// `Cache`, `CacheFile`.
    pub fn are_known(&self, ids: &[ChunkId]) -> Result<Vec<bool>, RepositoryError> {
        let packs = self.cache.trusted(ObjectKind::DataPack, ids)?;
        Ok(packs.iter().map(Option::is_some).collect())
    }

    /// Whether a chunk is at its place, and nowhere else: as a restore asks.
    ///
    /// # Errors
    /// `Cache`, `CacheFile`.
    pub fn is_in_place(&self, number: u64) -> Result<bool, RepositoryError> {
        let places = self.cache.locations(ObjectKind::DataPack, chunk(number))?;
        let [place] = &places[..] else { return Ok(false) };
        let pack = self.cache.pack(place.pack)?;
        Ok(pack.is_some_and(|pack| pack.id == PackId(id(2, number / PACK_CHUNKS)))
            && u64::from(place.frame) == number % PACK_CHUNKS / FRAME_CHUNKS as u64)
    }

    /// What lookups go by.
    ///
    /// # Errors
    /// `Cache`, `CacheFile`.
    pub fn resident(&self) -> Result<Resident, RepositoryError> {
        let view = self.cache.told(self.cache.place().view())?;
        Ok(Resident { runs: view.run_count(), entries: view.entries(), bytes: view.resident_bytes() })
    }
}

/// The ID of a chunk; from the index's number of chunks on, those of none.
#[must_use]
pub fn chunk(number: u64) -> ChunkId {
    ChunkId(id(1, number))
}

/// Like a hash, and made faster.
fn id(of: u64, number: u64) -> [u8; 32] {
    let mut out = [0; 32];
    let mut state = number.wrapping_mul(4).wrapping_add(of << 60);
    for part in out.as_chunks_mut::<8>().0 {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        *part = (mixed ^ (mixed >> 31)).to_le_bytes();
    }
    out
}

fn pack(number: u64, chunks: u64) -> (IndexedPack, PackEntry) {
    let first = number * PACK_CHUNKS;
    let held = (first..(first + PACK_CHUNKS).min(chunks)).map(chunk);
    pack_of(PackId(id(2, number)), ObjectKind::DataPack, held, FRAME_CHUNKS)
}

/// A pack that holds these chunks, as an index object describes it.
pub(super) fn pack_of(
    id: PackId,
    kind: ObjectKind,
    chunks: impl Iterator<Item = ChunkId>,
    frame_chunks: usize,
) -> (IndexedPack, PackEntry) {
    let records: Vec<ChunkRecord> = chunks.map(|id| ChunkRecord { id, length: CHUNK_BYTES }).collect();
    let mut frames = Vec::new();
    let mut first_chunk = 0;
    for part in records.chunks(frame_chunks) {
        let chunk_count = u16::try_from(part.len()).unwrap_or_default();
        let plain_length = u32::from(chunk_count) * CHUNK_BYTES;
        frames.push(FrameRecord {
            sealed_length: plain_length + FRAME_OVERHEAD,
            plain_length,
            prefix_length: 0,
            first_chunk,
            first_base: 0,
            chunk_count,
            base_count: 0,
            key: 0,
            author: 0,
            codec: Codec::Raw,
            depth: 0,
            closure: 0,
        });
        first_chunk += u32::from(chunk_count);
    }
    let sealed: u64 = frames.iter().map(|frame| u64::from(frame.sealed_length)).sum();
    let mut footer = Footer {
        pack_length: 0,
        padding_length: 0,
        keys: vec![KeyRef { id: KeyId([0; 16]), commitment: Commitment([0; 32]) }],
        authors: vec![WriterId([0; 16])],
        frames,
        chunks: records,
        bases: Vec::new(),
        content_hash: ContentHash([0; 32]),
        signer: WriterId([0; 16]),
        signature: Signature([0; 64]),
    };
    let sealed_footer = footer.unpadded_length().next_multiple_of(FOOTER_UNIT) + TAG_LENGTH;
    footer.pack_length = sealed + (HEADER_LENGTH + sealed_footer + TRAILER_LENGTH) as u64;
    let header = Header {
        kind,
        repository: strongroom_format::RepositoryId([0; 16]),
        key: KeyId([0; 16]),
        salt: Salt([0; 32]),
        commitment: Commitment([0; 32]),
    }
    .encode();
    let stored = IndexedPack { id, header, footer: footer.encode().unwrap_or_default() };
    (stored, PackEntry { id, kind, header, footer })
}

/// The state of a new repository.
pub(super) fn empty_state() -> Result<State, RepositoryError> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let random = Arc::new(SeededRandom::new(b"a made-up index"));
    let key = || -> Result<Secret, KeysError> { Ok(Secret::new([1; 32])) };
    let failed = |source| RepositoryError::Unlock { what: "the made-up repository", source };
    let recipient = WrapTo::KeyFile { key: key().map_err(failed)? };
    init(&store, &[recipient], InitOptions::of_host("scale"), &*random)?;
    let credentials = vec![Credential::KeyFile(key().map_err(failed)?)];
    let options = OpenOptions::new(credentials, random, Arc::new(FixedClock::default()));
    Ok(Repository::open(store, options)?.state().clone())
}
