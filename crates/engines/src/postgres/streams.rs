//! One database read over several connections, all under one exported snapshot.
//!
//! One `pg_dump` of everything says what there is: its head is that of the archive, and it holds its locks while others read the
//! data. A second one of everything reads all data but that of the largest tables; these are dealt out, by their size, to others that
//! read nothing else. A block that comes from any of them is that of the head's entry of the same name, and all of them together are
//! the archive that one `pg_dump` would have written.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use strongroom_chunker::ChunkerParams;
use strongroom_repository::backup::Sink;
use strongroom_repository::monitor::Monitor;

use super::archive::{ArchiveError, ArchiveReader, TocEntry};
use super::backup::store;
use super::dump::{self, Dump, Named};
use super::error::PostgresError;
use super::facts::{ArchiveFacts, BlockFacts};
use super::layout;
use super::session::{Session, identifier};
use crate::engine::EngineError;
use crate::stop::Stop;

/// Most tables that are dealt out: they are named in arguments, which have a limit. All others are the rest.
const MOST_DEALT: usize = 500;
/// What a table takes however small it is, as bytes.
const TABLE_BYTES: u64 = 64 << 10;

/// Those that `pg_dump` reads by their names, and as an entry without a name what else has data. What belongs to an extension it
/// reads in its own way.
const SIZES: &str = "SELECT row_to_json(found) FROM (
    SELECT nspname AS schema, relname AS name, pg_catalog.pg_table_size(c.oid) AS bytes
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
    WHERE relkind = 'r' AND nspname <> 'information_schema' AND nspname !~ '^pg_' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND deptype = 'e')
    UNION ALL SELECT '', '', pg_catalog.pg_table_size('pg_catalog.pg_largeobject')) found";

/// A table, as large as it is on the server's disk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Table {
    schema: String,
    name: String,
    bytes: u64,
}

/// The reading of one database.
pub(super) struct Streams<'a> {
    pub(super) dump: Dump<'a>,
    /// That the session exported.
    pub(super) snapshot: &'a str,
    /// Of everything, as `pg_dump` takes them.
    pub(super) limits: &'a [String],
    pub(super) with_fingerprints: bool,
}

impl Streams<'_> {
    /// Reads all of it, over so many connections at most.
    ///
    /// # Errors
    /// As [`Dump::read`]; `Archive` when they do not come to the whole; what storing fails with.
    pub(super) fn read(
        &self,
        sink: &Sink<'_, '_>,
        session: &mut Session<'_>,
        count: usize,
        monitor: &dyn Monitor,
    ) -> Result<ArchiveFacts, EngineError> {
        // It holds its locks, and what it read, until all is over.
        let (_whole, archive) = self.dump.start(Some(self.snapshot), self.limits, monitor)?;
        let whole = Whole::new(&archive, self.dump.database);
        let sizes: Vec<Table> = session.ask_json(SIZES)?;
        let arguments = self.arguments(&deal(whole.tables(sizes), count));

        let mut lane = sink.stream_lane(ChunkerParams::default())?;
        let head = archive.head();
        store(sink, &mut lane, &layout::head(self.dump.database), &mut &head[..])?;
        lane.finish()?;
        let stop = Stop::new(monitor);
        let failure = Mutex::new(None);
        let work = |arguments: &[String]| {
            let read = self.dump.read(Some(self.snapshot), arguments, &stop, |part| {
                self.take(sink, &whole, part.with_fingerprints(self.with_fingerprints))
            });
            if let Err(error) = read {
                stop.stop();
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        };
        std::thread::scope(|scope| {
            let (own, others) =
                arguments.split_first().map_or((None, &[][..]), |(own, rest)| (Some(own), rest));
            for others in others {
                scope.spawn(|| work(others));
            }
            if let Some(own) = own {
                work(own);
            }
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let mut facts = dump::facts_of(archive.toc());
        facts.blocks = whole.finish(&archive.toc().entries, self.dump.database)?;
        let bytes: u64 = facts.blocks.iter().map(|block| block.bytes).sum();
        let name = self.dump.database.as_bytes().to_vec();
        sink.cut(name, ChunkerParams::default(), head.len() as u64 + bytes);
        Ok(facts)
    }

    /// What each `pg_dump` is told: first the one of the rest.
    fn arguments(&self, dealt: &[Vec<Table>]) -> Vec<Vec<String>> {
        let pattern = |table: &Table| format!("{}.{}", identifier(&table.schema), identifier(&table.name));
        let named = dealt.iter().flatten().map(|table| format!("--exclude-table-data={}", pattern(table)));
        let rest = self.limits.iter().cloned().chain(named).collect();
        let of_tables = |tables: &Vec<Table>| {
            let switches = ["--data-only".to_owned(), "--strict-names".to_owned()];
            switches
                .into_iter()
                .chain(tables.iter().map(|table| format!("--table={}", pattern(table))))
                .collect()
        };
        [rest].into_iter().chain(dealt.iter().map(of_tables)).collect()
    }

    /// Stores the blocks of one of them.
    fn take(
        &self,
        sink: &Sink<'_, '_>,
        whole: &Whole,
        mut part: ArchiveReader<impl Read>,
    ) -> Result<(), EngineError> {
        let database = self.dump.database;
        let wrong = |source| PostgresError::Archive { database: database.to_owned(), source };
        let mut entries = whole.entries_of(&part.toc().entries);
        let mut lane = sink.stream_lane(ChunkerParams::default())?;
        while let Some(block) = part.next_block().map_err(wrong)? {
            let rule = "every block belongs to an entry of the whole, and no two to the same";
            let own = entries.remove(&block.dump_id());
            let (id, named) = own.ok_or_else(|| wrong(ArchiveError::Malformed { rule }))?;
            let facts = dump::read_block(block.of_entry(id), named, |path, block| {
                store(sink, &mut lane, path, block)
            })?;
            whole.add(facts);
        }
        Ok(lane.finish()?)
    }
}

/// What there is to read, and what was.
struct Whole {
    names: HashMap<i64, Named>,
    /// By kind, schema and name, in their order.
    by_name: HashMap<(String, Option<String>, String), Vec<i64>>,
    read: Mutex<Vec<BlockFacts>>,
}

impl Whole {
    fn new(archive: &ArchiveReader<impl Read>, database: &str) -> Self {
        let names = dump::names_of(archive.toc(), database);
        let mut by_name: HashMap<_, Vec<i64>> = HashMap::new();
        for entry in archive.toc().entries.iter().filter(|entry| entry.has_data) {
            by_name.entry(key(entry)).or_default().push(entry.dump_id);
        }
        Self { names, by_name, read: Mutex::default() }
    }

    /// Those whose rows are wanted, and the large objects.
    fn tables(&self, mut all: Vec<Table>) -> Vec<Table> {
        let is_wanted = |table: &Table| {
            let key = ("TABLE DATA".to_owned(), Some(table.schema.clone()), table.name.clone());
            table.name.is_empty() || self.by_name.contains_key(&key)
        };
        all.retain(is_wanted);
        all
    }

    /// Which entries of the whole those of a part are.
    fn entries_of(&self, part: &[TocEntry]) -> HashMap<i64, (i64, Named)> {
        let mut seen: HashMap<_, usize> = HashMap::new();
        let mut found = HashMap::new();
        for entry in part.iter().filter(|entry| entry.has_data) {
            let key = key(entry);
            let at = seen.entry(key.clone()).or_default();
            let id = self.by_name.get(&key).and_then(|ids| ids.get(*at)).copied();
            *at += 1;
            let named = id.and_then(|id| Some((id, self.names.get(&id)?.clone())));
            found.extend(named.map(|named| (entry.dump_id, named)));
        }
        found
    }

    fn add(&self, block: BlockFacts) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).push(block);
    }

    /// In the order of the head, in which one `pg_dump` would have written them.
    fn finish(self, entries: &[TocEntry], database: &str) -> Result<Vec<BlockFacts>, PostgresError> {
        let read = self.read.into_inner().unwrap_or_else(PoisonError::into_inner);
        let count = read.len();
        let mut by_id: BTreeMap<i64, BlockFacts> = read.into_iter().map(|block| (block.id, block)).collect();
        let wanted = entries.iter().filter(|entry| entry.has_data);
        let blocks: Option<Vec<BlockFacts>> = wanted.map(|entry| by_id.remove(&entry.dump_id)).collect();
        let rule = "what has data is read once";
        let wrong = || PostgresError::Archive {
            database: database.to_owned(),
            source: ArchiveError::Malformed { rule },
        };
        blocks.filter(|blocks| blocks.len() == count).ok_or_else(wrong)
    }
}

