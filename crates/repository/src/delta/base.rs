//! Finding what new bytes were before.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use strongroom_format::node::ListItem;
use strongroom_format::pack::ChunkRecord;
use strongroom_format::tree_entry::Content;
use strongroom_format::{ChunkId, PackId};

use super::anchors::{Anchor, anchors};
use crate::error::RepositoryError;
use crate::reader::Reader;
use crate::tree::ListCursor;

/// How far around the place where bytes are expected they are looked for, one after the other, in bytes; and which part
/// of the anchors (1 in so many) must be found there.
const REACHES: [(u64, usize); 3] = [(512 << 10, 3), (4 << 20, 4), (16 << 20, 12)];
/// Most bytes of a prefix; the format allows 8 MiB.
const PREFIX_LIMIT_BYTES: usize = 4 << 20;
/// Deepest frame that a delta may build on: its own depth is at most one more. The format allows 8.
const BASE_DEPTH_LIMIT: u8 = 4;
/// Most frames that opening a delta may need. The format allows 32.
const CLOSURE_LIMIT: usize = 16;
/// After so many frames in a row that did not become deltas, only one in so many is tried.
const PATIENCE: u32 = 8;
const RETRY: u32 = 8;
/// Chunks of which anchors are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(2048).unwrap();

/// The content that a stream had in an earlier snapshot.
pub struct Base {
    content: Content,
    /// By how much further on (or, negative, back) the bytes found last were.
    drift: AtomicI64,
    /// Frames in a row that did not become deltas.
    misses: AtomicU32,
    known: Mutex<LruCache<ChunkId, Option<Arc<Known>>>>,
}

/// A chunk of it.
struct Known {
    anchors: Vec<Anchor>,
    /// The frames that it takes to read it.
    frames: BTreeSet<(PackId, u32)>,
}

/// What a frame is to be compressed against.
#[derive(Debug, Default)]
pub(crate) struct Prefix {
    pub(crate) chunks: Vec<ChunkRecord>,
    pub(crate) plain: Vec<u8>,
    /// The depth that a frame with this prefix has.
    pub(crate) depth: u8,
    /// The frames that opening it needs.
    pub(crate) closure: u16,
    /// Which these are.
    pub(crate) frames: BTreeSet<(PackId, u32)>,
}

impl Prefix {
    /// Adds a chunk, unless it is there already; `false` if it may not be built on.
    fn add(&mut self, reader: &Reader<'_>, item: ListItem) -> Result<bool, RepositoryError> {
        if self.chunks.iter().any(|chunk| chunk.id == item.id) {
            return Ok(true);
        }
        let Some(base) = reader.base(item.id, BASE_DEPTH_LIMIT)? else { return Ok(false) };
        let bytes = base.chunk.as_bytes();
        self.frames.extend(base.frames);
        if bytes.len() != item.length as usize
            || self.frames.len() > CLOSURE_LIMIT
            || self.plain.len() + bytes.len() > PREFIX_LIMIT_BYTES
        {
            return Ok(false);
        }
        self.plain.extend_from_slice(bytes);
        self.chunks.push(ChunkRecord { id: item.id, length: item.length });
        self.depth = self.depth.max(base.depth + 1);
        self.closure = u16::try_from(self.frames.len()).unwrap_or(u16::MAX);
        Ok(true)
    }
}

/// A chunk of the base near where bytes are looked for.
struct Candidate {
    item: ListItem,
    start: u64,
    known: Arc<Known>,
    votes: usize,
}

impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Base").finish_non_exhaustive()
    }
}

