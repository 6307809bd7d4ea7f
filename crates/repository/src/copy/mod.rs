//! Copying snapshots: out of another repository, or a damaged one of this without what is damaged.
//!
//! What is copied is read, verified, cut and sealed anew: the other repository names its chunks by another secret, cuts
//! them elsewhere and has other keys. So a copy is a snapshot like any other, and later backups go on from it. Files
//! that are as they were in the snapshot copied before are taken over unread.

mod content;

use std::collections::BTreeSet;

use strongroom_chunker::ChunkerParams;
use strongroom_format::manifest::{Manifest, Origin, Stream};
use strongroom_format::path::EntryPath;
use strongroom_format::registry::ChunkerKind;
use strongroom_format::tree_entry::{Content, EntryKind, TreeEntry};
use strongroom_format::{RepositoryId, SnapshotId};

use self::content::{Poured, pour};
use crate::backup::{BackupOptions, BackupReport, Copied, Lane, Sink};
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::reader::Reader;
use crate::repository::Repository;
use crate::state::{Snapshot, State, describe};
use crate::tree::EntryCursor;

/// How many errors in a row of one tree are passed over.
const PATIENCE: u32 = 100_000;

/// How to copy.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// Name and version of the program.
    pub tool: String,
    /// zstd level.
    pub compression_level: i32,
    /// Threads that read, hash, compress and seal.
    pub workers: usize,
    /// Packs being stored at the same time.
    pub uploads: usize,
    /// Tags of the copy, in place of those that the snapshot has.
    pub tags: Option<Vec<String>>,
    /// Whether what cannot be read is left out; else the copy fails.
    pub leave_out_damaged: bool,
}

/// What a copy did.
#[derive(Debug, Clone)]
pub struct CopyReport {
    /// The copy.
    pub backup: BackupReport,
    /// What was left out because it is damaged, as far as its name is known.
    pub left_out: Vec<EntryPath>,
}

impl Repository {
    /// What a snapshot of this repository is or is a copy of.
    ///
    /// # Errors
    /// `Store` when the store does not say when the newest entry was written.
    pub fn origin_of(&self, snapshot: &Snapshot) -> Result<Origin, RepositoryError> {
        if let Some(origin) = snapshot.manifest.origin {
            return Ok(origin);
        }
        let time_ms = match snapshot.state.time_ms {
            0 => self.entry_time_ms(snapshot.state.number)?,
            recorded => recorded,
        };
        Ok(Origin { repository: self.config.repository, snapshot: snapshot.id(), time_ms })
    }

    /// The snapshot that is, or is a copy of, this one.
    #[must_use]
    pub fn copy_of(&self, origin: &Origin) -> Option<&Snapshot> {
        find_copy(&self.state, origin)
    }

    /// Copies a snapshot of `from`, all of it verified on the way. Its date, host and facts go with it. `from` may be
    /// this repository, opened once more, where what is damaged is to be left out.
    ///
    /// # Errors
    /// As [`Repository::backup`]; `AlreadyCopied`; `ChunkUnavailable` and others for what cannot be read of it.
    pub fn copy_from(
        &mut self,
        from: &Repository,
        snapshot: &Snapshot,
        options: &CopyOptions,
        monitor: &dyn Monitor,
    ) -> Result<CopyReport, RepositoryError> {
        let origin = from.origin_of(snapshot)?;
        let manifest = &snapshot.manifest;
        let backup = BackupOptions {
            source: manifest.source.clone(),
            engine: manifest.engine.clone(),
            host: manifest.host.clone(),
            user: manifest.user.clone(),
            tool: options.tool.clone(),
            arguments: manifest.arguments.clone(),
            tags: options.tags.clone().unwrap_or_else(|| snapshot.state.tags.clone()),
            copied: Some(Copied {
                origin,
                started_ns: manifest.started_ns,
                finished_ns: manifest.finished_ns,
                unreadable: manifest.totals.unreadable,
                // A repaired one stands beside the damaged one.
                once: from.config.repository != self.config.repository,
            }),
            force: false,
            delta: true,
            keep_base_keys: false,
            compression_level: options.compression_level,
            workers: options.workers,
            uploads: options.uploads,
        };
        monitor.begin("copying", Some(manifest.totals.bytes));
        let mut left_out = Vec::new();
        let report = self.backup(&backup, monitor, |sink| {
            let reader = Reader::new(from);
            let mut copy = Copy { from, reader: &reader, sink, options, monitor, left_out: &mut left_out };
            copy.run(manifest)
        })?;
        Ok(CopyReport { backup: report, left_out })
    }
}

/// The snapshot of a state that is, or is a copy of, this one.
pub(crate) fn find_copy<'s>(state: &'s State, origin: &Origin) -> Option<&'s Snapshot> {
    let wanted = (origin.repository, origin.snapshot);
    state.snapshots.iter().find(|snapshot| names_of(state.repository, snapshot).contains(&wanted))
}

/// What a snapshot is known by: as itself, and as what it is a copy of.
fn names_of(repository: RepositoryId, snapshot: &Snapshot) -> BTreeSet<(RepositoryId, SnapshotId)> {
    let origin = snapshot.manifest.origin.map(|origin| (origin.repository, origin.snapshot));
    std::iter::once((repository, snapshot.id())).chain(origin).collect()
}

/// A copy under way.
struct Copy<'c, 'scope, 'env> {
    from: &'c Repository,
    reader: &'c Reader<'c>,
    sink: &'c Sink<'scope, 'env>,
    options: &'c CopyOptions,
    monitor: &'c dyn Monitor,
    left_out: &'c mut Vec<EntryPath>,
}

