//! `backup postgres`: databases as `pg_dump` writes them, an entry a table.

use std::collections::{BTreeSet, VecDeque};
use std::process::Command;

use serde::Deserialize;
use strongroom_chunker::ChunkerParams;
use strongroom_repository::backup::{Lane, Sink};
use strongroom_repository::monitor::Monitor;

use super::archive::ArchiveReader;
use super::dump::{self, Dump};
use super::error::PostgresError;
use super::facts::{ArchiveFacts, DatabaseFacts, Facts, Properties};
use super::process::{Process, output_of};
use super::session::Session;
use super::streams::Streams;
use super::{Programs, Target, layout};
use crate::engine::{Engine, EngineError, read_stream, stream_entry};
use crate::side_by_side;

/// What of a server is backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every database that lets anybody in, and roles and tablespaces.
    Server,
    /// These databases; none is that of the connection.
    Databases(Vec<String>),
}

/// What of a database is backed up, by patterns as `pg_dump` takes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Only these schemas.
    pub schemas: Vec<String>,
    /// Only these tables.
    pub tables: Vec<String>,
    /// Without these schemas.
    pub exclude_schemas: Vec<String>,
    /// Without these tables.
    pub exclude_tables: Vec<String>,
    /// Without the rows of these tables.
    pub exclude_table_data: Vec<String>,
}

/// Reads a server.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// Which.
    pub target: Target,
    /// What of it.
    pub scope: Scope,
    /// What of each database.
    pub limits: Limits,
    /// Whether facts tell what the rows of each table come to.
    pub fingerprints: bool,
    /// Databases that are dumped side by side, at least 1.
    pub dumps: usize,
    /// Connections over which the data of each is read, at least 1.
    pub jobs: usize,
    /// With what.
    pub programs: Programs,
}

/// A database that the server lists.
#[derive(Deserialize)]
struct Listed {
    name: String,
    own: bool,
}

const DATABASES: &str =
    "SELECT row_to_json(found) FROM (SELECT datname AS name, datname = current_database() AS own
    FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname) found";

const ROLES: &str = "SELECT to_json(rolname) FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY rolname";

/// Whether roles may be read with their passwords: managed services let nobody.
const MAY_READ_PASSWORDS: &str = "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')";

impl Engine for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn backup(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        self.back_up(sink, sink.monitor())
    }
}

impl Postgres {
    fn back_up(&self, sink: &Sink<'_, '_>, monitor: &dyn Monitor) -> Result<(), EngineError> {
        let mut session = Session::open(&self.programs, &self.target, None, monitor)?;
        let major = session.server_major()?;
        let databases = self.databases(&mut session)?;
        let roles = session.ask_json(ROLES)?;
        if self.scope == Scope::Server {
            let may_read_passwords = session.ask_one(MAY_READ_PASSWORDS)? == "t";
            self.globals(sink, major, may_read_passwords)?;
        }
        drop(session);
        let mut databases = self.dump_all(sink, major, databases)?;
        databases.sort_by(|one, other| one.properties.name.cmp(&other.properties.name));
        let facts = Facts { engine: self.name().into(), server_major: major, roles, databases };
        let json = serde_json::to_vec(&facts);
        sink.facts(json.map_err(|error| PostgresError::Answer { what: error.to_string() })?);
        Ok(())
    }

    fn databases(&self, session: &mut Session<'_>) -> Result<VecDeque<String>, PostgresError> {
        let there: Vec<Listed> = session.ask_json(DATABASES)?;
        let wanted: BTreeSet<String> = match &self.scope {
            Scope::Server => return Ok(there.into_iter().map(|one| one.name).collect()),
            Scope::Databases(names) if names.is_empty() => {
                there.iter().filter(|one| one.own).map(|one| one.name.clone()).collect()
            }
            Scope::Databases(names) => names.iter().cloned().collect(),
        };
        match wanted.iter().find(|name| !there.iter().any(|one| one.name == **name)) {
            None => Ok(wanted.into_iter().collect()),
            Some(missing) => {
                let there = there.into_iter().map(|one| one.name).collect();
                Err(PostgresError::NoDatabase { database: missing.clone(), there })
            }
        }
    }

