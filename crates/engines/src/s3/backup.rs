//! The engine `s3`: a bucket's objects, and what is unchanged since the parent snapshot taken over unread.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::AtomicBool;

use crossbeam_channel::Receiver;
use strongroom_chunker::ChunkerParams;
use strongroom_format::tree_entry::TreeEntry;
use strongroom_repository::RepositoryError;
use strongroom_repository::backup::{Lane, Sink};
use strongroom_repository::tree::EntryCursor;

use super::ahead::Askers;
use super::attributes::{Attributes, modified_ms};
use super::configuration::{self, Configuration};
use super::error::{S3Error, in_words};
use super::facts::{Counting, DENIED, ENGINE, Facts};
use super::key::Place;
use super::listing::{Kind, Listing, Object, Versioning, versioning};
use super::order::{InTreeOrder, MOST_HELD};
use super::ranges::Ranges;
use super::read::{self, Fetched, Opened, Tagging, WHOLE_BYTES};
use super::session::{BucketTarget, Session};
use super::shard::Shard;
use crate::engine::{Engine, EngineError, stream_entry};

/// Requests under way, where nobody says how many.
pub const REQUESTS: usize = 32;
/// Of them, for ranges of long objects: each thread that holds such buffers costs memory even when it has none.
const LONG_REQUESTS: usize = 8;
/// Bytes that are read ahead, and objects.
const AHEAD_BYTES: u64 = 64 << 20;
const AHEAD_OBJECTS: usize = 512;
/// What an object costs besides its bytes.
const OVERHEAD_BYTES: u64 = 8 << 10;
/// Shortest object that may be stored as what differs from what it was, bytes.
const DELTA_BYTES: u64 = 64 << 10;
/// How often a long object that changes while it is read is read.
const ATTEMPTS: u32 = 2;
/// Objects that are named, and that facts name.
const MOST_NAMED: u64 = 20;
/// Older versions of one key that are looked for in the parent.
const MOST_VERSIONS: u64 = 10_000;

/// Backs up a bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Which.
    pub target: BucketTarget,
    /// No older versions, and no delete markers.
    pub current_only: bool,
    /// No tags.
    pub no_tags: bool,
    /// One worker's part.
    pub shard: Option<Shard>,
    /// Whether the parts of all workers become one snapshot: then the bucket's configuration is in the first.
    pub is_grouped: bool,
    /// Beginnings of keys that are left out: whole ones, of the bucket.
    pub left_out: Vec<String>,
    /// Requests under way.
    pub requests: usize,
}

impl Engine for Bucket {
    fn name(&self) -> &'static str {
        ENGINE
    }

    fn backup(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        self.run(sink)
    }
}

impl Bucket {
    fn run(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        let session = Session::open(&self.target, sink.monitor())?;
        let (versioning, is_minio) = versioning(&session)?;
        let (configuration, configuration_denied) = configuration::read(&session, versioning)?;
        if !configuration_denied.is_empty() {
            let denied = configuration_denied.join(", ");
            sink.monitor()
                .warn(&format!("the bucket's configuration is not all in the snapshot: {denied} denied"));
        }
        let with_versions = versioning != Versioning::Never && !self.current_only;
        let tagging = match (self.no_tags, is_minio) {
            (true, _) => Tagging::LeftOut,
            (false, true) => Tagging::Listed,
            (false, false) => Tagging::Asked,
        };
        let left_out = self.left_out_here()?;
        let listing = Listing {
            session: &session,
            kind: if with_versions { Kind::Versions } else { Kind::Objects },
            with_tags: tagging == Tagging::Listed,
            left_out: &left_out,
            shard: self.shard,
        };
        let (lane, parent) = (sink.ordered_lane(ChunkerParams::default())?, parent(sink));
        let facts = Facts {
            engine: ENGINE.to_owned(),
            bucket: session.bucket.clone(),
            prefix: session.prefix.clone(),
            endpoint: session.endpoint.clone(),
            versioning: versioning.word().to_owned(),
            with_versions,
            tags: tagging_word(tagging).to_owned(),
            shard: self.shard,
            left_out: left_out.iter().map(|prefix| session.key(prefix)).collect(),
            configuration_denied,
            ..Facts::default()
        };
        let is_stopped = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let askers = Askers::start(scope, self.requests, &is_stopped);
            let long_askers = Askers::start(scope, self.requests.min(LONG_REQUESTS), &is_stopped);
            let mut run = BucketRun {
                sink,
                session: &session,
                tagging,
                lane,
                parent,
                known: Known::default(),
                askers,
                long_askers,
                ahead: VecDeque::new(),
                ahead_bytes: 0,
                bytes: 0,
                taken: 0,
                counting: Counting::default(),
                facts,
            };
            if !self.is_grouped || self.shard.is_none_or(|shard| shard.number == 1) {
                run.configuration(&configuration)?;
            }
            let mut order = InTreeOrder::new(listing, "", MOST_HELD);
            while let Some(object) = order.next_item()? {
                run.object(object)?;
            }
            run.finish()
        })
    }

    /// Without what all keys begin with.
    fn left_out_here(&self) -> Result<Vec<String>, S3Error> {
        let mut here = Vec::new();
        for whole in &self.left_out {
            if self.target.prefix.starts_with(whole) {
                return Err(S3Error::Repository { bucket: self.target.to_string() });
            }
            here.extend(whole.strip_prefix(&self.target.prefix).map(str::to_owned));
        }
        Ok(here)
    }
}

