//! `restore --to`: a snapshot into a bucket.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;

use crossbeam_channel::Receiver;
use strongroom_format::tree_entry::{Content, TreeEntry};
use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::restore::write_in_order;
use strongroom_repository::state::Snapshot;
use strongroom_repository::tree::{EntryCursor, ListCursor};

use super::ahead::Askers;
use super::attributes::Attributes;
use super::configuration::{self, Configuration};
use super::error::{S3Error, in_words};
use super::facts::Facts;
use super::key::Place;
use super::listing::{Kind, Listing, Object, Versioning, versioning};
use super::mirror::{self, There};
use super::order::{InTreeOrder, MOST_HELD, Pages as _, Position};
use super::read::WHOLE_BYTES;
use super::selection::KeySelection;
use super::session::{BucketTarget, Session, failed};
use super::write::{self, LARGEST_PART_BYTES, Upload, Writing};
use crate::engine::EngineError;
use crate::stored;

/// Bytes of objects that are under way, and objects.
const AHEAD_BYTES: u64 = 64 << 20;
const AHEAD_OBJECTS: usize = 512;
const OVERHEAD_BYTES: u64 = 8 << 10;
/// Objects that are named.
const MOST_NAMED: usize = 20;

/// What is restored, and how.
#[derive(Debug, Clone, Default)]
pub struct BucketSwitches {
    /// Which keys.
    pub selection: KeySelection,
    /// Afterwards there is what the snapshot has, and nothing else.
    pub drop_existing: bool,
    /// Versioning, tags and policy first.
    pub with_configuration: bool,
    /// No older versions.
    pub current_only: bool,
    /// Beginnings of keys, whole ones, that are never touched: the repository's own.
    pub protected: Vec<String>,
    /// Requests under way.
    pub requests: usize,
}

/// What was restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BucketReport {
    /// Objects that were written, and older versions and delete markers before them.
    pub objects: u64,
    /// See `objects`.
    pub versions: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// Objects that were there already, as they should be.
    pub left: u64,
    /// Objects that were deleted, because the snapshot does not have them.
    pub deleted: u64,
    /// What could not be restored, the first by name.
    pub failed: u64,
    /// See `failed`.
    pub failures: Vec<String>,
    /// Whether something of it is damaged in the repository.
    pub is_damaged: bool,
    /// What is otherwise than it may be thought to be.
    pub notes: Vec<String>,
}

impl BucketReport {
    pub(super) fn fail(&mut self, key: &str, why: &str) {
        self.failed += 1;
        if self.failures.len() < MOST_NAMED {
            self.failures.push(format!("{key:?}: {why}"));
        }
    }
}

/// A snapshot of a bucket.
pub struct Objects<'r> {
    pub(super) reader: &'r Reader<'r>,
    pub(super) snapshot: &'r Snapshot,
    /// What the snapshot says of itself.
    pub facts: Facts,
}

/// An object with its older versions: what is to be written, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) key: String,
    pub(super) entries: Vec<(TreeEntry, Attributes)>,
}

impl Group {
    /// The object as it was, if it was there.
    pub(super) fn current(&self) -> Option<&(TreeEntry, Attributes)> {
        self.entries
            .last()
            .filter(|(entry, _)| Place::of(&entry.path).is_some_and(|place| place.version == 0))
    }

    fn bytes(&self) -> u64 {
        self.entries.iter().map(|(entry, _)| entry.bytes() + OVERHEAD_BYTES).sum()
    }
}

/// The groups of a snapshot, in its order.
pub(super) struct Groups<'r> {
    cursor: EntryCursor<'r>,
    next: Option<(String, TreeEntry, Attributes)>,
}

impl<'r> Groups<'r> {
    pub(super) fn new(reader: &'r Reader<'r>, snapshot: &'r Snapshot) -> Result<Self, RepositoryError> {
        let mut groups = Self { cursor: EntryCursor::new(reader, &snapshot.manifest.tree)?, next: None };
        groups.advance()?;
        Ok(groups)
    }

    fn advance(&mut self) -> Result<(), RepositoryError> {
        while let Some(entry) = self.cursor.next_entry()? {
            if let (Some(place), Some(attributes)) = (Place::of(&entry.path), Attributes::of(&entry)) {
                self.next = Some((place.key, entry, attributes));
                return Ok(());
            }
        }
        Ok(())
    }

    pub(super) fn next(&mut self) -> Result<Option<Group>, RepositoryError> {
        let mut group = Group::default();
        while let Some((key, entry, attributes)) = self.next.take() {
            if !group.entries.is_empty() && key != group.key {
                self.next = Some((key, entry, attributes));
                break;
            }
            group.key = key;
            group.entries.push((entry, attributes));
            self.advance()?;
        }
        group.entries.reverse();
        Ok(Some(group).filter(|group| !group.entries.is_empty()))
    }
}

