//! What every engine is.

use std::io::Read;

use strongroom_chunker::ChunkerParams;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{Content, EntryKind, TreeEntry};
use strongroom_repository::RepositoryError;
use strongroom_repository::backup::Sink;

use crate::clickhouse::ClickHouseError;
use crate::files::{TargetError, WalkError};
use crate::join::JoinError;
use crate::ledger::LedgerError;
use crate::opensearch::OpensearchError;
use crate::postgres::PostgresError;
use crate::redis::RedisError;
#[cfg(feature = "clouds")]
use crate::s3::S3Error;

/// Reads one kind of data.
pub trait Engine {
    /// Its name: `files`, `stdin`, `postgres`.
    fn name(&self) -> &'static str;

    /// Hands everything to the sink. After an error nothing is committed.
    ///
    /// # Errors
    /// Why the data could not be read, or could not be stored.
    fn backup(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError>;
}

/// Why a backup failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Storing failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The walk cannot start.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The folder cannot be restored into.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// PostgreSQL could not be read.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// OpenSearch could not be read.
    #[error(transparent)]
    Opensearch(#[from] OpensearchError),
    /// Redis could not be read.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// ClickHouse could not be read.
    #[error(transparent)]
    ClickHouse(#[from] ClickHouseError),
    /// A ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A bucket could not be read.
    #[cfg(feature = "clouds")]
    #[error(transparent)]
    S3(#[from] S3Error),
    /// What the workers of a group knew cannot be joined.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// None of the paths could be read.
    #[error("none of the paths to back up can be read; no snapshot was made")]
    NothingReadable,
    /// A name that no entry can have.
    #[error("`{name}` cannot be the name of a stream")]
    StreamName {
        /// The name.
        name: String,
        /// Why.
        source: strongroom_format::FormatError,
    },
    /// A command could not be started.
    #[error("the command for stream `{name}` cannot be started: {command}")]
    Start {
        /// The stream.
        name: String,
        /// The program.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// A command failed: its output is no backup.
    #[error("the command for stream `{name}` failed ({status}); no snapshot was made{}", said(.stderr))]
    CommandFailed {
        /// The stream.
        name: String,
        /// Its exit status or signal.
        status: String,
        /// The last it said on standard error.
        stderr: Vec<String>,
    },
    /// A stream without a byte.
    #[error("stream `{name}` is empty; no snapshot was made (--allow-empty keeps empty streams)")]
    EmptyStream {
        /// The stream.
        name: String,
    },
}

fn said(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("; it said: {}", lines.join(" / ")) }
}

/// An entry for a stream; its content comes from the lane.
pub(crate) fn stream_entry(name: &str) -> Result<TreeEntry, EngineError> {
    let path =
        EntryPath::new(name).map_err(|source| EngineError::StreamName { name: name.to_owned(), source })?;
    Ok(TreeEntry {
        path,
        kind: EntryKind::Stream(Content::Inline(Vec::new())),
        metadata: None,
        link_to: None,
    })
}

/// Reads one stream to its end; `finish` says, with its length, whether it was a good one.
pub(crate) fn read_stream(
    sink: &Sink<'_, '_>,
    name: &str,
    reader: &mut dyn Read,
    finish: impl FnOnce(u64) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let parameters = ChunkerParams::default();
    let entry = stream_entry(name)?;
    let mut lane = sink.stream_lane(parameters)?;
    lane.against(sink.base(&entry.path))?;
    let bytes = lane.content(&name, reader)?;
    finish(bytes)?;
    sink.cut(name.as_bytes().to_vec(), parameters, bytes);
    lane.end(entry)?;
    Ok(lane.finish()?)
}