fn tagging_word(tagging: Tagging) -> &'static str {
    match tagging {
        Tagging::Listed => "listed",
        Tagging::Asked => "asked",
        Tagging::LeftOut => "left out",
    }
}

fn parent<'env>(sink: &Sink<'_, 'env>) -> Option<EntryCursor<'env>> {
    let parent = sink.parent()?;
    match EntryCursor::new(sink.reader(), &parent.manifest.tree) {
        Ok(cursor) => Some(cursor),
        Err(error) => {
            let id = parent.id().short();
            sink.monitor().warn(&format!(
                "the parent snapshot {id} cannot be read ({error}); every object is read again"
            ));
            None
        }
    }
}

/// What is on its way, in the order of the snapshot.
enum Coming {
    Known(Box<TreeEntry>, Attributes),
    /// Its tags are asked for: nothing else can be otherwise.
    Tagged(Box<TreeEntry>, Attributes, Receiver<Result<Option<BTreeMap<String, String>>, S3Error>>),
    Read(Box<Object>, Receiver<Result<Fetched, S3Error>>),
}

/// What the parent has of the key at hand.
#[derive(Default)]
struct Known {
    key: String,
    /// By their versions; nothing for those that have none.
    entries: HashMap<Option<String>, TreeEntry>,
}

struct BucketRun<'s, 'scope, 'env, 'm> {
    sink: &'s Sink<'scope, 'env>,
    session: &'s Session<'m>,
    tagging: Tagging,
    lane: Lane<'env>,
    parent: Option<EntryCursor<'env>>,
    known: Known,
    askers: Askers<'s>,
    long_askers: Askers<'s>,
    ahead: VecDeque<(Coming, u64)>,
    ahead_bytes: u64,
    bytes: u64,
    /// Entries that went into the snapshot.
    taken: u64,
    counting: Counting,
    facts: Facts,
}

impl BucketRun<'_, '_, '_, '_> {
    fn configuration(&mut self, configuration: &Configuration) -> Result<(), EngineError> {
        let json = serde_json::to_vec_pretty(configuration).unwrap_or_default();
        self.bytes += self.lane.content(&configuration::PATH, &mut json.as_slice())?;
        Ok(self.lane.end(stream_entry(configuration::PATH)?)?)
    }

    fn object(&mut self, object: Object) -> Result<(), EngineError> {
        if object.listed.is_delete_marker {
            let attributes = Attributes {
                version: object.listed.version.clone(),
                delete_marker: true,
                ..Attributes::default()
            };
            let entry = attributes.entry(object.path, object.listed.modified_ms);
            return self.push(Coming::Known(Box::new(entry), attributes), OVERHEAD_BYTES);
        }
        if let Some((entry, mut attributes)) = self.unchanged(&object) {
            if self.tagging == Tagging::Asked {
                let session = self.session;
                let answer = self.askers.ask(move || read::tags(session, &object));
                return self.push(Coming::Tagged(Box::new(entry), attributes, answer), OVERHEAD_BYTES);
            }
            if self.tagging == Tagging::Listed {
                attributes.tags = object.listed.tags.unwrap_or_default();
            }
            return self.push(Coming::Known(Box::new(entry), attributes), OVERHEAD_BYTES);
        }
        if object.listed.size > WHOLE_BYTES {
            self.drain()?;
            return self.long(&object);
        }
        let (session, tagging, asked) = (self.session, self.tagging, object.clone());
        let cost = object.listed.size + OVERHEAD_BYTES;
        self.make_room(cost)?;
        let answer = self.askers.ask(move || read::whole(session, &asked, tagging));
        self.push(Coming::Read(Box::new(object), answer), cost)
    }

