//! An open repository.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use strongroom_format::config::Config;
use strongroom_format::entry::{IndexRef, PackRef};
use strongroom_format::header::HEADER_LENGTH;
use strongroom_format::index::{INDEX_LIMIT_BYTES, Index, IndexedPack};
use strongroom_format::pack::{self, Footer, KeyRef, TRAILER_LENGTH};
use strongroom_format::registry::{ObjectKind, Purpose, RecipientType, Roles};
use strongroom_format::{ContentHash, FormatError, KeyId};
use strongroom_keys::derive::{Identity, content_hash};
use strongroom_keys::frame::FrameKey;
use strongroom_keys::kms::Kms;
use strongroom_keys::random::Random;
use strongroom_keys::seal::{MetadataKey, PackSealer};
use strongroom_keys::sign::{Signer, verify_object};
use strongroom_keys::unlock::Credential;
use strongroom_keys::{KeysError, Secret};
use strongroom_store::{ObjectName, Store, StoreError};

use crate::cache::{Cache, PackEntry, decode_packs};
use crate::clock::Clock;
use crate::error::RepositoryError;
use crate::keyring::{Keyring, MetadataKeys};
use crate::memory::MemoryBound;
use crate::names;
use crate::repair::versions::whole_version;
use crate::state::{Snapshot, State, describe};

/// Packs that say of themselves what they hold, added to the cache together.
pub(crate) const ADDED_AT_ONCE: usize = 64;

/// What a repository is opened with.
pub struct OpenOptions {
    /// Passphrases, keys and services at hand.
    pub credentials: Vec<Credential>,
    /// The store without any cache in front, where the one that is opened has one.
    pub origin: Option<Arc<dyn Store>>,
    /// Whether stored data will be read: then the vault is opened first, which spares a KMS two calls. A host that
    /// only writes has no right to that.
    pub reads_content: bool,
    /// The signer to be, by its name in the policy, where several open.
    pub writer: Option<String>,
    /// Folder of local caches; `None` for a cache in memory.
    pub cache_folder: Option<PathBuf>,
    /// The bound on what the process holds in memory.
    pub memory: MemoryBound,
    /// The fingerprint that `config` must have.
    pub fingerprint: Option<String>,
    /// Random bytes.
    pub random: Arc<dyn Random>,
    /// The client's clock.
    pub clock: Arc<dyn Clock>,
}

impl OpenOptions {
    /// With these credentials, no cache on disk, nothing pinned, no content to be read.
    #[must_use]
    pub fn new(credentials: Vec<Credential>, random: Arc<dyn Random>, clock: Arc<dyn Clock>) -> Self {
        Self {
            credentials,
            origin: None,
            reads_content: false,
            writer: None,
            cache_folder: None,
            memory: MemoryBound::default(),
            fingerprint: None,
            random,
            clock,
        }
    }
}

/// An open repository: unlocked, its journal folded, its index in the cache.
pub struct Repository {
    pub(crate) store: Arc<dyn Store>,
    /// The same without any cache in front: for those who must see what is there now.
    pub(crate) origin: Arc<dyn Store>,
    pub(crate) config: Config,
    pub(crate) config_hash: ContentHash,
    pub(crate) metadata: MetadataKeys,
    pub(crate) identity: Identity,
    pub(crate) keyring: Keyring,
    pub(crate) signer: Option<Signer>,
    pub(crate) state: State,
    /// The state before the first entry that was missing when the journal was folded.
    pub(crate) before_gap: Option<State>,
    /// The entry of the newest checkpoint that is known; 0 without one.
    pub(crate) checkpointed: u64,
    pub(crate) cache: Cache,
    pub(crate) memory: MemoryBound,
    pub(crate) data_keys: Mutex<HashMap<KeyId, Arc<FrameKey>>>,
    /// The data key of the log file that was read last.
    pub(crate) log_keys: Mutex<Option<(KeyId, Secret)>>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) warnings: Vec<String>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repository({})", self.store.location())
    }
}

/// The fingerprint of a repository: the first half of BLAKE3-256 of `config`, for people to compare.
#[must_use]
pub(crate) fn fingerprint(config_hash: &ContentHash) -> String {
    let digits = config_hash.to_hex();
    (0..8).map(|group| &digits[group * 4..group * 4 + 4]).collect::<Vec<_>>().join(" ")
}

