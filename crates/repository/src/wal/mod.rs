//! Log archives: the write-ahead log of a database server, file by file, as its server hands it over
//! (`format-spec/wal.md`).
//!
//! No journal entry names an object of a log archive: it counts when it is stored. That a stored one is never replaced,
//! its create-only name sees to, which is a keyed hash of what it is a part of; so a file is found by one request, and
//! the store learns nothing of what it is. What is damaged is stored again as another *attempt*, under another name.
//!
//! [`WalWriter`] pushes files, [`Repository::fetch_log_file`] gives one back, [`Repository::log_archives`] tells what
//! there is and what is missing in between ([`gaps`]), [`Repository::copy_logs_from`] takes over what another repository has. An [expire](Repository::expire_log) entry says what may be
//! deleted, and prune does when the grace is over.

mod copy;
mod expire;
mod fetch;
pub mod gaps;
mod heads;
mod history;
mod list;
mod object;
mod push;
mod unneeded;

use strongroom_format::wal::WalPart;
use strongroom_format::wal_file::LogFile;

pub use self::copy::{LogCopyOptions, LogCopyReport};
pub use self::list::{LogArchive, LogArchives, LogTimeline, StoredFile};
pub(crate) use self::object::SignedHead;
pub use self::push::{Pushed, WalWriter};
pub use self::unneeded::unneeded;
#[cfg(doc)]
use crate::repository::Repository;

/// A file, and the archive that it is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchivedFile {
    /// Whose log it is.
    pub source: String,
    /// The database system identifier: another one is another archive.
    pub system: u64,
    /// The file.
    pub file: LogFile,
}

impl ArchivedFile {
    fn part(&self, part: u32, attempt: u32) -> WalPart {
        WalPart { source: self.source.clone(), system: self.system, file: self.file, part, attempt }
    }

    pub(crate) fn of(part: &WalPart) -> Self {
        Self { source: part.source.clone(), system: part.system, file: part.file }
    }
}

impl std::fmt::Display for ArchivedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of source `{}`, system {}", self.file, self.source.escape_debug(), self.system)
    }
}
