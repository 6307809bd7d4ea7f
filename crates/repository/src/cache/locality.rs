//! Chunks that lie beside those that were just looked up: a stream's lie together, so the next ones are among them.
//!
//! When two lookups in a row end in one pack, all of the pack's chunks are noted. So a stream costs a few reads of the
//! index a pack, not one a chunk; and lookups in no order, which never end in one pack twice, cost nothing more.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use strongroom_format::ChunkId;
use strongroom_format::pack::Footer;

use super::run::Record;

/// A chunk's bytes here, about: its ID and frame, and a place in the map.
const CHUNK_BYTES: usize = 64;
/// Most packs whose chunks are noted.
const PACKS: usize = 1024;
/// Packs that lookups ended in last.
const RECENT: usize = 4;

/// The chunks of the packs that were used last.
pub(super) struct Locality {
    noted: RwLock<Noted>,
    limit_bytes: usize,
    /// What lookups ended in lately, each with one added: 0 is none.
    recent: [AtomicU64; RECENT],
    turn: AtomicU64,
    /// Packs of so many chunks that noting them would take the place of too many others.
    large: RwLock<HashSet<u32>>,
}

#[derive(Default)]
struct Noted {
    packs: HashMap<u32, Pack>,
    /// By the last bytes of an ID: the pack and the place in it.
    places: HashMap<u64, (u32, u32)>,
    bytes: usize,
}

struct Pack {
    chunks: Vec<(ChunkId, u32)>,
    used: AtomicU64,
}

impl Locality {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            noted: RwLock::default(),
            limit_bytes,
            recent: Default::default(),
            turn: AtomicU64::new(1),
            large: RwLock::default(),
        }
    }

    /// A place of each chunk that is noted; it may have others.
    pub(super) fn get(&self, ids: &[ChunkId], mut found: impl FnMut(usize, Record)) {
        let noted = self.noted.read().unwrap_or_else(PoisonError::into_inner);
        if noted.packs.is_empty() {
            return;
        }
        let turn = self.turn.load(Ordering::Relaxed);
        for (index, id) in ids.iter().enumerate() {
            let Some((number, at)) = noted.places.get(&tail(id)) else { continue };
            let Some(pack) = noted.packs.get(number) else { continue };
            let Some((chunk, frame)) = pack.chunks.get(*at as usize) else { continue };
            if chunk == id {
                pack.used.store(turn, Ordering::Relaxed);
                found(index, Record { id: *id, pack: *number, frame: *frame });
            }
        }
    }

    /// Notes that a lookup ended in a pack; says whether its chunks should be noted.
    pub(super) fn ended_in(&self, number: u32) -> bool {
        let pack = u64::from(number) + 1;
        if self.recent.iter().any(|recent| recent.load(Ordering::Relaxed) == pack) {
            return !self.large.read().unwrap_or_else(PoisonError::into_inner).contains(&number);
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let at = usize::try_from(turn % RECENT as u64).unwrap_or_default();
        self.recent[at].store(pack, Ordering::Relaxed);
        false
    }

    /// Notes the chunks of a pack, in place of those that were not used for longest. Says whether it did.
    pub(super) fn note(&self, number: u32, footer: &Footer) -> bool {
        let bytes = footer.chunks.len() * CHUNK_BYTES;
        if bytes > self.limit_bytes / 4 {
            self.large.write().unwrap_or_else(PoisonError::into_inner).insert(number);
            return false;
        }
        let mut noted = self.noted.write().unwrap_or_else(PoisonError::into_inner);
        if noted.packs.contains_key(&number) {
            return false;
        }
        while (noted.bytes + bytes > self.limit_bytes || noted.packs.len() >= PACKS) && noted.forget_oldest()
        {
        }
        let mut chunks = Vec::with_capacity(footer.chunks.len());
        for (frame, record) in (0_u32..).zip(&footer.frames) {
            for chunk in footer.chunks_of(record) {
                let at = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
                noted.places.insert(tail(&chunk.id), (number, at));
                chunks.push((chunk.id, frame));
            }
        }
        let used = AtomicU64::new(self.turn.fetch_add(1, Ordering::Relaxed));
        noted.bytes += bytes;
        noted.packs.insert(number, Pack { chunks, used });
        true
    }
}

impl Noted {
    fn forget_oldest(&mut self) -> bool {
        let used = self.packs.iter().map(|(number, pack)| (pack.used.load(Ordering::Relaxed), *number));
        let Some((_, oldest)) = used.min() else { return false };
        let Some(pack) = self.packs.remove(&oldest) else { return false };
        for (id, _) in &pack.chunks {
            if let Entry::Occupied(place) = self.places.entry(tail(id))
                && place.get().0 == oldest
            {
                place.remove();
            }
        }
        self.bytes -= pack.chunks.len() * CHUNK_BYTES;
        true
    }
}

fn tail(id: &ChunkId) -> u64 {
    id.0.last_chunk().map_or(0, |tail| u64::from_le_bytes(*tail))
}
