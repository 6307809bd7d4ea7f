//! Checking: does everything that the journal names exist, and is it what it should be?
//!
//! Nothing is changed, and nothing local is believed: the journal is folded from its first entry, and the index is
//! read from the store. Damage is a [`Finding`], never an error; whatever is found, the check goes on.
//!
//! The order is that of trust. The journal says which index objects and packs count; the index says what packs
//! hold; packs are looked at next, so that it is known which frames are bad when, last, the trees of all snapshots
//! are walked: the walk tells which snapshots and paths each piece of damage touches.

mod beside;
mod export;
mod finding;
mod head;
mod journal;
mod keys;
mod logs;
mod objects;
mod packs;
mod parity;
mod reading;
mod sample;
mod scrub;
mod told;
mod trees;
mod verify;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::PoisonError;

use strongroom_format::entry::Attestation;
use strongroom_format::registry::ObjectKind;
use strongroom_format::{KeyId, PackId, RecipientId};
use strongroom_store::{ObjectName, StoreError};

pub use self::export::{ExportedEntry, Verdict};
use self::finding::{Cause, Findings};
pub use self::finding::{Finding, FindingKind, Severity};
use self::head::StoredChain;
pub use self::head::{InvalidHead, JournalHead};
pub use self::scrub::{ScrubReport, scrub};
pub use self::verify::{Expected, JournalReport};
use crate::cache::{Location, PackNumber};
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::names;
use crate::reader::Reader;
use crate::repository::Repository;
use crate::share::Share;
use crate::state::State;

/// How deep a check goes. The structure is always checked.
#[derive(Debug, Clone, Copy)]
pub struct CheckOptions {
    /// Whether every pack is read and its hash compared with its name.
    pub packs: bool,
    /// Whether every pack is read and every frame in it opened.
    pub read_data: bool,
    /// Instead of every pack: this percentage of them, at least one. Means `read_data`. Most of them are those that no
    /// verifier has attested for the longest; the others are drawn at random.
    pub sample_percent: Option<u8>,
    /// Whether every wrapped key is looked at, and opened where that is possible with what is at hand.
    pub keys: bool,
    /// Instead of all that is to be read, this worker's share of it. What is not divided, keys and trees, is the first
    /// one's; trees are walked by whoever has found damage, too, to tell what it touches.
    pub share: Option<Share>,
    /// Threads that read packs; each holds one pack in memory.
    pub workers: usize,
}

impl Default for CheckOptions {
    /// The structure only.
    fn default() -> Self {
        Self { packs: false, read_data: false, sample_percent: None, keys: false, share: None, workers: 2 }
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Journal entries.
    pub entries: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Index objects.
    pub index_objects: u64,
    /// Packs that are there.
    pub packs: u64,
    /// Packs that were read whole.
    pub packs_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// Packs that were to be read, and could not all be, because they or packs that they build on are in cold storage.
    pub packs_frozen: u64,
    /// Tree nodes, each once.
    pub nodes: u64,
    /// Chunks of all contents, as often as distinct lists have them.
    pub chunks: u64,
    /// Parity objects of packs that count.
    pub parity: u64,
    /// Wrapped keys that were looked at.
    pub keys: u64,
    /// Wrapped keys that were opened.
    pub keys_opened: u64,
    /// Objects of log archives.
    pub log_objects: u64,
    /// Objects of log archives that were read whole.
    pub log_objects_read: u64,
    /// Snapshots.
    pub snapshots: u64,
}

/// What a check found.
#[derive(Debug, Clone)]
pub struct CheckReport {
    /// In an order that depends on the repository only.
    pub findings: Vec<Finding>,
    /// What was looked at.
    pub checked: Checked,
    /// Packs of which every frame was opened, and found to be what its author signed: see [`Repository::attest`].
    pub opened: Vec<Attestation>,
}

impl CheckReport {
    /// Whether nothing is damaged and nothing suspicious.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Info)
    }
}

/// What is known to be bad before trees are walked.
#[derive(Default)]
struct Bad {
    packs: HashMap<PackNumber, Cause>,
    frames: HashMap<Location, Cause>,
}

impl Bad {
    fn cause(&self, location: Location) -> Option<Cause> {
        self.packs.get(&location.pack).or_else(|| self.frames.get(&location)).copied()
    }
}

/// A check under way.
struct Checker<'a> {
    repository: &'a Repository,
    options: CheckOptions,
    monitor: &'a dyn Monitor,
    state: State,
    findings: Findings,
    checked: Checked,
    /// The chain over what is stored, as far as the journal was folded.
    chain: StoredChain,
    /// What checkpoints tell of damaged entries, by number.
    told: BTreeMap<u64, String>,
    /// Packs that are in the store.
    present: BTreeSet<PackId>,
    /// The depth of packs that have deltas.
    depths: HashMap<PackId, u8>,
    /// Packs that have parity, and what is wrong with it.
    parity: BTreeMap<PackId, Option<Cause>>,
    /// Damaged packs that their parity heals, and that are reported.
    healed: BTreeSet<PackId>,
    /// Findings about packs, to be made more precise by reading them.
    suspect: BTreeMap<PackId, Cause>,
    /// Findings about index objects: what nothing else covers is laid to them.
    index_causes: Vec<Cause>,
    /// Names in `keys/`.
    key_names: BTreeSet<(KeyId, RecipientId)>,
    /// Data keys that log archives are sealed under.
    log_keys: BTreeSet<KeyId>,
    bad: Bad,
    opened: Vec<Attestation>,
}

