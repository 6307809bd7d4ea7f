//! The state of a repository: the fold of its journal (`format-spec/journal.md#state`).
//!
//! Pure: entries in, state out. Whether a signature holds is decided here, with the policy that was in force
//! before the entry.

#[cfg(test)]
pub(crate) mod example;
mod expired;
mod holds;
mod policies;
mod void;

use std::collections::{BTreeMap, BTreeSet};

use strongroom_format::checkpoint::{Checkpoint, SnapshotState, VoidEntry};
use strongroom_format::entry::{
    Attestation, IndexRef, JournalEntry, PackRef, PolicyBody, RetireBody, SegmentRange, Statement,
};
use strongroom_format::manifest::Manifest;
use strongroom_format::pack::KeyRef;
use strongroom_format::policy::{Policy, Signer};
use strongroom_format::registry::{ObjectKind, Roles};
use strongroom_format::{ContentHash, IndexId, KeyId, PackId, PublicKey, RepositoryId, SnapshotId, WriterId};
use strongroom_keys::derive::{Identity, chain, content_hash, root_key_id};
use strongroom_keys::seal::{MetadataKey, OpenedObject};
use strongroom_keys::sign::verify_policy;

use self::policies::{decode_policy, list, put_in_force};
pub use self::void::VoidReason;
use crate::error::RepositoryError;

/// A snapshot that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// As the state knows it.
    pub state: SnapshotState,
    /// Its manifest, decoded.
    pub manifest: Manifest,
}

impl Snapshot {
    /// Its ID.
    #[must_use]
    pub fn id(&self) -> SnapshotId {
        self.state.id
    }
}

/// That every frame of a pack was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attested {
    /// What the pack says of itself, as it was attested first.
    pub description: ContentHash,
    /// The last entry that said so.
    pub last: u64,
}

/// The state after an entry.
#[derive(Debug, Clone)]
pub struct State {
    /// The repository.
    pub repository: RepositoryId,
    /// The last entry folded.
    pub number: u64,
    /// BLAKE3-256 of its stored bytes.
    pub entry_hash: ContentHash,
    /// The chain up to it: the hash of all that was stored before, entry by entry.
    pub chain: ContentHash,
    /// Every policy with its entry's number; the last is in force.
    pub policies: Vec<(u64, PolicyBody)>,
    /// The policy in force.
    pub policy: Policy,
    /// Metadata keys of any policy; the last is in force.
    pub metadata_keys: Vec<KeyRef>,
    /// Signers of any policy, as they were listed first: what they stored before they were dropped stays good.
    ever_listed: Vec<Signer>,
    /// Snapshots, by number.
    pub snapshots: Vec<Snapshot>,
    /// Index objects that count.
    pub indexes: BTreeMap<IndexId, IndexRef>,
    /// Packs that count.
    pub packs: BTreeMap<PackId, PackRef>,
    /// Who signed the entry that brought each of them first.
    pub brought_by: BTreeMap<PackId, WriterId>,
    /// Packs that a verifier attested.
    pub attested: BTreeMap<PackId, Attested>,
    /// Packs that no longer count, whatever names them, and the entry that retired each.
    pub retired: BTreeMap<PackId, u64>,
    /// Data keys that nothing of what counts is sealed under, and the entry that retired each.
    pub retired_keys: BTreeMap<KeyId, u64>,
    /// What may be deleted of log archives, by source and system identifier, in order; and the entry that said so first.
    pub(crate) expired: BTreeMap<(String, u64), Vec<(SegmentRange, u64)>>,
    /// Snapshots that forget entries forgot.
    pub(crate) forgotten: BTreeSet<SnapshotId>,
    /// Void entries.
    pub voids: Vec<VoidEntry>,
    /// Entries that are missing or cannot be opened: number and why. Not part of checkpoints.
    pub damaged: Vec<(u64, String)>,
    /// The entry up to which a signer has followed the chain.
    chained: u64,
    /// Entries of `damaged` behind that, which may still turn out to be garbage, and why they would be void then.
    undecided: BTreeMap<u64, VoidReason>,
    /// Whether damage was settled as void: a checkpoint may know more.
    pub(crate) has_settled_damage: bool,
    /// The snapshot whose time the next entry tells.
    waiting: Option<u64>,
    seen: BTreeSet<SnapshotId>,
}

