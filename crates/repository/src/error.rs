//! What can go wrong with a repository.

use strongroom_format::registry::Purpose;
use strongroom_format::{ChunkId, FormatError, KeyId, PackId, SnapshotId};
use strongroom_keys::KeysError;
use strongroom_store::StoreError;

use crate::backup::group::GroupError;
use crate::cache::CacheError;

/// Why something could not be done with a repository.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no repository at this place.
    #[error("there is no repository at {location}")]
    NotARepository {
        /// The place.
        location: String,
    },
    /// There is a repository already.
    #[error("there is a repository at {location} already")]
    AlreadyARepository {
        /// The place.
        location: String,
    },
    /// There is `config` without a first journal entry.
    #[error(
        "an `init` at {location} did not finish, or the first journal entry was deleted; if no snapshot was ever made there, empty the place and run init again"
    )]
    UnfinishedInit {
        /// The place.
        location: String,
    },
    /// `config` is not the one that was pinned.
    #[error("this is another repository: its fingerprint is {found}, but {expected} is expected")]
    Fingerprint {
        /// What was pinned.
        expected: String,
        /// What `config` has.
        found: String,
    },
    /// A newer version wrote this.
    #[error("{object} needs a newer version of strongroom")]
    NewerFormat {
        /// The object.
        object: String,
        /// What is not known.
        source: FormatError,
    },
    /// The policy requires a feature this version lacks.
    #[error(
        "the repository requires the feature `{feature}`, which this version of strongroom does not have; use a newer one"
    )]
    UnknownFeature {
        /// The feature.
        feature: String,
    },
    /// Credentials, or keys that cannot be opened.
    #[error("cannot unlock the repository ({what})")]
    Unlock {
        /// Which key.
        what: &'static str,
        /// Why.
        source: KeysError,
    },
    /// A stored object is not what it should be.
    #[error("{object} is damaged")]
    Damaged {
        /// The object.
        object: String,
        /// How.
        source: KeysError,
    },
    /// A stored object breaks a rule between objects.
    #[error("{object} is damaged: {reason}")]
    Inconsistent {
        /// The object.
        object: String,
        /// How.
        reason: String,
    },
    /// What was made does not hold what every reader asks of it: a defect of this program, and of no object that was stored before.
    #[error(
        "{object} is not as it must be: {reason}; that is a defect of strongroom, and nothing that was stored before has changed: please report it"
    )]
    Defect {
        /// What was made.
        object: String,
        /// How.
        reason: String,
    },
    /// Two streams of one snapshot have a name.
    #[error("two streams are called `{name}`: each needs a name of its own")]
    DuplicateStream {
        /// The name.
        name: String,
    },
    /// No chunks can be as long as a stream is to be cut into.
    #[error(transparent)]
    ChunkSizes(#[from] strongroom_chunker::ParamsError),
    /// The journal is older than what this client has seen.
    #[error(
        "the journal ends at entry {found}, but this host has seen entry {remembered} (or another entry {remembered}): the store shows an older or another state; \
             if it was restored from a copy on purpose, delete the cache {cache} and check the repository"
    )]
    Rollback {
        /// The entry remembered.
        remembered: u64,
        /// The last entry found.
        found: u64,
        /// Where this host remembers.
        cache: String,
    },
    /// No snapshot has this ID or selector.
    #[error("no snapshot matches `{query}`{}", hint(.candidates))]
    NoSuchSnapshot {
        /// What was asked for.
        query: String,
        /// Some that exist.
        candidates: Vec<String>,
    },
    /// Snapshots under a hold are not forgotten.
    #[error(
        "snapshot {} is under the hold `{}` and is not forgotten: an admin takes it off with `strongroom hold remove {} --name '{}'`",
        snapshot.short(), hold.escape_debug(), snapshot.short(), hold.escape_debug()
    )]
    Held {
        /// The snapshot.
        snapshot: SnapshotId,
        /// One of its holds.
        hold: String,
    },
    /// A damaged entry may have put a hold on what is to be forgotten.
    #[error(
        "nothing was forgotten: journal entry {number} is damaged ({reason}), and may have put a hold on it; look at it with `strongroom journal verify`, and when that is known to be harmless, `strongroom journal settle`"
    )]
    NotForgettable {
        /// The entry.
        number: u64,
        /// How it is damaged.
        reason: String,
    },
    /// There is no such hold to be taken off.
    #[error("snapshot {} is under no hold `{}`; `strongroom hold list` lists them", snapshot.short(), hold.escape_debug())]
    NotHeld {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The name.
        hold: String,
    },
    /// More than one snapshot begins with these digits.
    #[error("`{query}` matches {} snapshots: {}", .candidates.len(), .candidates.join(", "))]
    AmbiguousSnapshot {
        /// What was asked for.
        query: String,
        /// Those that match.
        candidates: Vec<String>,
    },
    /// Too few digits.
    #[error("`{query}` is too short for a snapshot ID: give at least 4 hexadecimal digits")]
    SnapshotIdTooShort {
        /// What was asked for.
        query: String,
    },
    /// There is no such path in the snapshot.
    #[error("snapshot {snapshot} has no entry `{path}`")]
    NoSuchPath {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The path.
        path: String,
    },
    /// Every place a chunk should be at failed.
    #[error("chunk {id} cannot be read: {reasons}")]
    ChunkUnavailable {
        /// The chunk or node.
        id: ChunkId,
        /// What happened at each place.
        reasons: String,
    },
    /// A data key is missing or does not open.
    #[error("data key {key} cannot be opened")]
    DataKey {
        /// The key.
        key: KeyId,
        /// Why.
        source: KeysError,
    },
    /// A pack that this run relies on was retired meanwhile.
    #[error(
        "pack {pack}, which this backup builds on, was retired by another host; nothing was lost: run the backup again"
    )]
    PackRetired {
        /// The pack.
        pack: PackId,
    },
    /// Another host has copied the same snapshot meanwhile.
    #[error("another host has already copied this snapshot, as {snapshot}")]
    AlreadyCopied {
        /// The copy.
        snapshot: SnapshotId,
    },
    /// The key of what this run relies on was retired meanwhile.
    #[error(
        "data key {key}, which protects data that this backup builds on, was retired by another host; nothing was lost: run the backup again"
    )]
    KeyRetired {
        /// The key.
        key: KeyId,
    },
    /// A pack that this run counted chunks in turned out to be gone or damaged. From now on this host counts none in it.
    #[error(
        "pack {pack}, which this backup builds on, is missing or damaged: run the backup again, which stores its content anew, and `strongroom check --read-data`, which names the snapshots concerned"
    )]
    PackBroken {
        /// The pack.
        pack: PackId,
    },
    /// A group cannot be worked for or committed.
    #[error("group `{}`: {reason}", group.escape_debug())]
    Group {
        /// The group.
        group: String,
        /// Why.
        reason: GroupError,
    },
    /// The snapshot that this run took unchanged files over from was forgotten meanwhile.
    #[error(
        "snapshot {parent}, which unchanged files were taken over from, was forgotten by another host meanwhile: nothing was lost, run the backup again"
    )]
    ParentForgotten {
        /// The snapshot.
        parent: SnapshotId,
    },
    /// It is not certain what is needed: then nothing is retired.
    #[error("nothing was retired or deleted: {reason}; run `strongroom check`")]
    NotPrunable {
        /// What stands in the way.
        reason: String,
    },
    /// No data key has this ID, or none that anything is sealed under.
    #[error("no stored data is sealed under data key {key}; `strongroom show ID` names a snapshot's")]
    NoSuchDataKey {
        /// As it was given.
        key: String,
    },
    /// Objects of log archives are sealed under a key that is to be retired.
    #[error(
        "data key {key} is not retired: {objects} objects of log archives are sealed under it, which are not sealed anew; `strongroom prune` frees the key when they have expired"
    )]
    KeyOfLogArchive {
        /// The key.
        key: KeyId,
        /// How many.
        objects: u64,
    },
    /// A log archive has another file of that name.
    #[error(
        "the archive already holds a different {file}, which was kept: two servers push to one archive, or a restored server pushes to the timeline of the original; give each a --source of its own"
    )]
    LogFileDiffers {
        /// The file.
        file: String,
    },
    /// What is pushed was expired before.
    #[error("{file} is not stored: journal entry {entry} expired it, so it would be deleted again")]
    LogFileExpired {
        /// The file.
        file: String,
        /// The entry.
        entry: u64,
    },
    /// A file was written to while it was read.
    #[error("{file} changed while it was read, and was not stored")]
    LogFileChanged {
        /// The file.
        file: String,
    },
    /// A file of a log archive is there, and cannot be read.
    #[error("{file} cannot be read: {reasons}")]
    LogFileUnavailable {
        /// The file.
        file: String,
        /// What happened to each object that it may be in.
        reasons: String,
    },
    /// The local cache failed in a way that could not be worked around.
    #[error("the local cache {path} failed")]
    Cache {
        /// Where it is.
        path: String,
        /// Why.
        source: rusqlite::Error,
    },
    /// A file of the local cache failed so.
    #[error("the local cache {path} failed")]
    CacheFile {
        /// Where the cache is.
        path: String,
        /// Why.
        source: CacheError,
    },
    /// The bound on memory is too low for a repository of this size.
    #[error(
        "{} MiB of memory is too little: this repository of about {chunks} chunks needs about {} MiB",
        bound_bytes >> 20,
        needed_bytes.div_ceil(1 << 20)
    )]
    TooLittleMemory {
        /// The bound that was given.
        bound_bytes: u64,
        /// The least that does.
        needed_bytes: u64,
        /// Chunks of the repository, about.
        chunks: u64,
    },
    /// No signing key with the needed role is at hand.
    #[error("no signing key at hand that the policy lists with the role `{role}`")]
    NoSigner {
        /// The role.
        role: &'static str,
    },
    /// The policy lets this writer write other sources.
    #[error(
        "writer `{writer}` may not write the source `{wanted}`, but: {allowed}; see `strongroom key list`"
    )]
    NotItsSource {
        /// The writer's name.
        writer: String,
        /// The source it was to write.
        wanted: String,
        /// The sources it may write.
        allowed: String,
    },
    /// The store cannot keep objects from being deleted.
    #[error(
        "{location} has no object lock, or the policy asks for none (`init --object-lock`); only S3 buckets that were made with it do"
    )]
    CannotLock {
        /// The store.
        location: String,
    },
    /// The store keeps no older versions.
    #[error("{location} keeps no older versions of objects")]
    NoHistory {
        /// The store.
        location: String,
    },
    /// Wrapping a key failed.
    #[error("cannot wrap a {} key", purpose.name())]
    Wrap {
        /// What the key is for.
        purpose: Purpose,
        /// Why.
        source: KeysError,
    },
    /// The policy names no such recipient.
    #[error("the repository has no recipient {recipient}; `strongroom key list` lists them")]
    NoSuchRecipient {
        /// As it was given.
        recipient: String,
    },
    /// Nobody would be left.
    #[error("without this recipient nobody could open the {} key any more: add another one first", purpose.name())]
    LastRecipient {
        /// What nobody could open.
        purpose: Purpose,
    },
    /// A recipient's own secret is needed.
    #[error(
        "recipient `{label}` needs its own secret or service at hand for this (or was added meanwhile): give its --key-file or KMS key too, or remove it first"
    )]
    RecipientElsewhere {
        /// Which.
        label: String,
    },
    /// The policy lists no such writer.
    #[error("the repository has no writer {writer}; `strongroom key list` lists them")]
    NoSuchWriter {
        /// As it was given.
        writer: String,
    },
    /// A writer has this name already.
    #[error("there is a writer called `{name}` already")]
    WriterExists {
        /// The name.
        name: String,
    },
    /// Nobody could change the policy any more.
    #[error("this is the last signer with the role admin: nobody could change the policy any more")]
    LastAdmin,
    /// What is to be written breaks a rule of the format.
    #[error("{what} cannot be stored")]
    Unstorable {
        /// What.
        what: String,
        /// Why.
        source: FormatError,
    },
    /// Encoding or sealing failed.
    #[error("sealing {what} failed")]
    Seal {
        /// What.
        what: &'static str,
        /// Why.
        source: KeysError,
    },
    /// Reading the source failed.
    #[error("reading {path} failed")]
    Read {
        /// The path or stream.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Writing what is restored failed.
    #[error("writing the output failed")]
    Write {
        /// Why.
        source: std::io::Error,
    },
    /// Compression failed: never with a working zstd.
    #[error("zstd failed: {reason}")]
    Compression {
        /// zstd's own words.
        reason: &'static str,
    },
    /// The parity of a pack could not be computed: never with one that can be stored.
    #[error("the parity of pack {pack} cannot be computed")]
    Parity {
        /// The pack.
        pack: PackId,
        /// Why.
        source: reed_solomon_simd::Error,
    },
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// Another thread of the run failed first; its error is the one to report.
    #[error("another part of the run failed")]
    Cancelled,
    /// Other hosts deleted what a check was reading, again and again.
    #[error(
        "other hosts pruned {attempts} times what was being checked, so nothing can be said of it: nothing was lost, run again (a `prune` with a longer --grace leaves time for it)"
    )]
    PrunedMeanwhile {
        /// How often it was tried.
        attempts: u32,
    },
    /// The journal grew faster than this entry could be appended.
    #[error(
        "other hosts appended to the journal {attempts} times while this entry was being appended; run again"
    )]
    Contention {
        /// How often it was tried.
        attempts: u32,
    },
}

