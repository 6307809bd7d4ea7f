//! Why a ledger could not be read or restored.

use std::io;
use std::path::PathBuf;

use super::lsm::manifest::ManifestError;

/// What went wrong, and on what.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// A database has two names.
    #[error("{} and {} are the same SQLite file: leave one of them out with --exclude", path.display(), other.display())]
    SeveralNames {
        /// One.
        path: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// The data directory is none, or cannot be read.
    #[error("{} is no data directory that can be read", path.display())]
    Root {
        /// It.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// It.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// This program's SQLite cannot give pages.
    #[error("this program was built with an SQLite that has no sqlite_dbpage (SQLITE_ENABLE_DBPAGE_VTAB)")]
    NoPages,
    /// Another process does not let go of a database.
    #[error("the SQLite file {} is locked by another process", path.display())]
    Locked {
        /// It.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A process died while it wrote, and nothing rolled that back yet.
    #[error("the SQLite file {} was left in the middle of a transaction, by a process that died", path.display())]
    HotJournal {
        /// It.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// It is no whole database.
    #[error("the SQLite file {} is torn or damaged", path.display())]
    Torn {
        /// It.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// It cannot be read.
    #[error("cannot read the SQLite file {}", path.display())]
    Sqlite {
        /// It.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Fewer or more pages came than there are.
    #[error("{read} bytes of the SQLite file {} were read, and it has {expected}", path.display())]
    Length {
        /// It.
        path: PathBuf,
        /// Bytes that came.
        read: u64,
        /// Bytes that it has.
        expected: u64,
    },
    /// A file that seemed at rest was written to.
    #[error("{} was written to while it was read", path.display())]
    Changed {
        /// It.
        path: PathBuf,
    },
    /// A manifest cannot be read.
    #[error("the manifest {} cannot be read", path.display())]
    Manifest {
        /// It.
        path: PathBuf,
        /// Why.
        source: ManifestError,
    },
    /// A file that a manifest names is missing, or has another length.
    #[error("the database {} is torn: {what}", folder.display())]
    Store {
        /// Its folder.
        folder: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A database does not keep still for long enough.
    #[error("the database {} changed {attempts} times while it was looked at", folder.display())]
    Moving {
        /// Its folder.
        folder: PathBuf,
        /// How often it was tried.
        attempts: u32,
    },
    /// More files are to be held open than the system lets a process have.
    #[error("more files have to be held open than this process may have ({limit}); the first too many is {}", path.display())]
    OpenFiles {
        /// It.
        path: PathBuf,
        /// The most.
        limit: u64,
    },
    /// One moment was asked for, and the node wrote.
    #[error("the snapshot would not be of one moment: {what}")]
    NotOneMoment {
        /// What was written meanwhile.
        what: String,
    },
    /// What tells the height does not.
    #[error("{what}")]
    Height {
        /// What is wrong.
        what: String,
    },
    /// The snapshot does not say what it should.
    #[error("the facts of the snapshot cannot be read: {what}")]
    Facts {
        /// Why.
        what: String,
    },
    /// A node runs on what is to be replaced.
    #[error("{} is in use: {}{} holds it locked; nothing was changed", target.display(), file.display(), by(.process))]
    InUse {
        /// The data directory.
        target: PathBuf,
        /// What is locked.
        file: PathBuf,
        /// By whom, where it is known.
        process: Option<u32>,
    },
    /// Another restore is under way beside it.
    #[error("another restore is under way in {}", folder.display())]
    Restoring {
        /// The folder above the target.
        folder: PathBuf,
    },
    /// Putting the new directory in place failed.
    #[error("cannot {operation} {}; {state}", path.display())]
    Place {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What there is now.
        state: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Parts of the snapshot cannot be restored.
    #[error(
        "{troubles} parts of the snapshot were not restored, the first: {first}; the target was not touched"
    )]
    NotWhole {
        /// How many.
        troubles: u64,
        /// One of them.
        first: String,
        /// Whether the repository is damaged.
        is_damage: bool,
    },
}

fn by(process: &Option<u32>) -> String {
    process.map_or(String::new(), |process| format!(", process {process},"))
}