impl<'r> Objects<'r> {
    /// Reads what the snapshot says of itself.
    ///
    /// # Errors
    /// `NotABucketSnapshot`; what reading the facts fails with.
    pub fn open(reader: &'r Reader<'r>, snapshot: &'r Snapshot) -> Result<Self, EngineError> {
        Ok(Self { reader, snapshot, facts: Facts::of(reader, snapshot)? })
    }

    /// Restores. What is in the way is looked for before anything is changed.
    ///
    /// # Errors
    /// `Repository`, `InTheWay` before anything is changed; then `Partial`. What concerns single objects is in the report.
    pub fn restore(
        &self,
        to: &BucketTarget,
        switches: &BucketSwitches,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<BucketReport, EngineError> {
        let session = Session::open(to, monitor)?;
        let mut protected = Vec::new();
        for whole in &switches.protected {
            if to.prefix.starts_with(whole) {
                return Err(S3Error::Repository { bucket: to.to_string() }.into());
            }
            protected.extend(whole.strip_prefix(&to.prefix).map(str::to_owned));
        }
        let listing = |kind, with_tags| Listing {
            session: &session,
            kind,
            with_tags,
            left_out: &protected,
            shard: self.facts.shard,
        };
        if !switches.drop_existing {
            require_empty(&mut listing(Kind::Objects, false), to)?;
        }
        let mut report = BucketReport::default();
        if switches.with_configuration {
            let given = self.configuration()?.give(&session, &self.facts.bucket)?;
            if !given.is_empty() {
                report.notes.push(format!("of the bucket's configuration only versioning, tags and policy were restored; {} has the rest", configuration::PATH));
            }
        }
        let (how, is_minio) = versioning(&session)?;
        let replays = self.facts.with_versions && how == Versioning::Enabled && !switches.current_only;
        if self.facts.with_versions && !replays && !switches.current_only {
            report.notes.push(format!(
                "only current objects were restored: versioning of {} is {}",
                session.name,
                how.word()
            ));
        }
        let writing = Writing { has_lock: has_lock(&session), without_classes: AtomicBool::new(false) };
        let is_stopped = AtomicBool::new(false);
        let restored = std::thread::scope(|scope| {
            let mut run = Run {
                objects: self,
                session: &session,
                switches,
                protected: &protected,
                writing: &writing,
                replays,
                askers: Askers::start(scope, switches.requests.max(1), &is_stopped),
                ahead: VecDeque::new(),
                ahead_bytes: 0,
                report: &mut report,
                workers,
            };
            let kind = if replays { Kind::Versions } else { Kind::Objects };
            let there = switches.drop_existing.then(|| There::new(listing(kind, is_minio)));
            run.write_all(there.transpose()?)
        });
        let deleted = restored.and_then(|()| match (switches.drop_existing, report.failed) {
            (false, _) => Ok(()),
            (true, 0) => {
                let there = InTreeOrder::new(listing(Kind::Objects, false), "", MOST_HELD);
                mirror::delete_others(self, &session, there, switches, &mut report)
            }
            (true, _) => {
                report.notes.push("nothing was deleted, because not everything was restored".into());
                Ok(())
            }
        });
        if writing.without_classes.into_inner() {
            report
                .notes
                .push(format!("{} does not know all storage classes: objects got its own", session.name));
        }
        match deleted {
            Ok(()) if monitor.is_cancelled() => Err(RepositoryError::Interrupted.into()),
            Ok(()) => Ok(report),
            Err(_) if monitor.is_cancelled() && report.objects + report.deleted == 0 => {
                Err(RepositoryError::Interrupted.into())
            }
            Err(error) if report.objects + report.versions + report.deleted == 0 => Err(error),
            Err(source) => Err(S3Error::Partial {
                bucket: session.name.clone(),
                objects: report.objects,
                of: self.facts.counts.objects,
                source: Box::new(source),
            }
            .into()),
        }
    }

    fn configuration(&self) -> Result<Configuration, EngineError> {
        let content = stored::content(self.reader, self.snapshot, configuration::PATH)?;
        let bytes = self.bytes(&content)?;
        let other = |_| S3Error::NotABucketSnapshot { snapshot: self.snapshot.id() };
        Ok(serde_json::from_slice(&bytes).map_err(other)?)
    }

    /// All of a content that is not long.
    pub(super) fn bytes(&self, content: &Content) -> Result<Vec<u8>, RepositoryError> {
        let mut bytes = Vec::with_capacity(usize::try_from(content.bytes().min(WHOLE_BYTES)).unwrap_or(0));
        let mut items = ListCursor::new(self.reader, content)?;
        while let Some(item) = items.next_item()? {
            if item.is_hole() {
                bytes.resize(bytes.len() + item.length as usize, 0);
            } else {
                bytes.extend_from_slice(self.reader.chunk(item.id)?.as_bytes());
            }
        }
        Ok(bytes)
    }
}

/// What has keys like those that would be written.
fn require_empty(listing: &mut Listing<'_, '_>, to: &BucketTarget) -> Result<(), S3Error> {
    let mut position = Some(Position::default());
    while let Some(after) = position.take() {
        let Some(page) = listing.next("", &after)? else { return Ok(()) };
        if let Some(object) = page.items.first() {
            let key = listing.session.key(&object.key);
            return Err(S3Error::InTheWay { bucket: format!("{to} of {}", listing.session.name), key });
        }
        position = page.next;
    }
    Ok(())
}

fn has_lock(session: &Session<'_>) -> bool {
    let request = session.client.get_object_lock_configuration().bucket(&session.bucket);
    let answer = session
        .call("GetObjectLockConfiguration", "", || async { request.clone().send().await.map_err(failed) });
    answer.is_ok_and(|answer| answer.object_lock_configuration.is_some())
}

/// What became of a group.
pub(super) enum Done {
    Written {
        versions: u64,
        is_current: bool,
        bytes: u64,
    },
    /// It was there already.
    Left,
    Failed {
        why: String,
        is_damage: bool,
    },
}

/// A key on its way, with what it costs.
type Coming = (String, u64, Receiver<Result<Done, EngineError>>);

struct Run<'s, 'm, 'o> {
    objects: &'s Objects<'o>,
    session: &'s Session<'m>,
    switches: &'s BucketSwitches,
    protected: &'s [String],
    writing: &'s Writing,
    replays: bool,
    askers: Askers<'s>,
    ahead: VecDeque<Coming>,
    ahead_bytes: u64,
    report: &'s mut BucketReport,
    workers: usize,
}

