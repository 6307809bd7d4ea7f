//! Backing up: a pipeline of threads between an engine's entries and streams and one journal entry.
//!
//! ```text
//! engine → Lane (reads) → segments → workers (cut, hash, look up) → collector (a lane) → frames
//!        → workers (compress, seal) → assembler (packs) → storers → index objects → journal entry
//! ```
//! Every channel is bounded, and each batch and frame has a buffer of a pool, so memory does not grow with the
//! input. Nothing counts before the entry is appended, so a run may stop anywhere.

mod collector;
mod cutter;
mod failure;
pub mod group;
mod lane;
mod nodes;
mod pending;
mod relied;
mod rescue;
mod run;
mod sink;
mod storer;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Sender, bounded};
use strongroom_format::entry::{IndexRef, PackRef, Statement};
use strongroom_format::manifest::{Manifest, Origin, SnapshotBody, Stream, Totals};
use strongroom_format::node::{BlobRef, Node, TreeRef};
use strongroom_format::pack::KeyRef;
use strongroom_format::registry::{ObjectKind, Roles};
use strongroom_format::{KeyId, PackId, SnapshotId, WriterId};
use strongroom_keys::{Secret, random};

pub use self::lane::Lane;
use self::nodes::NodeWriter;
use self::relied::Relied;
pub(crate) use self::run::Run;
pub use self::sink::Sink;
use self::sink::TreeState;
use self::storer::Stored;
pub(crate) use self::storer::put;
pub(crate) use self::worker::{FrameJob, FrameSealer};
use crate::base_keys::BaseKeys;
use crate::cache::PackNumber;
use crate::copy::find_copy;
use crate::delta::{base_snapshot, own_base_snapshot};
use crate::error::RepositoryError;
use crate::index_writer::IndexWriter;
use crate::monitor::Monitor;
use crate::pack_writer::SealedFrame;
use crate::reader::Reader;
use crate::repair::DAMAGED_TAG;
use crate::repository::Repository;
use crate::state::{Snapshot, State};

/// How often a run copies what it relies on out of packs that were retired meanwhile.
const ATTEMPTS: u32 = 16;

/// What a backup is of.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// What is backed up: `coordinator-db`, `/srv/data`.
    pub source: String,
    /// The engine: `files`, `stdin`, `command`.
    pub engine: String,
    /// This host's name.
    pub host: String,
    /// The user's name.
    pub user: String,
    /// Name and version of the program.
    pub tool: String,
    /// What was asked for.
    pub arguments: Vec<Vec<u8>>,
    /// Tags of the new snapshot.
    pub tags: Vec<String>,
    /// What it is a copy of: as this was, it is dated.
    pub copied: Option<Copied>,
    /// Whether the parent's unchanged files are read again.
    pub force: bool,
    /// Whether new chunks may be stored as what differs from what the source was before, where that may be read, and
    /// the policy allows deltas.
    pub delta: bool,
    /// Whether a host that has no right to read keeps the data keys of its own last runs in its cache, as many as the
    /// policy allows, to store what differs from what it stored itself.
    pub keep_base_keys: bool,
    /// zstd level; 0 stores raw frames.
    pub compression_level: i32,
    /// Threads that hash, compress and seal.
    pub workers: usize,
    /// Packs being stored at the same time: more where each waits for a network.
    pub uploads: usize,
}

/// What a snapshot that is a copy has of its origin.
#[derive(Debug, Clone, Copy)]
pub struct Copied {
    /// Which snapshot that is.
    pub origin: Origin,
    /// When it began, by its client's clock, ns since 1970.
    pub started_ns: i64,
    /// When all of it had been read.
    pub finished_ns: i64,
    /// How much of it could not be read then.
    pub unreadable: u64,
    /// Whether there is to be one copy of it only.
    pub once: bool,
}

/// What a backup did.
#[derive(Debug, Clone)]
pub struct BackupReport {
    /// The snapshot.
    pub id: SnapshotId,
    /// The snapshot it was made against.
    pub parent: Option<SnapshotId>,
    /// Counts and sizes.
    pub totals: Totals,
    /// Its journal entry.
    pub entry: u64,
}

