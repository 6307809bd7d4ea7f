//! `verify`: a restore that is made to be looked at, and then deleted; or, without a bucket for that, everything read.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::io::{self, Read as _, Write};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crossbeam_channel::Receiver;
use md5::{Digest as _, Md5};
use strongroom_format::tree_entry::TreeEntry;
use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::restore::write_in_order;
use strongroom_repository::share::Share;

use super::ahead::Askers;
use super::attributes::Attributes;
use super::error::{S3Error, in_words};
use super::facts::Counting;
use super::key::Place;
use super::listing::{Kind, Listing, Object};
use super::mirror;
use super::order::{InTreeOrder, MOST_HELD};
use super::ranges::Ranges;
use super::read::{self, Fetched, Opened, Tagging, WHOLE_BYTES, hex};
use super::restore::{BucketReport, BucketSwitches, Group, Groups, Objects};
use super::session::{BucketTarget, Session};
use crate::engine::EngineError;
use crate::verdict::Verdict;

/// Differences that are named.
const MOST_NAMED: usize = 20;
/// Entries that are read ahead.
const AHEAD_ENTRIES: usize = 64;

impl Objects<'_> {
    /// Reads everything, or a worker's share of it, and compares it with what the service said of it: sizes, MD5s, and the facts.
    ///
    /// # Errors
    /// What reading the snapshot fails with; what is damaged is a difference.
    pub fn verify_by_reading(
        &self,
        share: Option<Share>,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Vec<Verdict>, EngineError> {
        let began = Instant::now();
        let mut verdict = self.verdict();
        let mut counting = Counting::default();
        let is_stopped = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let askers = Askers::start(scope, workers, &is_stopped);
            let mut ahead: VecDeque<Receiver<Result<Option<String>, EngineError>>> = VecDeque::new();
            let mut groups = Groups::new(self.reader, self.snapshot)?;
            while let Some(group) = groups.next()? {
                // In the order of the snapshot: the current one first.
                for (entry, attributes) in group.entries.into_iter().rev() {
                    if monitor.is_cancelled() {
                        return Err(RepositoryError::Interrupted.into());
                    }
                    counting.add(&entry, &attributes, entry.bytes());
                    if share.is_some_and(|share| !share.has(entry.path.as_bytes())) {
                        continue;
                    }
                    if ahead.len() >= AHEAD_ENTRIES {
                        self.take(&mut ahead, &mut verdict)?;
                    }
                    monitor.advance(entry.bytes());
                    ahead.push_back(askers.ask(move || self.difference(&entry, &attributes)));
                }
            }
            while !ahead.is_empty() {
                self.take(&mut ahead, &mut verdict)?;
            }
            Ok::<_, EngineError>(())
        })?;
        // A restore reads as much.
        verdict.seconds = began.elapsed().as_secs_f64();
        if counting.finish() != self.facts.counts {
            verdict.differences.push("its objects are not those that the facts tell of".into());
        }
        Ok(vec![verdict])
    }

    fn take(
        &self,
        ahead: &mut VecDeque<Receiver<Result<Option<String>, EngineError>>>,
        verdict: &mut Verdict,
    ) -> Result<(), EngineError> {
        let Some(answer) = ahead.pop_front() else { return Ok(()) };
        if let Some(difference) = answer.recv().map_err(|_| RepositoryError::Interrupted)?? {
            differs(verdict, difference);
        }
        Ok(())
    }

    /// What of a stored object is not as the service had it.
    fn difference(&self, entry: &TreeEntry, attributes: &Attributes) -> Result<Option<String>, EngineError> {
        let Some(content) = entry.content() else { return Ok(None) };
        let mut digest = PartDigest::new(attributes);
        let read = match content.bytes() > WHOLE_BYTES {
            true => {
                let silent = strongroom_repository::monitor::Silent;
                write_in_order(self.reader, content, &mut digest, &silent, 1)
            }
            false => self.bytes(content).map(|bytes| digest.add(&bytes)),
        };
        match read {
            Ok(()) => {
                let is_wrong = digest.etag().is_some_and(|etag| etag != attributes.etag);
                Ok(is_wrong.then(|| format!("/{} is not what its ETag says", entry.path)))
            }
            Err(
                error @ (RepositoryError::ChunkUnavailable { .. }
                | RepositoryError::Damaged { .. }
                | RepositoryError::Inconsistent { .. }),
            ) => Ok(Some(format!("/{}: {}", entry.path, in_words(&error)))),
            Err(error) => Err(error.into()),
        }
    }

    fn verdict(&self) -> Verdict {
        let counts = &self.facts.counts;
        Verdict {
            name: format!("{}/{}", self.facts.bucket, self.facts.prefix),
            bytes: counts.bytes + counts.version_bytes,
            counts: vec![
                ("objects", counts.objects),
                ("versions", counts.versions),
                ("delete_markers", counts.delete_markers),
            ],
            seconds: 0.0,
            differences: Vec::new(),
        }
    }

    /// Restores what was there into a prefix of its own below the scratch bucket, reads it again, compares all of it, and
    /// deletes it.
    ///
    /// # Errors
    /// What reaching the bucket or reading the snapshot fails with. What does not come back is a difference.
    pub fn verify_in(
        &self,
        scratch: &BucketTarget,
        switches: &BucketSwitches,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Vec<Verdict>, EngineError> {
        let began = Instant::now();
        let mut target = scratch.clone();
        target.prefix = format!("{}strongroom-verify-{}/", scratch.prefix, std::process::id());
        let switches = BucketSwitches { current_only: true, ..switches.clone() };
        let session = Session::open(&target, monitor)?;
        let made = Made { session: &session };
        let report = self.restore(&target, &switches, monitor, workers)?;
        let mut verdict = self.verdict();
        verdict.counts.truncate(1);
        verdict.bytes = self.facts.counts.bytes;
        verdict.seconds = began.elapsed().as_secs_f64();
        verdict.differences.extend(report.failures);
        self.compare(&session, &switches, &mut verdict, workers)?;
        drop(made);
        Ok(vec![verdict])
    }

    fn compare(
        &self,
        session: &Session<'_>,
        switches: &BucketSwitches,
        verdict: &mut Verdict,
        workers: usize,
    ) -> Result<(), EngineError> {
        let is_stopped = AtomicBool::new(false);
        let listing = Listing { session, kind: Kind::Objects, with_tags: false, left_out: &[], shard: None };
        let mut there = InTreeOrder::new(listing, "", MOST_HELD);
        let mut groups = Groups::new(self.reader, self.snapshot)?;
        std::thread::scope(|scope| {
            let askers = Askers::start(scope, switches.requests.max(1), &is_stopped);
            let mut ahead = VecDeque::new();
            let mut found = there.next_item()?;
            while let Some(mut group) = groups.next()? {
                if session.monitor.is_cancelled() {
                    return Err(RepositoryError::Interrupted.into());
                }
                group.entries.drain(..group.entries.len().saturating_sub(1));
                if group.current().is_none() {
                    continue;
                }
                let place = Place { key: group.key.clone(), version: 0 };
                let order = found.as_ref().and_then(|object| Some(object.path.cmp(&place.path().ok()?)));
                if order != Some(Ordering::Equal) {
                    differs(verdict, format!("{:?} was not restored", group.key));
                    continue;
                }
                let Some(object) = found.take() else { continue };
                found = there.next_item()?;
                if group.current().is_some_and(|(entry, _)| entry.bytes() > WHOLE_BYTES) {
                    let long = self.compare_long(session, &askers, &group, &object, workers)?;
                    long.into_iter().for_each(|difference| differs(verdict, difference));
                    continue;
                }
                if ahead.len() >= AHEAD_ENTRIES {
                    self.take(&mut ahead, verdict)?;
                }
                ahead.push_back(askers.ask(move || self.compare_small(session, &group, &object)));
            }
            while !ahead.is_empty() {
                self.take(&mut ahead, verdict)?;
            }
            Ok(())
        })
    }

    fn tagging(&self) -> Tagging {
        let with_tags = self.facts.tags == "listed" || self.facts.tags == "asked";
        if with_tags { Tagging::Asked } else { Tagging::LeftOut }
    }

    fn compare_small(
        &self,
        session: &Session<'_>,
        group: &Group,
        object: &Object,
    ) -> Result<Option<String>, EngineError> {
        let Some((entry, should)) = group.current() else { return Ok(None) };
        let Some(content) = entry.content() else { return Ok(None) };
        Ok(match read::whole(session, object, self.tagging())? {
            Fetched::Read(has, bytes) if bytes == self.bytes(content)? => others(&group.key, should, &has),
            Fetched::Read(..) => Some(format!("{:?} has other bytes", group.key)),
            Fetched::Vanished => Some(format!("{:?} was not restored", group.key)),
            Fetched::Unreadable(why) => Some(format!("{:?} cannot be read again: {why}", group.key)),
        })
    }

    fn compare_long<'s>(
        &self,
        session: &'s Session<'_>,
        askers: &Askers<'s>,
        group: &Group,
        object: &Object,
        workers: usize,
    ) -> Result<Option<String>, EngineError> {
        let Some((entry, should)) = group.current() else { return Ok(None) };
        let Some(content) = entry.content() else { return Ok(None) };
        let Opened::Open(has, length) = read::open(session, object, self.tagging())? else {
            return Ok(Some(format!("{:?} was not restored", group.key)));
        };
        let mut stored = blake3::Hasher::new();
        write_in_order(self.reader, content, &mut stored, session.monitor, workers)?;
        let mut restored = blake3::Hasher::new();
        let mut ranges = Ranges::new(session, askers, object, &has, length);
        let mut buffer = vec![0; 1 << 20];
        loop {
            match ranges.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => drop(restored.update(buffer.get(..read).unwrap_or_default())),
                Err(error) => return Ok(Some(format!("{:?} cannot be read again: {error}", group.key))),
            }
        }
        let is_same = stored.finalize() == restored.finalize();
        Ok(if is_same {
            others(&group.key, should, &has)
        } else {
            Some(format!("{:?} has other bytes", group.key))
        })
    }
}

