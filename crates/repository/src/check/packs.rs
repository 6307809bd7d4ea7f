//! Reading packs whole: is the name the hash, and does everything open?

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use strongroom_format::entry::{Attestation, PackRef};
use strongroom_format::pack::{PACK_LIMIT_BYTES, TRAILER_LENGTH, decode_trailer};
use strongroom_format::registry::ObjectKind;
use strongroom_format::{ContentHash, PackId, WriterId};
use strongroom_keys::KeysError;
use strongroom_keys::derive::content_hash;
use strongroom_keys::frame::{BoundRecord, verify_author};
use strongroom_keys::random;
use strongroom_store::StoreError;

use super::finding::classify;
use super::{Checker, FindingKind, Severity};
use crate::cache::{Cache, Location, PackEntry, PackNumber, description};
use crate::error::RepositoryError;
use crate::names;
use crate::reader::Reader;
use crate::stage::stage;
use crate::state::describe;

/// What reading one pack gave.
#[derive(Default)]
struct Read {
    bytes: u64,
    /// What is wrong with the object as a whole, the first thing first.
    object: Vec<(FindingKind, String)>,
    /// Frames that cannot be read, and why.
    frames: Vec<(Location, String)>,
    /// Descriptions that are not what the pack says of itself.
    lies: Vec<PackNumber>,
    /// Whether cold storage keeps some of what was to be read: nothing is known of that.
    is_frozen: bool,
    /// What it says of itself, if every frame in it was opened.
    description: Option<ContentHash>,
}

/// Which packs to read, and how.
struct Plan {
    packs: Vec<PackRef>,
    /// Whether frames are opened; else only where the hash is not the name.
    open: Vec<bool>,
}