/// What the threads left behind.
struct Written {
    tree: TreeRef,
    facts: Option<BlobRef>,
    totals: Totals,
    cuts: Vec<Stream>,
    footing: Footing,
    /// The run's key, where it is to be kept.
    kept: Option<(KeyId, Secret)>,
    /// A pack that chunks were taken for present in, before it was found to be gone or damaged.
    broken: Option<PackId>,
}

/// Of a run that goes on where others ended, and that others may go on with.
struct Resumed {
    leftovers: Option<group::Leftovers>,
}

/// What a snapshot brings and what it relies on.
#[derive(Default)]
struct Footing {
    packs: Vec<PackRef>,
    indexes: Vec<IndexRef>,
    relied: Relied,
    /// The keys that what it brings is sealed under.
    keys: Vec<KeyRef>,
    /// Whether parts of the parent's tree may have been taken over.
    reuses_parent: bool,
}

impl Footing {
    fn brings(&self, pack: PackId) -> bool {
        self.packs.iter().any(|brought| brought.id == pack)
    }
}

impl Repository {
    /// Backs up what `engine` writes into the sink, and commits one snapshot.
    ///
    /// The snapshot exists, durably, exactly when this returns `Ok`. If `engine` fails, nothing is committed.
    ///
    /// # Errors
    /// What `engine` fails with; `Store`, `NoSigner`, `Interrupted`, `PackRetired`, `PackBroken`, and others.
    pub fn backup<E: From<RepositoryError>>(
        &mut self,
        options: &BackupOptions,
        monitor: &dyn Monitor,
        engine: impl FnOnce(&Sink<'_, '_>) -> Result<(), E>,
    ) -> Result<BackupReport, E> {
        // Before anything is read and stored for nothing.
        require_source(&self.state, self.signer()?.id(), &options.source)?;
        self.load_index()?;
        let started_ns = self.clock.now_ns();
        let parent = self
            .state
            .snapshots
            .iter()
            .rfind(|snapshot| {
                snapshot.manifest.source == options.source && snapshot.manifest.host == options.host
            })
            .cloned();
        let keys = self.base_keys(options.keep_base_keys, monitor)?;
        let mut written = self.write(options, monitor, &keys, parent.as_ref(), None, engine)?;
        let kept = written.kept.take();
        let report = self.commit(options, monitor, started_ns, parent.as_ref(), written)?;
        if let Some((id, secret)) = kept {
            self.keep_base_key(&keys, id, secret, monitor);
        }
        Ok(report)
    }