impl<'s> Run<'s, '_, '_> {
    fn write_all(&mut self, mut there: Option<There<'_, '_>>) -> Result<(), EngineError> {
        let objects = self.objects;
        let mut groups = Groups::new(objects.reader, objects.snapshot)?;
        while let Some(mut group) = groups.next()? {
            if self.session.monitor.is_cancelled() {
                return Err(RepositoryError::Interrupted.into());
            }
            if !self.switches.selection.has(&group.key) {
                continue;
            }
            if self.protected.iter().any(|prefix| group.key.starts_with(prefix)) {
                self.report.fail(&group.key, "the repository lies there");
                continue;
            }
            if !self.replays {
                group.entries.drain(..group.entries.len().saturating_sub(1));
                if group.current().is_none() {
                    continue;
                }
            }
            let found = there.as_mut().map(|there| there.seek(&group.key)).transpose()?.unwrap_or_default();
            self.group(group, found)?;
        }
        while !self.ahead.is_empty() {
            self.take()?;
        }
        Ok(())
    }

    /// `found` is what is there under its key, the newest first.
    fn group(&mut self, group: Group, mut found: Vec<Object>) -> Result<(), EngineError> {
        let (objects, session, writing) = (self.objects, self.session, self.writing);
        let is_left = mirror::has_same_bytes(&group, &found);
        if is_left && group.current().is_none() {
            self.note(&group.key, Done::Left);
            return Ok(());
        }
        // The current one, whose metadata may be otherwise all the same.
        let same = is_left.then(|| found.swap_remove(0));
        let is_long = group.entries.iter().any(|(entry, _)| entry.bytes() > WHOLE_BYTES);
        if is_long {
            let is_left = match same {
                Some(found) => mirror::is_same(objects, session, &group, &found)?,
                None => false,
            };
            if is_left {
                self.note(&group.key, Done::Left);
                return Ok(());
            }
            return match group.entries.len() == 1 && group.current().is_some_and(fits_one_request) {
                true => self.in_one_request(group),
                false => {
                    let done = self.long(&group)?;
                    self.note(&group.key, done);
                    Ok(())
                }
            };
        }
        let bytes = group.bytes();
        self.make_room(bytes)?;
        let key = group.key.clone();
        let answer = self.askers.ask(move || {
            if let Some(found) = same
                && mirror::is_same(objects, session, &group, &found)?
            {
                return Ok(Done::Left);
            }
            written(&group, |entry, attributes| {
                small(objects, session, writing, &group.key, entry, attributes)
            })
        });
        self.ahead.push_back((key, bytes, answer));
        self.ahead_bytes += bytes;
        Ok(())
    }

    fn make_room(&mut self, bytes: u64) -> Result<(), EngineError> {
        while !self.ahead.is_empty()
            && (self.ahead_bytes + bytes > AHEAD_BYTES || self.ahead.len() >= AHEAD_OBJECTS)
        {
            self.take()?;
        }
        Ok(())
    }

