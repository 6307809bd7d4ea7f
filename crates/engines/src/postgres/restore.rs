//! An archive put together again, for `pg_restore` or for a file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write};
use std::process::Command;

use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::Content;
use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::restore::write_in_order;
use strongroom_repository::state::Snapshot;
use strongroom_repository::tree::EntryCursor;

use super::archive::{ArchiveReader, TocEntry};
use super::error::PostgresError;
use super::facts::{BlockFacts, DatabaseFacts, Facts};
use super::process::{Process, input_of};
use super::selection::{Selection, Wanted};
use super::session::Session;
use super::{Programs, Target, conflict, layout};
use crate::engine::EngineError;

/// What `pg_restore` is asked to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreSwitches {
    /// What of it.
    pub wanted: Wanted,
    /// Connections that load side by side, at least 1; for more, the archive is first written to a temporary file.
    pub jobs: usize,
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
    /// No rights are granted or revoked.
    pub no_privileges: bool,
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

/// What a `pg_restore` reads.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) database: &'a str,
    /// In place of the first path.
    pub(super) head: Option<&'a [u8]>,
    /// The head, and blocks in their order.
    pub(super) paths: &'a [String],
}

/// A snapshot of PostgreSQL.
pub struct Archives<'r> {
    pub(super) reader: &'r Reader<'r>,
    pub(super) snapshot: &'r Snapshot,
    pub(super) facts: Facts,
}

impl<'r> Archives<'r> {
    /// Reads what the snapshot says of itself.
    ///
    /// # Errors
    /// `NotPostgres`; what reading the facts fails with.
    pub fn open(reader: &'r Reader<'r>, snapshot: &'r Snapshot) -> Result<Self, EngineError> {
        Ok(Self { reader, snapshot, facts: Facts::of(reader, snapshot)? })
    }