impl Base {
    pub(crate) fn new(content: Content) -> Self {
        Self {
            content,
            drift: AtomicI64::new(0),
            misses: AtomicU32::new(0),
            known: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }

    /// Whether to look for a frame's bytes at all: where nothing was found for long (everything is new, or in another
    /// order), most frames are not looked for.
    pub(crate) fn is_worth_a_try(&self) -> bool {
        let misses = self.misses.load(Ordering::Relaxed);
        if misses < PATIENCE {
            return true;
        }
        let misses = self.misses.fetch_add(1, Ordering::Relaxed);
        misses.is_multiple_of(RETRY)
    }

    /// Notes whether a frame that was worth a try became a delta.
    pub(crate) fn note(&self, is_delta: bool) {
        if is_delta {
            self.misses.store(0, Ordering::Relaxed);
        } else {
            self.misses.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The part of the base that looks most like these new chunks; `None` when nothing does.
    pub(crate) fn find(&self, reader: &Reader<'_>, new: &New<'_>) -> Result<Option<Prefix>, RepositoryError> {
        if let Some(prefix) = self.in_place(reader, new)? {
            return Ok(Some(prefix));
        }
        let wanted = new.anchors();
        let Some(span) = new.span() else { return Ok(None) };
        let drift = self.drift.load(Ordering::Relaxed);
        for (reach, share) in REACHES {
            let from = span.start.saturating_add_signed(drift).saturating_sub(reach);
            let to = span.end.saturating_add_signed(drift).saturating_add(reach);
            let mut candidates = self.candidates(reader, from, to)?;
            let mut drifts = vote(&wanted, &mut candidates);
            if !drifts.is_empty() && drifts.len() * share >= wanted.len() {
                let middle = drifts.len() / 2;
                let (_, drift, _) = drifts.select_nth_unstable(middle);
                self.drift.store(*drift, Ordering::Relaxed);
                return prefix(reader, candidates, new.plain.len());
            }
        }
        Ok(None)
    }

    /// The chunks of the same lengths at the same places, if all have one: what was changed in place need not be looked for.
    fn in_place(&self, reader: &Reader<'_>, new: &New<'_>) -> Result<Option<Prefix>, RepositoryError> {
        let drift = self.drift.load(Ordering::Relaxed);
        let mut places = new
            .chunks
            .iter()
            .zip(new.starts)
            .map(|(chunk, start)| (start.checked_add_signed(drift), u64::from(chunk.length)));
        let Some(first) = new.starts.first().and_then(|start| start.checked_add_signed(drift)) else {
            return Ok(None);
        };
        let mut cursor = ListCursor::new(reader, &self.content)?;
        let mut start = cursor.skip_to(first)?;
        let mut prefix = Prefix::default();
        let mut wanted = places.next();
        while let Some((place, length)) = wanted {
            let Some(item) = cursor.next_item()? else { return Ok(None) };
            let end = start + u64::from(item.length);
            match place {
                Some(place) if place >= end => {}
                Some(place) if (place, length) == (start, item.length.into()) && !item.is_hole() => {
                    if !prefix.add(reader, item)? {
                        return Ok(None);
                    }
                    wanted = places.next();
                }
                _ => return Ok(None),
            }
            start = end;
        }
        Ok(Some(prefix))
    }

    /// The chunks that lie between two positions of the base and may be built on.
    fn candidates(&self, reader: &Reader<'_>, from: u64, to: u64) -> Result<Vec<Candidate>, RepositoryError> {
        let mut cursor = ListCursor::new(reader, &self.content)?;
        let mut start = cursor.skip_to(from)?;
        let mut candidates = Vec::new();
        while let Some(item) = cursor.next_item()?
            && start < to
        {
            if !item.is_hole()
                && let Some(known) = self.known(reader, item)?
            {
                candidates.push(Candidate { item, start, known, votes: 0 });
            }
            start += u64::from(item.length);
        }
        Ok(candidates)
    }

    fn known(&self, reader: &Reader<'_>, item: ListItem) -> Result<Option<Arc<Known>>, RepositoryError> {
        let remembered = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = remembered().get(&item.id) {
            return Ok(known.clone());
        }
        let known = match reader.base(item.id, BASE_DEPTH_LIMIT)? {
            Some(base) if base.frames.len() <= CLOSURE_LIMIT => {
                Some(Arc::new(Known { anchors: anchors(base.chunk.as_bytes()), frames: base.frames }))
            }
            _ => None,
        };
        remembered().put(item.id, known.clone());
        Ok(known)
    }
}

/// New chunks of a stream, and where in it each begins.
pub(crate) struct New<'n> {
    pub(crate) plain: &'n [u8],
    pub(crate) chunks: &'n [ChunkRecord],
    pub(crate) starts: &'n [u64],
}

impl New<'_> {
    /// Their anchors: hash, and place in the stream.
    fn anchors(&self) -> Vec<(u32, u64)> {
        let mut found = Vec::new();
        let mut left = self.plain;
        for (chunk, start) in self.chunks.iter().zip(self.starts) {
            let Some((bytes, rest)) = left.split_at_checked(chunk.length as usize) else { break };
            found
                .extend(anchors(bytes).into_iter().map(|anchor| (anchor.hash, start + u64::from(anchor.at))));
            left = rest;
        }
        found
    }

    /// From the first byte of the first to the last byte of the last.
    fn span(&self) -> Option<Range<u64>> {
        let (first, last) = (self.starts.first()?, self.starts.last()?);
        Some(*first..last + u64::from(self.chunks.last()?.length))
    }
}

/// Counts for each candidate how many of the anchors are its. Gives for each of them how much further on it was.
///
/// Anchors that are in several places tell nothing: text repeats itself.
fn vote(wanted: &[(u32, u64)], candidates: &mut [Candidate]) -> Vec<i64> {
    let mut places: Vec<(u32, usize, u64)> = Vec::new();
    for (at, candidate) in candidates.iter().enumerate() {
        let start = candidate.start;
        places.extend(
            candidate.known.anchors.iter().map(|anchor| (anchor.hash, at, start + u64::from(anchor.at))),
        );
    }
    places.sort_unstable();
    let mut drifts = Vec::with_capacity(wanted.len());
    for (hash, position) in wanted {
        let first = places.partition_point(|(known, _, _)| known < hash);
        if let [(known, at, place), rest @ ..] = &places[first..]
            && known == hash
            && rest.first().is_none_or(|(next, _, _)| next != hash)
        {
            candidates[*at].votes += 1;
            drifts.push(place.cast_signed() - position.cast_signed());
        }
    }
    drifts
}

/// The candidates with the most votes, in their order in the base, within the limits.
fn prefix(
    reader: &Reader<'_>,
    mut candidates: Vec<Candidate>,
    plain_length: usize,
) -> Result<Option<Prefix>, RepositoryError> {
    let most = candidates.iter().map(|candidate| candidate.votes).max().unwrap_or_default();
    candidates.retain(|candidate| candidate.votes > 0 && candidate.votes * 16 >= most);
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.votes));
    let budget = (2 * plain_length + (256 << 10)).min(PREFIX_LIMIT_BYTES);
    let mut length = 0;
    let mut frames = BTreeSet::new();
    let mut chosen = BTreeMap::new();
    for Candidate { item, start, known, .. } in candidates {
        let needed = frames.union(&known.frames).count();
        if length + item.length as usize > budget || needed > CLOSURE_LIMIT {
            continue;
        }
        length += item.length as usize;
        frames.extend(known.frames.iter().copied());
        chosen.insert(start, item);
    }
    if chosen.is_empty() {
        return Ok(None);
    }
    let mut prefix = Prefix { plain: Vec::with_capacity(length), ..Prefix::default() };
    for item in chosen.into_values() {
        if !prefix.add(reader, item)? {
            return Ok(None);
        }
    }
    Ok(Some(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_found_is_rarely_looked_for() {
        let base = Base::new(Content::Inline(Vec::new()));
        let tries = |frames: u32| {
            let mut tries = 0;
            for _ in 0..frames {
                if base.is_worth_a_try() {
                    tries += 1;
                    base.note(false);
                }
            }
            tries
        };
        assert_eq!(tries(PATIENCE), PATIENCE);
        let rarely = tries(100 * RETRY);
        assert!((50..=150).contains(&rarely), "{rarely}");
        base.note(true);
        assert_eq!(tries(PATIENCE), PATIENCE);
    }
}