    fn write<E: From<RepositoryError>>(
        &self,
        options: &BackupOptions,
        monitor: &dyn Monitor,
        keys: &BaseKeys,
        parent: Option<&Snapshot>,
        resumed: Option<&Resumed>,
        engine: impl FnOnce(&Sink<'_, '_>) -> Result<(), E>,
    ) -> Result<Written, E> {
        let own = self.own_frames(keys)?;
        let limit = own.as_ref().map(|own| (own.author(), own.runs()));
        let reader = Reader::new(self).limited_to(own);
        let wanted = options.delta && options.compression_level != 0 && self.state.policy.deltas;
        let base = parent.filter(|_| wanted).and_then(|parent| match limit {
            Some(limit) => own_base_snapshot(&self.state, parent, limit),
            None => base_snapshot(&self.state, parent),
        });
        let mut run = Run::new(self, options.compression_level, monitor)?;
        run.deltas = base.map(|_| &reader);
        run.base_keys = Some(keys);
        run.leftovers = resumed.and_then(|resumed| resumed.leftovers.as_ref());
        run.indexes_in_steps = resumed.is_some();
        // Content of a parent that another writer signed may be taken over only where others' packs are trusted.
        // From one that lost something nothing is: what is read is stored again where it is missing.
        let is_damaged = |parent: &Snapshot| parent.state.tags.iter().any(|tag| tag == DAMAGED_TAG);
        let reusable = parent.filter(|parent| !is_damaged(parent)).filter(|parent| {
            parent.state.signer == run.signer.id()
                || self.state.policy.trust == strongroom_format::registry::Trust::All
        });
        let tree = Mutex::new(TreeState::default());
        let index = IndexWriter::new(
            run.store,
            run.metadata,
            run.signer,
            run.random,
            run.identity.source_tag(&options.source),
        );
        let stored = Mutex::new(Stored { packs: Vec::new(), bytes: 0, index });
        let (run_ref, stored_ref) = (&run, &stored);
        let roots = std::thread::scope(|scope| -> Result<Option<(TreeRef, Option<BlobRef>)>, E> {
            let (work, work_in) = bounded(2);
            let (frames, frames_in) = bounded(options.workers.max(1));
            let (sealed, sealed_in) = bounded(4);
            let (packs, packs_in) = bounded(1);
            for _ in 0..options.workers.max(1) {
                let (work_in, frames_in, sealed) = (work_in.clone(), frames_in.clone(), sealed.clone());
                scope.spawn(move || {
                    run_ref.failure.guard(|| worker::work(run_ref, &work_in, &frames_in, &sealed))
                });
            }
            drop((work_in, frames_in));
            scope.spawn(move || run_ref.failure.guard(|| storer::assemble(run_ref, &sealed_in, &packs)));
            for _ in 0..options.uploads.max(1) {
                let packs_in = packs_in.clone();
                scope.spawn(move || run_ref.failure.guard(|| storer::store(run_ref, &packs_in, stored_ref)));
            }
            drop(packs_in);
            let sink = Sink {
                run: run_ref,
                scope,
                work,
                frames,
                sealed,
                tree: &tree,
                collectors: Mutex::default(),
                reader: &reader,
                parent: reusable,
                base,
                force: options.force,
            };
            if let Err(error) = engine(&sink) {
                run.failure.trip(RepositoryError::Cancelled);
                // Another thread's error came first, and is why the engine's writes were refused.
                return match run.failure.take() {
                    Some(first) => Err(first.into()),
                    None => Err(error),
                };
            }
            let Sink { work, frames, sealed, collectors, .. } = sink;
            drop(work);
            for collector in collectors.into_inner().unwrap_or_else(PoisonError::into_inner) {
                if let Err(panic) = collector.join() {
                    std::panic::resume_unwind(panic);
                }
            }
            drop(frames);
            let mut roots = None;
            run.failure.guard(|| {
                roots = Some(finish_tree(run_ref, sealed, &tree)?);
                Ok(())
            });
            Ok(roots)
        })?;
        run.failure.end()?;
        let (tree_ref, facts) = roots.ok_or(RepositoryError::Cancelled)?;
        let stored = stored.into_inner().unwrap_or_else(PoisonError::into_inner);
        let indexes = stored.index.finish()?;
        let tree = tree.into_inner().unwrap_or_else(PoisonError::into_inner);
        let totals = Totals {
            entries: tree.entries,
            files: tree.files,
            bytes: tree.bytes,
            new_bytes: run.new_bytes.load(Ordering::Relaxed),
            stored_bytes: stored.bytes + indexes.iter().map(|index| index.length).sum::<u64>(),
            unreadable: tree.unreadable + options.copied.map_or(0, |copied| copied.unreadable),
        };
        let relied = run.relied.into_inner().unwrap_or_else(PoisonError::into_inner);
        let broken = reader.broken();
        if !broken.is_empty() {
            self.cache.distrust(&broken)?;
        }
        let broken = relied.packs().find(|pack| broken.contains(pack));
        let (mut keys, mut kept) = (Vec::new(), None);
        if let Some(key) = run.data_key.into_inner() {
            keys.push(key.reference);
            kept = key.secret.map(|secret| (key.reference.id, secret));
        }
        let reuses_parent = run.reuses_parent.load(Ordering::Relaxed);
        let mut footing = Footing { packs: stored.packs, indexes, relied, keys, reuses_parent };
        if let Some(leftovers) = run.leftovers {
            let used = run.taken_over.into_inner().unwrap_or_else(PoisonError::into_inner);
            leftovers.bring(&used, &mut footing);
        }
        Ok(Written { tree: tree_ref, facts, totals, cuts: tree.cuts, footing, kept, broken })
    }

    /// Adds the keys that data packs are sealed under, and those of the packs that bases of their frames lie in.
    fn add_keys_of(
        &self,
        packs: impl Iterator<Item = PackId>,
        keys: &mut BTreeMap<KeyId, KeyRef>,
    ) -> Result<(), RepositoryError> {
        let mut left = Vec::new();
        for pack in packs {
            left.extend(self.cache.numbers_of(pack)?);
        }
        let mut seen: BTreeSet<PackNumber> = left.iter().copied().collect();
        while let Some(number) = left.pop() {
            let pack = self.cache.pack(number)?.filter(|pack| pack.kind == ObjectKind::DataPack);
            let Some(pack) = pack else { continue };
            keys.extend(pack.footer.keys.iter().map(|key| (key.id, *key)));
            for base in &pack.footer.bases {
                let places = self.cache.locations(ObjectKind::DataPack, base.id)?;
                left.extend(places.iter().map(|place| place.pack).filter(|pack| seen.insert(*pack)));
            }
        }
        Ok(())
    }