fn differs(verdict: &mut Verdict, difference: String) {
    if verdict.differences.len() < MOST_NAMED {
        verdict.differences.push(difference);
    }
}

/// What belongs to an object and is otherwise.
fn others(key: &str, should: &Attributes, has: &Attributes) -> Option<String> {
    let wrong = [
        ("headers", should.headers != has.headers),
        ("metadata", should.metadata != has.metadata),
        ("tags", should.tags != has.tags),
    ];
    let wrong: Vec<&str> =
        wrong.into_iter().filter(|(_, is_wrong)| *is_wrong).map(|(what, _)| what).collect();
    (!wrong.is_empty()).then(|| format!("{key:?} has other {}", wrong.join(" and ")))
}

/// What is deleted with this: all that lies below the prefix.
struct Made<'s, 'm> {
    session: &'s Session<'m>,
}

impl Drop for Made<'_, '_> {
    fn drop(&mut self) {
        let session = self.session;
        let delete = || -> Result<u64, S3Error> {
            let mut report = BucketReport::default();
            let listing =
                Listing { session, kind: Kind::Objects, with_tags: false, left_out: &[], shard: None };
            let mut there = InTreeOrder::new(listing, "", MOST_HELD);
            let mut keys = Vec::new();
            while let Some(object) = there.next_item()? {
                keys.push(session.key(&object.key));
                if keys.len() >= 1000 {
                    mirror::delete(session, &mut keys, &mut report)?;
                }
            }
            mirror::delete(session, &mut keys, &mut report)?;
            Ok(report.failed)
        };
        let left = match delete() {
            Ok(0) => return,
            Ok(failed) => format!("{failed} could not be deleted"),
            Err(error) => in_words(&error),
        };
        session
            .monitor
            .warn(&format!("objects of the restore test are left below {:?}: {left}", session.prefix));
    }
}

