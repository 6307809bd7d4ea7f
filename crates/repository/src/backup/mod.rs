//! Backing up: a pipeline of threads between an engine's entries and streams and one journal entry.
//!
//! ```text
//! engine → Lane → batches → workers (hash, look up) → collector (a lane) → frames → workers (compress, seal)
//!        → assembler (packs) → storers → index objects → journal entry
//! ```
//! Every channel is bounded, and each batch and frame has a buffer of a pool, so memory does not grow with the
//! input. Nothing counts before the entry is appended, so a run may stop anywhere.

mod collector;
mod failure;
mod lane;
mod nodes;
mod pending;
mod storer;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use strongroom_chunker::{ChunkerParams, GearTable};
use strongroom_format::entry::{IndexRef, PackRef, Statement};
use strongroom_format::manifest::{Manifest, SnapshotBody, Stream, Totals};
use strongroom_format::node::{BlobRef, Node, TreeRef};
use strongroom_format::pack::KeyRef;
use strongroom_format::registry::{ChunkerKind, ObjectKind, Purpose};
use strongroom_format::tree_entry::TreeEntry;
use strongroom_format::{ChunkId, KeyId, PackId, SnapshotId};
use strongroom_keys::Secret;
use strongroom_keys::derive::{Identity, commitment};
use strongroom_keys::frame::FrameKey;
use strongroom_keys::random::{self, Random};
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::Signer;
use strongroom_keys::unlock::key_name;
use strongroom_keys::wrap::{NamedKey, WrapTo};
use strongroom_store::Store;

use self::failure::Failure;
use self::lane::Batch;
pub use self::lane::Lane;
use self::nodes::NodeWriter;
use self::pending::Pending;
use self::storer::Stored;
use self::worker::{FrameJob, Hashed};
use crate::cache::Cache;
use crate::error::RepositoryError;
use crate::index_writer::IndexWriter;
use crate::monitor::Monitor;
use crate::open::vault_recipient;
use crate::pack_writer::SealedFrame;
use crate::reader::Reader;
use crate::repository::Repository;
use crate::state::{Snapshot, State};
use crate::tree::{EntryShape, TreeBuilder};

/// Batches under way besides those that lanes hold.
const SPARE_BUFFERS: usize = 4;
const BUFFERS_A_LANE: usize = 3;

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
    /// Whether the parent's unchanged files are read again.
    pub force: bool,
    /// zstd level; 0 stores raw frames.
    pub compression_level: i32,
    /// Threads that hash, compress and seal.
    pub workers: usize,
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

/// What the threads of a run share.
pub(crate) struct Run<'a> {
    store: &'a dyn Store,
    metadata: &'a MetadataKey,
    identity: &'a Identity,
    signer: &'a Signer,
    random: &'a dyn Random,
    cache: &'a Cache,
    monitor: &'a dyn Monitor,
    vault: WrapTo,
    gear: Arc<GearTable>,
    compression_level: i32,
    failure: Failure,
    buffers: Receiver<Vec<u8>>,
    buffers_back: Sender<Vec<u8>>,
    frame_buffers: BufferPool,
    pending_chunks: Pending,
    pending_nodes: Pending,
    relied: Mutex<BTreeSet<PackId>>,
    data_key: OnceLock<(FrameKey, KeyRef)>,
    data_key_lock: Mutex<()>,
    new_bytes: AtomicU64,
}

/// Buffers of frames, reused.
#[derive(Default)]
struct BufferPool(Mutex<Vec<Vec<u8>>>);

impl BufferPool {
    fn take(&self) -> Vec<u8> {
        let pooled = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        pooled.unwrap_or_else(|| Vec::with_capacity(collector::FRAME_BYTES))
    }

    fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

impl<'a> Run<'a> {
    fn new(
        repository: &'a Repository,
        options: &BackupOptions,
        monitor: &'a dyn Monitor,
    ) -> Result<Self, RepositoryError> {
        let (buffers_back, buffers) = unbounded();
        let policy = &repository.state.policy;
        let run = Self {
            store: &*repository.store,
            metadata: &repository.metadata,
            identity: &repository.identity,
            signer: repository.signer()?,
            random: &*repository.random,
            cache: &repository.cache,
            monitor,
            vault: WrapTo::X25519 {
                recipient: vault_recipient(policy.vault.id),
                public: policy.vault_public,
            },
            gear: Arc::new(GearTable::from_bytes(repository.identity.gear_table())),
            compression_level: options.compression_level,
            failure: Failure::default(),
            buffers,
            buffers_back,
            frame_buffers: BufferPool::default(),
            pending_chunks: Pending::default(),
            pending_nodes: Pending::default(),
            relied: Mutex::default(),
            data_key: OnceLock::new(),
            data_key_lock: Mutex::default(),
            new_bytes: AtomicU64::new(0),
        };
        run.add_buffers(SPARE_BUFFERS);
        Ok(run)
    }

