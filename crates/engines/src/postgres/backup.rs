//! `backup postgres`: databases as `pg_dump` writes them, an entry a table.

use std::collections::{BTreeSet, HashMap};
use std::process::Command;

use serde_json::{Value, json};
use strongroom_chunker::ChunkerParams;
use strongroom_repository::RepositoryError;
use strongroom_repository::backup::{Lane, Sink};
use strongroom_repository::monitor::Monitor;

use super::archive::{ArchiveError, ArchiveReader, BlockKind};
use super::error::PostgresError;
use super::process::{Process, output_of, query, server_major};
use super::{Programs, Target, layout};
use crate::engine::{Engine, EngineError, read_stream, stream_entry};

/// What of a server is backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every database that lets anybody in, and roles and tablespaces.
    Server,
    /// These databases; none is that of the connection.
    Databases(Vec<String>),
}

/// Reads a server.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// Which.
    pub target: Target,
    /// What of it.
    pub scope: Scope,
    /// With what.
    pub programs: Programs,
}

/// A database, as the server tells it.
struct Database {
    name: String,
    bytes: u64,
}

const DATABASES: &str = "SELECT row_to_json(found) FROM (SELECT datname AS name, pg_database_size(oid) AS bytes,
    datname = current_database() AS own FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname) found";

impl Engine for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn backup(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        let monitor = sink.monitor();
        match self.back_up(sink, monitor) {
            // Whatever it looked like to those who were reading.
            Err(_) if monitor.is_cancelled() => Err(RepositoryError::Interrupted.into()),
            done => done,
        }
    }
}

impl Postgres {
    fn back_up(&self, sink: &Sink<'_, '_>, monitor: &dyn Monitor) -> Result<(), EngineError> {
        let major = server_major(&self.programs, &self.target, monitor)?;
        let databases = self.databases(monitor)?;
        let mut facts = Vec::new();
        if self.scope == Scope::Server {
            self.globals(sink, major)?;
        }
        for database in &databases {
            facts.push(self.dump(sink, major, database)?);
        }
        let facts = json!({ "engine": "postgres", "server_major": major, "databases": facts });
        sink.facts(facts.to_string().into_bytes());
        Ok(())
    }

    fn databases(&self, monitor: &dyn Monitor) -> Result<Vec<Database>, PostgresError> {
        let mut there = Vec::new();
        let mut own = None;
        for line in query(&self.programs, &self.target, DATABASES, monitor)? {
            let wrong = || PostgresError::Answer { what: format!("of a database it says {line:?}") };
            let row: Value = serde_json::from_str(&line).map_err(|_| wrong())?;
            let name = row["name"].as_str().ok_or_else(wrong)?.to_owned();
            if row["own"] == true {
                own = Some(name.clone());
            }
            there.push(Database { name, bytes: row["bytes"].as_u64().unwrap_or_default() });
        }
        let wanted: BTreeSet<String> = match &self.scope {
            Scope::Server => return Ok(there),
            Scope::Databases(names) if names.is_empty() => own.into_iter().collect(),
            Scope::Databases(names) => names.iter().cloned().collect(),
        };
        if let Some(missing) = wanted.iter().find(|name| !there.iter().any(|one| one.name == **name)) {
            let there = there.into_iter().map(|one| one.name).collect();
            return Err(PostgresError::NoDatabase { database: missing.clone(), there });
        }
        there.retain(|one| wanted.contains(&one.name));
        Ok(there)
    }

    fn globals(&self, sink: &Sink<'_, '_>, major: u32) -> Result<(), EngineError> {
        let mut command = Command::new(self.programs.find("pg_dumpall", Some(major))?);
        self.target.connect(&mut command, None);
        let started = Process::start("pg_dumpall --globals-only".into(), command.arg("--globals-only"));
        let (process, stdout) = started?;
        let mut output = output_of(stdout, sink.monitor());
        read_stream(sink, layout::GLOBALS, &mut output, |_| Ok(process.finish()?))
    }

    /// Gives what is known of the database.
    fn dump(&self, sink: &Sink<'_, '_>, major: u32, database: &Database) -> Result<Value, EngineError> {
        let name = &database.name;
        let mut command = Command::new(self.programs.find("pg_dump", Some(major))?);
        self.target.connect(&mut command, Some(name));
        command.args(["--format=custom", "--compress=0"]);
        let (process, stdout) = Process::start(format!("pg_dump of {name}"), &mut command)?;
        let taken = take(sink, name, output_of(stdout, sink.monitor()));
        // Why it wrote no good archive, it says itself.
        let facts = match taken {
            Err(EngineError::Postgres(PostgresError::Archive { .. })) => {
                process.finish()?;
                taken?
            }
            taken => {
                let facts = taken?;
                process.finish()?;
                facts
            }
        };
        Ok(json!({ "name": name, "size": database.bytes, "archive": facts }))
    }
}

/// Takes an archive apart.
fn take(sink: &Sink<'_, '_>, database: &str, output: impl std::io::Read) -> Result<Value, EngineError> {
    let wrong = |source| PostgresError::Archive { database: database.to_owned(), source };
    let mut archive = ArchiveReader::new(output).map_err(wrong)?;
    let toc = archive.toc();
    let names: HashMap<i64, (Option<String>, String)> = toc
        .entries
        .iter()
        .filter(|entry| entry.has_data)
        .map(|entry| (entry.dump_id, (entry.schema.clone(), entry.tag.clone())))
        .collect();
    let mut facts = json!({
        "format": format!("{}.{}", toc.version.0, toc.version.1), "server_version": toc.server_version,
        "dump_version": toc.dump_version, "entries": toc.entries.len(),
    });
    let mut lane = sink.stream_lane(ChunkerParams::default())?;
    let head = archive.head().to_vec();
    store(sink, &mut lane, &layout::head(database), &mut &head[..])?;
    let mut paths = BTreeSet::new();
    let (mut blocks, mut total) = (Vec::new(), head.len() as u64);
    while let Some(mut block) = archive.next_block().map_err(wrong)? {
        let entry = names.get(&block.dump_id());
        let rule = "every block belongs to an entry";
        let (schema, name) = entry.ok_or_else(|| wrong(ArchiveError::Malformed { rule }))?;
        let schema = schema.as_deref().filter(|schema| !schema.is_empty());
        let mut path = layout::block(database, schema, name);
        // Names that differ by what they are of.
        while !paths.insert(path.clone()) {
            path.push('~');
        }
        let bytes = store(sink, &mut lane, &path, &mut block)?;
        total += bytes;
        let what = if block.kind() == BlockKind::Rows { "rows" } else { "large_objects" };
        blocks.push(
            json!({ "id": block.dump_id(), "path": path, "schema": schema, "name": name, what: block.count(), "bytes": bytes }),
        );
    }
    sink.cut(database.as_bytes().to_vec(), ChunkerParams::default(), total);
    lane.finish()?;
    facts["blocks"] = blocks.into();
    Ok(facts)
}

fn store(
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