fn key(entry: &TocEntry) -> (String, Option<String>, String) {
    let schema = entry.schema.clone().filter(|schema| !schema.is_empty());
    (entry.kind.clone(), schema, entry.tag.clone())
}

/// Deals tables out, the largest first, each to who has least; what the first gets is not said, for it reads all that nobody
/// else does.
fn deal(mut tables: Vec<Table>, count: usize) -> Vec<Vec<Table>> {
    tables.sort_by(|one, other| {
        other.bytes.cmp(&one.bytes).then_with(|| (&one.schema, &one.name).cmp(&(&other.schema, &other.name)))
    });
    let mut loads = vec![0_u64; count.max(1)];
    let mut dealt = vec![Vec::new(); count.max(1)];
    for (number, table) in tables.into_iter().enumerate() {
        let is_of_the_rest = table.name.is_empty() || number >= MOST_DEALT;
        let least = loads.iter().enumerate().min_by_key(|(_, load)| **load).map_or(0, |(least, _)| least);
        let to = if is_of_the_rest { 0 } else { least };
        loads[to] = loads[to].saturating_add(table.bytes).saturating_add(TABLE_BYTES);
        if to > 0 {
            dealt[to].push(table);
        }
    }
    dealt.retain(|tables| !tables.is_empty());
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(sizes: &[(&str, u64)]) -> Vec<Table> {
        let table = |(name, bytes): &(&str, u64)| Table {
            schema: "public".into(),
            name: (*name).into(),
            bytes: bytes << 20,
        };
        sizes.iter().map(table).collect()
    }

    fn names(dealt: &[Vec<Table>]) -> Vec<Vec<&str>> {
        dealt.iter().map(|tables| tables.iter().map(|table| table.name.as_str()).collect()).collect()
    }

    #[test]
    fn the_largest_are_dealt_out_first() {
        let all = tables(&[("d", 1), ("a", 10), ("c", 5), ("b", 6), ("e", 1)]);
        // `a` is of the rest.
        assert_eq!(names(&deal(all.clone(), 2)), [["b", "c"]]);
        assert_eq!(names(&deal(all.clone(), 3)), [vec!["b", "e"], vec!["c", "d"]]);
        assert!(deal(all, 1).is_empty());
        assert!(deal(Vec::new(), 4).is_empty());
    }

    #[test]
    fn large_objects_are_of_the_rest() {
        let mut all = tables(&[("a", 10), ("b", 6)]);
        all.push(Table { schema: String::new(), name: String::new(), bytes: 100 << 20 });
        assert_eq!(names(&deal(all, 2)), [["a", "b"]]);
    }
}