    /// The data keys of all that a snapshot needs; perhaps more.
    fn needed_keys(
        &self,
        parent: Option<&Snapshot>,
        footing: &Footing,
    ) -> Result<Vec<KeyRef>, RepositoryError> {
        // What was taken over from the parent without a look may need any of its keys.
        let inherited = parent.filter(|_| footing.reuses_parent);
        let inherited = inherited.into_iter().flat_map(|parent| &parent.state.keys);
        let mut keys: BTreeMap<KeyId, KeyRef> =
            inherited.chain(&footing.keys).map(|key| (key.id, *key)).collect();
        self.add_keys_of(footing.relied.packs(), &mut keys)?;
        Ok(keys.into_values().collect())
    }

    fn append_snapshot(
        &mut self,
        source: &str,
        parent: Option<SnapshotId>,
        footing: &Footing,
        body: &SnapshotBody,
        permits: &dyn Fn(&State) -> Result<(), RepositoryError>,
    ) -> Result<u64, RepositoryError> {
        let me = self.signer()?.id();
        self.append(|state: &State| {
            require_source(state, me, source)?;
            permits(state)?;
            let brought = body.packs.iter().map(|pack| pack.id).find(|pack| state.retired.contains_key(pack));
            let relied = footing.relied.packs().find(|pack| !state.packs.contains_key(pack));
            if let Some(pack) = brought.or(relied) {
                return Err(RepositoryError::PackRetired { pack });
            }
            if let Some(parent) = parent.filter(|_| footing.reuses_parent)
                && !state.snapshots.iter().any(|snapshot| snapshot.id() == parent)
            {
                return Err(RepositoryError::ParentForgotten { parent });
            }
            // A key that is retired opens nothing for long.
            let is_retired = |key: &&KeyRef| state.retired_keys.contains_key(&key.id);
            if let Some(key) = footing.keys.iter().find(is_retired) {
                return Err(RepositoryError::KeyRetired { key: key.id });
            }
            Ok(Statement::Snapshot(Box::new(body.clone())))
        })
    }

    fn commit(
        &mut self,
        options: &BackupOptions,
        monitor: &dyn Monitor,
        started_ns: i64,
        parent: Option<&Snapshot>,
        written: Written,
    ) -> Result<BackupReport, RepositoryError> {
        self.require_unbroken(written.broken)?;
        let manifest = self.manifest(options, started_ns, parent, &written)?;
        let copied = options.copied.filter(|copied| copied.once);
        let permits = |state: &State| match copied.and_then(|copied| find_copy(state, &copied.origin)) {
            Some(known) => Err(RepositoryError::AlreadyCopied { snapshot: known.id() }),
            None => Ok(()),
        };
        self.commit_manifest(&manifest, parent, written.footing, monitor, &permits)
    }

    /// The data is gone by, so what is missing cannot be stored.
    fn require_unbroken(&mut self, broken: Option<PackId>) -> Result<(), RepositoryError> {
        let Some(pack) = broken else { return Ok(()) };
        // By a prune, it may have been.
        self.refresh()?;
        Err(match self.state.packs.contains_key(&pack) {
            true => RepositoryError::PackBroken { pack },
            false => RepositoryError::PackRetired { pack },
        })
    }

    fn manifest(
        &self,
        options: &BackupOptions,
        started_ns: i64,
        parent: Option<&Snapshot>,
        written: &Written,
    ) -> Result<Manifest, RepositoryError> {
        let nonce = random::array(&*self.random)
            .map_err(|source| RepositoryError::Seal { what: "the manifest", source })?;
        Ok(Manifest {
            source: options.source.clone(),
            engine: options.engine.clone(),
            host: options.host.clone(),
            user: options.user.clone(),
            tool: options.tool.clone(),
            started_ns: options.copied.map_or(started_ns, |copied| copied.started_ns),
            finished_ns: options.copied.map_or_else(|| self.clock.now_ns(), |copied| copied.finished_ns),
            parent: parent.map(Snapshot::id),
            generation: parent.map_or(0, |parent| parent.manifest.generation + 1),
            tree: written.tree,
            streams: written.cuts.clone(),
            facts: written.facts,
            totals: written.totals,
            nonce,
            arguments: options.arguments.clone(),
            tags: options.tags.clone(),
            origin: options.copied.map(|copied| copied.origin),
        })
    }