    fn add_buffers(&self, count: usize) {
        (0..count).for_each(|_| self.give_buffer(Vec::new()));
    }

    fn give_buffer(&self, buffer: Vec<u8>) {
        // The receiver lives as long as the run.
        let _ = self.buffers_back.send(buffer);
    }

    fn count_new(&self, bytes: u64) {
        self.new_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// For each ID whether the caller is to store it: it is in no pack that may be trusted, and no other thread
    /// has taken it on.
    fn look_up(&self, kind: ObjectKind, ids: &[ChunkId]) -> Result<Vec<bool>, RepositoryError> {
        // A cache that fails here costs space, not safety: what is not found is stored again.
        let known = self.cache.trusted(kind, ids).unwrap_or_else(|error| {
            tracing::warn!(%error, "the cache failed; chunks are stored again");
            vec![None; ids.len()]
        });
        if known.iter().any(Option::is_some) {
            self.relied.lock().unwrap_or_else(PoisonError::into_inner).extend(known.iter().flatten());
        }
        let unknown: Vec<_> =
            ids.iter().zip(&known).map(|(id, known)| known.is_none().then_some(*id)).collect();
        let pending = if kind == ObjectKind::DataPack { &self.pending_chunks } else { &self.pending_nodes };
        pending.claim(&unknown)
    }

    /// The run's data key: made, and its wrap stored, when the first frame needs it.
    fn data_key(&self) -> Result<(&FrameKey, KeyRef), RepositoryError> {
        if self.data_key.get().is_none() {
            let _once = self.data_key_lock.lock().unwrap_or_else(PoisonError::into_inner);
            if self.data_key.get().is_none() {
                let seal = |source| RepositoryError::Seal { what: "the run's data key", source };
                let key = NamedKey {
                    id: KeyId(random::array(self.random).map_err(seal)?),
                    purpose: Purpose::Data,
                    secret: Secret::new(random::array(self.random).map_err(seal)?),
                };
                let repository = self.metadata.repository();
                let wrapped = self.vault.wrap(&key, repository, self.signer, self.random).map_err(seal)?;
                let _ = self
                    .store
                    .put_if_absent(&key_name(key.id, self.vault.recipient())?, &wrapped.encode())?;
                let reference = KeyRef {
                    id: key.id,
                    commitment: commitment(&key.secret, repository, key.id, Purpose::Data),
                };
                let _ =
                    self.data_key.set((FrameKey::from_data_key(key.id, repository, &key.secret), reference));
            }
        }
        self.data_key.get().map(|(key, reference)| (key, *reference)).ok_or(RepositoryError::Cancelled)
    }
}

/// Where an engine writes what it reads.
pub struct Sink<'scope, 'env> {
    run: &'env Run<'env>,
    scope: &'scope Scope<'scope, 'env>,
    batches: Sender<(Batch, Sender<Hashed>)>,
    frames: Sender<FrameJob>,
    sealed: Sender<(ObjectKind, SealedFrame)>,
    tree: &'env Mutex<TreeState>,
    collectors: Mutex<Vec<ScopedJoinHandle<'scope, ()>>>,
    reader: &'env Reader<'env>,
    parent: Option<&'env Snapshot>,
    force: bool,
}

#[derive(Default)]
struct TreeState {
    builder: TreeBuilder<EntryShape>,
    entries: u64,
    files: u64,
    bytes: u64,
    streams: Vec<TreeEntry>,
    cuts: Vec<Stream>,
    facts: Option<Vec<u8>>,
    unreadable: u64,
}

impl TreeState {
    fn push(
        &mut self,
        entry: TreeEntry,
        identity: &Identity,
        nodes: &mut NodeWriter<'_, '_>,
    ) -> Result<(), RepositoryError> {
        self.entries += 1;
        if entry.content().is_some() {
            self.files += 1;
            self.bytes = self.bytes.saturating_add(entry.bytes());
        }
        self.builder.push(entry, identity, &mut |node| nodes.write(node))
    }
}

impl<'scope, 'env> Sink<'scope, 'env> {
    /// The parent snapshot, unless everything is to be read again: what is unchanged since may be taken from it.
    #[must_use]
    pub fn parent(&self) -> Option<&'env Snapshot> {
        self.parent.filter(|_| !self.force)
    }

