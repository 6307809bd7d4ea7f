//! Reading chunks and nodes: find, fetch, open, decompress, verify.
//!
//! Every byte is verified against its chunk's ID before it is given out. Every place a chunk lies at is tried
//! before it counts as damaged; when the cache knows no good one, the index is read again from the store. Where the bytes
//! at a place are not what was stored, older versions of the pack are tried, and then its parity.

mod frame;
mod healing;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use lru::LruCache;
use strongroom_format::node::Node;
use strongroom_format::pack::FrameRecord;
use strongroom_format::registry::ObjectKind;
use strongroom_format::{ChunkId, NodeId, PackId};
use strongroom_keys::KeysError;
use strongroom_store::{ObjectName, Store, StoreError};

pub use self::frame::ChunkBytes;
use self::frame::{Frame, Opener};
use self::healing::Healing;
use crate::base_keys::OwnFrames;
use crate::cache::{Cache, Location, PackEntry};
use crate::error::RepositoryError;
use crate::names;
use crate::repair::versions::whole_version;
use crate::repository::Repository;
use crate::stage::stage;
use crate::state::describe;
use crate::tree::NodeSource;

/// Decoded frames kept, bytes.
const FRAME_CACHE_BYTES: usize = 48 << 20;
const FOOTERS_KEPT: usize = 256;
/// Opened frames noted at most, and of each so many bytes of its signature.
const NOTED: usize = 1 << 18;
const NOTED_BYTES: usize = 16;

/// Why a chunk was not to be had.
#[derive(Default)]
struct Failures {
    reasons: Vec<String>,
    /// This host has no right to its key, or the store cannot be used: nothing is known of the chunk.
    no_access: Option<RepositoryError>,
}

/// A chunk that a delta may build on.
pub(crate) struct BaseChunk {
    pub(crate) chunk: ChunkBytes,
    /// The depth of the frame it lies in.
    pub(crate) depth: u8,
    /// The frames that it takes to read it, that one among them.
    pub(crate) frames: BTreeSet<(PackId, u32)>,
}

/// Reads chunks and nodes of one repository; used from many threads.
pub struct Reader<'a> {
    repository: &'a Repository,
    store: &'a dyn Store,
    cache: &'a Cache,
    /// The index read again from the store, once the cache has failed.
    fallback: OnceLock<Option<Cache>>,
    footers: Mutex<LruCache<(bool, Location), Arc<PackEntry>>>,
    frames: Mutex<Frames>,
    /// Told when a frame is open, or cannot be opened.
    opened: Condvar,
    /// Frames that were opened, with the end of their bytes.
    noted: Option<Mutex<Noted>>,
    /// Sealed frames that were fetched together and are not opened yet.
    fetched: Mutex<HashMap<Location, Sealed>>,
    opener: Opener,
    /// Frames that do not open, and why: each is fetched once, not once a chunk.
    damaged: Mutex<HashMap<(bool, Location), String>>,
    /// Packs that are gone, or of which some frame does not open.
    broken: Mutex<BTreeSet<PackId>>,
    /// The frames of data that may be read, where not all may be.
    own: Option<OwnFrames>,
    healing: Mutex<Healing>,
}

/// A sealed frame, among others that were fetched with it.
struct Sealed {
    bytes: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl From<Vec<u8>> for Sealed {
    fn from(bytes: Vec<u8>) -> Self {
        Self { range: 0..bytes.len(), bytes: Arc::new(bytes) }
    }
}

/// The ends of frames, by pack and number.
type Noted = HashMap<(PackId, u32), [u8; NOTED_BYTES]>;

/// Opened frames, by pack and number.
struct Frames {
    entries: LruCache<(PackId, u32), Arc<Frame>>,
    bytes: usize,
    /// Those that somebody is opening: who else wants them waits.
    opening: HashSet<(PackId, u32)>,
}

impl<'a> Reader<'a> {
    /// Reads `repository`, whose index must have been loaded.
    #[must_use]
    pub fn new(repository: &'a Repository) -> Self {
        Self::with(repository, &*repository.store, &repository.cache, OnceLock::new())
    }

    /// Reads by an index that was read from the store just now, and by no other; past any cache of objects.
    pub(crate) fn by_index(repository: &'a Repository, cache: &'a Cache) -> Self {
        Self::with(repository, &*repository.origin, cache, OnceLock::from(None))
    }

