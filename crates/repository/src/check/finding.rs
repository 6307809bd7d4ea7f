//! What a check finds, and where it hurts.

use strongroom_format::SnapshotId;
use strongroom_format::path::EntryPath;
use strongroom_keys::KeysError;

use crate::error::RepositoryError;
use crate::state::describe;

/// Paths that a finding names; more are counted.
const PATHS_NAMED: usize = 20;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is wrong.
    Info,
    /// Nothing is lost, but somebody tried something, or a program is broken.
    Suspicious,
    /// Something that was stored is not there, or not what it was.
    Damage,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// An object is not there.
    Missing,
    /// An object is there and the store cannot read it.
    Unreadable,
    /// Objects are in cold storage, and were not read.
    Frozen,
    /// An object has another length than it should have.
    WrongLength,
    /// An object's bytes do not hash to its name.
    HashMismatch,
    /// An object does not open, or what is in it cannot be decoded.
    Undecodable,
    /// A signature does not hold, or is that of nobody who may sign this.
    SignatureInvalid,
    /// Two objects say different things.
    Contradiction,
    /// No index object describes a pack.
    NotIndexed,
    /// Chunks that are needed are in no pack.
    ChunkMissing,
    /// Frames of a pack, and with them chunks or nodes, cannot be read.
    FrameDamaged,
    /// A tree node cannot be read, or is not what its parent says.
    NodeUnreadable,
    /// A key that is needed is not there.
    KeyMissing,
    /// A wrapped key is not what it should be.
    KeyDamaged,
    /// A wrapped key that this host has no right to open.
    KeyUnopened,
    /// A journal entry that changes nothing.
    Void,
    /// An object that does not belong here.
    Stray,
    /// Objects that nothing names: of runs that did not finish, or are under way.
    Leftover,
}

impl FindingKind {
    /// As machines are told it: `hash-mismatch`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::Frozen => "frozen",
            Self::WrongLength => "wrong-length",
            Self::HashMismatch => "hash-mismatch",
            Self::Undecodable => "undecodable",
            Self::SignatureInvalid => "signature-invalid",
            Self::Contradiction => "contradiction",
            Self::NotIndexed => "not-indexed",
            Self::ChunkMissing => "chunk-missing",
            Self::FrameDamaged => "frame-damaged",
            Self::NodeUnreadable => "node-unreadable",
            Self::KeyMissing => "key-missing",
            Self::KeyDamaged => "key-damaged",
            Self::KeyUnopened => "key-unopened",
            Self::Void => "void",
            Self::Stray => "stray",
            Self::Leftover => "leftover",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub kind: FindingKind,
    /// The object's name, or what else it is about.
    pub object: String,
    /// More, for people.
    pub detail: String,
    /// Snapshots that it touches.
    pub snapshots: Vec<SnapshotId>,
    /// Paths that it touches, the first few.
    pub paths: Vec<(SnapshotId, EntryPath)>,
    /// How many more paths it touches.
    pub more_paths: u64,
}

/// A finding's place among those of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Cause(usize);

#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn add(
        &mut self,
        severity: Severity,
        kind: FindingKind,
        object: impl Into<String>,
        detail: impl Into<String>,
    ) -> Cause {
        self.0.push(Finding {
            severity,
            kind,
            object: object.into(),
            detail: detail.into(),
            snapshots: Vec::new(),
            paths: Vec::new(),
            more_paths: 0,
        });
        Cause(self.0.len() - 1)
    }

    /// Says more about a finding.
    pub(super) fn extend(&mut self, cause: Cause, detail: &str) {
        if let Some(finding) = self.0.get_mut(cause.0) {
            finding.detail.push_str("; ");
            finding.detail.push_str(detail);
        }
    }

    /// Notes whom a finding touches.
    pub(super) fn touch(&mut self, cause: Cause, snapshot: SnapshotId, paths: &Paths) {
        let Some(finding) = self.0.get_mut(cause.0) else { return };
        if !finding.snapshots.contains(&snapshot) {
            finding.snapshots.push(snapshot);
        }
        let room = PATHS_NAMED.saturating_sub(finding.paths.len());
        finding.paths.extend(paths.first.iter().take(room).map(|path| (snapshot, path.clone())));
        finding.more_paths += paths.first.len().saturating_sub(room) as u64 + paths.more;
    }

    pub(super) fn any_damage(&self) -> bool {
        self.0.iter().any(|finding| finding.severity == Severity::Damage)
    }

    pub(super) fn finish(self) -> Vec<Finding> {
        self.0
    }
}

/// Paths below some node that a finding touches: the first few, and how many more.
#[derive(Debug, Clone, Default)]
pub(super) struct Paths {
    first: Vec<EntryPath>,
    more: u64,
}

impl Paths {
    pub(super) fn push(&mut self, path: EntryPath) {
        if self.first.len() < PATHS_NAMED {
            self.first.push(path);
        } else {
            self.more += 1;
        }
    }

    /// Counts paths that cannot be told.
    pub(super) fn count(&mut self, more: u64) {
        self.more = self.more.saturating_add(more);
    }

    pub(super) fn append(&mut self, other: &Paths) {
        other.first.iter().for_each(|path| self.push(path.clone()));
        self.count(other.more);
    }
}

/// What to say of an object for which verifying gave this error.
pub(super) fn classify(error: &RepositoryError) -> (FindingKind, String) {
    let kind = match error {
        RepositoryError::Damaged { source: KeysError::Signature | KeysError::PublicKey, .. } => {
            FindingKind::SignatureInvalid
        }
        RepositoryError::Inconsistent { .. } => FindingKind::Contradiction,
        RepositoryError::DataKey { .. } => FindingKind::KeyDamaged,
        _ => FindingKind::Undecodable,
    };
    (kind, describe(error))
}
