//! Reading packs whole, on all processors: is the name the hash, and does everything open?
//!
//! Whoever has nothing to do opens a frame of a pack that was fetched, or fetches the next pack if there is none.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, unbounded};
use strongroom_format::entry::PackRef;
use strongroom_format::pack::{PACK_LIMIT_BYTES, TRAILER_LENGTH, decode_trailer};
use strongroom_format::{ContentHash, PackId, PublicKey, WriterId};
use strongroom_keys::KeysError;
use strongroom_keys::derive::{content_hash, content_hashes};
use strongroom_keys::frame::{BoundRecord, verify_author};
use strongroom_store::StoreError;

use super::finding::classify;
use super::packs::Plan;
use super::{Checker, FindingKind};
use crate::cache::{Cache, Location, PackEntry, PackNumber, description};
use crate::error::RepositoryError;
use crate::names;
use crate::reader::Reader;
use crate::stage::stage;
use crate::state::describe;

/// Frames that one worker opens at a stretch: neighbours have bases in common.
const STRETCH: u32 = 16;

/// What reading one pack gave.
#[derive(Default)]
pub(super) struct Read {
    pub(super) bytes: u64,
    /// What is wrong with the object as a whole, the first thing first.
    pub(super) object: Vec<(FindingKind, String)>,
    /// Whether its parity gives it back as it was, where it has some and is not what it was.
    pub(super) heals: Option<bool>,
    /// What is wrong with its parity.
    pub(super) parity: Option<(FindingKind, String)>,
    /// Whether its frames were opened.
    pub(super) is_opened: bool,
    /// Frames that cannot be read, and why.
    pub(super) frames: Vec<(Location, String)>,
    /// Descriptions that are not what the pack says of itself.
    pub(super) lies: Vec<PackNumber>,
    /// Whether cold storage keeps some of what was to be read: nothing is known of that.
    pub(super) is_frozen: bool,
    /// What it says of itself, if every frame in it was opened.
    pub(super) description: Option<ContentHash>,
}

/// What a pack says of itself.
struct Own {
    description: ContentHash,
    entry: PackEntry,
}

/// A pack whose frames are being opened.
struct Pack {
    id: PackId,
    bytes: Vec<u8>,
    own: Option<Own>,
    /// Whether it is what its name says, and its entry is what it says of itself.
    is_sound: bool,
    /// As index objects describe it.
    entries: Vec<(PackNumber, PackEntry)>,
    read: Mutex<Read>,
}

/// Frames to be opened: of which pack, by which of its descriptions.
struct Job {
    pack: Arc<Pack>,
    entry: usize,
    frames: Range<u32>,
}

/// Packs being read.
pub(super) struct Reading<'r, 'c> {
    checker: &'r Checker<'c>,
    cache: &'r Cache,
    reader: &'r Reader<'r>,
    plan: &'r Plan,
    /// Which pack of the plan is fetched next.
    next: AtomicUsize,
    results: Mutex<Result<BTreeMap<PackId, Read>, RepositoryError>>,
}

impl<'r, 'c> Reading<'r, 'c> {
    pub(super) fn new(
        checker: &'r Checker<'c>,
        cache: &'r Cache,
        reader: &'r Reader<'r>,
        plan: &'r Plan,
    ) -> Self {
        let results = Mutex::new(Ok(BTreeMap::new()));
        Self { checker, cache, reader, plan, next: AtomicUsize::new(0), results }
    }

    pub(super) fn run(self) -> Result<BTreeMap<PackId, Read>, RepositoryError> {
        let (jobs, jobs_in) = unbounded();
        std::thread::scope(|scope| {
            for _ in 0..self.checker.options.workers.max(1) {
                let (jobs, jobs_in) = (jobs.clone(), jobs_in.clone());
                let reading = &self;
                scope.spawn(move || {
                    if let Err(error) = reading.work(jobs, &jobs_in) {
                        *reading.results() = Err(error);
                    }
                });
            }
            drop((jobs, jobs_in));
        });
        self.results.into_inner().unwrap_or(Err(RepositoryError::Cancelled))
    }

