//! The rows of one partition, or of a table that has none, into the repository.

use std::thread;

use strongroom_format::tree_entry::TreeEntry;
use strongroom_repository::RepositoryError;
use strongroom_repository::backup::{Lane, Sink};
use strongroom_repository::share::Share;
use strongroom_repository::tree::EntryCursor;

use super::catalog::{self, PartColumns, Parts};
use super::error::ClickHouseError;
use super::facts::{Column, Facts, Part, Partition, Storage, Table, name_of};
use super::fingerprint::{self, Counted};
use super::followed::Followed;
use super::layout;
use super::native::ColumnType;
use super::session::{Session, literal, quoted};
use crate::engine::{EngineError, stream_entry};
use crate::http::HttpError;

/// How often what changes while it is read is read.
const ATTEMPTS: u32 = 5;
/// What a block should come to, bytes, and between which numbers of rows: servers hold several in memory.
const BLOCK_BYTES: u64 = 16 << 20;
const BLOCK_ROWS: std::ops::RangeInclusive<u64> = 256..=65536;
/// Servers sort what comes to more than this on their disks, bytes.
const SORT_BYTES: &str = "268435456";

/// Reads rows, and takes over what did not change.
pub(super) struct Dump<'d, 'scope, 'env> {
    pub(super) session: &'d Session,
    pub(super) sink: &'d Sink<'scope, 'env>,
    /// What the parent snapshot knows.
    pub(super) parent: Option<&'d Facts>,
    pub(super) part_columns: PartColumns,
    pub(super) fingerprints: bool,
    pub(super) share: Option<Share>,
}

