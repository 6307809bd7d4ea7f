//! The rows of a partition out of the repository, into a table.

use std::io::{self, PipeReader, Read, pipe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::restore::write_in_order;
use strongroom_repository::state::Snapshot;

use super::ddl::Name;
use super::error::ClickHouseError;
use super::facts::{Partition, Table};
use super::session::{Session, quoted};
use crate::engine::EngineError;
use crate::stored;

/// How rows are taken in: all of them as they are, and not yet merged with each other.
const SETTINGS: [(&str, &str); 15] = [
    ("http_send_timeout", "3600"),
    ("http_receive_timeout", "3600"),
    ("optimize_on_insert", "0"),
    ("insert_deduplicate", "0"),
    ("async_insert", "0"),
    // They come back as they were, and are not worked out again.
    ("insert_allow_materialized_columns", "1"),
    ("max_partitions_per_insert_block", "0"),
    ("throw_on_max_partitions_per_insert_block", "0"),
    ("max_insert_threads", "1"),
    // Blocks are joined up to this, so that a server neither holds much nor makes many parts.
    ("min_insert_block_size_rows", "1048576"),
    ("min_insert_block_size_bytes", "134217728"),
    ("enable_time_time64_type", "1"),
    ("allow_experimental_dynamic_type", "1"),
    ("input_format_native_decode_types_in_binary_format", "0"),
    ("input_format_native_allow_types_conversion", "1"),
];

/// A snapshot's contents.
#[derive(Clone, Copy)]
pub(super) struct Contents<'r> {
    pub(super) reader: &'r Reader<'r>,
    pub(super) snapshot: &'r Snapshot,
    pub(super) monitor: &'r dyn Monitor,
    /// Threads that fetch and decrypt.
    pub(super) workers: usize,
}

impl Contents<'_> {
    /// Inserts a partition, the rows of all shards that it has.
    ///
    /// # Errors
    /// What the server says; what reading the snapshot fails with.
    pub(super) fn insert(
        &self,
        session: &Session,
        table: &Table,
        to: &Name,
        partition: &Partition,
    ) -> Result<(), EngineError> {
        let mut paths = std::iter::once(&partition.path).chain(&partition.more_paths);
        paths.try_for_each(|path| self.insert_rows(session, table, to, partition, path))
    }

    fn insert_rows(
        &self,
        session: &Session,
        table: &Table,
        to: &Name,
        partition: &Partition,
        path: &str,
    ) -> Result<(), EngineError> {
        let content = &stored::content(self.reader, self.snapshot, path)?;
        let columns: Vec<String> = table.stored_columns().map(|column| quoted(&column.name)).collect();
        let sql =
            format!("INSERT INTO {}.{} ({}) FORMAT Native", quoted(&to.0), quoted(&to.1), columns.join(", "));
        let what = format!("{} cannot be restored", partition.full_name(&format!("{}.{}", to.0, to.1)));
        let cannot = |source| RepositoryError::Write { source };
        let (pipe_out, mut pipe_in) = pipe().map_err(cannot)?;
        let is_whole = AtomicBool::new(false);
        let (written, inserted) = thread::scope(|scope| {
            let is_whole = &is_whole;
            let writing = scope.spawn(move || {
                let written = write_in_order(self.reader, content, &mut pipe_in, self.monitor, self.workers);
                is_whole.store(written.is_ok(), Ordering::Release);
                written
            });
            let mut body = Body { inner: pipe_out, is_whole };
            let inserted = session.insert(&what, &sql, &SETTINGS, &mut body);
            // Who still writes is told that nobody reads.
            drop(body);
            (writing.join().unwrap_or(Err(RepositoryError::Cancelled)), inserted)
        });
        match (written, inserted) {
            (Ok(()), inserted) => Ok(inserted?),
            // The server stopped reading: it says why.
            (Err(RepositoryError::Write { .. }), Err(error)) => Err(error.into()),
            (Err(error), _) => Err(error.into()),
        }
    }
}

/// Ends only when all was written: a body that is cut off would look whole.
struct Body<'b> {
    inner: PipeReader,
    is_whole: &'b AtomicBool,
}

impl Read for Body<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(out)? {
            0 if !out.is_empty() && !self.is_whole.load(Ordering::Acquire) => {
                Err(io::Error::other("the snapshot could not be read to the end"))
            }
            read => Ok(read),
        }
    }
}

/// Whether a partition's ID is one of the server's: what has none holds all of its table.
pub(super) fn from_of(to: &Name, partition: &Partition) -> String {
    let from = format!("{}.{}", quoted(&to.0), quoted(&to.1));
    match &partition.id {
        Some(id) => format!("{from} WHERE _partition_id = {}", super::session::literal(id)),
        None => from,
    }
}

/// Where the rows of a table lie: a materialized view's own are in an inner one.
///
/// # Errors
/// What the server says; `Missing` if it is not there.
pub(super) fn storage_of(session: &Session, table: &Table, to: &Name) -> Result<Name, ClickHouseError> {
    if table.engine != "MaterializedView" {
        return Ok(to.clone());
    }
    let inner = super::catalog::inner_of(session, &to.0, &to.1)?;
    Ok((to.0.clone(), inner))
}