    fn results(&self) -> MutexGuard<'_, Result<BTreeMap<PackId, Read>, RepositoryError>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, jobs: Sender<Job>, jobs_in: &Receiver<Job>) -> Result<(), RepositoryError> {
        // Frames first: they free what was fetched.
        loop {
            if let Ok(job) = jobs_in.try_recv() {
                self.open(job)?;
            } else if let Some(at) = self.next_pack() {
                let pack = Arc::new(self.fetch(at)?);
                for (entry, (_, described)) in pack.entries.iter().enumerate() {
                    let count = u32::try_from(described.footer.frames.len()).unwrap_or(u32::MAX);
                    for start in (0..count).step_by(STRETCH as usize) {
                        let frames = start..(start + STRETCH).min(count);
                        // The receiver is right here.
                        let _ = jobs.send(Job { pack: Arc::clone(&pack), entry, frames });
                    }
                }
                self.finish(pack);
            } else {
                break;
            }
        }
        drop(jobs);
        // Others may still fetch.
        jobs_in.iter().try_for_each(|job| self.open(job))
    }

    /// The next pack of the plan, unless there is none, or the check has failed.
    fn next_pack(&self) -> Option<usize> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        (at < self.plan.packs.len() && self.results().is_ok()).then_some(at)
    }

    /// Fetches a pack and looks at it as a whole; its entries are those whose frames are to be opened.
    fn fetch(&self, at: usize) -> Result<Pack, RepositoryError> {
        let (pack, open) = (&self.plan.packs[at], self.plan.open[at]);
        let mut read = Read::default();
        let result = |read: Read, bytes, own: Option<Own>, entries| {
            let is_sound = own.is_some() && read.object.is_empty();
            Ok(Pack { id: pack.id, bytes, own, is_sound, entries, read: Mutex::new(read) })
        };
        let name = names::pack(pack.kind, pack.id)?;
        let fetching = stage!("fetch");
        let fetched = self.checker.fetch(&name, PACK_LIMIT_BYTES)?;
        drop(fetching);
        let (mut bytes, mut own) = (Vec::new(), None);
        match fetched {
            Ok(found) => {
                read.bytes = found.len() as u64;
                self.checker.monitor.advance(read.bytes);
                own = self.look(pack, &found, open, &mut read);
                bytes = found;
            }
            Err((FindingKind::Frozen, _)) => {
                read.is_frozen = true;
                return result(read, bytes, own, Vec::new());
            }
            Err(problem) => read.object.push(problem),
        }
        let mut is_whole = read.object.is_empty();
        if !is_whole && content_hash(&bytes).0 != pack.id.0 {
            if let Some(healed) = self.heal(pack, &mut read)? {
                let problems = std::mem::take(&mut read.object);
                own = self.look(pack, &healed, open, &mut read);
                is_whole = read.object.is_empty();
                read.object.splice(0..0, problems);
                bytes = healed;
            } else if read.bytes == 0 {
                self.every_frame(pack, &mut read)?;
                return result(read, bytes, None, Vec::new());
            }
        }
        if is_whole {
            read.parity = self.checker.compare_parity(pack, &bytes)?;
            if !open {
                return result(read, Vec::new(), None, Vec::new());
            }
        }
        read.is_opened = true;
        let mut entries = Vec::new();
        for number in self.cache.numbers_of(pack.id)? {
            let Some(entry) = self.cache.pack(number)? else { continue };
            // What the bytes say counts against an index object only when they are those that were stored.
            if is_whole && own.as_ref().is_some_and(|own| !own.is(&entry)) {
                read.lies.push(number);
            } else {
                entries.push((number, entry));
            }
        }
        result(read, bytes, own, entries)
    }

    /// The pack as it was, if it has parity that heals it.
    fn heal(&self, pack: &PackRef, read: &mut Read) -> Result<Option<Vec<u8>>, RepositoryError> {
        let healed = self.checker.heal(pack)?;
        if self.checker.parity.contains_key(&pack.id) {
            read.heals = Some(healed.is_some());
        }
        Ok(healed)
    }

    /// Without bytes no frame of it can be read.
    fn every_frame(&self, pack: &PackRef, read: &mut Read) -> Result<(), RepositoryError> {
        for number in self.cache.numbers_of(pack.id)? {
            let frames = self.cache.pack(number)?.map_or(0, |entry| entry.footer.frames.len());
            let places = (0_u32..).take(frames).map(|frame| Location { pack: number, frame });
            read.frames.extend(places.map(|place| (place, "the object cannot be read".to_owned())));
        }
        Ok(())
    }

    /// Whether the bytes hash to the pack's name; and if they do not, or frames are to be opened, what the pack says
    /// of itself: its trailer, footer, padding and content hash.
    fn look(&self, pack: &PackRef, bytes: &[u8], open: bool, read: &mut Read) -> Option<Own> {
        let footer = bytes
            .last_chunk::<TRAILER_LENGTH>()
            .ok_or(strongroom_format::FormatError::Truncated { what: "pack" })
            .and_then(|trailer| decode_trailer(trailer, bytes.len() as u64))
            .map(|range| at(range.start)..at(range.end));
        let hashing = stage!("hash");
        let (content_is, hash) = match &footer {
            Ok(range) if range.start <= bytes.len() => content_hashes(bytes, range.start),
            _ => (ContentHash([0; 32]), content_hash(bytes)),
        };
        drop(hashing);
        if hash.0 != pack.id.0 {
            read.object.push((FindingKind::HashMismatch, "its bytes do not hash to its name".into()));
        } else if !open {
            return None;
        }
        let name = names::pack(pack.kind, pack.id).ok()?;
        let repository = self.checker.repository;
        let opened = footer.map_err(RepositoryError::malformed(&name)).map(|range| {
            let (content, sealed) = (bytes.get(..range.start)?, bytes.get(range)?);
            Some((content, repository.open_footer(pack, &name, bytes, sealed)))
        });
        let (content, opened) = match opened {
            Ok(opened) => opened?,
            Err(error) => {
                read.object.push(classify(&error));
                return None;
            }
        };
        let (stored, entry) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                read.object.push(classify(&error));
                return None;
            }
        };
        if !repository.footer_verifies(&entry) {
            let detail = "its footer is signed by nobody the policy lists".into();
            read.object.push((FindingKind::SignatureInvalid, detail));
        }
        if content_is != entry.footer.content_hash {
            let detail = "its content does not hash to what its footer says".into();
            read.object.push((FindingKind::HashMismatch, detail));
        }
        let padding = entry.footer.padding_length as usize;
        if padding > 0 {
            let sealed = content.len().checked_sub(padding).and_then(|start| content.get(start..));
            let opened = repository
                .resume_pack(pack.kind, bytes)
                .and_then(|sealer| sealer.verify_padding(sealed.unwrap_or_default()));
            if let Err(error) = opened {
                read.object.push((FindingKind::Undecodable, format!("its padding: {}", describe(&error))));
            }
        }
        Some(Own { description: description(&stored.header, &stored.footer), entry })
    }

    fn open(&self, job: Job) -> Result<(), RepositoryError> {
        let Job { pack, entry, frames } = job;
        for frame in frames {
            self.checker.go_on()?;
            self.look_at_frame(&pack, entry, frame)?;
        }
        self.finish(pack);
        Ok(())
    }

    fn look_at_frame(&self, pack: &Pack, entry: usize, frame: u32) -> Result<(), RepositoryError> {
        let (number, entry) = &pack.entries[entry];
        let place = Location { pack: *number, frame };
        if self.checker.bad.frames.contains_key(&place) {
            // Its key is not there: said already.
            return Ok(());
        }
        let (why, is_frozen) = match self.open_frame(pack, entry, frame) {
            Ok(why) => (why, false),
            // A base of it.
            Err(StoreError::Archived { .. }) => (None, true),
            Err(error) => (Some(describe(&self.checker.store_answers(error)?)), false),
        };
        if why.is_some() || is_frozen {
            let mut read = pack.read.lock().unwrap_or_else(PoisonError::into_inner);
            read.is_frozen |= is_frozen;
            read.frames.extend(why.map(|why| (place, why)));
        }
        Ok(())
    }

    /// What is wrong with a frame, if it is that and not the store.
    fn open_frame(&self, pack: &Pack, entry: &PackEntry, frame: u32) -> Result<Option<String>, StoreError> {
        let record = &entry.footer.frames[frame as usize];
        let range = entry.footer.frame_range(frame as usize).unwrap_or_default();
        let Some(sealed) = pack.bytes.get(at(range.start)..at(range.end)) else {
            return Ok(Some("the object ends before it".into()));
        };
        let (chunks, bases) = (entry.footer.chunks_of(record), entry.footer.bases_of(record));
        let author = entry.footer.authors.get(usize::from(record.author));
        let verifying = stage!("verify signatures");
        let verified = self
            .author_key(author.copied())
            .and_then(|public| verify_author(&public, &BoundRecord::new(record, chunks, bases), sealed));
        drop(verifying);
        if let Err(error) = verified {
            return Ok(Some(format!("its author's signature: {}", describe(&error))));
        }
        if pack.is_sound && self.reader.take_opened(pack.id, frame, sealed) {
            return Ok(None);
        }
        match self.reader.open_frame(entry, record, sealed) {
            Ok(_) => Ok(None),
            Err(RepositoryError::Store(error)) => Err(error),
            Err(error) => Ok(Some(describe(&error))),
        }
    }

    /// Once nobody opens frames of it any more, the pack's result is known.
    fn finish(&self, pack: Arc<Pack>) {
        let Some(pack) = Arc::into_inner(pack) else { return };
        let mut read = pack.read.into_inner().unwrap_or_else(PoisonError::into_inner);
        read.frames.sort_by_key(|(place, _)| *place);
        if let Some(own) = pack.own.filter(|_| read.object.is_empty() && !read.is_frozen) {
            let all_open = |(number, entry): &(PackNumber, PackEntry)| {
                own.is(entry)
                    && read.frames.iter().all(|(place, _)| place.pack != *number)
                    && self.keys_are_there(*number, entry)
            };
            if pack.entries.iter().any(all_open) {
                read.description = Some(own.description);
            }
        }
        if let Ok(results) = &mut *self.results() {
            results.insert(pack.id, read);
        }
    }

    /// Frames whose key is not there were not read.
    fn keys_are_there(&self, number: PackNumber, entry: &PackEntry) -> bool {
        let mut frames = (0_u32..).take(entry.footer.frames.len());
        frames.all(|frame| !self.checker.bad.frames.contains_key(&Location { pack: number, frame }))
    }

    fn author_key(&self, author: Option<WriterId>) -> Result<PublicKey, KeysError> {
        author
            .and_then(|author| self.checker.state.known_signer(author))
            .map(|signer| signer.public)
            .ok_or(KeysError::Signature)
    }
}

impl Own {
    /// Whether an index object describes the pack so.
    fn is(&self, entry: &PackEntry) -> bool {
        self.entry.footer == entry.footer && self.entry.header == entry.header
    }
}

/// An offset that no object in memory has, if it is none.
fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
