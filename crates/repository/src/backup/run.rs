//! What the threads of a run share: keys, buffers, what is known and what is pending.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crossbeam_channel::{Receiver, Sender, unbounded};
use strongroom_chunker::GearTable;
use strongroom_format::pack::KeyRef;
use strongroom_format::registry::{ObjectKind, Purpose};
use strongroom_format::{ChunkId, PackId};
use strongroom_keys::Secret;
use strongroom_keys::derive::{Identity, commitment};
use strongroom_keys::frame::FrameKey;
use strongroom_keys::kms::Kms;
use strongroom_keys::random::Random;
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::Signer;
use strongroom_keys::wrap::WrapTo;
use strongroom_store::Store;

use super::failure::Failure;
use super::group::Leftovers;
use super::pending::Pending;
use super::relied::Relied;
use crate::base_keys::BaseKeys;
use crate::buffers::Buffers;
use crate::cache::Cache;
use crate::delta::{Base, New, Prefix};
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::new_data_key::DataKeyMaker;
use crate::open::vault_recipient;
use crate::reader::Reader;
use crate::repository::Repository;
use crate::stage::stage;
use crate::state::describe;

/// Batches under way besides those that lanes hold.
const SPARE_BUFFERS: usize = 4;

/// What the threads of a run share.
pub(crate) struct Run<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) metadata: &'a MetadataKey,
    pub(super) identity: &'a Identity,
    pub(super) signer: &'a Signer,
    pub(super) random: &'a dyn Random,
    pub(super) cache: &'a Cache,
    pub(super) monitor: &'a dyn Monitor,
    pub(super) vault: WrapTo,
    data_kms: Option<(String, Arc<dyn Kms>)>,
    pub(super) gear: Arc<GearTable>,
    pub(super) compression_level: i32,
    /// As the policy says.
    pub(super) parity_percent: u8,
    pub(super) failure: Failure,
    pub(super) buffers: Receiver<Vec<u8>>,
    pub(super) buffers_back: Sender<Vec<u8>>,
    pub(super) frame_buffers: Buffers,
    pub(super) pending_chunks: Pending,
    pub(super) pending_nodes: Pending,
    pub(super) relied: Mutex<Relied>,
    pub(super) data_key: OnceLock<DataKey>,
    pub(super) data_key_lock: Mutex<()>,
    pub(super) new_bytes: AtomicU64,
    pub(super) reuses_parent: AtomicBool,
    /// Reads what streams were before, where new chunks may be stored as what differs.
    pub(super) deltas: Option<&'a Reader<'a>>,
    /// The keys of earlier runs, and whether this one's is to be kept.
    pub(super) base_keys: Option<&'a BaseKeys>,
    /// What earlier runs of this writer stored, and no entry names.
    pub(super) leftovers: Option<&'a Leftovers>,
    /// Frames of that which this run uses.
    pub(super) taken_over: Mutex<Relied>,
    /// Whether packs are indexed as they are stored, so that a later run can go on with them.
    pub(super) indexes_in_steps: bool,
    may_read_bases: OnceLock<bool>,
    has_failed_to_read: AtomicBool,
}

