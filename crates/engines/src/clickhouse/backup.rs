//! The engine `clickhouse`.

use std::collections::VecDeque;

use strongroom_chunker::ChunkerParams;
use strongroom_repository::backup::{Lane, Sink};
use strongroom_repository::share::Share;

use super::catalog::{self, Catalog, Parts, Selection};
use super::dump::Dump;
use super::error::ClickHouseError;
use super::facts::{ENGINE, Facts, Partition};
use super::layout;
use super::session::Session;
use crate::engine::{Engine, EngineError, stream_entry};
use crate::http::HttpTarget;
use crate::side_by_side;

/// Reads a server.
#[derive(Debug, Clone)]
pub struct ClickHouse {
    /// Which.
    pub target: HttpTarget,
    /// What of it.
    pub selection: Selection,
    /// Partitions that are read side by side, at least 1.
    pub jobs: usize,
    /// Whether facts tell what the rows of each partition come to.
    pub fingerprints: bool,
    /// Which shard of a cluster the server is, if workers read all of them.
    pub share: Option<Share>,
}

impl Engine for ClickHouse {
    fn name(&self) -> &'static str {
        ENGINE
    }

    fn backup(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        self.back_up(sink)
    }
}

/// What one thread does at a time: a partition, or all of a table that has none.
struct Unit {
    table: usize,
    /// Its ID, and what it consists of.
    partition: Option<(String, Parts)>,
}

impl ClickHouse {
    fn back_up(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        let session = Session::open(&self.target)?;
        let monitor = sink.monitor();
        let mut catalog = Catalog::read(&session, &self.selection, monitor)?;
        let parent = parent_facts(sink, self.share);
        let dump = Dump {
            session: &session,
            sink,
            parent: parent.as_ref(),
            part_columns: catalog::part_columns(&session)?,
            fingerprints: self.fingerprints,
            share: self.share,
        };
        store_definitions(sink, &catalog, self.share)?;
        let units = units(&dump, &catalog)?;
        for (table, partition) in self.dump_all(&dump, &catalog, units)? {
            if let Some(table) = catalog.tables.get_mut(table) {
                table.rows += partition.rows;
                table.partitions.push(partition);
            }
        }
        for table in &mut catalog.tables {
            table.partitions.sort_by(|one, other| one.id.cmp(&other.id));
        }
        let bytes = catalog.tables.iter().flat_map(|table| &table.partitions).map(|one| one.bytes).sum();
        sink.cut(ENGINE.as_bytes().to_vec(), ChunkerParams::default(), bytes);
        let facts = Facts {
            engine: ENGINE.into(),
            rows: catalog.tables.iter().map(|table| table.rows).sum(),
            server_version: session.version,
            timezone: session.timezone,
            databases: catalog.databases,
            functions: catalog.functions,
            tables: catalog.tables,
            shards: Vec::new(),
            server: self.share.map_or_else(String::new, |_| self.target.to_string()),
        };
        let wrong = |error: serde_json::Error| ClickHouseError::Answer {
            what: "what it has".into(),
            why: error.to_string(),
        };
        sink.facts(serde_json::to_vec(&facts).map_err(wrong)?);
        Ok(())
    }

    /// Some side by side; the first that fails stops the others.
    fn dump_all(
        &self,
        dump: &Dump<'_, '_, '_>,
        catalog: &Catalog,
        units: VecDeque<Unit>,
    ) -> Result<Vec<(usize, Partition)>, EngineError> {
        side_by_side::run(units, self.jobs, dump.sink.monitor(), |units| {
            let mut lane = dump.sink.stream_lane(ChunkerParams::default())?;
            let mut done = Vec::new();
            while let Some(unit) = units.next() {
                if let Some(found) = dump_unit(dump, &mut lane, catalog, &unit)? {
                    done.push((unit.table, found));
                }
            }
            lane.finish()?;
            Ok(done)
        })
    }
}

fn dump_unit(
    dump: &Dump<'_, '_, '_>,
    lane: &mut Lane<'_>,
    catalog: &Catalog,
    unit: &Unit,
) -> Result<Option<Partition>, EngineError> {
    let Some(table) = catalog.tables.get(unit.table) else { return Ok(None) };
    let Some(storage) = &table.storage else { return Ok(None) };
    match &unit.partition {
        Some((id, parts)) => dump.partition(lane, table, storage, (id, parts)),
        None => dump.whole(lane, table, storage).map(Some),
    }
}

fn units(dump: &Dump<'_, '_, '_>, catalog: &Catalog) -> Result<VecDeque<Unit>, ClickHouseError> {
    let mut units = VecDeque::new();
    for (number, table) in catalog.tables.iter().enumerate() {
        match &table.storage {
            Some(storage) if catalog::has_parts(&storage.engine) => {
                let (session, columns) = (dump.session, dump.part_columns);
                let found = catalog::parts_of(session, &table.database, &storage.table, None, columns)?;
                let units_of = |partition| Unit { table: number, partition: Some(partition) };
                units.extend(found.into_iter().map(units_of));
            }
            Some(_) => units.push_back(Unit { table: number, partition: None }),
            None => {}
        }
    }
    Ok(units)
}

/// What makes everything, as SQL.
fn store_definitions(
    sink: &Sink<'_, '_>,
    catalog: &Catalog,
    share: Option<Share>,
) -> Result<(), EngineError> {
    let mut lane = sink.stream_lane(ChunkerParams::default())?;
    let mut store = |path: String, sql: &str| -> Result<(), EngineError> {
        let text = format!("{sql};\n");
        let path = layout::of_share(share, path);
        lane.content(&path, &mut text.as_bytes())?;
        Ok(lane.end(stream_entry(&path)?)?)
    };
    for database in &catalog.databases {
        store(layout::database(&database.name), &database.create)?;
    }
    for table in &catalog.tables {
        store(layout::table(&table.database, &table.name), &table.create)?;
    }
    if !catalog.functions.is_empty() {
        let all: Vec<&str> = catalog.functions.iter().map(|function| function.create.as_str()).collect();
        store(layout::FUNCTIONS.into(), &all.join(";\n"))?;
    }
    Ok(lane.finish()?)
}

fn parent_facts(sink: &Sink<'_, '_>, share: Option<Share>) -> Option<Facts> {
    let parent = sink.parent()?;
    match Facts::of(sink.reader(), parent) {
        Ok(mut facts) => match share {
            None => Some(facts),
            // As many shards as then: else they are others.
            Some(share) if facts.shards.len() == share.of as usize => {
                Some(facts.shards.swap_remove(share.number.saturating_sub(1) as usize))
            }
            Some(_) => None,
        },
        Err(error) => {
            sink.monitor().warn(&format!(
                "the parent snapshot {} cannot be read ({error}); every partition is read again",
                parent.id().short()
            ));
            None
        }
    }
}
