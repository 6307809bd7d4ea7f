//! What is wrong with an archive.

use std::io;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It does not begin as one does.
    #[error("this is no archive of `pg_dump --format=custom`")]
    NotAnArchive,
    /// Of a version that is not known here.
    #[error("archives of version {major}.{minor} are not known here (1.12 to 1.16 are)")]
    Version {
        /// The first number.
        major: u8,
        /// The second.
        minor: u8,
    },
    /// It ends in the middle.
    #[error("the archive ends early, in {what}: pg_dump did not finish it")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// It breaks a rule.
    #[error("the archive is not well-formed: {rule}")]
    Malformed {
        /// The rule.
        rule: &'static str,
    },
    /// Its table of contents is too long to be kept in memory.
    #[error("the archive's table of contents is longer than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// Reading failed.
    #[error("the archive cannot be read")]
    Read(#[source] io::Error),
}