impl State {
    /// Whether there is or was a snapshot of this ID.
    pub(crate) fn has_seen(&self, id: SnapshotId) -> bool {
        self.seen.contains(&id)
    }

    /// The state after entry 0, which must be a policy signed by the root key of `config`.
    ///
    /// # Errors
    /// `Damaged`, `Inconsistent`, `UnknownFeature`, `NewerFormat`.
    pub fn genesis(
        object: &str,
        bytes: &[u8],
        opened: &OpenedObject,
        repository: RepositoryId,
        root: &PublicKey,
        config_hash: ContentHash,
    ) -> Result<Self, RepositoryError> {
        let inconsistent = |reason: &str| RepositoryError::Inconsistent {
            object: object.to_owned(),
            reason: reason.to_owned(),
        };
        let content = opened.body().map_err(RepositoryError::damaged(object))?.content;
        let entry = JournalEntry::decode(content).map_err(RepositoryError::malformed(object))?;
        let Statement::Policy(body) = &entry.statement else {
            return Err(inconsistent("the first entry is no policy"));
        };
        verify_policy(root, repository, &body.policy, &body.root_signature)
            .map_err(RepositoryError::damaged(object))?;
        let policy = decode_policy(object, &body.policy)?;
        if policy.root != *root {
            return Err(inconsistent("the first policy names another root key than config"));
        }
        let signer = opened.claimed_signer().map_err(RepositoryError::damaged(object))?;
        let signer = policy
            .signer(signer)
            .filter(|signer| signer.roles.holds(Roles::ADMIN))
            .ok_or_else(|| inconsistent("its signer is not listed, or lacks the role admin"))?;
        opened.verify(&signer.public).map_err(RepositoryError::damaged(object))?;
        if entry.number != 0 || entry.base != 0 || entry.previous != config_hash || policy.sequence != 0 {
            return Err(inconsistent("the first entry does not follow config"));
        }
        Ok(Self {
            repository,
            number: 0,
            entry_hash: content_hash(bytes),
            chain: chain(config_hash, content_hash(bytes)),
            policies: vec![(0, body.clone())],
            ever_listed: policy.signers.clone(),
            metadata_keys: vec![policy.metadata],
            policy,
            snapshots: Vec::new(),
            indexes: BTreeMap::new(),
            packs: BTreeMap::new(),
            brought_by: BTreeMap::new(),
            attested: BTreeMap::new(),
            retired: BTreeMap::new(),
            retired_keys: BTreeMap::new(),
            expired: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            voids: Vec::new(),
            damaged: Vec::new(),
            chained: 0,
            undecided: BTreeMap::new(),
            has_settled_damage: false,
            waiting: None,
            seen: BTreeSet::new(),
        })
    }