    fn globals(&self, sink: &Sink<'_, '_>, major: u32, may_read_passwords: bool) -> Result<(), EngineError> {
        let mut command = Command::new(self.programs.find("pg_dumpall", Some(major))?);
        self.target.connect(&mut command, None);
        command.arg("--globals-only");
        if !may_read_passwords {
            command.arg("--no-role-passwords");
            sink.monitor().warn("roles are backed up without their passwords: this user may not read them");
        }
        let (process, stdout) = Process::start("pg_dumpall --globals-only".into(), &mut command)?;
        let mut output = output_of(stdout, sink.monitor());
        read_stream(sink, layout::GLOBALS, &mut output, |_| Ok(process.finish(sink.monitor())?))
    }

    /// Some side by side; the first that fails stops the others.
    fn dump_all(
        &self,
        sink: &Sink<'_, '_>,
        major: u32,
        databases: VecDeque<String>,
    ) -> Result<Vec<DatabaseFacts>, EngineError> {
        side_by_side::run(databases, self.dumps, sink.monitor(), |tasks| {
            let mut facts = Vec::new();
            while let Some(database) = tasks.next() {
                facts.push(self.dump(sink, major, &database, &tasks.stop)?);
            }
            Ok(facts)
        })
    }

    /// Under a snapshot of one transaction, in which the facts are taken too.
    fn dump(
        &self,
        sink: &Sink<'_, '_>,
        major: u32,
        database: &str,
        monitor: &dyn Monitor,
    ) -> Result<DatabaseFacts, EngineError> {
        let mut session = Session::open(&self.programs, &self.target, Some(database), monitor)?;
        let snapshot = dump::export_snapshot(&mut session)?;
        let properties = Properties::of(&mut session)?;
        let limits = self.limits.to_arguments();
        let dump = Dump { programs: &self.programs, target: &self.target, major, database };
        if self.jobs > 1 {
            let with_fingerprints = self.fingerprints;
            let streams = Streams { dump, snapshot: &snapshot, limits: &limits, with_fingerprints };
            let archive = streams.read(sink, &mut session, self.jobs, monitor)?;
            return Ok(DatabaseFacts { properties, limits, archive });
        }
        let archive = dump.read(Some(&snapshot), &limits, monitor, |archive| {
            take(sink, database, archive.with_fingerprints(self.fingerprints))
        })?;
        Ok(DatabaseFacts { properties, limits, archive })
    }
}

impl Limits {
    /// Whether all of a database is backed up.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// As `pg_dump` takes them.
    fn to_arguments(&self) -> Vec<String> {
        let switches = [
            ("--schema", &self.schemas),
            ("--table", &self.tables),
            ("--exclude-schema", &self.exclude_schemas),
            ("--exclude-table", &self.exclude_tables),
            ("--exclude-table-data", &self.exclude_table_data),
        ];
        let all = switches
            .iter()
            .flat_map(|(switch, patterns)| patterns.iter().map(move |pattern| format!("{switch}={pattern}")));
        all.collect()
    }
}

/// Stores an archive taken apart.
fn take(
    sink: &Sink<'_, '_>,
    database: &str,
    mut archive: ArchiveReader<impl std::io::Read>,
) -> Result<ArchiveFacts, EngineError> {
    let mut lane = sink.stream_lane(ChunkerParams::default())?;
    let head = archive.head().to_vec();
    store(sink, &mut lane, &layout::head(database), &mut &head[..])?;
    let facts = dump::read_blocks(&mut archive, database, |path, block| store(sink, &mut lane, path, block))?;
    let blocks: u64 = facts.blocks.iter().map(|block| block.bytes).sum();
    sink.cut(database.as_bytes().to_vec(), ChunkerParams::default(), head.len() as u64 + blocks);
    lane.finish()?;
    Ok(facts)
}

/// Stores a part of an archive as an entry of its own.
pub(super) fn store(
    sink: &Sink<'_, '_>,
    lane: &mut Lane<'_>,
    path: &str,
    reader: &mut dyn std::io::Read,
) -> Result<u64, EngineError> {
    let entry = stream_entry(path)?;
    lane.against(sink.base(&entry.path))?;
    let bytes = lane.content(&path, reader)?;
    lane.end(entry)?;
    Ok(bytes)
}