impl Repository {
    /// What `config` says.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The fingerprint: 8 groups of 4 hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.config_hash)
    }

    /// The state after the last entry that was folded.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Snapshots, oldest first.
    #[must_use]
    pub fn snapshots(&self) -> &[Snapshot] {
        &self.state.snapshots
    }

    /// Where the repository lies.
    #[must_use]
    pub fn location(&self) -> String {
        self.store.location()
    }

    /// What was odd while opening, for people.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where the cache lies.
    #[must_use]
    pub fn cache_path(&self) -> &str {
        self.cache.path()
    }

    /// The client's clock, ns since 1970.
    #[must_use]
    pub fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }

    pub(crate) fn signer(&self) -> Result<&Signer, RepositoryError> {
        self.signer.as_ref().ok_or(RepositoryError::NoSigner { role: "write" })
    }

    /// Opens a data key; each is opened once.
    pub(crate) fn data_key(&self, key: &KeyRef) -> Result<Arc<FrameKey>, RepositoryError> {
        let known = self.data_keys.lock().unwrap_or_else(PoisonError::into_inner).get(&key.id).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let secret = self
            .keyring
            .open(&self.state.policy, key, Purpose::Data)
            .map_err(|source| RepositoryError::DataKey { key: key.id, source })?;
        let opened = Arc::new(FrameKey::from_data_key(key.id, self.config.repository, &secret));
        self.data_keys.lock().unwrap_or_else(PoisonError::into_inner).insert(key.id, Arc::clone(&opened));
        Ok(opened)
    }

    /// Fails where this host cannot open what is stored, and says which right it lacks: by opening the vault, or for
    /// those who were given none, a data key.
    ///
    /// # Errors
    /// `DataKey`, `Unlock`.
    pub fn require_read_access(&self) -> Result<(), RepositoryError> {
        let Err(source) = self.keyring.vault(&self.state.policy) else { return Ok(()) };
        match self.state.snapshots.iter().flat_map(|snapshot| &snapshot.state.keys).next() {
            Some(key) => self.data_key(key).map(drop),
            None => Err(RepositoryError::Unlock { what: "the vault, which opens stored data", source }),
        }
    }

    /// Whether what the source was before may be read to store what differs. A KMS is asked only for those who do more
    /// than write: it refuses the others, and each refusal shows in its log.
    #[must_use]
    pub fn may_read_bases(&self) -> bool {
        let listed = self.signer.as_ref().and_then(|signer| self.state.policy.signer(signer.id()));
        let does_more = listed
            .is_some_and(|signer| signer.roles.holds(Roles::ADMIN) || signer.roles.holds(Roles::VERIFY));
        self.keyring.vault_within(&self.state.policy, does_more).is_ok()
    }

    /// The data keys of what counts, and those that are retired.
    #[must_use]
    pub fn data_keys(&self) -> BTreeSet<KeyId> {
        let of_snapshots = self.state.snapshots.iter().flat_map(|snapshot| &snapshot.state.keys);
        of_snapshots.map(|key| key.id).chain(self.state.retired_keys.keys().copied()).collect()
    }

    /// The KMS key that new data keys come from, on a host that a KMS has let in: of those that the policy names for
    /// them the one that let it in, else the first. Another host seals them to the vault only.
    pub(crate) fn data_kms(&self) -> Option<(String, Arc<dyn Kms>)> {
        let (kms, in_use) = self.keyring.unlocker().kms_in_use()?;
        let recipients = self.state.policy.recipients.iter();
        let named = recipients
            .filter(|one| one.kind == RecipientType::AwsKms && one.gets(Purpose::Data))
            .min_by_key(|one| one.public != in_use.as_bytes())?;
        Some((String::from_utf8(named.public.clone()).ok()?, Arc::clone(kms)))
    }

    /// Brings the cache of the index up to the state. A damaged index object is noted in `warnings`; what it
    /// covers is then unknown to this client.
    ///
    /// # Errors
    /// `TooLittleMemory`, before anything is loaded; `Store`; `Cache` when even a cache in memory fails.
    pub fn load_index(&mut self) -> Result<(), RepositoryError> {
        self.cache.allow(self.memory.allowance(&self.state)?);
        let mut damaged = Vec::new();
        let result = self.synchronize_cache(&mut damaged);
        let result = match result {
            Err(error) if error.is_of_cache() => {
                self.warnings.push(format!("{}; working without it", describe(&error)));
                self.cache.replace_by_memory(&self.fingerprint())?;
                damaged.clear();
                self.synchronize_cache(&mut damaged)
            }
            other => other,
        };
        self.warnings.append(&mut damaged);
        result
    }

    /// An index with nothing in it yet, for those who do not believe what lies here: on the cache's disk, for as long
    /// as it is used.
    ///
    /// # Errors
    /// `TooLittleMemory`; `Cache`.
    pub(crate) fn empty_index(&self) -> Result<Cache, RepositoryError> {
        self.cache.beside(&self.fingerprint(), self.memory.allowance(&self.state)?)
    }

    fn synchronize_cache(&self, damaged: &mut Vec<String>) -> Result<(), RepositoryError> {
        let me = self.signer.as_ref().map(Signer::id);
        let mut any_damaged = false;
        self.cache.synchronize(&self.state, me, |index| match self.read_index(index) {
            Ok(packs) => Ok(Some(self.with_verdicts(packs))),
            Err(
                error @ (RepositoryError::Damaged { .. }
                | RepositoryError::Inconsistent { .. }
                | RepositoryError::Store(StoreError::NotFound { .. } | StoreError::TooLarge { .. })),
            ) => {
                any_damaged = true;
                damaged.push(format!("{}; run `strongroom check`", describe(&error)));
                Ok(None)
            }
            Err(error) => Err(error),
        })?;
        if any_damaged { self.describe_from_packs(&self.cache, damaged) } else { Ok(()) }
    }

    /// A damaged index object loses nothing: what it said, the packs say of themselves.
    pub(crate) fn describe_from_packs(
        &self,
        cache: &Cache,
        damaged: &mut Vec<String>,
    ) -> Result<(), RepositoryError> {
        let me = self.signer.as_ref().map(Signer::id);
        for packs in cache.undescribed(&self.state)?.chunks(ADDED_AT_ONCE) {
            let mut described = Vec::with_capacity(packs.len());
            for pack in packs {
                match self.read_footer(pack) {
                    Ok((stored, entry)) => {
                        let verified = self.footer_verifies(&entry);
                        described.push((stored, entry, verified));
                    }
                    Err(error) => damaged.push(format!("{}; what it holds cannot be read", describe(&error))),
                }
            }
            cache.add(&self.state, me, described)?;
        }
        Ok(())
    }

    /// The newest state, and while journal entries are damaged all that signed index objects in the store describe: what a
    /// damaged entry brought is still there. For reading only, which trusts no pack and verifies every chunk.
    pub(crate) fn salvaged_state(&self) -> Result<State, RepositoryError> {
        let mut state = self.newer_state();
        if state.damaged.is_empty() {
            return Ok(state);
        }
        let mut unnamed = Vec::new();
        self.store.list("index/", &mut |name, info| {
            unnamed.extend(names::index_of(&name, info.length_bytes));
            Ok(())
        })?;
        for index in unnamed {
            if state.indexes.contains_key(&index.id) {
                continue;
            }
            let Ok(packs) = self.read_index(&index) else { continue };
            for (_, entry) in packs {
                if state.retired.contains_key(&entry.id) {
                    continue;
                }
                let (kind, length) = (entry.kind, entry.footer.pack_length);
                state.packs.entry(entry.id).or_insert(PackRef { kind, id: entry.id, length });
            }
            state.indexes.insert(index.id, index);
        }
        Ok(state)
    }

    /// Reads what a pack says of itself; of a damaged one, as its parity heals it.
    pub(crate) fn read_footer(&self, pack: &PackRef) -> Result<(IndexedPack, PackEntry), RepositoryError> {
        let name = names::pack(pack.kind, pack.id)?;
        self.read_stored_footer(pack, &name).or_else(|error| {
            let healed = if error.is_of_content() { self.heal_pack(pack).unwrap_or_default() } else { None };
            healed.map_or(Err(error), |bytes| self.footer_of(pack, &name, &bytes))
        })
    }

    fn footer_of(
        &self,
        pack: &PackRef,
        name: &ObjectName,
        bytes: &[u8],
    ) -> Result<(IndexedPack, PackEntry), RepositoryError> {
        let cut_short = FormatError::Truncated { what: "pack" };
        let trailer = bytes.last_chunk().ok_or(cut_short);
        let range = trailer.and_then(|trailer| pack::decode_trailer(trailer, pack.length));
        let range = range.map_err(RepositoryError::malformed(name))?;
        let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
        let sealed = bytes.get(at(range.start)..at(range.end)).unwrap_or_default();
        self.open_footer(pack, name, bytes, sealed)
    }

    fn read_stored_footer(
        &self,
        pack: &PackRef,
        name: &ObjectName,
    ) -> Result<(IndexedPack, PackEntry), RepositoryError> {
        let end = pack.length.saturating_sub(TRAILER_LENGTH as u64);
        let trailer = self.store.get_range(name, end, TRAILER_LENGTH as u64)?;
        let trailer = trailer.try_into().unwrap_or_default();
        let range = pack::decode_trailer(&trailer, pack.length).map_err(RepositoryError::malformed(name))?;
        let header = self.store.get_range(name, 0, HEADER_LENGTH as u64)?;
        let sealed = self.store.get_range(name, range.start, range.end - range.start)?;
        self.open_footer(pack, name, &header, &sealed)
    }

    pub(crate) fn resume_pack(&self, kind: ObjectKind, header: &[u8]) -> Result<PackSealer, KeysError> {
        self.metadata.of_object(header)?.resume_pack(kind, header)
    }

    /// The metadata key in force.
    pub(crate) fn metadata_key(&self) -> Result<&MetadataKey, RepositoryError> {
        self.metadata.in_force(&self.state)
    }

    /// Opens the sealed footer of a pack.
    pub(crate) fn open_footer(
        &self,
        pack: &PackRef,
        name: &ObjectName,
        header: &[u8],
        sealed: &[u8],
    ) -> Result<(IndexedPack, PackEntry), RepositoryError> {
        let sealer = self.resume_pack(pack.kind, header).map_err(RepositoryError::damaged(name))?;
        let mut plain = sealer.open_footer(sealed).map_err(RepositoryError::damaged(name))?;
        let footer = Footer::decode(&plain).map_err(RepositoryError::malformed(name))?;
        if footer.pack_length != pack.length {
            return Err(RepositoryError::Inconsistent {
                object: name.to_string(),
                reason: "its footer is of a pack of another length".into(),
            });
        }
        plain.truncate(footer.unpadded_length());
        let header = *sealer.header();
        let entry = PackEntry { id: pack.id, kind: pack.kind, header, footer };
        Ok((IndexedPack { id: pack.id, header, footer: plain }, entry))
    }

    /// Reads and verifies an index object.
    pub(crate) fn read_index(
        &self,
        index: &IndexRef,
    ) -> Result<Vec<(IndexedPack, PackEntry)>, RepositoryError> {
        let name = names::index_ref(index)?;
        let read = self.store.get(&name, INDEX_LIMIT_BYTES).map_err(RepositoryError::from);
        let opened = read.and_then(|bytes| self.open_index(index, &name, &bytes));
        // Overwritten, perhaps, in a store that keeps what was there before.
        opened.or_else(|error| match whole_version(&*self.store, &name, &index.id.0) {
            Some(bytes) => self.open_index(index, &name, &bytes),
            None => Err(error),
        })
    }

    /// Verifies the stored bytes of an index object.
    pub(crate) fn open_index(
        &self,
        index: &IndexRef,
        name: &ObjectName,
        bytes: &[u8],
    ) -> Result<Vec<(IndexedPack, PackEntry)>, RepositoryError> {
        if content_hash(bytes).0 != index.id.0 {
            return Err(RepositoryError::Inconsistent {
                object: name.to_string(),
                reason: "its bytes do not hash to its name".into(),
            });
        }
        let opened = self
            .metadata
            .of_object(bytes)
            .and_then(|metadata| metadata.open(ObjectKind::Index, "", bytes))
            .map_err(RepositoryError::damaged(name))?;
        let signer = opened.claimed_signer().map_err(RepositoryError::damaged(name))?;
        let Some(signer) = self.state.known_signer(signer) else {
            return Err(RepositoryError::Inconsistent {
                object: name.to_string(),
                reason: "signed by nobody the policy lists".into(),
            });
        };
        let content = opened.verify(&signer.public).map_err(RepositoryError::damaged(name))?;
        let decoded = Index::decode(content).map_err(RepositoryError::malformed(name))?;
        if decoded.source_tag != index.source_tag {
            return Err(RepositoryError::Inconsistent {
                object: name.to_string(),
                reason: "it is another source's than its name says".into(),
            });
        }
        decode_packs(name.as_str(), decoded)
    }

    /// Tells for each pack of an index whether its footer's signature holds.
    pub(crate) fn with_verdicts(
        &self,
        packs: Vec<(IndexedPack, PackEntry)>,
    ) -> Vec<(IndexedPack, PackEntry, bool)> {
        packs
            .into_iter()
            .map(|(stored, entry)| {
                let verified = self.footer_verifies(&entry);
                (stored, entry, verified)
            })
            .collect()
    }

    /// Whether a footer's signature holds for a signer that the policy lists.
    pub(crate) fn footer_verifies(&self, entry: &PackEntry) -> bool {
        let Some(signer) = self.state.known_signer(entry.footer.signer) else { return false };
        entry.footer.signed_part().is_ok_and(|signed| {
            verify_object(&signer.public, entry.kind, &[&entry.header, &signed], &entry.footer.signature)
                .is_ok()
        })
    }
}