    /// The state that a checkpoint holds; its policies are verified back to `root`.
    ///
    /// # Errors
    /// `Damaged`, `Inconsistent`, `UnknownFeature`, `NewerFormat`.
    pub fn from_checkpoint(
        object: &str,
        checkpoint: Checkpoint,
        repository: RepositoryId,
        root: &PublicKey,
    ) -> Result<Self, RepositoryError> {
        let mut root = *root;
        let mut policy = None;
        let (mut ever_listed, mut metadata_keys) = (Vec::new(), Vec::new());
        // Forgetting is final: what was forgotten was seen.
        let forgotten: BTreeSet<SnapshotId> = checkpoint.forgotten.iter().copied().collect();
        let mut seen = forgotten.clone();
        seen.extend(checkpoint.snapshots.iter().map(|state| state.id));
        for (_, body) in &checkpoint.policies {
            verify_policy(&root, repository, &body.policy, &body.root_signature)
                .map_err(RepositoryError::damaged(object))?;
            let decoded = decode_policy(object, &body.policy)?;
            if policy.as_ref().map_or(0, |before: &Policy| before.sequence + 1) != decoded.sequence {
                return Err(RepositoryError::Inconsistent {
                    object: object.to_owned(),
                    reason: "it leaves a policy out".into(),
                });
            }
            root = decoded.root;
            list(&mut ever_listed, &decoded);
            put_in_force(&mut metadata_keys, decoded.metadata);
            seen.extend(&decoded.forgotten);
            policy = Some(decoded);
        }
        let policy = policy.ok_or_else(|| RepositoryError::Inconsistent {
            object: object.to_owned(),
            reason: "it has no policy".into(),
        })?;
        let mut snapshots = Vec::with_capacity(checkpoint.snapshots.len());
        for state in checkpoint.snapshots {
            let manifest = Manifest::decode(&state.manifest).map_err(RepositoryError::malformed(object))?;
            snapshots.push(Snapshot { state, manifest });
        }
        let waiting = snapshots.last().filter(|last: &&Snapshot| last.state.time_ms == 0);
        Ok(Self {
            repository,
            waiting: waiting.map(|last| last.state.number),
            ever_listed,
            metadata_keys,
            number: checkpoint.number,
            entry_hash: checkpoint.entry_hash,
            chain: checkpoint.chain,
            attested: checkpoint
                .attested
                .into_iter()
                .map(|(said, last)| (said.pack, Attested { description: said.description, last }))
                .collect(),
            retired: checkpoint.retired.into_iter().collect(),
            retired_keys: checkpoint.retired_keys.into_iter().collect(),
            expired: checkpoint
                .expired
                .into_iter()
                .map(|log| ((log.source, log.system), log.ranges))
                .collect(),
            forgotten,
            policies: checkpoint.policies,
            policy,
            seen,
            snapshots,
            indexes: checkpoint.indexes.into_iter().map(|index| (index.id, index)).collect(),
            brought_by: checkpoint.packs.iter().map(|(pack, signer)| (pack.id, *signer)).collect(),
            packs: checkpoint.packs.into_iter().map(|(pack, _)| (pack.id, pack)).collect(),
            voids: checkpoint.voids,
            damaged: Vec::new(),
            chained: checkpoint.number,
            undecided: BTreeMap::new(),
            has_settled_damage: false,
        })
    }

    /// The checkpoint of this state.
    #[must_use]
    pub fn to_checkpoint(&self) -> Checkpoint {
        Checkpoint {
            number: self.number,
            entry_hash: self.entry_hash,
            chain: self.chain,
            policies: self.policies.clone(),
            snapshots: self.snapshots.iter().map(|snapshot| snapshot.state.clone()).collect(),
            indexes: self.indexes.values().copied().collect(),
            packs: self
                .packs
                .values()
                .zip(self.brought_by.values())
                .map(|(pack, signer)| (*pack, *signer))
                .collect(),
            voids: self.voids.clone(),
            attested: self
                .attested
                .iter()
                .map(|(pack, by)| (Attestation { pack: *pack, description: by.description }, by.last))
                .collect(),
            forgotten: self.forgotten.iter().copied().collect(),
            retired: self.retired.iter().map(|(pack, number)| (*pack, *number)).collect(),
            retired_keys: self.retired_keys.iter().map(|(key, number)| (*key, *number)).collect(),
            expired: self.expired_for_checkpoint(),
        }
    }

    /// A signer that some policy listed: of index objects and packs, which count because entries name them.
    #[must_use]
    pub fn known_signer(&self, id: WriterId) -> Option<&Signer> {
        self.ever_listed.iter().find(|signer| signer.id == id)
    }