    fn with(
        repository: &'a Repository,
        store: &'a dyn Store,
        cache: &'a Cache,
        fallback: OnceLock<Option<Cache>>,
    ) -> Self {
        Self {
            repository,
            store,
            cache,
            fallback,
            footers: Mutex::new(LruCache::new(
                std::num::NonZeroUsize::new(FOOTERS_KEPT).unwrap_or(std::num::NonZeroUsize::MIN),
            )),
            frames: Mutex::new(Frames { entries: LruCache::unbounded(), bytes: 0, opening: HashSet::new() }),
            opened: Condvar::new(),
            noted: None,
            fetched: Mutex::default(),
            opener: Opener::default(),
            damaged: Mutex::default(),
            broken: Mutex::default(),
            own: None,
            healing: Mutex::default(),
        }
    }

    /// The same, of frames of data with these only: no other key is asked for.
    pub(crate) fn limited_to(self, own: Option<OwnFrames>) -> Self {
        Self { own, ..self }
    }

    /// Whether it reads frames of its own writer only.
    pub(crate) fn is_limited(&self) -> bool {
        self.own.is_some()
    }

    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &'a Repository {
        self.repository
    }

    /// Reads and verifies a chunk.
    ///
    /// # Errors
    /// `ChunkUnavailable` when no place gives it. `Store` when the store cannot be used at all, `DataKey` when this host
    /// may not read: no other chunk would be had either.
    pub fn chunk(&self, id: ChunkId) -> Result<ChunkBytes, RepositoryError> {
        self.read(ObjectKind::DataPack, id, u8::MAX)
    }

    /// Whether these bytes, from wherever, are the chunk.
    #[must_use]
    pub fn is_chunk(&self, id: ChunkId, bytes: &[u8]) -> bool {
        let _hashing = stage!("hash");
        self.repository.identity.chunk_id(bytes) == id
    }

    /// Where a chunk lies first, for grouping reads; `None` when the cache does not know.
    #[must_use]
    pub fn first_location(&self, id: ChunkId) -> Option<Location> {
        self.cache.locations(ObjectKind::DataPack, id).ok()?.first().copied()
    }

    /// The packs that reading a chunk needs: the first that has it, and those of its frame's bases. What is not known
    /// has none.
    pub(crate) fn packs_of(&self, id: ChunkId) -> Vec<PackId> {
        let mut packs = Vec::new();
        let mut wanted = vec![(id, u8::MAX)];
        while let Some((id, below)) = wanted.pop() {
            let Some(location) = self.first_location(id) else { continue };
            let Ok(pack) = self.pack(self.cache, false, location) else { continue };
            packs.push(pack.id);
            let frame = pack.footer.frames.get(location.frame as usize);
            // Bases lie in shallower frames, so this ends.
            if let Some(frame) = frame.filter(|frame| frame.depth < below) {
                wanted.extend(pack.footer.bases_of(frame).iter().map(|base| (base.id, frame.depth)));
            }
        }
        packs
    }

    /// Reads a chunk that a delta is to build on: out of a pack that this writer trusts, from a frame no deeper than the
    /// limit. `None` when it lies in no such place.
    pub(crate) fn base(&self, id: ChunkId, depth_limit: u8) -> Result<Option<BaseChunk>, RepositoryError> {
        let trusted = self.cache.trusted(ObjectKind::DataPack, &[id])?;
        let Some((trusted, _)) = trusted.into_iter().next().flatten() else { return Ok(None) };
        for location in self.cache.locations(ObjectKind::DataPack, id)? {
            let mut frames = BTreeSet::new();
            if self.pack(self.cache, false, location)?.id != trusted {
                continue;
            }
            let Some(depth) = self.closure(location, depth_limit.saturating_add(1), &mut frames)? else {
                continue;
            };
            let frame = self.frame(self.cache, false, location, u8::MAX)?;
            if let Some(chunk) = frame.chunk(id) {
                return Ok(Some(BaseChunk { chunk, depth, frames }));
            }
        }
        Ok(None)
    }

    /// Collects the frames that it takes to read one; gives its depth, or `None` where that is not below the limit.
    fn closure(
        &self,
        location: Location,
        below: u8,
        frames: &mut BTreeSet<(PackId, u32)>,
    ) -> Result<Option<u8>, RepositoryError> {
        let pack = self.pack(self.cache, false, location)?;
        // What is known to be damaged is not built on, though this frame of it may be good.
        if !self.cache.is_trusted(location)? || self.broken().contains(&pack.id) {
            return Ok(None);
        }
        let record = pack.footer.frames.get(location.frame as usize).filter(|record| record.depth < below);
        let Some(record) = record.filter(|record| self.may_open(&pack, record)) else { return Ok(None) };
        if !frames.insert((pack.id, location.frame)) {
            return Ok(Some(record.depth));
        }
        for base in pack.footer.bases_of(record) {
            let mut is_there = false;
            for place in self.cache.locations(pack.kind, base.id)? {
                if self.closure(place, record.depth, frames)?.is_some() {
                    is_there = true;
                    break;
                }
            }
            if !is_there {
                return Ok(None);
            }
        }
        Ok(Some(record.depth))
    }

