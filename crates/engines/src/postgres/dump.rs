//! `pg_dump` of one database, read while it writes.

use std::collections::{BTreeSet, HashMap};
use std::io::{ErrorKind, Read};
use std::process::Command;

use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;

use super::archive::{ArchiveError, ArchiveReader, BlockKind};
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
        limits: &[String],
        monitor: &dyn Monitor,
        take: impl FnOnce(ArchiveReader<Box<dyn Read + '_>>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let mut command = Command::new(self.programs.find("pg_dump", Some(self.major))?);
        self.target.connect(&mut command, Some(self.database));
        command.args(["--format=custom", "--compress=0"]).args(limits);
        if let Some(snapshot) = snapshot {
            command.arg(format!("--snapshot={snapshot}"));
        }
        let (process, stdout) = Process::start(format!("pg_dump of {}", self.database), &mut command)?;
        let output: Box<dyn Read + '_> = Box::new(output_of(stdout, monitor));
        let taken = ArchiveReader::new(output)
            .map_err(|source| PostgresError::Archive { database: self.database.to_owned(), source }.into())
            .and_then(take);
        // Why it wrote no whole archive, it says itself.
        if taken.as_ref().err().is_none_or(is_of_its_end) {
            process.finish(monitor)?;
        }
        taken
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
    let toc = archive.toc();
    let names: HashMap<i64, (Option<String>, String)> = toc
        .entries
        .iter()
        .filter(|entry| entry.has_data)
        .map(|entry| (entry.dump_id, (entry.schema.clone(), entry.tag.clone())))
        .collect();
    let mut facts = ArchiveFacts {
        format: format!("{}.{}", toc.version.0, toc.version.1),
        server_version: toc.server_version.clone().unwrap_or_default(),
        dump_version: toc.dump_version.clone().unwrap_or_default(),
        entries: toc.entries.len(),
        blocks: Vec::new(),
    };
    let mut paths = BTreeSet::new();
    while let Some(mut block) = archive.next_block().map_err(wrong)? {
        let rule = "every block belongs to an entry";
        let entry = names.get(&block.dump_id()).cloned();
        let (schema, name) = entry.ok_or_else(|| wrong(ArchiveError::Malformed { rule }))?;
        let schema = schema.filter(|schema| !schema.is_empty());
        let mut path = layout::block(database, schema.as_deref(), &name);
        // Names that differ by what they are of.
        while !paths.insert(path.clone()) {
            path.push('~');
        }
        let bytes = each(&path, &mut block)?;
        let count = |kind| Some(block.count()).filter(|_| block.kind() == kind);
        facts.blocks.push(BlockFacts {
            id: block.dump_id(),
            rows: count(BlockKind::Rows),
            large_objects: count(BlockKind::LargeObjects),
            fingerprint: block.fingerprint(),
            path,
            schema,
            name,
            bytes,
        });
    }
    Ok(facts)
}