    /// Appends the entry, if `permits` says nothing against it of the state that it is decided at.
    fn commit_manifest(
        &mut self,
        manifest: &Manifest,
        parent: Option<&Snapshot>,
        mut footing: Footing,
        monitor: &dyn Monitor,
        permits: &dyn Fn(&State) -> Result<(), RepositoryError>,
    ) -> Result<BackupReport, RepositoryError> {
        let encoded = manifest.encode();
        if Manifest::decode(&encoded).as_ref() != Ok(manifest) {
            return Err(RepositoryError::Defect {
                object: "the manifest, before it was written,".into(),
                reason: "it does not decode to itself".into(),
            });
        }
        let id = self.identity.snapshot_id(&encoded);
        let mut attempts = 0;
        let entry = loop {
            if monitor.is_cancelled() {
                return Err(RepositoryError::Interrupted);
            }
            let body = SnapshotBody {
                manifest: encoded.clone(),
                packs: footing.packs.clone(),
                indexes: footing.indexes.clone(),
                keys: self.needed_keys(parent, &footing)?,
            };
            match self.append_snapshot(&manifest.source, manifest.parent, &footing, &body, permits) {
                // What it relies on may still be there, to be copied.
                Err(RepositoryError::PackRetired { pack })
                    if attempts < ATTEMPTS && !footing.brings(pack) =>
                {
                    attempts += 1;
                    self.rescue(&manifest.source, &mut footing)?;
                }
                appended => break appended?,
            }
        };
        let report = BackupReport { id, parent: manifest.parent, totals: manifest.totals, entry };
        // The snapshot is committed; what follows only keeps the next runs fast.
        if let Err(error) = self.load_index() {
            monitor.warn(&format!(
                "the snapshot is committed, but bringing the cache up to date failed: {}",
                crate::state::describe(&error)
            ));
        } else if let Err(error) = self.compact_index() {
            monitor.warn(&format!(
                "the snapshot is committed, but compacting the index failed: {}",
                crate::state::describe(&error)
            ));
        }
        Ok(report)
    }
}

/// Fails where the policy lets this writer write no snapshots of `source`.
pub(crate) fn require_source(state: &State, writer: WriterId, source: &str) -> Result<(), RepositoryError> {
    let writer = state.policy.signer(writer).filter(|signer| signer.roles.holds(Roles::WRITE));
    let writer = writer.ok_or(RepositoryError::NoSigner { role: "write" })?;
    if writer.may_write(source) {
        return Ok(());
    }
    Err(RepositoryError::NotItsSource {
        writer: writer.name.clone(),
        wanted: source.to_owned(),
        allowed: writer.sources.join(", "),
    })
}

fn finish_tree(
    run: &Run<'_>,
    sealed: Sender<(ObjectKind, SealedFrame)>,
    tree: &Mutex<TreeState>,
) -> Result<(TreeRef, Option<BlobRef>), RepositoryError> {
    let mut nodes = NodeWriter::new(run, sealed)?;
    let mut tree = tree.lock().unwrap_or_else(PoisonError::into_inner);
    let mut streams = std::mem::take(&mut tree.streams);
    streams.sort_by(|a, b| a.path.cmp(&b.path));
    if let Some(pair) = streams.windows(2).find(|pair| pair[0].path == pair[1].path) {
        return Err(RepositoryError::DuplicateStream { name: pair[0].path.to_string() });
    }
    for entry in streams {
        tree.push(entry, run.identity, &mut nodes)?;
    }
    let facts = match tree.facts.take() {
        None => None,
        Some(json) => Some(BlobRef { bytes: json.len() as u64, node: nodes.write(&Node::Blob(json))? }),
    };
    let (root, level) =
        std::mem::take(&mut tree.builder).finish(run.identity, &mut |node| nodes.write(node))?;
    nodes.finish()?;
    Ok((TreeRef { root, level, entries: tree.entries, bytes: tree.bytes }, facts))
}
