//! Groups: several workers back up parts of one source, and one entry commits all of them, or none
//! (`format-spec/protocols.md`, rules G1 to G4).
//!
//! A [worker](work) does what a backup does, and stores a part in place of the entry. [Committing](commit) reads all
//! parts, [joins](join) their trees to one, and checks what they rely on and what they brought as an append does. What
//! a worker that was killed had stored already, the next one [takes over](leftovers).

mod commit;
mod join;
mod leftovers;
mod part;
mod work;

pub use self::commit::{CommitOptions, GroupCommit};
pub use self::join::JoinedEntries;
pub(super) use self::leftovers::Leftovers;
pub use self::part::Group;
pub use self::work::Worked;
use crate::error::RepositoryError;
use crate::state::{Snapshot, State};

/// Which part of which group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartOf {
    /// The group.
    pub group: String,
    /// The part, from 1.
    pub number: u32,
    /// How many parts the group has.
    pub count: u32,
}

/// The snapshot that a group became: its nonce says so, whoever committed it.
fn snapshot_of(state: &State, nonce: [u8; 16]) -> Option<&Snapshot> {
    state.snapshots.iter().find(|snapshot| snapshot.manifest.nonce == nonce)
}

/// Why a group cannot be worked for or committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// No part of it is stored.
    #[error(
        "no part of it is stored: its workers have not finished, or failed, or wrote to another group or repository; parts that nobody committed are deleted by `strongroom prune` when they are a week old"
    )]
    NoParts,
    /// Some parts are not there.
    #[error(
        "{} of its {count} parts {} missing: {}; start {} again (those that have stored theirs do nothing), and commit then, or with --wait",
        .missing.len(),
        if .missing.len() == 1 { "is" } else { "are" },
        numbers(.missing),
        if .missing.len() == 1 { "its worker" } else { "their workers" }
    )]
    Incomplete {
        /// Their numbers.
        missing: Vec<u32>,
        /// How many parts the group has.
        count: u32,
    },
    /// A part says otherwise than the first.
    #[error(
        "its part {number} is of {what} {found}, but part {other} of {expected}: they are no parts of one snapshot; run the workers again under another name"
    )]
    Disagreement {
        /// The part.
        number: u32,
        /// What it says otherwise.
        what: &'static str,
        /// What it says.
        found: String,
        /// Another part.
        other: u32,
        /// What that one says.
        expected: String,
    },
    /// A part of that number is stored, of another backup.
    #[error(
        "part {number} of it is already stored, with another {what}: {found}, not {expected}; group names cannot be reused, choose another"
    )]
    Other {
        /// The part.
        number: u32,
        /// What it says otherwise.
        what: &'static str,
        /// What it says.
        found: String,
        /// What it is to be.
        expected: String,
    },
    /// It has another number of parts than was asked for.
    #[error("it has {found} parts, not {expected}")]
    Count {
        /// What was asked for.
        expected: u32,
        /// What its parts say.
        found: u32,
    },
    /// Two parts have an entry of the same name, and it is not the same.
    #[error("its parts {one} and {other} both have `{path}`, and not the same")]
    Overlap {
        /// The path.
        path: String,
        /// A part.
        one: u32,
        /// The other.
        other: u32,
    },
    /// A pack of a part was retired.
    #[error(
        "what its part {number} stored was taken for leftovers meanwhile, and pruned: nothing else was lost; run the workers again under another name, with a longer `prune --orphan-age` than they take"
    )]
    Pruned {
        /// The part.
        number: u32,
    },
    /// Its snapshot was forgotten.
    #[error("it was committed, and its snapshot was forgotten; group names cannot be reused, choose another")]
    Forgotten,
    /// Its snapshot is there.
    #[error("it is snapshot {snapshot} already")]
    Committed {
        /// The snapshot.
        snapshot: strongroom_format::SnapshotId,
    },
}

fn numbers(missing: &[u32]) -> String {
    const MOST: usize = 20;
    let mut text = missing.iter().take(MOST).map(u32::to_string).collect::<Vec<_>>().join(", ");
    if missing.len() > MOST {
        text.push_str(", ...");
    }
    text
}

fn of_group(group: &str) -> impl Fn(GroupError) -> RepositoryError + '_ {
    move |reason| RepositoryError::Group { group: group.to_owned(), reason }
}