    /// Whether a key is one that some policy names: for metadata, identity or vault, of a signer or the root.
    #[must_use]
    pub fn is_of_policy(&self, key: KeyId) -> bool {
        let policies = || self.policies.iter().filter_map(|(_, body)| Policy::decode(&body.policy).ok());
        self.ever_listed.iter().any(|signer| signer.id.0 == key.0)
            || policies().any(|policy| {
                let named =
                    [policy.metadata.id, policy.identity.id, policy.vault.id, root_key_id(&policy.root)];
                named.contains(&key)
            })
    }

    /// Whether an entry that was folded is neither void nor damaged.
    #[must_use]
    pub fn counts(&self, number: u64) -> bool {
        self.voids.binary_search_by_key(&number, |void| void.number).is_err()
            && self.damaged.binary_search_by_key(&number, |(number, _)| *number).is_err()
    }

    /// The first entry behind this one that counts.
    pub(crate) fn next_that_counts(&self, number: u64) -> Option<u64> {
        (number.saturating_add(1)..=self.number).find(|later| self.counts(*later))
    }

    /// Folds the stored bytes of the next entry.
    ///
    /// A void entry keeps its number and changes nothing. One that does not open, or that nobody listed signed, is
    /// noted in `damaged`, until an entry behind it shows that its signer saw the same bytes: then it was garbage, and
    /// is void.
    ///
    /// `metadata` is the key in force: that of `self.policy`.
    ///
    /// # Errors
    /// `NewerFormat`, `UnknownFeature`: a policy that the root key signed needs what this version does not have.
    pub fn fold(
        &mut self,
        object: &str,
        bytes: &[u8],
        metadata: &MetadataKey,
        identity: &Identity,
    ) -> Result<(), RepositoryError> {
        let number = self.number + 1;
        let hash = content_hash(bytes);
        let opened = match metadata.open(ObjectKind::Entry, object, bytes) {
            Ok(opened) => opened,
            Err(error) => {
                let why = describe(&RepositoryError::damaged(object)(error));
                self.fold_undecided(hash, VoidReason::DoesNotOpen, why);
                return Ok(());
            }
        };
        // Nothing of the content is looked at before the signature holds: anybody who ever had the metadata key
        // can seal what looks like a newer format, and put it where another entry was.
        let signer = match self.verified_signer(&opened) {
            Ok(signer) => signer,
            Err(reason) => {
                self.fold_undecided(hash, reason, reason.to_string());
                return Ok(());
            }
        };
        // What this version does not know is void, not newer: new kinds come with a feature that a policy requires,
        // and without one a single stolen writer could lock everybody out.
        let content = opened.body().map_err(RepositoryError::damaged(object))?.content;
        let outcome = match JournalEntry::decode(content) {
            Ok(entry) => self.take(object, number, &entry, signer, hash, identity)?,
            Err(_) => Err(VoidReason::Malformed),
        };
        self.advance(number, hash);
        if let Err(reason) = outcome {
            self.void(number, reason);
        }
        Ok(())
    }

    /// Passes over an entry that is missing, or whose stored bytes (of this hash) cannot be opened.
    pub fn fold_damaged(&mut self, hash: ContentHash, reason: String) {
        self.advance(self.number + 1, hash);
        self.damaged.push((self.number, reason));
    }

    fn fold_undecided(&mut self, hash: ContentHash, reason: VoidReason, why: String) {
        self.fold_damaged(hash, why);
        self.undecided.insert(self.number, reason);
    }

    fn advance(&mut self, number: u64, entry_hash: ContentHash) {
        self.number = number;
        self.entry_hash = entry_hash;
        self.chain = chain(self.chain, entry_hash);
    }

    fn void(&mut self, number: u64, reason: VoidReason) {
        let at = self.voids.partition_point(|void| void.number < number);
        self.voids.insert(at, VoidEntry { number, reason: reason.to_string() });
    }