/// The ETag that bytes come to: their MD5, or that of the MD5s of their parts.
struct PartDigest {
    md5: Md5,
    of_parts: Option<Md5>,
    sizes: VecDeque<(u64, u64)>,
    /// Of the part at hand, what is still to come.
    left: u64,
    count: u64,
    is_known: bool,
}

impl PartDigest {
    fn new(attributes: &Attributes) -> Self {
        let sizes: VecDeque<(u64, u64)> = attributes.parts.iter().copied().collect();
        let has_parts =
            attributes.part_count().is_some() && !sizes.is_empty() && attributes.encryption.is_none();
        let mut digest = Self {
            md5: Md5::new(),
            of_parts: has_parts.then(Md5::new),
            sizes,
            left: 0,
            count: 0,
            is_known: has_parts || attributes.md5().is_some(),
        };
        digest.left = digest.next_size();
        digest
    }

    fn next_size(&mut self) -> u64 {
        let Some((count, size)) = self.sizes.front_mut() else { return u64::MAX };
        let size = *size;
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.sizes.pop_front();
        }
        size
    }

    fn end_part(&mut self) {
        let md5 = std::mem::take(&mut self.md5).finalize();
        if let Some(of_parts) = &mut self.of_parts {
            of_parts.update(md5);
            self.count += 1;
        }
        self.left = self.next_size();
    }

    fn add(&mut self, mut bytes: &[u8]) {
        if !self.is_known {
            return;
        }
        while !bytes.is_empty() {
            let now = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (part, rest) = bytes.split_at(now);
            self.md5.update(part);
            self.left -= part.len() as u64;
            bytes = rest;
            if self.left == 0 && self.of_parts.is_some() {
                self.end_part();
            }
        }
    }

    /// Nothing where it cannot be known.
    fn etag(self) -> Option<String> {
        if !self.is_known {
            return None;
        }
        Some(match self.of_parts {
            Some(of_parts) => format!("{}-{}", hex(&of_parts.finalize()), self.count),
            None => hex(&self.md5.finalize()),
        })
    }
}

impl Write for PartDigest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_are_worked_out() {
        let etag = |etag: &str, parts: &[(u64, u64)], pieces: &[&[u8]]| {
            let attributes = Attributes { etag: etag.into(), parts: parts.to_vec(), ..Attributes::default() };
            let mut digest = PartDigest::new(&attributes);
            pieces.iter().for_each(|piece| digest.add(piece));
            digest.etag()
        };
        let single = "900150983cd24fb0d6963f7d28e17f72";
        assert_eq!(etag(single, &[], &[b"a", b"bc"]).as_deref(), Some(single));
        // MD5 of the MD5s of "ab", "cd" and "e".
        let md5 = |bytes: &[u8]| Md5::digest(bytes);
        let all = [md5(b"ab"), md5(b"cd"), md5(b"e")].concat();
        let parts = format!("{}-3", hex(&md5(&all)));
        assert_eq!(etag(&parts, &[(2, 2), (1, 1)], &[b"abc", b"", b"de"]), Some(parts.clone()));
        assert_eq!(etag(&parts, &[], &[b"abcde"]), None);
        assert_eq!(etag("no md5", &[], &[b"abc"]), None);
    }
}
