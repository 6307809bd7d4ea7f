//! Why ClickHouse could not be read or restored.

use strongroom_format::SnapshotId;

use super::native::NativeError;
use crate::http::HttpError;

/// What went wrong, and on what.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClickHouseError {
    /// The server could not be asked, or says no.
    #[error("{what}")]
    Server {
        /// What it was asked for: `the rows of shop.orders`.
        what: String,
        /// Why.
        source: HttpError,
    },
    /// It answers what makes no sense.
    #[error("the server's answer to {what} makes no sense: {why}")]
    Answer {
        /// What it was asked for.
        what: String,
        /// What was wrong with it.
        why: String,
    },
    /// What it sent of a table is not all of it.
    #[error("what the server sent of {what} is not whole: {why}{}", in_its_words(.said))]
    NotWhole {
        /// The table, or a partition of it.
        what: String,
        /// Where it ends.
        why: NativeError,
        /// What the server says of it.
        said: Option<String>,
    },
    /// What it sent has other rows than there are.
    #[error(
        "the server sent {sent} rows of {what}, which has {counted}; it changes faster than it can be read"
    )]
    Rows {
        /// The table, or a partition of it.
        what: String,
        /// Rows of the stream.
        sent: u64,
        /// Rows that were counted.
        counted: u64,
    },
    /// The server shows fewer rows than it has.
    #[error(
        "the server shows {shown} rows of {what}, whose parts have {there}, and none was deleted: a row policy, or a filter of the user's profile, hides the others"
    )]
    Hidden {
        /// The partition.
        what: String,
        /// Rows of the stream, and of a count.
        shown: u64,
        /// Rows of its parts.
        there: u64,
    },
    /// A database, table or partition that was asked for is not there.
    #[error("there is no {what}{}", there_is(.there))]
    Missing {
        /// It.
        what: String,
        /// Those that are.
        there: Vec<String>,
    },
    /// What is to be restored is there.
    #[error("{what} is there already{}; nothing was changed", and_more(.more))]
    InTheWay {
        /// A table, and what is wrong with it.
        what: String,
        /// How many others.
        more: usize,
    },
    /// The target may not understand what was backed up.
    #[error(
        "the server is of version {target}, older than the one that was backed up ({stored}); nothing was changed"
    )]
    Older {
        /// Its version.
        target: String,
        /// That of the snapshot.
        stored: String,
    },
    /// A restore that stopped in the middle.
    #[error("the restore stopped at {at}; {done}")]
    Partial {
        /// Table or partition.
        at: String,
        /// What is there.
        done: String,
        /// Why.
        source: Box<crate::engine::EngineError>,
    },
    /// A table came back with another number of rows.
    #[error("{what} has {found} rows after it was restored, {stored} were backed up")]
    Restored {
        /// The table, or a partition of it.
        what: String,
        /// Rows that are there.
        found: u64,
        /// Rows that should be.
        stored: u64,
    },
    /// A snapshot of something else.
    #[error("snapshot {snapshot} was not made by `backup clickhouse`")]
    NotClickHouse {
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// No program that could be one.
    #[error("there is no clickhouse-server here for the test of the restore")]
    NoProgram,
    /// No server for a restore to be tested in.
    #[error("no scratch server for the test of the restore: {why}")]
    Scratch {
        /// What is wrong.
        why: String,
    },
}

impl ClickHouseError {
    /// What the server said when it refused: `Code: 60. DB::Exception: ...`.
    #[must_use]
    pub fn said(&self) -> Option<&str> {
        match self {
            Self::Server { source: HttpError::Refused { said, .. }, .. } => Some(said),
            Self::NotWhole { said, .. } => said.as_deref(),
            _ => None,
        }
    }

    /// Whether the server does not understand what it was asked.
    pub(super) fn is_of_syntax(&self) -> bool {
        self.said().is_some_and(|said| said.starts_with("Code: 62,") || said.starts_with("Code: 62."))
    }
}

fn in_its_words(said: &Option<String>) -> String {
    said.as_ref().map(|said| format!("; it says: {said}")).unwrap_or_default()
}

fn there_is(there: &[String]) -> String {
    if there.is_empty() { String::new() } else { format!(" (there are: {})", there.join(", ")) }
}

fn and_more(more: &usize) -> String {
    if *more == 0 { String::new() } else { format!(" (and {more} more of what is to be restored)") }
}