/// The snapshot copied last, on both sides: what is as it was there is there already.
struct Before<'b> {
    there: EntryCursor<'b>,
    here: EntryCursor<'b>,
}

impl<'c, 'env> Copy<'c, '_, 'env> {
    fn run(&mut self, manifest: &Manifest) -> Result<(), RepositoryError> {
        if let Some(facts) = manifest.facts {
            match self.reader.blob(facts.node) {
                Ok(json) => self.sink.facts(json),
                Err(error) => self.leave_out("what was noted of the data (facts)", error)?,
            }
        }
        let reader = self.reader;
        let mut entries = EntryCursor::new(reader, &manifest.tree)?;
        match &manifest.streams[..] {
            [files] if files.name.is_empty() => {
                let parameters = parameters_of(files)?;
                let mut lane = self.sink.ordered_lane(parameters)?;
                let mut before = self.before();
                let mut bytes = 0;
                while let Some(entry) = self.next(&mut entries)? {
                    bytes += entry.bytes();
                    self.entry(entry, &mut lane, before.as_mut())?;
                }
                lane.finish()?;
                self.sink.cut(Vec::new(), parameters, bytes);
            }
            streams => {
                // A lane for each way of cutting: each has buffers of its own.
                let mut lanes: Vec<(ChunkerParams, Lane<'env>)> = Vec::new();
                while let Some(entry) = self.next(&mut entries)? {
                    let cut = streams.iter().find(|stream| stream.name == entry.path.as_bytes());
                    let parameters = cut.map_or(Ok(ChunkerParams::default()), parameters_of)?;
                    let at = match lanes.iter().position(|(known, _)| *known == parameters) {
                        Some(at) => at,
                        None => {
                            lanes.push((parameters, self.sink.stream_lane(parameters)?));
                            lanes.len() - 1
                        }
                    };
                    let (name, bytes) = (entry.path.as_bytes().to_vec(), entry.bytes());
                    if let Some((_, lane)) = lanes.get_mut(at) {
                        self.entry(entry, lane, None)?;
                    }
                    self.sink.cut(name, parameters, bytes);
                }
                for (_, lane) in lanes {
                    lane.finish()?;
                }
            }
        }
        Ok(())
    }

    /// The next entry that can be read.
    fn next(&mut self, entries: &mut EntryCursor<'_>) -> Result<Option<TreeEntry>, RepositoryError> {
        for _ in 0..PATIENCE {
            match entries.next_entry() {
                Ok(entry) => return Ok(entry),
                Err(error) => self.leave_out("a part of the tree", error)?,
            }
        }
        Ok(None)
    }

    /// What was copied of the snapshot that this one's parent here is a copy of.
    fn before(&self) -> Option<Before<'c>> {
        let origin = self.sink.parent_manifest()?.origin?;
        let there = self.from.copy_of(&origin)?;
        let there = EntryCursor::new(self.reader, &there.manifest.tree).ok()?;
        let here = EntryCursor::new(self.sink.reader(), &self.sink.parent()?.manifest.tree).ok()?;
        Some(Before { there, here })
    }

    fn entry(
        &mut self,
        mut entry: TreeEntry,
        lane: &mut Lane<'env>,
        before: Option<&mut Before<'_>>,
    ) -> Result<(), RepositoryError> {
        let Some(content) = entry.content().cloned() else { return lane.entry(entry) };
        if let Some(before) = before
            && let Some(known) = before.content(&entry, &content)
        {
            self.monitor.advance(entry.bytes());
            set_content(&mut entry, known);
            return lane.entry(entry);
        }
        lane.against(self.sink.base(&entry.path))?;
        match pour(self.reader, &content, &entry.path, lane, self.options.workers)? {
            Poured::Whole => {
                set_content(&mut entry, Content::Inline(Vec::new()));
                lane.end(entry)
            }
            Poured::Damaged(error) => {
                lane.discard()?;
                let path = entry.path.to_string();
                self.left_out.push(entry.path);
                self.leave_out(&path, error)
            }
        }
    }

    fn leave_out(&self, what: &str, error: RepositoryError) -> Result<(), RepositoryError> {
        if !self.options.leave_out_damaged || error.is_no_access() {
            return Err(error);
        }
        self.sink.count_unreadable();
        self.monitor.warn(&format!("left out: {what}: {}", describe(&error)));
        Ok(())
    }
}

impl Before<'_> {
    /// The content here, if it is the one there. What cannot be read is copied again.
    fn content(&mut self, entry: &TreeEntry, content: &Content) -> Option<Content> {
        let there = self.there.seek(&entry.path).ok().flatten()?;
        if there.content() != Some(content) {
            return None;
        }
        let here = self.here.seek(&entry.path).ok().flatten()?;
        here.content().filter(|_| here.bytes() == entry.bytes()).cloned()
    }
}

fn set_content(entry: &mut TreeEntry, new: Content) {
    if let EntryKind::File(content) | EntryKind::Stream(content) = &mut entry.kind {
        *content = new;
    }
}

fn parameters_of(stream: &Stream) -> Result<ChunkerParams, RepositoryError> {
    let number = |at: usize| stream.parameters.get(at).and_then(|value| u32::try_from(*value).ok());
    let parameters = match stream.chunker {
        ChunkerKind::FastCdc => (|| {
            Some(ChunkerParams::FastCdc {
                min: number(0)?,
                avg: number(1)?,
                max: number(2)?,
                normalization: u8::try_from(number(3)?).ok()?,
            })
        })(),
        ChunkerKind::Fixed => number(0).map(|size| ChunkerParams::Fixed { size }),
    };
    parameters.ok_or_else(|| RepositoryError::Inconsistent {
        object: "the manifest".into(),
        reason: "it says nonsense of how a stream was cut".into(),
    })
}