    /// The parent's entry, at its new place, if nothing but tags can have changed since.
    fn unchanged(&mut self, object: &Object) -> Option<(TreeEntry, Attributes)> {
        let found = self.of_parent(object).unwrap_or_else(|error| {
            self.sink.monitor().warn(&format!(
                "a part of the parent snapshot cannot be read ({error}); objects are read again from here on"
            ));
            self.parent = None;
            None
        })?;
        let attributes = Attributes::of(&found)?;
        let listed = &object.listed;
        let is_same = attributes.etag == listed.etag
            && attributes.version == listed.version
            && !attributes.delete_marker
            && modified_ms(&found) == listed.modified_ms
            && found.bytes() == listed.size;
        let content = found.content().filter(|_| is_same)?.clone();
        Some((attributes.entry_with(object.path.clone(), listed.modified_ms, content), attributes))
    }

    fn of_parent(&mut self, object: &Object) -> Result<Option<TreeEntry>, RepositoryError> {
        let Some(parent) = &mut self.parent else { return Ok(None) };
        if self.known.key != object.key || self.known.key.is_empty() {
            self.known = Known { key: object.key.clone(), entries: HashMap::new() };
            for version in 0..MOST_VERSIONS {
                let place = Place { key: object.key.clone(), version };
                // A listed key has a path.
                let Ok(path) = place.path() else { break };
                match parent.seek(&path)? {
                    Some(entry) => {
                        let of = Attributes::of(&entry).and_then(|attributes| attributes.version);
                        self.known.entries.insert(of, entry);
                    }
                    None if version == 0 => {}
                    None => break,
                }
                // Without versions there is no other.
                if object.listed.version.is_none() {
                    break;
                }
            }
        }
        Ok(self.known.entries.remove(&object.listed.version))
    }

    /// Takes what came until there is room for so many bytes more.
    fn make_room(&mut self, bytes: u64) -> Result<(), EngineError> {
        while !self.ahead.is_empty()
            && (self.ahead_bytes + bytes > AHEAD_BYTES || self.ahead.len() >= AHEAD_OBJECTS)
        {
            self.take()?;
        }
        Ok(())
    }

    fn push(&mut self, coming: Coming, cost: u64) -> Result<(), EngineError> {
        self.make_room(cost)?;
        self.ahead_bytes += cost;
        self.ahead.push_back((coming, cost));
        Ok(())
    }

    fn drain(&mut self) -> Result<(), EngineError> {
        while !self.ahead.is_empty() {
            self.take()?;
        }
        Ok(())
    }

    /// The next of those on their way.
    fn take(&mut self) -> Result<(), EngineError> {
        let Some((coming, cost)) = self.ahead.pop_front() else { return Ok(()) };
        self.ahead_bytes -= cost;
        match coming {
            Coming::Known(entry, attributes) => self.take_over(&entry, &attributes),
            Coming::Tagged(entry, mut attributes, answer) => {
                match answer.recv().map_err(|_| RepositoryError::Interrupted)? {
                    // Those of before are better than none.
                    Ok(_) if self.session.tags_denied.get().is_some() => {}
                    Ok(Some(tags)) => attributes.tags = tags,
                    Ok(None) => {
                        self.facts.vanished += 1;
                        return Ok(());
                    }
                    Err(error) => return Err(error.into()),
                }
                self.take_over(&entry, &attributes)
            }
            Coming::Read(object, answer) => {
                match answer.recv().map_err(|_| RepositoryError::Interrupted)?? {
                    Fetched::Read(attributes, bytes) => self.whole(&object, &attributes, &bytes),
                    Fetched::Vanished => {
                        self.facts.vanished += 1;
                        Ok(())
                    }
                    Fetched::Unreadable(why) => {
                        self.unreadable(&object, &why);
                        Ok(())
                    }
                }
            }
        }
    }