    /// Reads the parent's tree.
    #[must_use]
    pub fn reader(&self) -> &'env Reader<'env> {
        self.reader
    }

    /// Told of progress and warnings.
    #[must_use]
    pub fn monitor(&self) -> &'env dyn Monitor {
        self.run.monitor
    }

    /// Keeps what the engine knows of the data: JSON.
    pub fn facts(&self, json: Vec<u8>) {
        self.tree().facts = Some(json);
    }

    /// Counts a file that could not be read, or changed while it was read.
    pub fn count_unreadable(&self) {
        self.tree().unreadable += 1;
    }

    fn tree(&self) -> std::sync::MutexGuard<'_, TreeState> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records how a stream was cut (an empty name: all files).
    pub fn cut(&self, name: Vec<u8>, parameters: ChunkerParams, bytes: u64) {
        let (chunker, parameters) = match parameters {
            ChunkerParams::FastCdc { min, avg, max, normalization } => {
                (ChunkerKind::FastCdc, vec![min.into(), avg.into(), max.into(), normalization.into()])
            }
            ChunkerParams::Fixed { size } => (ChunkerKind::Fixed, vec![size.into()]),
        };
        self.tree().cuts.push(Stream { name, chunker, parameters, bytes });
    }

    /// The lane of an engine whose entries come in path order. A run has one, or stream lanes.
    ///
    /// # Errors
    /// `Inconsistent` for parameters the chunker refuses.
    pub fn ordered_lane(&self, parameters: ChunkerParams) -> Result<Lane<'env>, RepositoryError> {
        let (run, tree) = (self.run, self.tree);
        self.lane(parameters, move |entry, nodes| {
            tree.lock().unwrap_or_else(PoisonError::into_inner).push(entry, run.identity, nodes)
        })
    }

    /// A lane of its own for one stream, or a few: entries may come in any order.
    ///
    /// # Errors
    /// As [`Sink::ordered_lane`].
    pub fn stream_lane(&self, parameters: ChunkerParams) -> Result<Lane<'env>, RepositoryError> {
        let tree = self.tree;
        self.lane(parameters, move |entry, _| {
            tree.lock().unwrap_or_else(PoisonError::into_inner).streams.push(entry);
            Ok(())
        })
    }

    fn lane(
        &self,
        parameters: ChunkerParams,
        take: impl FnMut(TreeEntry, &mut NodeWriter<'_, '_>) -> Result<(), RepositoryError> + Send + 'scope,
    ) -> Result<Lane<'env>, RepositoryError> {
        let (sender, results) = unbounded();
        let run = self.run;
        run.add_buffers(BUFFERS_A_LANE);
        let lane = Lane::new(run, self.batches.clone(), parameters, sender)?;
        let (frames, sealed) = (self.frames.clone(), self.sealed.clone());
        let collector = self.scope.spawn(move || {
            run.failure.guard(|| {
                let nodes = NodeWriter::new(run, sealed)?;
                collector::collect(run, &results, &frames, nodes, take)
            });
        });
        self.collectors.lock().unwrap_or_else(PoisonError::into_inner).push(collector);
        Ok(lane)
    }
}

/// What the threads left behind.
struct Written {
    tree: TreeRef,
    facts: Option<BlobRef>,
    totals: Totals,
    cuts: Vec<Stream>,
    packs: Vec<PackRef>,
    indexes: Vec<IndexRef>,
    relied: BTreeSet<PackId>,
    data_key: Option<KeyRef>,
}

impl Repository {
    /// Backs up what `engine` writes into the sink, and commits one snapshot.
    ///
    /// The snapshot exists, durably, exactly when this returns `Ok`. If `engine` fails, nothing is committed.
    ///
    /// # Errors
    /// What `engine` fails with; `Store`, `NoSigner`, `Interrupted`, `PackRetired`, and others.
    pub fn backup<E: From<RepositoryError>>(
        &mut self,
        options: &BackupOptions,
        monitor: &dyn Monitor,
        engine: impl FnOnce(&Sink<'_, '_>) -> Result<(), E>,
    ) -> Result<BackupReport, E> {
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
        let written = self.write(options, monitor, parent.as_ref(), engine)?;
        Ok(self.commit(options, monitor, started_ns, parent.as_ref(), written)?)
    }

