//! An archive put together again, for `pg_restore` or for a file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Command;

use serde::Deserialize;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::Content;
use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::restore::write_in_order;
use strongroom_repository::state::Snapshot;
use strongroom_repository::tree::EntryCursor;

use super::archive::ArchiveReader;
use super::error::PostgresError;
use super::process::{Process, server_major};
use super::selection::{self, Selection};
use super::{Programs, Target, layout};
use crate::engine::EngineError;

/// What the facts of a snapshot say of its databases.
#[derive(Debug, Clone, Deserialize)]
struct Facts {
    databases: Vec<DatabaseFacts>,
}

#[derive(Debug, Clone, Deserialize)]
struct DatabaseFacts {
    name: String,
    archive: ArchiveFacts,
}

#[derive(Debug, Clone, Deserialize)]
struct ArchiveFacts {
    blocks: Vec<BlockFacts>,
}

#[derive(Debug, Clone, Deserialize)]
struct BlockFacts {
    id: i64,
    path: String,
}

/// What `pg_restore` is asked to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreSwitches {
    /// Only these tables, as `TABLE` or `SCHEMA.TABLE`, with what belongs to them: partitions, sequences, keys, indexes,
    /// triggers, rights. None is all there is.
    pub tables: Vec<String>,
    /// Drop what is there before it is made again.
    pub drop_existing: bool,
    /// Make the database first, of the name it had.
    pub create: bool,
    /// All or nothing.
    pub single_transaction: bool,
    /// No data.
    pub schema_only: bool,
    /// Nothing but data.
    pub data_only: bool,
    /// With `data_only`: no triggers while it is loaded.
    pub disable_triggers: bool,
    /// Everything belongs to whoever restores it.
    pub no_owner: bool,
}

/// Where a database is restored.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The server.
    pub target: Target,
    /// Into which database; none is that of the connection.
    pub database: Option<String>,
    /// With what.
    pub programs: Programs,
}

/// A snapshot of PostgreSQL.
pub struct Archives<'r> {
    reader: &'r Reader<'r>,
    snapshot: &'r Snapshot,
    facts: Facts,
}

impl<'r> Archives<'r> {
    /// Reads what the snapshot says of itself.
    ///
    /// # Errors
    /// `NotPostgres`; what reading the facts fails with.
    pub fn open(reader: &'r Reader<'r>, snapshot: &'r Snapshot) -> Result<Self, EngineError> {
        let not_postgres = || PostgresError::NotPostgres { snapshot: snapshot.id() };
        let facts = snapshot.manifest.facts.as_ref().filter(|_| snapshot.manifest.engine == "postgres");
        let json = reader.blob(facts.ok_or_else(not_postgres)?.node)?;
        let facts = serde_json::from_slice(&json).map_err(|_| not_postgres())?;
        Ok(Self { reader, snapshot, facts })
    }

    /// The databases in it.
    #[must_use]
    pub fn databases(&self) -> Vec<&str> {
        self.facts.databases.iter().map(|database| database.name.as_str()).collect()
    }