    fn take_over(&mut self, entry: &TreeEntry, attributes: &Attributes) -> Result<(), EngineError> {
        let bytes = entry.bytes();
        self.sink.monitor().advance(bytes);
        self.bytes += bytes;
        self.taken += 1;
        self.counting.add(entry, attributes, bytes);
        let content = entry.content().cloned();
        let entry = match content {
            Some(content) => attributes.entry_with(entry.path.clone(), modified_ms(entry), content),
            None => entry.clone(),
        };
        Ok(self.lane.entry(entry)?)
    }

    fn whole(&mut self, object: &Object, attributes: &Attributes, bytes: &[u8]) -> Result<(), EngineError> {
        if bytes.len() as u64 >= DELTA_BYTES {
            self.lane.against(self.sink.base(&object.path))?;
        }
        let mut rest = bytes;
        self.lane.content(&object.key, &mut rest)?;
        self.end(object, attributes, bytes.len() as u64)
    }

    fn end(&mut self, object: &Object, attributes: &Attributes, bytes: u64) -> Result<(), EngineError> {
        let entry = attributes.entry(object.path.clone(), object.listed.modified_ms);
        self.bytes += bytes;
        self.taken += 1;
        self.facts.read += 1;
        self.counting.add(&entry, attributes, bytes);
        Ok(self.lane.end(entry)?)
    }

    /// An object that is read range by range, several at once.
    fn long(&mut self, object: &Object) -> Result<(), EngineError> {
        let mut why = String::new();
        for _ in 0..ATTEMPTS {
            let (attributes, length) = match read::open(self.session, object, self.tagging)? {
                Opened::Open(attributes, length) => (attributes, length),
                Opened::Vanished => {
                    self.facts.vanished += 1;
                    return Ok(());
                }
                Opened::Unreadable(why) => {
                    self.unreadable(object, &why);
                    return Ok(());
                }
            };
            self.lane.against(self.sink.base(&object.path))?;
            let ranges = Ranges::new(self.session, &self.long_askers, object, &attributes, length);
            match ranges.into_lane(&mut self.lane, object)? {
                Ok(read) if read == length => return self.end(object, &attributes, length),
                Ok(_) => "it is shorter than the service says".clone_into(&mut why),
                Err(error) if error.is_not_found() => {
                    self.facts.vanished += 1;
                    return Ok(self.lane.discard()?);
                }
                Err(error) if error.status() == Some(412) => {
                    "it changed while it was read, also the second time".clone_into(&mut why);
                }
                Err(error) if error.is_of_object() => why = in_words(&error),
                Err(error) => return Err(error.into()),
            }
            self.lane.discard()?;
        }
        self.unreadable(object, &why);
        Ok(())
    }

    fn unreadable(&mut self, object: &Object, why: &str) {
        self.facts.unreadable += 1;
        self.sink.count_unreadable();
        if self.facts.unreadable <= MOST_NAMED {
            let version =
                object.listed.version.as_ref().map_or(String::new(), |version| format!(" ({version})"));
            let key = self.session.key(&object.key);
            self.sink.monitor().warn(&format!("cannot read {key:?}{version}: {why}"));
            self.facts.unreadable_keys.push(key);
        }
    }

    fn finish(mut self) -> Result<(), EngineError> {
        self.drain()?;
        let monitor = self.sink.monitor();
        if monitor.is_cancelled() {
            return Err(RepositoryError::Interrupted.into());
        }
        let unreadable = self.facts.unreadable;
        if self.taken == 0 && unreadable > 0 {
            let bucket = self.session.name.clone();
            return Err(S3Error::NothingReadable { bucket, objects: unreadable }.into());
        }
        if let Some(why) = self.session.tags_denied.get() {
            self.sink.count_unreadable();
            DENIED.clone_into(&mut self.facts.tags);
            monitor.warn(&format!("tags are not in the snapshot: {why} (--no-tags does without them)"));
        }
        if unreadable > MOST_NAMED {
            monitor.warn(&format!("and {} other objects cannot be read", unreadable - MOST_NAMED));
        }
        if self.facts.vanished > 0 {
            let vanished = self.facts.vanished;
            monitor.note(&format!("{vanished} objects were deleted while the bucket was read"));
        }
        for prefix in &self.facts.left_out {
            monitor.note(&format!("{prefix} is left out: the repository lies there"));
        }
        self.facts.counts = self.counting.finish();
        self.sink.facts(serde_json::to_vec(&self.facts).unwrap_or_default());
        self.sink.cut(Vec::new(), ChunkerParams::default(), self.bytes);
        Ok(self.lane.finish()?)
    }
}