    /// Whether a frame is not beyond what this reader is limited to.
    fn may_open(&self, pack: &PackEntry, frame: &FrameRecord) -> bool {
        let limit = self.own.as_ref().filter(|_| pack.kind == ObjectKind::DataPack);
        limit.is_none_or(|own| own.key(&pack.footer, frame).is_some())
    }

    /// The length of a chunk as the index has it at this location.
    pub(crate) fn indexed_length(
        &self,
        location: Location,
        id: ChunkId,
    ) -> Result<Option<u32>, RepositoryError> {
        let pack = self.pack(self.cache, false, location)?;
        let frame = pack.footer.frames.get(location.frame as usize);
        let chunks = frame.map(|frame| pack.footer.chunks_of(frame)).unwrap_or_default();
        Ok(chunks.iter().find(|chunk| chunk.id == id).map(|chunk| chunk.length))
    }

    /// Reads a blob of metadata.
    ///
    /// # Errors
    /// As [`Reader::chunk`].
    pub fn blob(&self, id: NodeId) -> Result<Vec<u8>, RepositoryError> {
        match self.node(id)? {
            Node::Blob(bytes) => Ok(bytes),
            _ => Err(RepositoryError::Inconsistent {
                object: format!("node {id}"),
                reason: "it is no blob".into(),
            }),
        }
    }

    /// `below`: a base must lie in a frame of smaller depth than the frame it serves, so no cycle can form.
    fn read(&self, kind: ObjectKind, id: ChunkId, below: u8) -> Result<ChunkBytes, RepositoryError> {
        let mut failures = Failures::default();
        if let Some(found) = self.read_from(self.cache, false, kind, id, below, &mut failures) {
            return Ok(found);
        }
        // Without its key, or the store, no other place is any better: that is no damage.
        if let Some(error) = failures.no_access {
            return Err(error);
        }
        if let Some(fallback) = self.fallback.get_or_init(|| self.read_index_again())
            && let Some(found) = self.read_from(fallback, true, kind, id, below, &mut failures)
        {
            return Ok(found);
        }
        let mut reasons = failures.reasons;
        reasons.dedup();
        let reasons =
            if reasons.is_empty() { "no index object knows it".to_owned() } else { reasons.join("; ") };
        Err(RepositoryError::ChunkUnavailable { id, reasons })
    }