    fn verified_signer(&self, opened: &OpenedObject) -> Result<WriterId, VoidReason> {
        let claimed = opened.claimed_signer().map_err(|_| VoidReason::Signature)?;
        let signer = self.policy.signer(claimed).ok_or(VoidReason::UnlistedSigner)?;
        opened.verify(&signer.public).map_err(|_| VoidReason::Signature)?;
        Ok(claimed)
    }

    /// Judges and applies a decoded entry whose signature holds.
    fn take(
        &mut self,
        object: &str,
        number: u64,
        entry: &JournalEntry,
        signer: WriterId,
        hash: ContentHash,
        identity: &Identity,
    ) -> Result<Result<(), VoidReason>, RepositoryError> {
        if let Err(reason) = self.judge(entry, signer) {
            return Ok(Err(reason));
        }
        let applied = self.apply(object, number, entry, signer, hash, identity)?;
        if applied.is_ok() {
            if let Some(waiting) = self.waiting.take()
                && let Some(snapshot) = self.snapshots.iter_mut().rfind(|s| s.state.number == waiting)
            {
                snapshot.state.time_ms = entry.previous_time_ms;
            }
            self.waiting = matches!(entry.statement, Statement::Snapshot(_)).then_some(number);
        }
        Ok(applied)
    }

    fn judge(&mut self, entry: &JournalEntry, signer: WriterId) -> Result<(), VoidReason> {
        if entry.number != self.number + 1 {
            return Err(VoidReason::Number);
        }
        if entry.base != self.number {
            return Err(VoidReason::Base);
        }
        let follows = entry.previous == self.chain;
        let after_damage = self.damaged.last().is_some_and(|(damaged, _)| *damaged > self.chained);
        if !follows && !after_damage {
            return Err(VoidReason::PreviousHash);
        }
        self.decide_undecided(entry.previous);
        let role = entry.statement.role();
        if self.policy.signer(signer).is_some_and(|signer| signer.roles.holds(role)) {
            Ok(())
        } else {
            Err(VoidReason::Role)
        }
    }

    /// A signer who follows the very bytes that are there decided upon them: what nobody listed signed among them, or
    /// does not open, was so then already. If he follows others, all of it stays damaged, and his word for the chain
    /// is taken.
    fn decide_undecided(&mut self, signers_chain: ContentHash) {
        let undecided = std::mem::take(&mut self.undecided);
        if signers_chain == self.chain {
            self.damaged.retain(|(number, _)| !undecided.contains_key(number));
            undecided.into_iter().for_each(|(number, reason)| self.void(number, reason));
        }
        self.chain = signers_chain;
        self.chained = self.number;
    }