    fn write<E: From<RepositoryError>>(
        &self,
        options: &BackupOptions,
        monitor: &dyn Monitor,
        parent: Option<&Snapshot>,
        engine: impl FnOnce(&Sink<'_, '_>) -> Result<(), E>,
    ) -> Result<Written, E> {
        let run = Run::new(self, options, monitor)?;
        let reader = Reader::new(self);
        // Content of a parent that another writer signed may be taken over only where others' packs are trusted.
        let reusable = parent.filter(|parent| {
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
            let (batches, batches_in) = bounded(2);
            let (frames, frames_in) = bounded(options.workers.max(1));
            let (sealed, sealed_in) = bounded(4);
            let (packs, packs_in) = bounded(1);
            for _ in 0..options.workers.max(1) {
                let (batches_in, frames_in, sealed) = (batches_in.clone(), frames_in.clone(), sealed.clone());
                scope.spawn(move || {
                    run_ref.failure.guard(|| worker::work(run_ref, &batches_in, &frames_in, &sealed))
                });
            }
            drop((batches_in, frames_in));
            scope.spawn(move || run_ref.failure.guard(|| storer::assemble(run_ref, &sealed_in, &packs)));
            for _ in 0..storer::UPLOADS {
                let packs_in = packs_in.clone();
                scope.spawn(move || run_ref.failure.guard(|| storer::store(run_ref, &packs_in, stored_ref)));
            }
            drop(packs_in);
            let sink = Sink {
                run: run_ref,
                scope,
                batches,
                frames,
                sealed,
                tree: &tree,
                collectors: Mutex::default(),
                reader: &reader,
                parent: reusable,
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
            let Sink { batches, frames, sealed, collectors, .. } = sink;
            drop(batches);
            for collector in collectors.into_inner().unwrap_or_else(PoisonError::into_inner) {
                let _ = collector.join();
            }
            drop(frames);
            let mut roots = None;
            run.failure.guard(|| {
                roots = Some(finish_tree(run_ref, sealed, &tree)?);
                Ok(())
            });
            Ok(roots)
        })?;
        if let Some(error) = run.failure.take() {
            return Err(error.into());
        }
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
            unreadable: tree.unreadable,
        };
        let relied = run.relied.into_inner().unwrap_or_else(PoisonError::into_inner);
        let data_key = run.data_key.get().map(|(_, reference)| *reference);
        Ok(Written {
            tree: tree_ref,
            facts,
            totals,
            cuts: tree.cuts,
            packs: stored.packs,
            indexes,
            relied,
            data_key,
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
        let nonce = random::array(&*self.random)
            .map_err(|source| RepositoryError::Seal { what: "the manifest", source })?;
        let manifest = Manifest {
            source: options.source.clone(),
            engine: options.engine.clone(),
            host: options.host.clone(),
            user: options.user.clone(),
            tool: options.tool.clone(),
            started_ns,
            finished_ns: self.clock.now_ns(),
            parent: parent.map(Snapshot::id),
            generation: parent.map_or(0, |parent| parent.manifest.generation + 1),
            tree: written.tree,
            streams: written.cuts,
            facts: written.facts,
            totals: written.totals,
            nonce,
            arguments: options.arguments.clone(),
            tags: options.tags.clone(),
        };
        let encoded = manifest.encode();
        if Manifest::decode(&encoded).as_ref() != Ok(&manifest) {
            return Err(RepositoryError::Inconsistent {
                object: "the manifest, before it was written,".into(),
                reason: "it does not decode to itself".into(),
            });
        }
        let mut keys: BTreeMap<KeyId, KeyRef> = parent
            .into_iter()
            .flat_map(|parent| &parent.state.keys)
            .chain(&written.data_key)
            .map(|key| (key.id, *key))
            .collect();
        for pack in &written.relied {
            for number in self.cache.numbers_of(*pack)? {
                if let Some(pack) = self.cache.pack(number)?.filter(|pack| pack.kind == ObjectKind::DataPack)
                {
                    keys.extend(pack.footer.keys.iter().map(|key| (key.id, *key)));
                }
            }
        }
        let body = SnapshotBody {
            manifest: encoded,
            packs: written.packs,
            indexes: written.indexes,
            keys: keys.into_values().collect(),
        };
        if monitor.is_cancelled() {
            return Err(RepositoryError::Interrupted);
        }
        let id = self.identity.snapshot_id(&body.manifest);
        let entry = self.append(|state: &State| {
            if let Some(pack) = written.relied.iter().find(|pack| !state.packs.contains_key(pack)) {
                return Err(RepositoryError::PackRetired { pack: *pack });
            }
            Ok(Statement::Snapshot(Box::new(body.clone())))
        })?;
        let report = BackupReport { id, parent: parent.map(Snapshot::id), totals: manifest.totals, entry };
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
        return Err(RepositoryError::Inconsistent {
            object: format!("stream `{}`", pair[0].path),
            reason: "two streams have this name".into(),
        });
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
