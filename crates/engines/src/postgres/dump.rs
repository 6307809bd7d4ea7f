//! `pg_dump` of one database, read while it writes.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, ErrorKind, Read};
use std::process::Command;

use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;

use super::archive::{ArchiveError, ArchiveReader, Block, BlockKind, Toc, TocEntry};
use super::error::PostgresError;
use super::facts::{ArchiveFacts, BlockFacts};
use super::process::{Process, output_of};
use super::session::Session;
use super::{Programs, Target, layout};
use crate::engine::EngineError;

/// Whatever the server's configuration says of sessions that do nothing for long.
const NO_TIMEOUTS: &str = "SELECT count(set_config(name, '0', false)) FROM pg_catalog.pg_settings WHERE name IN
    ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout', 'idle_session_timeout')";

/// Begins the transaction that others read too, as long as the session lasts.
///
/// # Errors
/// As [`Session::ask`].
pub(super) fn export_snapshot(session: &mut Session<'_>) -> Result<String, PostgresError> {
    session.ask(NO_TIMEOUTS)?;
    session.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    session.ask_one("SELECT pg_catalog.pg_export_snapshot()")
}

/// A dump of a database.
pub(super) struct Dump<'a> {
    pub(super) programs: &'a Programs,
    pub(super) target: &'a Target,
    /// The server's.
    pub(super) major: u32,
    pub(super) database: &'a str,
}

impl Dump<'_> {
    /// Runs it. What it wrote counts only when it ends well.
    ///
    /// # Errors
    /// `NoProgram`, `Start`, `Failed` with what it said; what `take` fails with.
    pub(super) fn read<T>(
        &self,
        snapshot: Option<&str>,
        arguments: &[String],
        monitor: &dyn Monitor,
        take: impl FnOnce(ArchiveReader<Box<dyn Read + '_>>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let (process, archive) = self.start(snapshot, arguments, monitor)?;
        let taken = take(archive);
        // Why it wrote no whole archive, it says itself.
        if taken.as_ref().err().is_none_or(is_of_its_end) {
            process.finish(monitor)?;
        }
        taken
    }

    /// Starts it, and reads the archive's head.
    ///
    /// # Errors
    /// As [`Dump::read`].
    pub(super) fn start<'m>(
        &self,
        snapshot: Option<&str>,
        arguments: &[String],
        monitor: &'m dyn Monitor,
    ) -> Result<(Process, ArchiveReader<Box<dyn Read + 'm>>), EngineError> {
        let mut command = Command::new(self.programs.find("pg_dump", Some(self.major))?);
        self.target.connect(&mut command, Some(self.database));
        command.args(["--format=custom", "--compress=0"]).args(arguments);
        if let Some(snapshot) = snapshot {
            command.arg(format!("--snapshot={snapshot}"));
        }
        let (process, stdout) = Process::start(format!("pg_dump of {}", self.database), &mut command)?;
        let output: Box<dyn Read + 'm> = Box::new(output_of(stdout, monitor));
        match ArchiveReader::new(output) {
            Ok(archive) => Ok((process, archive)),
            Err(source) => {
                let error = PostgresError::Archive { database: self.database.to_owned(), source }.into();
                if is_of_its_end(&error) {
                    process.finish(monitor)?;
                }
                Err(error)
            }
        }
    }
}

/// Whether there was less to read than there should be.
fn is_of_its_end(error: &EngineError) -> bool {
    match error {
        EngineError::Postgres(PostgresError::Archive { source, .. }) => {
            matches!(source, ArchiveError::Truncated { .. } | ArchiveError::NotAnArchive)
        }
        EngineError::Repository(RepositoryError::Read { source, .. }) => {
            source.kind() == ErrorKind::UnexpectedEof
        }
        _ => false,
    }
}

/// What a block of an archive is of.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) schema: Option<String>,
    pub(super) name: String,
    /// Where it lies in the snapshot.
    pub(super) path: String,
}

/// What may have a block, by the numbers of the entries.
pub(super) fn names_of(toc: &Toc, database: &str) -> HashMap<i64, Named> {
    let mut paths = BTreeSet::new();
    let mut named = |entry: &TocEntry| {
        let schema = entry.schema.clone().filter(|schema| !schema.is_empty());
        let mut path = layout::block(database, schema.as_deref(), &entry.tag);
        // Names that differ by what they are of.
        while !paths.insert(path.clone()) {
            path.push('~');
        }
        Named { schema, name: entry.tag.clone(), path }
    };
    toc.entries.iter().filter(|entry| entry.has_data).map(|entry| (entry.dump_id, named(entry))).collect()
}

/// What is known of an archive before its blocks.
pub(super) fn facts_of(toc: &Toc) -> ArchiveFacts {
    ArchiveFacts {
        format: format!("{}.{}", toc.version.0, toc.version.1),
        server_version: toc.server_version.clone().unwrap_or_default(),
        dump_version: toc.dump_version.clone().unwrap_or_default(),
        entries: toc.entries.len(),
        blocks: Vec::new(),
    }
}

/// Reads a block by `each`, which gives its bytes.
///
/// # Errors
/// What `each` fails with.
pub(super) fn read_block<R: BufRead>(
    mut block: Block<'_, R>,
    named: Named,
    each: impl FnOnce(&str, &mut dyn Read) -> Result<u64, EngineError>,
) -> Result<BlockFacts, EngineError> {
    let bytes = each(&named.path, &mut block)?;
    let count = |kind| Some(block.count()).filter(|_| block.kind() == kind);
    Ok(BlockFacts {
        id: block.dump_id(),
        rows: count(BlockKind::Rows),
        large_objects: count(BlockKind::LargeObjects),
        fingerprint: block.fingerprint(),
        path: named.path,
        schema: named.schema,
        name: named.name,
        bytes,
    })
}

/// Reads all blocks; `each` reads one to its end, and gives its bytes.
///
/// # Errors
/// `Archive`; what `each` fails with.
pub(super) fn read_blocks<R: Read>(
    archive: &mut ArchiveReader<R>,
    database: &str,
    mut each: impl FnMut(&str, &mut dyn Read) -> Result<u64, EngineError>,
) -> Result<ArchiveFacts, EngineError> {
    let wrong = |source| PostgresError::Archive { database: database.to_owned(), source };
    let mut names = names_of(archive.toc(), database);
    let mut facts = facts_of(archive.toc());
    while let Some(block) = archive.next_block().map_err(wrong)? {
        let rule = "every block belongs to an entry, and no two to the same";
        let named = names.remove(&block.dump_id()).ok_or_else(|| wrong(ArchiveError::Malformed { rule }))?;
        facts.blocks.push(read_block(block, named, &mut each)?);
    }
    Ok(facts)
}