    fn apply(
        &mut self,
        object: &str,
        number: u64,
        entry: &JournalEntry,
        signer: WriterId,
        hash: ContentHash,
        identity: &Identity,
    ) -> Result<Result<(), VoidReason>, RepositoryError> {
        match &entry.statement {
            Statement::Policy(body) => return self.apply_policy(object, number, body),
            Statement::Snapshot(body) => {
                let Ok(manifest) = Manifest::decode(&body.manifest) else {
                    return Ok(Err(VoidReason::Manifest));
                };
                let id = identity.snapshot_id(&body.manifest);
                if !self.policy.signer(signer).is_some_and(|signer| signer.may_write(&manifest.source)) {
                    return Ok(Err(VoidReason::Source));
                }
                if !self.seen.insert(id) {
                    return Ok(Err(VoidReason::SnapshotSeen));
                }
                self.bring(&body.packs, &body.indexes, signer);
                let mut tags = manifest.tags.clone();
                tags.sort();
                tags.dedup();
                let state = SnapshotState {
                    number,
                    id,
                    signer,
                    entry_hash: hash,
                    time_ms: 0,
                    manifest: body.manifest.clone(),
                    keys: self.without_retired(&body.keys),
                    tags,
                    holds: Vec::new(),
                };
                self.snapshots.push(Snapshot { state, manifest });
            }
            Statement::Reindex(body) => {
                if body.removed.iter().any(|id| !self.indexes.contains_key(id)) {
                    return Ok(Err(VoidReason::Unknown));
                }
                self.indexes.retain(|id, _| !body.removed.contains(id));
                for index in &body.added {
                    self.indexes.entry(index.id).or_insert(*index);
                }
            }
            Statement::Forget(body) => {
                let gone: BTreeSet<SnapshotId> = body.snapshots.iter().copied().collect();
                if !gone.iter().all(|id| self.snapshots.iter().any(|snapshot| snapshot.state.id == *id)) {
                    return Ok(Err(VoidReason::Unknown));
                }
                if self.holds_any_of(&body.snapshots) {
                    return Ok(Err(VoidReason::Held));
                }
                self.snapshots.retain(|snapshot| !gone.contains(&snapshot.state.id));
                self.forgotten.extend(gone);
            }
            Statement::Retire(body) => self.retire(body, number, signer),
            Statement::Expire(body) => self.expire(body, number),
            Statement::Tag(body) => {
                let Some(snapshot) =
                    self.snapshots.iter_mut().find(|snapshot| snapshot.state.id == body.snapshot)
                else {
                    return Ok(Err(VoidReason::Unknown));
                };
                let tags = &mut snapshot.state.tags;
                tags.retain(|tag| !body.remove.contains(tag));
                tags.extend(body.add.iter().cloned());
                tags.sort();
                tags.dedup();
            }
            Statement::Hold(body) => return Ok(self.hold(body, number)),
            Statement::Attested(packs) => {
                for said in packs.iter().filter(|said| self.packs.contains_key(&said.pack)) {
                    let new = Attested { description: said.description, last: number };
                    let known = self.attested.entry(said.pack).or_insert(new);
                    if known.description == new.description {
                        known.last = number;
                    }
                }
            }
            Statement::Note(_) => {}
        }
        Ok(Ok(()))
    }

    /// Counts what an entry brings. What an earlier entry said of the same ID stays: nobody can misdescribe another's
    /// pack, or bring back one that was retired.
    fn bring(&mut self, packs: &[PackRef], indexes: &[IndexRef], signer: WriterId) {
        for pack in packs.iter().filter(|pack| !self.retired.contains_key(&pack.id)) {
            self.packs.entry(pack.id).or_insert(*pack);
            self.brought_by.entry(pack.id).or_insert(signer);
        }
        for index in indexes {
            self.indexes.entry(index.id).or_insert(*index);
        }
    }

    fn retire(&mut self, body: &RetireBody, number: u64, signer: WriterId) {
        self.bring(&body.packs, &body.indexes, signer);
        for pack in &body.retired {
            self.packs.remove(pack);
            self.brought_by.remove(pack);
            self.attested.remove(pack);
            self.retired.entry(*pack).or_insert(number);
        }
        for key in &body.retired_keys {
            self.retired_keys.entry(*key).or_insert(number);
        }
        let gone = |key: &KeyRef| body.retired_keys.contains(&key.id);
        let brought = self.without_retired(&body.keys);
        for keys in self.snapshots.iter_mut().map(|snapshot| &mut snapshot.state.keys) {
            if keys.iter().any(gone) {
                keys.retain(|key| !gone(key));
                for key in &brought {
                    if !keys.iter().any(|known| known.id == key.id) {
                        keys.push(*key);
                    }
                }
            }
        }
    }

    /// What is left of data keys that a snapshot names.
    fn without_retired(&self, keys: &[KeyRef]) -> Vec<KeyRef> {
        keys.iter().filter(|key| !self.retired_keys.contains_key(&key.id)).copied().collect()
    }
}

/// An error with its causes, in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