    fn read_from(
        &self,
        cache: &Cache,
        is_fallback: bool,
        kind: ObjectKind,
        id: ChunkId,
        below: u8,
        failures: &mut Failures,
    ) -> Option<ChunkBytes> {
        let reasons = &mut failures.reasons;
        let locations = match cache.locations(kind, id) {
            Ok(locations) => locations,
            Err(error) => {
                reasons.push(describe(&error));
                return None;
            }
        };
        for location in locations {
            let key = (is_fallback, location);
            if let Some(reason) = self.damaged.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
                reasons.push(reason.clone());
                continue;
            }
            match self.frame(cache, is_fallback, location, below) {
                Ok(frame) => match frame.chunk(id) {
                    Some(chunk) => return Some(chunk),
                    None => reasons.push("the cache points to another frame".into()),
                },
                Err(error) => {
                    let reason = describe(&error);
                    // A base is refused for the sake of the frame that asks, and stores fail for a while only.
                    let stays = matches!(
                        error,
                        RepositoryError::Damaged { .. } | RepositoryError::Inconsistent { .. }
                    );
                    if stays && below == u8::MAX {
                        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
                        damaged.insert(key, reason.clone());
                    }
                    reasons.push(reason);
                    if self.is_no_access(&error) {
                        failures.no_access = Some(error);
                    }
                }
            }
        }
        None
    }

    /// Whether an error is about this host's rights, or about the store as a whole, and not about what is stored.
    fn is_no_access(&self, error: &RepositoryError) -> bool {
        match error {
            RepositoryError::DataKey { source, .. } => match source {
                KeysError::Kms(_) | KeysError::NoCredential { .. } | KeysError::WrongCredential { .. } => {
                    true
                }
                KeysError::Store(error) => self.is_store_gone(error),
                _ => false,
            },
            RepositoryError::Store(error) => self.is_store_gone(error),
            _ => false,
        }
    }

    fn is_store_gone(&self, error: &StoreError) -> bool {
        match error {
            StoreError::Credentials { .. }
            | StoreError::PermissionDenied { .. }
            | StoreError::NoSuchBucket { .. }
            | StoreError::WrongRegion { .. }
            | StoreError::Untrusted { .. }
            | StoreError::Archived { .. } => true,
            // Does it fail with everything, or with this object only?
            StoreError::Transient { .. } | StoreError::Unreachable { .. } | StoreError::Io { .. } => {
                let asked = names::config().map(|config| self.repository.origin.stat(&config));
                matches!(asked, Ok(Err(error)) if !error.is_not_found())
            }
            _ => false,
        }
    }

    fn read_index_again(&self) -> Option<Cache> {
        let cache = self.repository.empty_index().ok()?;
        let load = |index: &_| {
            Ok(self.repository.read_index(index).map(|packs| self.repository.with_verdicts(packs)).ok())
        };
        let state = self.repository.salvaged_state().ok()?;
        cache.synchronize(&state, None, load).ok()?;
        self.repository.describe_from_packs(&cache, &mut Vec::new()).ok()?;
        Some(cache)
    }

    fn pack(
        &self,
        cache: &Cache,
        is_fallback: bool,
        location: Location,
    ) -> Result<Arc<PackEntry>, RepositoryError> {
        let key = (is_fallback, Location { frame: 0, ..location });
        if let Some(entry) = self.footers.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(entry));
        }
        let entry = cache.pack(location.pack)?.map(Arc::new);
        let entry = entry.ok_or_else(|| RepositoryError::Inconsistent {
            object: "the local cache".into(),
            reason: "it lacks a pack it refers to".into(),
        })?;
        self.footers.lock().unwrap_or_else(PoisonError::into_inner).put(key, Arc::clone(&entry));
        Ok(entry)
    }

    fn frame(
        &self,
        cache: &Cache,
        is_fallback: bool,
        location: Location,
        below: u8,
    ) -> Result<Arc<Frame>, RepositoryError> {
        let pack = self.pack(cache, is_fallback, location)?;
        let missing = || RepositoryError::Inconsistent {
            object: format!("the index of pack {}", pack.id),
            reason: format!("it has no frame {}", location.frame),
        };
        let record = *pack.footer.frames.get(location.frame as usize).ok_or_else(missing)?;
        if record.depth >= below {
            return Err(RepositoryError::Inconsistent {
                object: format!("pack {}", pack.id),
                reason: "a base lies in a frame that is no shallower".into(),
            });
        }
        let key = (pack.id, location.frame);
        let opening = match self.opening(key) {
            Ok(frame) => return Ok(frame),
            Err(opening) => opening,
        };
        if !self.may_open(&pack, &record) {
            return Err(RepositoryError::Inconsistent {
                object: format!("pack {}", pack.id),
                reason: "this host has not kept the key of a frame".into(),
            });
        }
        let range = pack.footer.frame_range(location.frame as usize).ok_or_else(missing)?;
        let name = names::pack(pack.kind, pack.id)?;
        let read = match self.fetched(location) {
            Some(sealed) => Ok(sealed),
            None => {
                let _fetching = stage!("fetch");
                self.store.get_range(&name, range.start, range.end - range.start).map(Sealed::from)
            }
        };
        let open = |sealed: Sealed| {
            let sealed = &sealed.bytes[sealed.range];
            let frame = self.open_frame(&pack, &record, sealed)?;
            self.note_opened(key, sealed);
            Ok(frame)
        };
        let opened = read.map_err(RepositoryError::from).and_then(open);
        // Overwritten or deleted, perhaps, in a store that keeps what was there before.
        let opened = opened.or_else(|error| {
            let older = if error.is_of_content() { self.older_frame(&name, &pack, &range) } else { None };
            older.map_or(Err(error), |sealed| open(sealed.into()))
        });
        let opened = opened.or_else(|error| match self.healed_frame(&pack, &range, &error) {
            Some(sealed) => open(sealed.into()).inspect(|_| self.note_healed(pack.id)),
            None => Err(error),
        });
        if opened.as_ref().is_err_and(RepositoryError::is_of_content) {
            self.broken().insert(pack.id);
        }
        let frame = Arc::new(opened?);
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.bytes += frame.len();
        if let Some(old) = frames.entries.put(key, Arc::clone(&frame)) {
            frames.bytes -= old.len();
        }
        while frames.bytes > FRAME_CACHE_BYTES {
            let Some((_, old)) = frames.entries.pop_lru() else { break };
            frames.bytes -= old.len();
        }
        drop(frames);
        drop(opening);
        Ok(frame)
    }

    /// A frame that is open already, or the right to open it. Only frames of smaller depth are opened meanwhile, so
    /// nobody waits in a circle.
    fn opening(&self, key: (PackId, u32)) -> Result<Arc<Frame>, Opening<'_>> {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(frame) = frames.entries.get(&key) {
                return Ok(Arc::clone(frame));
            }
            if frames.opening.insert(key) {
                return Err(Opening { frames: &self.frames, opened: &self.opened, key });
            }
            frames = self.opened.wait(frames).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Remembers the frames that are opened, for [`Reader::take_opened`].
    pub(crate) fn noting_opened(self) -> Self {
        Self { noted: Some(Mutex::default()), ..self }
    }

    fn note_opened(&self, key: (PackId, u32), sealed: &[u8]) {
        if let (Some(noted), Some(signature)) = (&self.noted, sealed.last_chunk()) {
            let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
            if noted.len() < NOTED {
                noted.insert(key, *signature);
            }
        }
    }

    /// Whether these very bytes of a frame, of which the author's signature was verified, were opened for the sake of
    /// another frame. Says so once.
    pub(crate) fn take_opened(&self, pack: PackId, frame: u32, sealed: &[u8]) -> bool {
        let Some(noted) = &self.noted else { return false };
        let signature = noted.lock().unwrap_or_else(PoisonError::into_inner).remove(&(pack, frame));
        // The signature covers all other bytes.
        signature.is_some_and(|signature| sealed.last_chunk() == Some(&signature))
    }

    /// Packs that were found to be gone or damaged.
    pub(crate) fn broken(&self) -> MutexGuard<'_, BTreeSet<PackId>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a frame lies in its pack.
    pub(crate) fn frame_range(&self, location: Location) -> Option<Range<u64>> {
        self.pack(self.cache, false, location).ok()?.footer.frame_range(location.frame as usize)
    }

    /// Fetches frames that lie one behind the other, with one request. What fails is fetched again one by one, and
    /// says then what is wrong.
    pub(crate) fn fetch(&self, frames: &[Location]) {
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else { return };
        if frames.len() < 2 {
            return;
        }
        let fetch = || -> Option<()> {
            let pack = self.pack(self.cache, false, *first).ok()?;
            let (start, end) = (self.frame_range(*first)?.start, self.frame_range(*last)?.end);
            let name = names::pack(pack.kind, pack.id).ok()?;
            let fetching = stage!("fetch");
            let bytes = Arc::new(self.store.get_range(&name, start, end.checked_sub(start)?).ok()?);
            drop(fetching);
            for location in frames {
                let range = self.frame_range(*location)?;
                let at = |offset: u64| usize::try_from(offset.checked_sub(start)?).ok();
                let range = at(range.start)?..at(range.end)?;
                bytes.get(range.clone())?;
                let sealed = Sealed { bytes: Arc::clone(&bytes), range };
                self.fetched.lock().unwrap_or_else(PoisonError::into_inner).insert(*location, sealed);
            }
            Some(())
        };
        let _ = fetch();
    }

    fn fetched(&self, location: Location) -> Option<Sealed> {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).remove(&location)
    }

    /// Forgets what was fetched and not needed after all.
    pub(crate) fn forget(&self, frames: &[Location]) {
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        frames.iter().for_each(|location| drop(fetched.remove(location)));
    }

    /// A frame of the version of a pack that has its hash.
    fn older_frame(&self, name: &ObjectName, pack: &PackEntry, range: &Range<u64>) -> Option<Vec<u8>> {
        let bytes = whole_version(self.store, name, &pack.id.0)?;
        bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?).map(<[u8]>::to_vec)
    }
}

/// The right to open a frame; others get it when this is dropped, if the frame is not open then.
struct Opening<'r> {
    frames: &'r Mutex<Frames>,
    opened: &'r Condvar,
    key: (PackId, u32),
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).opening.remove(&self.key);
        self.opened.notify_all();
    }
}

impl NodeSource for Reader<'_> {
    fn node(&self, id: NodeId) -> Result<Node, RepositoryError> {
        let bytes = self.read(ObjectKind::MetadataPack, id, u8::MAX)?;
        Node::decode(bytes.as_bytes()).map_err(RepositoryError::malformed(format!("tree node {id}")))
    }
}