impl Dump<'_, '_, '_> {
    /// All of a partition, that had these parts before. None if it is gone, and the table is not.
    ///
    /// # Errors
    /// `NotWhole`, `Rows`, `Hidden`; what the server says, what storing fails with.
    pub(super) fn partition(
        &self,
        lane: &mut Lane<'_>,
        table: &Table,
        storage: &Storage,
        (id, before): (&str, &Parts),
    ) -> Result<Option<Partition>, EngineError> {
        let what = name_of(&table.full_name(), Some(id));
        let path = layout::of_share(self.share, layout::rows(&table.database, &table.name, Some(id)));
        if let Some((known, entry)) = self.unchanged(table, storage, &path, before)? {
            self.sink.monitor().advance(known.bytes);
            lane.entry(entry)?;
            return Ok(Some(Partition { listed: before.listed, ..known }));
        }
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let parts = self.parts(table, storage, id)?;
            if parts.parts.is_empty() {
                self.require(table, storage)?;
                return Ok(None);
            }
            let (followed, counted, bytes) = self.rows(
                lane,
                table,
                &from(table, storage, Some(&parts)),
                &order(self.session, storage, &parts.parts),
                &what,
                &path,
                Some(&parts),
            )?;
            let sent = followed.unwrap_or(counted.rows);
            // Parts that were merged before they were read are missing. Where the rows that were sent cannot be followed, the
            // count says nothing of them: then only parts that are still there were read.
            let is_all = sent == counted.rows
                && (followed == Some(parts.rows()) || self.has_still(table, storage, id, &parts)?);
            if is_all && sent < parts.rows() && !parts.has_deletions {
                let (shown, there) = (sent, parts.rows());
                return Err(ClickHouseError::Hidden { what, shown, there }.into());
            }
            if is_all {
                lane.end(stream_entry(&path)?)?;
                let partition = Partition {
                    id: Some(id.to_owned()),
                    path,
                    more_paths: Vec::new(),
                    rows: sent,
                    bytes,
                    fingerprint: counted.fingerprint,
                    parts: parts.all(),
                    listed: parts.listed,
                };
                return Ok(Some(partition));
            }
            lane.discard()?;
            last = Some(ClickHouseError::Rows { what: what.clone(), sent, counted: parts.rows() });
        }
        Err(last.unwrap_or(ClickHouseError::Missing { what, there: Vec::new() }).into())
    }

    /// All of a table that has no partitions.
    ///
    /// # Errors
    /// As [`Dump::partition`].
    pub(super) fn whole(
        &self,
        lane: &mut Lane<'_>,
        table: &Table,
        storage: &Storage,
    ) -> Result<Partition, EngineError> {
        let what = table.full_name();
        let path = layout::of_share(self.share, layout::rows(&table.database, &table.name, None));
        let from = from(table, storage, None);
        for attempt in 1..=ATTEMPTS {
            // What cannot be followed is counted before and behind what is read.
            let before = match can_be_followed(table) {
                true => None,
                false => Some(self.count(table, &from, &what)?),
            };
            let (followed, counted, bytes) = self.rows(lane, table, &from, "", &what, &path, None)?;
            let is_settled = match followed {
                Some(sent) => sent == counted.rows,
                None => before.as_ref() == Some(&counted) && self.count(table, &from, &what)? == counted,
            };
            if !is_settled && attempt < ATTEMPTS {
                lane.discard()?;
                continue;
            }
            if !is_settled {
                self.sink.monitor().warn(&format!("{what} changes all the time: its rows are those of one moment, and nothing else is known of them"));
                self.sink.count_unreadable();
            }
            lane.end(stream_entry(&path)?)?;
            let sent = followed.unwrap_or(counted.rows);
            let fingerprint = counted.fingerprint.filter(|_| is_settled);
            let (id, parts, more_paths) = (None, Vec::new(), Vec::new());
            return Ok(Partition { id, path, more_paths, rows: sent, bytes, fingerprint, parts, listed: 0 });
        }
        Err(ClickHouseError::Missing { what, there: Vec::new() }.into())
    }

    /// What is there of a partition, once more.
    fn parts(&self, table: &Table, storage: &Storage, id: &str) -> Result<Parts, ClickHouseError> {
        let (database, own) = (&table.database, &storage.table);
        let mut found = catalog::parts_of(self.session, database, own, Some(id), self.part_columns)?;
        Ok(found.remove(id).unwrap_or_default())
    }

    fn has_still(
        &self,
        table: &Table,
        storage: &Storage,
        id: &str,
        then: &Parts,
    ) -> Result<bool, ClickHouseError> {
        let now = self.parts(table, storage, id)?;
        Ok(then.parts.iter().all(|part| now.parts.iter().any(|one| one.name == part.name)))
    }

    /// Fails if the table is gone.
    fn require(&self, table: &Table, storage: &Storage) -> Result<(), ClickHouseError> {
        let name = format!("{}.{}", quoted(&table.database), quoted(&storage.table));
        let what = format!("table {} was dropped meanwhile", table.full_name());
        self.session.run(&what, &format!("DESCRIBE TABLE {name}"), &[])
    }

    /// The parent's entry of the partition, if it has the same parts as then.
    fn unchanged(
        &self,
        table: &Table,
        storage: &Storage,
        path: &str,
        now: &Parts,
    ) -> Result<Option<(Partition, TreeEntry)>, EngineError> {
        let (Some(facts), Some(parent)) = (self.parent, self.sink.parent()) else { return Ok(None) };
        let is_same_table = |then: &&Table| {
            (&then.database, &then.name) == (&table.database, &table.name)
                && then.storage.as_ref() == Some(storage)
                && (&then.create, &then.columns) == (&table.create, &table.columns)
                && then.has_materialized == table.has_materialized
        };
        let then = facts.tables.iter().find(is_same_table);
        let Some(known) = then.and_then(|then| then.partitions.iter().find(|one| one.path == path)) else {
            return Ok(None);
        };
        let now = now.all();
        let same = |(then, now): (&Part, &Part)| then.is_still(now, known.listed);
        let wants_more = self.fingerprints && known.fingerprint.is_none();
        if wants_more || known.parts.len() != now.len() || !known.parts.iter().zip(&now).all(same) {
            return Ok(None);
        }
        let mut cursor = EntryCursor::new(self.sink.reader(), &parent.manifest.tree)?;
        let entry = cursor.seek(&stream_entry(path)?.path)?;
        Ok(entry.filter(|entry| entry.bytes() == known.bytes).map(|entry| (known.clone(), entry)))
    }

    fn count(&self, table: &Table, from: &str, what: &str) -> Result<Counted, ClickHouseError> {
        let columns: Vec<&Column> = table.stored_columns().collect();
        fingerprint::count(self.session, what, from, &columns, self.fingerprints)
    }

    /// Streams rows while the server counts them, both from the same parts. Gives rows sent, if they can be followed, what was
    /// counted, and bytes.
    #[expect(clippy::too_many_arguments, reason = "a query and its names")]
    fn rows(
        &self,
        lane: &mut Lane<'_>,
        table: &Table,
        from: &str,
        order: &str,
        what: &str,
        path: &str,
        parts: Option<&Parts>,
    ) -> Result<(Option<u64>, Counted, u64), EngineError> {
        let columns: Vec<&Column> = table.stored_columns().collect();
        let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
        let can_be_followed = can_be_followed(table);
        let block_rows = block_rows(parts).to_string();
        let mut settings = vec![
            ("max_threads", "1"),
            ("max_block_size", block_rows.as_str()),
            ("preferred_block_size_bytes", "0"),
            ("max_bytes_before_external_sort", SORT_BYTES),
            ("max_bytes_ratio_before_external_sort", "0"),
            ("optimize_read_in_order", if self.numbers_rows() { "1" } else { "0" }),
            ("low_cardinality_allow_in_native_format", "1"),
            ("output_format_native_encode_types_in_binary_format", "0"),
            ("max_result_rows", "0"),
            ("max_result_bytes", "0"),
            // What takes it in may be slow.
            ("http_send_timeout", "3600"),
            ("http_receive_timeout", "3600"),
        ];
        if !can_be_followed {
            // The server keeps it until it has all of it, and then says whether that was all.
            settings.push(("wait_end_of_query", "1"));
        }
        let sql = format!("SELECT {} FROM {from}{order} FORMAT Native", names.join(", "));
        lane.against(self.sink.base(&stream_entry(path)?.path))?;
        thread::scope(|scope| {
            // Before the rows are read, so that both begin with the same parts.
            let counting = scope.spawn(|| self.count(table, from, what));
            let stream = self.session.read(&format!("the rows of {what}"), &sql, &settings)?;
            let mut followed = Followed::new(stream, can_be_followed.then_some(columns.len()));
            let read = lane.content(&what, &mut followed);
            let whole = followed.finish();
            let bytes = match read {
                Ok(bytes) => bytes,
                Err(RepositoryError::Read { source, .. }) => {
                    return Err(self.broken(what, source, whole.err(), followed.said().is_some()).into());
                }
                Err(error) => return Err(error.into()),
            };
            let rows = whole.map_err(|wrong| ClickHouseError::NotWhole {
                what: what.to_owned(),
                why: wrong.why,
                said: wrong.said,
            })?;
            let counted = counting.join().unwrap_or(Err(ClickHouseError::Answer {
                what: format!("the count of {what}"),
                why: "it was not counted".into(),
            }))?;
            Ok((rows, counted, bytes))
        })
    }

    fn broken(
        &self,
        what: &str,
        source: std::io::Error,
        wrong: Option<super::followed::Wrong>,
        was_said: bool,
    ) -> ClickHouseError {
        match wrong {
            Some(wrong) if was_said || !matches!(wrong.why, super::native::NativeError::CutOff { .. }) => {
                ClickHouseError::NotWhole { what: what.to_owned(), why: wrong.why, said: wrong.said }
            }
            _ => ClickHouseError::Server {
                what: format!("the rows of {what}"),
                source: HttpError::Broken { server: self.session.to_string(), what: "SELECT".into(), source },
            },
        }
    }

    /// Whether rows of a part have numbers, so that the server can sort them as it reads.
    fn numbers_rows(&self) -> bool {
        numbers_rows(self.session)
    }
}