impl Checker<'_> {
    pub(super) fn read_packs(&mut self, cache: &Cache, reader: &Reader<'_>) -> Result<(), RepositoryError> {
        let plan = self.plan()?;
        let total = plan.packs.iter().map(|pack| pack.length).sum();
        self.monitor.begin("reading packs", Some(total));
        let results = self.run(&plan, cache, reader)?;
        for (id, read) in results {
            self.checked.packs_frozen += u64::from(read.is_frozen);
            self.checked.packs_read += u64::from(!read.is_frozen);
            self.checked.bytes_read += read.bytes;
            self.report_pack(id, &read);
            if let Some(description) = read.description {
                self.opened.push(Attestation { pack: id, description });
            }
        }
        Ok(())
    }

    fn plan(&self) -> Result<Plan, RepositoryError> {
        let present = self.state.packs.values().filter(|pack| self.present.contains(&pack.id)).copied();
        let mut drawn: Vec<PackId> = Vec::new();
        if let Some(percent) = self.options.sample_percent {
            let mut order = Vec::new();
            for pack in present.clone() {
                let ticket: [u8; 8] = random::array(&*self.repository.random)
                    .map_err(|source| RepositoryError::Seal { what: "a sample", source })?;
                order.push((ticket, pack.id));
            }
            order.sort_unstable();
            let count = (order.len() * usize::from(percent.min(100))).div_ceil(100).max(1);
            drawn = order.into_iter().take(count).map(|(_, id)| id).collect();
            drawn.sort_unstable();
        }
        let mut plan = Plan { packs: Vec::new(), open: Vec::new() };
        for pack in present {
            let open = if self.options.sample_percent.is_some() {
                drawn.binary_search(&pack.id).is_ok()
            } else {
                self.options.read_data
            };
            // One that is known to be damaged is always read: to know what of it can be saved.
            let suspect = self.suspect.contains_key(&pack.id);
            if open || suspect || self.options.packs {
                plan.packs.push(pack);
                plan.open.push(open || suspect);
            }
        }
        Ok(plan)
    }

    fn run(
        &self,
        plan: &Plan,
        cache: &Cache,
        reader: &Reader<'_>,
    ) -> Result<BTreeMap<PackId, Read>, RepositoryError> {
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Ok(BTreeMap::new()));
        let work = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(pack) = plan.packs.get(at) else { return };
                let read = self.read_pack(pack, plan.open[at], cache, reader);
                let Ok(mut results) = results.lock() else { return };
                match (&mut *results, read) {
                    (Ok(found), Ok(read)) => drop(found.insert(pack.id, read)),
                    (Ok(_), Err(error)) => *results = Err(error),
                    (Err(_), _) => return,
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.options.workers.max(1) {
                scope.spawn(work);
            }
        });
        results.into_inner().unwrap_or(Err(RepositoryError::Cancelled))
    }

    fn read_pack(
        &self,
        pack: &PackRef,
        open: bool,
        cache: &Cache,
        reader: &Reader<'_>,
    ) -> Result<Read, RepositoryError> {
        let name = names::pack(pack.kind, pack.id)?;
        let mut read = Read::default();
        let fetching = stage!("fetch");
        let fetched = self.fetch(&name, PACK_LIMIT_BYTES)?;
        drop(fetching);
        let bytes = match fetched {
            Ok(bytes) => bytes,
            Err((FindingKind::Frozen, _)) => {
                read.is_frozen = true;
                return Ok(read);
            }
            Err(problem) => {
                read.object.push(problem);
                self.every_frame(pack, cache, &mut read)?;
                return Ok(read);
            }
        };
        read.bytes = bytes.len() as u64;
        self.monitor.advance(read.bytes);
        let hashing = stage!("hash");
        let hash = content_hash(&bytes);
        drop(hashing);
        if hash.0 != pack.id.0 {
            read.object.push((FindingKind::HashMismatch, "its bytes do not hash to its name".into()));
        }
        if !open && read.object.is_empty() {
            return Ok(read);
        }
        let own = self.own_description(pack, &bytes, &mut read);
        for number in cache.numbers_of(pack.id)? {
            let Some(entry) = cache.pack(number)? else { continue };
            // What the bytes say counts against an index object only when they are those that were stored.
            let is_whole = read.object.is_empty();
            let is_own =
                own.as_ref().is_some_and(|(_, own)| own.footer == entry.footer && own.header == entry.header);
            if is_whole && own.is_some() && !is_own {
                read.lies.push(number);
                continue;
            }
            let bad = read.frames.len();
            self.read_frames(number, &entry, &bytes, reader, &mut read)?;
            if is_whole
                && is_own
                && !read.is_frozen
                && read.frames.len() == bad
                && self.keys_are_there(number, &entry)
            {
                read.description = own.as_ref().map(|(description, _)| *description);
            }
        }
        Ok(read)
    }

    /// Frames whose key is not there were not read.
    fn keys_are_there(&self, number: PackNumber, entry: &PackEntry) -> bool {
        let mut frames = (0_u32..).take(entry.footer.frames.len());
        frames.all(|frame| !self.bad.frames.contains_key(&Location { pack: number, frame }))
    }

    /// Without bytes no frame of it can be read.
    fn every_frame(&self, pack: &PackRef, cache: &Cache, read: &mut Read) -> Result<(), RepositoryError> {
        for number in cache.numbers_of(pack.id)? {
            let frames = cache.pack(number)?.map_or(0, |entry| entry.footer.frames.len());
            let places = (0_u32..).take(frames).map(|frame| Location { pack: number, frame });
            read.frames.extend(places.map(|place| (place, "the object cannot be read".to_owned())));
        }
        Ok(())
    }

    /// What the pack says of itself, if that can be read: its trailer, footer, padding and content hash.
    fn own_description(
        &self,
        pack: &PackRef,
        bytes: &[u8],
        read: &mut Read,
    ) -> Option<(ContentHash, PackEntry)> {
        let bad = |read: &mut Read, error: &RepositoryError| read.object.push(classify(error));
        let name = names::pack(pack.kind, pack.id).ok()?;
        let trailer = bytes.last_chunk::<TRAILER_LENGTH>();
        let footer_range = trailer
            .ok_or(strongroom_format::FormatError::Truncated { what: "pack" })
            .and_then(|trailer| decode_trailer(trailer, bytes.len() as u64))
            .map_err(RepositoryError::malformed(&name));
        let range = match footer_range {
            Ok(range) => usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?,
            Err(error) => {
                bad(read, &error);
                return None;
            }
        };
        let (content, sealed) = (bytes.get(..range.start)?, bytes.get(range)?);
        let (stored, entry) = match self.repository.open_footer(pack, &name, bytes, sealed) {
            Ok(opened) => opened,
            Err(error) => {
                bad(read, &error);
                return None;
            }
        };
        if !self.repository.footer_verifies(&entry) {
            let detail = "its footer is signed by nobody the policy lists".into();
            read.object.push((FindingKind::SignatureInvalid, detail));
        }
        if content_hash(content) != entry.footer.content_hash {
            let detail = "its content does not hash to what its footer says".into();
            read.object.push((FindingKind::HashMismatch, detail));
        }
        let padding = entry.footer.padding_length as usize;
        if padding > 0 {
            let sealed = content.len().checked_sub(padding).and_then(|start| content.get(start..));
            let opened = self
                .repository
                .resume_pack(pack.kind, bytes)
                .and_then(|sealer| sealer.verify_padding(sealed.unwrap_or_default()));
            if let Err(error) = opened {
                read.object.push((FindingKind::Undecodable, format!("its padding: {}", describe(&error))));
            }
        }
        Some((description(&stored.header, &stored.footer), entry))
    }

    fn read_frames(
        &self,
        number: PackNumber,
        entry: &PackEntry,
        bytes: &[u8],
        reader: &Reader<'_>,
        read: &mut Read,
    ) -> Result<(), RepositoryError> {
        for (frame, record) in (0_u32..).zip(&entry.footer.frames) {
            self.go_on()?;
            let place = Location { pack: number, frame };
            if self.bad.frames.contains_key(&place) {
                // Its key is not there: said already.
                continue;
            }
            let range = entry.footer.frame_range(frame as usize).unwrap_or_default();
            let sealed = usize::try_from(range.start)
                .ok()
                .zip(usize::try_from(range.end).ok())
                .and_then(|(start, end)| bytes.get(start..end));
            let Some(sealed) = sealed else {
                read.frames.push((place, "the object ends before it".into()));
                continue;
            };
            let (chunks, bases) = (entry.footer.chunks_of(record), entry.footer.bases_of(record));
            let author = entry.footer.authors.get(usize::from(record.author));
            let verifying = stage!("verify signatures");
            let verified = self
                .author_key(author.copied())
                .and_then(|public| verify_author(&public, &BoundRecord::new(record, chunks, bases), sealed));
            drop(verifying);
            if let Err(error) = verified {
                read.frames.push((place, format!("its author's signature: {}", describe(&error))));
                continue;
            }
            match reader.open_frame(entry, record, sealed) {
                Ok(_) => {}
                // A base of it.
                Err(RepositoryError::Store(StoreError::Archived { .. })) => read.is_frozen = true,
                Err(RepositoryError::Store(error)) => {
                    read.frames.push((place, describe(&self.store_answers(error)?)));
                }
                Err(error) => read.frames.push((place, describe(&error))),
            }
        }
        Ok(())
    }

    fn author_key(&self, author: Option<WriterId>) -> Result<strongroom_format::PublicKey, KeysError> {
        author
            .and_then(|author| self.state.known_signer(author))
            .map(|signer| signer.public)
            .ok_or(KeysError::Signature)
    }

    /// Says once how many there are: a store may have all of them frozen.
    pub(super) fn report_frozen(&mut self) {
        let frozen = self.checked.packs_frozen;
        if frozen > 0 {
            let detail = format!(
                "{frozen} packs are in cold storage, or build on some that are, and were not read; what `restore` thaws is read again"
            );
            self.findings.add(Severity::Info, FindingKind::Frozen, "packs/", detail);
        }
    }

    fn report_pack(&mut self, id: PackId, read: &Read) {
        let kind = self.state.packs.get(&id).map_or(ObjectKind::DataPack, |pack| pack.kind);
        let name = self.pack_name(kind, id);
        for number in &read.lies {
            let detail = "an index object describes it otherwise than it does itself";
            let cause = self.suspicious(FindingKind::Contradiction, name.clone(), detail);
            self.bad.packs.insert(*number, cause);
        }
        let mut cause = self.suspect.get(&id).copied();
        for (kind, detail) in &read.object {
            match cause {
                Some(cause) => self.findings.extend(cause, detail),
                None => cause = Some(self.damage(*kind, name.clone(), detail.clone())),
            }
        }
        let Some((_, why)) = read.frames.first() else {
            if let Some(cause) = cause {
                self.findings.extend(cause, "every frame in it opens");
            }
            return;
        };
        let numbers: Vec<String> =
            read.frames.iter().take(8).map(|(place, _)| place.frame.to_string()).collect();
        let detail = format!(
            "{} of its frames cannot be read ({}{}): {why}",
            read.frames.len(),
            numbers.join(", "),
            if numbers.len() == read.frames.len() { "" } else { ", ..." },
        );
        let cause = match cause {
            Some(cause) => {
                self.findings.extend(cause, &detail);
                cause
            }
            None => self.damage(FindingKind::FrameDamaged, name, detail),
        };
        self.bad.frames.extend(read.frames.iter().map(|(place, _)| (*place, cause)));
    }
}