    /// Writes the archive of a database as `pg_dump` wrote it. Gives its bytes.
    ///
    /// # Errors
    /// `NoDatabase`; what reading the snapshot fails with; `Write`.
    pub fn write(
        &self,
        database: &str,
        out: &mut dyn Write,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<u64, EngineError> {
        let paths = self.paths(database, None)?;
        self.write_paths(&paths, out, monitor, workers)
    }

    fn write_paths(
        &self,
        paths: &[String],
        out: &mut dyn Write,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<u64, EngineError> {
        let mut contents: BTreeMap<EntryPath, Content> = BTreeMap::new();
        let mut wanted = Vec::new();
        for path in paths {
            let name = |source| EngineError::StreamName { name: path.clone(), source };
            wanted.push(EntryPath::new(path.as_bytes().to_vec()).map_err(name)?);
        }
        let mut sorted = wanted.clone();
        sorted.sort();
        // One walk finds them all.
        let mut cursor = EntryCursor::new(self.reader, &self.snapshot.manifest.tree)?;
        for path in sorted {
            let missing =
                || RepositoryError::NoSuchPath { snapshot: self.snapshot.id(), path: path.to_string() };
            let entry = cursor.seek(&path)?.ok_or_else(missing)?;
            let content = entry.content().ok_or_else(missing)?.clone();
            contents.insert(path, content);
        }
        let mut counted = Counted { out, bytes: 0 };
        for content in wanted.iter().filter_map(|path| contents.get(path)) {
            write_in_order(self.reader, content, &mut counted, monitor, workers)?;
        }
        Ok(counted.bytes)
    }

    /// The head, and the blocks in their order: of these entries, or of all.
    fn paths(&self, database: &str, only: Option<&BTreeSet<i64>>) -> Result<Vec<String>, PostgresError> {
        let found = self.facts.databases.iter().find(|one| one.name == database);
        let found = found.ok_or_else(|| PostgresError::NoDatabase {
            database: database.to_owned(),
            there: self.databases().into_iter().map(str::to_owned).collect(),
        })?;
        let is_wanted = |block: &&BlockFacts| only.is_none_or(|only| only.contains(&block.id));
        let blocks = found.archive.blocks.iter().filter(is_wanted).map(|block| block.path.clone());
        Ok([layout::head(database)].into_iter().chain(blocks).collect())
    }

    /// Restores a database with `pg_restore`. Gives the bytes that it was given.
    ///
    /// # Errors
    /// As [`Archives::write`]; `NoProgram`, `Start`, `Failed` with what `pg_restore` said.
    pub fn restore(
        &self,
        database: &str,
        to: &Destination,
        switches: &RestoreSwitches,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<u64, EngineError> {
        // Before anything is started: whether all of it is there.
        let selection = match switches.tables.as_slice() {
            [] => None,
            tables => Some(self.select(database, tables, monitor, workers)?),
        };
        let only: Option<BTreeSet<i64>> =
            selection.as_ref().map(|selection| selection.ids.iter().copied().collect());
        let paths = self.paths(database, only.as_ref())?;
        let major = server_major(&to.programs, &to.target, monitor)?;
        let mut command = Command::new(to.programs.find("pg_restore", Some(major))?);
        to.target.connect(&mut command, to.database.as_deref());
        command.args(["--format=custom", "--exit-on-error"]);
        switches.say(&mut command);
        let list =
            selection.map(|selection| list_of(&selection.ids, monitor, &selection.left_out)).transpose()?;
        if let Some(list) = &list {
            command.arg("--use-list").arg(list.path());
        }
        let (process, mut stdin) = Process::fed(format!("pg_restore of {database}"), &mut command)?;
        let written = self.write_paths(&paths, &mut stdin, monitor, workers);
        drop(stdin);
        match written {
            // It stopped reading: it says itself why.
            Err(EngineError::Repository(RepositoryError::Write { source })) => {
                process.finish()?;
                Err(RepositoryError::Write { source }.into())
            }
            written => {
                let bytes = written?;
                process.finish()?;
                Ok(bytes)
            }
        }
    }
}

impl Archives<'_> {
    fn select(
        &self,
        database: &str,
        tables: &[String],
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Selection, EngineError> {
        let mut head = Vec::new();
        self.paths(database, None)?;
        self.write_paths(&[layout::head(database)], &mut head, monitor, workers)?;
        let wrong = |source| PostgresError::Archive { database: database.to_owned(), source };
        let archive = ArchiveReader::new(&head[..]).map_err(wrong)?;
        let missing = |table| PostgresError::NoTable { table, database: database.to_owned() };
        Ok(selection::of_tables(&archive.toc().entries, tables).map_err(missing)?)
    }
}

/// A list for `pg_restore --use-list`: it reads the number at the beginning of each line.
fn list_of(
    ids: &[i64],
    monitor: &dyn Monitor,
    left_out: &[String],
) -> Result<tempfile::NamedTempFile, PostgresError> {
    for key in left_out {
        monitor.warn(&format!("the foreign key {key} is left out: what it refers to is not restored"));
    }
    let mut list = tempfile::NamedTempFile::new().map_err(PostgresError::List)?;
    for id in ids {
        writeln!(list, "{id};").map_err(PostgresError::List)?;
    }
    list.flush().map_err(PostgresError::List)?;
    Ok(list)
}

impl RestoreSwitches {
    fn say(&self, command: &mut Command) {
        for (is_on, switch) in [
            (self.create, "--create"),
            (self.single_transaction, "--single-transaction"),
            (self.schema_only, "--schema-only"),
            (self.data_only, "--data-only"),
            (self.disable_triggers, "--disable-triggers"),
            (self.no_owner, "--no-owner"),
        ] {
            if is_on {
                command.arg(switch);
            }
        }
        if self.drop_existing {
            command.args(["--clean", "--if-exists"]);
        }
    }
}

struct Counted<'w> {
    out: &'w mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