impl Repository {
    /// Checks the repository. Nothing in the store is changed.
    ///
    /// # Errors
    /// `Store` when the store itself fails, not when an object does; `Interrupted`; `NewerFormat` and
    /// `UnknownFeature`; `TooLittleMemory`; `Cache` when not even a cache in memory works.
    pub fn check(
        &self,
        options: &CheckOptions,
        monitor: &dyn Monitor,
    ) -> Result<CheckReport, RepositoryError> {
        let mut checker = Checker::new(self, options, monitor);
        // Keys that were opened before are not believed either.
        self.data_keys.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.log_keys.lock().unwrap_or_else(PoisonError::into_inner) = None;
        checker.config()?;
        checker.journal()?;
        let cache = self.empty_index()?;
        checker.list_packs()?;
        checker.list_parity()?;
        checker.index(&cache)?;
        checker.list_parts()?;
        checker.list_keys()?;
        checker.log_archives()?;
        let is_first = options.share.is_none_or(|share| share.is_first());
        if options.keys && is_first {
            checker.keys()?;
        }
        checker.footers(&cache)?;
        let reader = Reader::by_index(self, &cache).noting_opened();
        checker.read_packs(&cache, &reader)?;
        checker.report_frozen();
        if is_first || checker.findings.any_damage() {
            checker.trees(&cache, &reader)?;
        }
        checker.report_healed(&reader);
        Ok(CheckReport {
            findings: checker.findings.finish(),
            checked: checker.checked,
            opened: checker.opened,
        })
    }
}

/// An object's bytes, or why there are none.
type Fetched = Result<Vec<u8>, (FindingKind, String)>;

impl<'a> Checker<'a> {
    fn new(repository: &'a Repository, options: &CheckOptions, monitor: &'a dyn Monitor) -> Self {
        Self {
            repository,
            options: *options,
            monitor,
            state: repository.state.clone(),
            findings: Findings::default(),
            checked: Checked::default(),
            chain: StoredChain::new(repository.config_hash),
            told: BTreeMap::new(),
            present: BTreeSet::new(),
            depths: HashMap::new(),
            parity: BTreeMap::new(),
            healed: BTreeSet::new(),
            suspect: BTreeMap::new(),
            index_causes: Vec::new(),
            key_names: BTreeSet::new(),
            log_keys: BTreeSet::new(),
            bad: Bad::default(),
            opened: Vec::new(),
        }
    }
}

impl Checker<'_> {
    /// Reads an object. An object that cannot be read is a finding as long as the store answers otherwise.
    fn fetch(&self, name: &ObjectName, limit_bytes: u64) -> Result<Fetched, RepositoryError> {
        self.go_on()?;
        match self.repository.origin.get(name, limit_bytes) {
            Ok(bytes) => Ok(Ok(bytes)),
            Err(error) => self.store_error(error).map(Err),
        }
    }

    /// What to say of an object whose reading failed so.
    fn store_error(&self, error: StoreError) -> Result<(FindingKind, String), RepositoryError> {
        match error {
            StoreError::NotFound { .. } => Ok((FindingKind::Missing, "it is not there".into())),
            StoreError::Archived { .. } => Ok((FindingKind::Frozen, error.to_string())),
            StoreError::TooLarge { .. } | StoreError::Truncated { .. } => {
                Ok((FindingKind::WrongLength, error.to_string()))
            }
            error => self
                .store_answers(error)
                .map(|error| (FindingKind::Unreadable, crate::state::describe(&error))),
        }
    }

    /// Gives the error back when the store works otherwise: then it is one object that cannot be read.
    fn store_answers(&self, error: StoreError) -> Result<StoreError, RepositoryError> {
        match self.repository.origin.stat(&names::config()?) {
            Ok(_) | Err(StoreError::NotFound { .. }) => Ok(error),
            Err(_) => Err(error.into()),
        }
    }

    fn go_on(&self) -> Result<(), RepositoryError> {
        if self.monitor.is_cancelled() { Err(RepositoryError::Interrupted) } else { Ok(()) }
    }

    fn damage(&mut self, kind: FindingKind, object: impl Into<String>, detail: impl Into<String>) -> Cause {
        self.findings.add(Severity::Damage, kind, object, detail)
    }

    fn suspicious(
        &mut self,
        kind: FindingKind,
        object: impl Into<String>,
        detail: impl Into<String>,
    ) -> Cause {
        self.findings.add(Severity::Suspicious, kind, object, detail)
    }

    /// The name of a pack as people find it in the store.
    fn pack_name(&self, kind: ObjectKind, id: PackId) -> String {
        names::pack(kind, id).map_or_else(|_| id.to_string(), |name| name.to_string())
    }
}