fn hint(candidates: &[String]) -> String {
    if candidates.is_empty() {
        "; there are no snapshots".into()
    } else {
        format!("; the latest are {}", candidates.join(", "))
    }
}

impl RepositoryError {
    /// Whether reading failed for want of a right or of the store, not for what is stored: there is no use in going on.
    #[must_use]
    pub fn is_no_access(&self) -> bool {
        matches!(self, Self::Store(_) | Self::DataKey { .. })
    }

    /// Whether it may be for other bytes, or none, under the name of an object.
    pub(crate) fn is_of_content(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. }
                | Self::Inconsistent { .. }
                | Self::Store(
                    StoreError::NotFound { .. } | StoreError::Truncated { .. } | StoreError::TooLarge { .. }
                )
        )
    }

    /// Whether it is the local cache that failed, which may be deleted and done without.
    #[must_use]
    pub fn is_of_cache(&self) -> bool {
        matches!(self, Self::Cache { .. } | Self::CacheFile { .. })
    }

    pub(crate) fn damaged(object: impl std::fmt::Display) -> impl FnOnce(KeysError) -> Self {
        move |source| match source {
            KeysError::Format(error @ (FormatError::Unknown { .. } | FormatError::UnknownField { .. })) => {
                Self::NewerFormat { object: object.to_string(), source: error }
            }
            source => Self::Damaged { object: object.to_string(), source },
        }
    }

    pub(crate) fn malformed(object: impl std::fmt::Display) -> impl FnOnce(FormatError) -> Self {
        move |source| Self::damaged(object)(KeysError::Format(source))
    }
}