/// The key that a run's frames are sealed under.
pub(super) struct DataKey {
    frames: FrameKey,
    pub(super) reference: KeyRef,
    /// Where it is to be kept.
    pub(super) secret: Option<Secret>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        repository: &'a Repository,
        compression_level: i32,
        monitor: &'a dyn Monitor,
    ) -> Result<Self, RepositoryError> {
        let (buffers_back, buffers) = unbounded();
        let policy = &repository.state.policy;
        let run = Self {
            store: &*repository.store,
            metadata: repository.metadata_key()?,
            identity: &repository.identity,
            signer: repository.signer()?,
            random: &*repository.random,
            cache: &repository.cache,
            monitor,
            vault: WrapTo::X25519 {
                recipient: vault_recipient(policy.vault.id),
                public: policy.vault_public,
            },
            data_kms: repository.data_kms(),
            gear: Arc::new(GearTable::from_bytes(repository.identity.gear_table())),
            compression_level,
            parity_percent: policy.parity,
            failure: Failure::default(),
            buffers,
            buffers_back,
            frame_buffers: Buffers::default(),
            pending_chunks: Pending::default(),
            pending_nodes: Pending::default(),
            relied: Mutex::default(),
            data_key: OnceLock::new(),
            data_key_lock: Mutex::default(),
            new_bytes: AtomicU64::new(0),
            reuses_parent: AtomicBool::new(false),
            deltas: None,
            base_keys: None,
            leftovers: None,
            taken_over: Mutex::default(),
            indexes_in_steps: false,
            may_read_bases: OnceLock::new(),
            has_failed_to_read: AtomicBool::new(false),
        };
        run.add_buffers(SPARE_BUFFERS);
        Ok(run)
    }

    pub(super) fn add_buffers(&self, count: usize) {
        (0..count).for_each(|_| self.give_buffer(Vec::new()));
    }

    pub(super) fn give_buffer(&self, buffer: Vec<u8>) {
        // The receiver lives as long as the run.
        let _ = self.buffers_back.send(buffer);
    }

    pub(super) fn count_new(&self, bytes: u64) {
        self.new_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// For each ID whether the caller is to store it: it is in no pack that may be trusted, and no other thread
    /// has taken it on.
    pub(super) fn look_up(&self, kind: ObjectKind, ids: &[ChunkId]) -> Result<Vec<bool>, RepositoryError> {
        let _looking_up = stage!("look up");
        // A cache that fails here costs space, not safety: what is not found is stored again.
        let mut known = self.cache.trusted(kind, ids).unwrap_or_else(|error| {
            tracing::warn!(%error, "the cache failed; chunks are stored again");
            vec![None; ids.len()]
        });
        if let Some(reader) = self.deltas
            && let broken = reader.broken()
            && !broken.is_empty()
        {
            for place in &mut known {
                place.take_if(|(pack, _)| broken.contains(pack));
            }
        }
        if known.iter().any(Option::is_some) {
            self.rely_on(known.iter().flatten());
        }
        if let Some(leftovers) = self.leftovers {
            let found = leftovers.find(kind, ids)?;
            let mut taken_over = self.taken_over.lock().unwrap_or_else(PoisonError::into_inner);
            for (known, found) in known.iter_mut().zip(found).filter(|(known, _)| known.is_none()) {
                *known = found;
                found.iter().for_each(|(pack, frame)| taken_over.insert(*pack, *frame));
            }
        }
        let unknown: Vec<_> =
            ids.iter().zip(&known).map(|(id, known)| known.is_none().then_some(*id)).collect();
        let pending = if kind == ObjectKind::DataPack { &self.pending_chunks } else { &self.pending_nodes };
        pending.claim(&unknown)
    }

    /// What a frame of new chunks may be compressed against. Whatever cannot be read of it costs space, and no more.
    pub(super) fn prefix(&self, base: &Base, new: &New<'_>) -> Option<Prefix> {
        let reader = self.deltas.filter(|_| !self.has_failed_to_read.load(Ordering::Relaxed))?;
        // Asked for, and said, only when there is something to be stored.
        let may_read = self.may_read_bases.get_or_init(|| {
            let may_read = reader.is_limited() || reader.repository().may_read_bases();
            if !may_read && let Some(keys) = self.base_keys {
                self.monitor.note(&keys.why_whole());
            }
            may_read
        });
        if !may_read {
            return None;
        }
        let _finding = stage!("find base");
        base.find(reader, new).unwrap_or_else(|error| {
            self.goes_without_deltas(&error);
            None
        })
    }

    /// Says so, once.
    pub(super) fn goes_without_deltas(&self, error: &RepositoryError) {
        if !self.has_failed_to_read.swap(true, Ordering::Relaxed) {
            self.monitor.warn(&format!(
                "what the source was before cannot be read, so what changed is stored whole: {}",
                describe(error)
            ));
        }
    }

    /// Notes frames that the snapshot needs, and that are stored already.
    pub(super) fn rely_on<'f>(&self, frames: impl IntoIterator<Item = &'f (PackId, u32)>) {
        let mut relied = self.relied.lock().unwrap_or_else(PoisonError::into_inner);
        frames.into_iter().for_each(|(pack, frame)| relied.insert(*pack, *frame));
    }

    /// The run's data key: made, and its wrap stored, when the first frame needs it.
    pub(crate) fn data_key(&self) -> Result<(&FrameKey, KeyRef), RepositoryError> {
        if self.data_key.get().is_none() {
            let _once = self.data_key_lock.lock().unwrap_or_else(PoisonError::into_inner);
            if self.data_key.get().is_none() {
                let repository = self.metadata.repository();
                let maker = DataKeyMaker {
                    store: self.store,
                    random: self.random,
                    signer: self.signer,
                    repository,
                    vault: &self.vault,
                    kms: self.data_kms.as_ref(),
                };
                let key = maker.make()?;
                let reference = KeyRef {
                    id: key.id,
                    commitment: commitment(&key.secret, repository, key.id, Purpose::Data),
                };
                let _ = self.data_key.set(DataKey {
                    frames: FrameKey::from_data_key(key.id, repository, &key.secret),
                    reference,
                    secret: self.base_keys.filter(|keys| keys.keeps()).map(|_| key.secret),
                });
            }
        }
        self.data_key.get().map(|key| (&key.frames, key.reference)).ok_or(RepositoryError::Cancelled)
    }
}