    /// The databases in it.
    #[must_use]
    pub fn databases(&self) -> Vec<&str> {
        self.facts.databases.iter().map(|database| database.properties.name.as_str()).collect()
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

    pub(super) fn write_paths(
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

    pub(super) fn facts_of(&self, database: &str) -> Result<&DatabaseFacts, PostgresError> {
        let found = self.facts.databases.iter().find(|one| one.properties.name == database);
        found.ok_or_else(|| PostgresError::NoDatabase {
            database: database.to_owned(),
            there: self.databases().into_iter().map(str::to_owned).collect(),
        })
    }

    /// The head, and the blocks in their order: of these entries, or of all.
    pub(super) fn paths(
        &self,
        database: &str,
        only: Option<&BTreeSet<i64>>,
    ) -> Result<Vec<String>, PostgresError> {
        let found = self.facts_of(database)?;
        let is_wanted = |block: &&BlockFacts| only.is_none_or(|only| only.contains(&block.id));
        let blocks = found.archive.blocks.iter().filter(is_wanted).map(|block| block.path.clone());
        Ok([layout::head(database)].into_iter().chain(blocks).collect())
    }

    /// Restores a database, or a part of it, with `pg_restore`. Gives the bytes that it was given.
    ///
    /// # Errors
    /// As [`Archives::write`]; `InTheWay` and `Needed` before anything is done; `NoProgram`, `Start`, `Failed` with what `pg_restore` said.
    pub fn restore(
        &self,
        database: &str,
        to: &Destination,
        switches: &RestoreSwitches,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<u64, EngineError> {
        match self.restore_all(database, to, switches, monitor, workers) {
            // Whatever it looked like to those who were writing.
            Err(_) if monitor.is_cancelled() => Err(RepositoryError::Interrupted.into()),
            done => done,
        }
    }

    fn restore_all(
        &self,
        database: &str,
        to: &Destination,
        switches: &RestoreSwitches,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<u64, EngineError> {
        // Before anything is started: whether all of it is there.
        let selection = match switches.wanted.is_all() {
            true => None,
            false => Some(self.select(database, &switches.wanted, monitor, workers)?),
        };
        let only: Option<BTreeSet<i64>> =
            selection.as_ref().map(|selection| selection.ids.iter().copied().collect());
        let mut paths = self.paths(database, only.as_ref())?;
        if switches.schema_only {
            // The table of contents has all that makes the objects.
            paths.truncate(1);
        }
        let head =
            switches.drop_existing.then(|| self.head_to_drop(database, monitor, workers)).transpose()?;
        let source = Source { database, head: head.as_deref(), paths: &paths };
        let makes_objects = !switches.drop_existing && !switches.create && !switches.data_only;
        // `pg_restore` drops tables one after the other, up to the first that it may not.
        let drops_a_part =
            only.is_some() && switches.drop_existing && !switches.create && !switches.data_only;
        let into = to.database.as_deref().filter(|_| makes_objects || drops_a_part);
        let mut session = Session::open(&to.programs, &to.target, into, monitor)?;
        let major = session.server_major()?;
        if makes_objects || drops_a_part {
            let entries = self.entries(database, monitor, workers)?;
            let is_wanted =
                |entry: &&TocEntry| only.as_ref().is_none_or(|only| only.contains(&entry.dump_id));
            let wanted = entries.iter().filter(is_wanted);
            match drops_a_part {
                true => conflict::require_unneeded(&mut session, wanted)?,
                false => conflict::require_none(&mut session, wanted)?,
            }
        }
        drop(session);
        let mut command = Command::new(to.programs.find("pg_restore", Some(major))?);
        to.target.connect(&mut command, to.database.as_deref());
        command.args(["--format=custom", "--exit-on-error"]);
        switches.say(&mut command);
        let list =
            selection.map(|selection| list_of(&selection.ids, monitor, &selection.left_out)).transpose()?;
        if let Some(list) = &list {
            command.arg("--use-list").arg(list.path());
        }
        if switches.jobs > 1 {
            return self.restore_file(source, &mut command, switches.jobs, monitor, workers);
        }
        self.feed(source, &mut command, None, monitor, workers)
    }

    /// With connections side by side: for that, `pg_restore` goes back and forth in the archive.
    fn restore_file(
        &self,
        source: Source<'_>,
        command: &mut Command,
        jobs: usize,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<u64, EngineError> {
        let folder = std::env::temp_dir();
        let cannot = |source| PostgresError::Temporary { folder: folder.clone(), source };
        let mut archive = tempfile::NamedTempFile::new_in(&folder).map_err(cannot)?;
        let bytes = match self.write_source(source, archive.as_file_mut(), monitor, workers) {
            Err(EngineError::Repository(RepositoryError::Write { source })) => {
                return Err(cannot(source).into());
            }
            written => written?,
        };
        command.arg(format!("--jobs={jobs}")).arg(archive.path());
        let (process, stdin) = Process::fed(format!("pg_restore of {}", source.database), command)?;
        drop(stdin);
        process.finish(monitor)?;
        Ok(bytes)
    }

    /// Runs a `pg_restore` that reads these parts of the archive; `beside` is given the same bytes, all of them.
    pub(super) fn feed(
        &self,
        source: Source<'_>,
        command: &mut Command,
        beside: Option<&mut dyn Write>,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<u64, EngineError> {
        let (process, stdin) = Process::fed(format!("pg_restore of {}", source.database), command)?;
        let needs_all = beside.is_some();
        let mut both = Both { one: input_of(stdin, monitor)?, other: beside, bytes: 0 };
        let written = self.write_source(source, &mut both, monitor, workers);
        let bytes = both.bytes;
        drop(both);
        match written {
            // It stopped reading: it says itself why, unless it had all that it was asked for.
            Err(EngineError::Repository(RepositoryError::Write { source })) => {
                process.finish(monitor)?;
                match source.kind() == ErrorKind::BrokenPipe && !needs_all {
                    true => Ok(bytes),
                    false => Err(RepositoryError::Write { source }.into()),
                }
            }
            written => {
                let bytes = written?;
                process.finish(monitor)?;
                Ok(bytes)
            }
        }
    }
}

impl Archives<'_> {
    fn write_source(
        &self,
        source: Source<'_>,
        out: &mut dyn Write,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<u64, EngineError> {
        let Some(head) = source.head else { return self.write_paths(source.paths, out, monitor, workers) };
        out.write_all(head).map_err(|source| RepositoryError::Write { source })?;
        let blocks = source.paths.get(1..).unwrap_or_default();
        Ok(head.len() as u64 + self.write_paths(blocks, out, monitor, workers)?)
    }

    /// The head for a `pg_restore` that drops what is there: what keys and indexes of partitions belong to goes with their
    /// table's, and servers refuse to drop it by itself, as `pg_dump` would have it.
    fn head_to_drop(
        &self,
        database: &str,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Vec<u8>, EngineError> {
        let archive = self.read_head(database, monitor, workers)?;
        let entries = &archive.toc().entries;
        let by_id: BTreeMap<i64, &TocEntry> = entries.iter().map(|entry| (entry.dump_id, entry)).collect();
        let mut attached = BTreeSet::new();
        for attach in entries.iter().filter(|entry| entry.kind == "INDEX ATTACH") {
            let of_table = format!(" {}", attach.tag);
            let needed = attach.needs.iter().filter_map(|needed| by_id.get(needed));
            let own = needed.filter(|entry| match entry.kind.as_str() {
                "INDEX" => entry.tag == attach.tag,
                "CONSTRAINT" => entry.tag.ends_with(&of_table),
                _ => false,
            });
            attached.extend(own.filter(|entry| entry.schema == attach.schema).map(|entry| entry.dump_id));
        }
        Ok(archive.head_without_drops(|entry| attached.contains(&entry.dump_id)))
    }

    /// The table of contents of its archive.
    pub(super) fn entries(
        &self,
        database: &str,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Vec<TocEntry>, EngineError> {
        Ok(self.read_head(database, monitor, workers)?.toc().entries.clone())
    }

    fn read_head(
        &self,
        database: &str,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<ArchiveReader<std::io::Empty>, EngineError> {
        self.facts_of(database)?;
        let mut head = Vec::new();
        self.write_paths(&[layout::head(database)], &mut head, monitor, workers)?;
        let wrong = |source| PostgresError::Archive { database: database.to_owned(), source };
        Ok(ArchiveReader::of_head(&head).map_err(wrong)?)
    }

    fn select(
        &self,
        database: &str,
        wanted: &Wanted,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Selection, EngineError> {
        let missing = |table| PostgresError::NoTable { table, database: database.to_owned() };
        Ok(wanted.select(&self.entries(database, monitor, workers)?).map_err(missing)?)
    }
}

/// A list for `pg_restore --use-list`: it reads the number at the beginning of each line.
fn list_of(
    ids: &[i64],
    monitor: &dyn Monitor,
    left_out: &[String],
) -> Result<tempfile::NamedTempFile, PostgresError> {
    for object in left_out {
        monitor.warn(&format!("{object} is left out: what it needs is not restored"));
    }
    let mut list = tempfile::NamedTempFile::new().map_err(PostgresError::List)?;
    for id in ids {
        writeln!(list, "{id};").map_err(PostgresError::List)?;
    }
    list.flush().map_err(PostgresError::List)?;
    Ok(list)
}

impl RestoreSwitches {
    pub(super) fn say(&self, command: &mut Command) {
        for (is_on, switch) in [
            (self.create, "--create"),
            (self.single_transaction, "--single-transaction"),
            (self.schema_only, "--schema-only"),
            (self.data_only, "--data-only"),
            (self.disable_triggers, "--disable-triggers"),
            (self.no_owner, "--no-owner"),
            (self.no_privileges, "--no-privileges"),
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

/// Writes the same to one or two.
struct Both<'w, W> {
    one: W,
    other: Option<&'w mut dyn Write>,
    /// That the first took.
    bytes: u64,
}

impl<W: Write> Write for Both<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.one.write(bytes)?;
        self.bytes += written as u64;
        if let Some(other) = &mut self.other {
            other.write_all(bytes.get(..written).unwrap_or_default())?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.one.flush()?;
        self.other.as_mut().map_or(Ok(()), |other| other.flush())
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