/// Whether the rows of its blocks can be counted as they come.
fn can_be_followed(table: &Table) -> bool {
    table.stored_columns().all(|column| ColumnType::parse(&column.kind).can_be_followed())
}

fn numbers_rows(session: &Session) -> bool {
    session.year() >= 23
}

/// A table, with what is read of it.
pub(super) fn from(table: &Table, storage: &Storage, parts: Option<&Parts>) -> String {
    let from = format!("{}.{}", quoted(&table.database), quoted(&storage.table));
    match parts {
        Some(parts) => format!("{from} WHERE _part IN ({})", names_of(&parts.parts)),
        None => from,
    }
}

fn names_of(parts: &[Part]) -> String {
    parts.iter().map(|part| literal(&part.name)).collect::<Vec<_>>().join(", ")
}

/// By the key, and what has the same key as it was inserted. That is how the server itself merges parts; so what is read does
/// not depend on how far it has come with that.
fn order(session: &Session, storage: &Storage, parts: &[Part]) -> String {
    let key = match storage.sorting_key.as_str() {
        "" | "tuple()" => String::new(),
        key => format!("{key}, "),
    };
    let numbers_rows = numbers_rows(session);
    if parts.len() < 2 && (key.is_empty() || !numbers_rows) {
        // As it lies there. Newer servers, which merge as they read, cut blocks otherwise then: they are always told the order.
        return String::new();
    }
    let names: Vec<String> = parts.iter().map(|part| literal(&part.name)).collect();
    let number = if numbers_rows { "_part_offset" } else { "rowNumberInAllBlocks()" };
    format!(" ORDER BY {key}indexOf([{}], _part), {number}", names.join(", "))
}

/// Wide rows come in short blocks. A power of two, so that it is the same the next day.
fn block_rows(parts: Option<&Parts>) -> u64 {
    let Some(parts) = parts else { return *BLOCK_ROWS.end() };
    let row_bytes = parts.plain_bytes / parts.rows().max(1) + 1;
    let rows = (BLOCK_BYTES / row_bytes).clamp(*BLOCK_ROWS.start(), *BLOCK_ROWS.end());
    1 << rows.ilog2()
}