    /// A long object, read by all threads, and written by one while the next is read.
    fn in_one_request(&mut self, group: Group) -> Result<(), EngineError> {
        self.make_room(group.bytes())?;
        let (objects, session, writing) = (self.objects, self.session, self.writing);
        let mut bytes = Vec::new();
        let read = written(&group, |entry, _| {
            let Some(content) = entry.content() else { return Ok(()) };
            Ok(write_in_order(objects.reader, content, &mut bytes, &Quiet(session.monitor), self.workers)?)
        })?;
        if let Done::Failed { .. } = read {
            self.note(&group.key, read);
            return Ok(());
        }
        let (key, cost) = (group.key.clone(), group.bytes());
        let answer = self.askers.ask(move || {
            written(&group, |_, attributes| {
                Ok(write::whole(session, writing, &group.key, attributes, std::mem::take(&mut bytes))?)
            })
        });
        self.ahead.push_back((key, cost, answer));
        self.ahead_bytes += cost;
        Ok(())
    }

    fn take(&mut self) -> Result<(), EngineError> {
        let Some((key, bytes, answer)) = self.ahead.pop_front() else { return Ok(()) };
        self.ahead_bytes -= bytes;
        let done = answer.recv().map_err(|_| RepositoryError::Interrupted)??;
        self.note(&key, done);
        Ok(())
    }

    fn note(&mut self, key: &str, done: Done) {
        match done {
            Done::Written { versions, is_current, bytes } => {
                self.report.objects += u64::from(is_current);
                self.report.versions += versions;
                self.report.bytes += bytes;
                self.session.monitor.advance(bytes);
            }
            Done::Left => self.report.left += 1,
            Done::Failed { why, is_damage } => {
                self.report.is_damaged |= is_damage;
                self.report.fail(&self.session.key(key), &why);
            }
        }
    }

    fn long(&self, group: &Group) -> Result<Done, EngineError> {
        written(group, |entry, attributes| {
            let (objects, session) = (self.objects, self.session);
            let content = match entry.content() {
                Some(content) if content.bytes() > WHOLE_BYTES => content,
                _ => return small(objects, session, self.writing, &group.key, entry, attributes),
            };
            let mut upload =
                Upload::begin(session, &self.askers, self.writing, &group.key, attributes, content.bytes())?;
            // What is written is counted when it is an object.
            let cancelled = Quiet(session.monitor);
            match write_in_order(objects.reader, content, &mut upload, &cancelled, self.workers) {
                Ok(()) => Ok(upload.complete()?),
                Err(error) => {
                    upload.abort();
                    Err(upload.failure().map_or(error.into(), EngineError::from))
                }
            }
        })
    }
}

/// Whether it came in one go, so that its ETag is the same only if it goes in one.
fn fits_one_request((entry, attributes): &(TreeEntry, Attributes)) -> bool {
    attributes.part_count().is_none() && entry.bytes() <= LARGEST_PART_BYTES
}

/// Says nothing, but whether the run is cancelled.
struct Quiet<'m>(&'m dyn Monitor);

impl Monitor for Quiet<'_> {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// Writes all of a group with `write`. What fails of a single object is told, and no error.
fn written(
    group: &Group,
    mut write: impl FnMut(&TreeEntry, &Attributes) -> Result<(), EngineError>,
) -> Result<Done, EngineError> {
    let mut bytes = 0;
    for (entry, attributes) in &group.entries {
        match write(entry, attributes) {
            Ok(()) => bytes += entry.bytes(),
            Err(EngineError::S3(error)) if error.is_of_object() => {
                return Ok(Done::Failed { why: in_words(&error), is_damage: false });
            }
            Err(EngineError::Repository(
                error @ (RepositoryError::ChunkUnavailable { .. }
                | RepositoryError::Damaged { .. }
                | RepositoryError::Inconsistent { .. }),
            )) => return Ok(Done::Failed { why: in_words(&error), is_damage: true }),
            Err(error) => return Err(error),
        }
    }
    let is_current = group.current().is_some();
    let versions = group.entries.len() as u64 - u64::from(is_current);
    Ok(Done::Written { versions, is_current, bytes })
}

fn small(
    objects: &Objects<'_>,
    session: &Session<'_>,
    writing: &Writing,
    key: &str,
    entry: &TreeEntry,
    attributes: &Attributes,
) -> Result<(), EngineError> {
    if attributes.delete_marker {
        return Ok(write::delete(session, key)?);
    }
    let bytes = entry.content().map(|content| objects.bytes(content)).transpose()?.unwrap_or_default();
    Ok(write::whole(session, writing, key, attributes, bytes)?)
}
