//! What a server has: databases, tables, columns, parts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use strongroom_repository::monitor::Monitor;

use super::caveats;
use super::error::ClickHouseError;
use super::facts::{Column, Database, Function, Part, Storage, Table};
use super::session::{Session, literal, quoted};

/// Databases that are the server's own.
const OWN: [&str; 4] =
    ["system", "INFORMATION_SCHEMA", "information_schema", "_temporary_and_external_tables"];
/// Engines of databases whose tables are kept here; those of others lie elsewhere.
const LOCAL: [&str; 7] = ["Ordinary", "Atomic", "Memory", "Lazy", "Replicated", "Shared", "Overlay"];
/// Engines of tables that hold rows, besides the family of MergeTree.
const HOLDERS: [&str; 6] = ["Memory", "Log", "TinyLog", "StripeLog", "Join", "EmbeddedRocksDB"];
/// What a server shows in place of a secret.
const HIDDEN: &str = "[HIDDEN]";

/// What of a server is backed up. Nothing named means everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only these databases.
    pub databases: Vec<String>,
    /// Only these tables, `DATABASE.TABLE`.
    pub tables: Vec<String>,
    /// Without these, `DATABASE.TABLE`.
    pub exclude_tables: Vec<String>,
}

/// What there is.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) databases: Vec<Database>,
    pub(super) functions: Vec<Function>,
    /// By database and name.
    pub(super) tables: Vec<Table>,
}

#[derive(Deserialize)]
struct DatabaseRow {
    name: String,
    engine: String,
}

#[derive(Deserialize)]
struct Statement {
    statement: String,
}

#[derive(Deserialize)]
struct TableRow {
    database: String,
    name: String,
    engine: String,
    create: String,
    sorting_key: String,
    modified: u64,
    #[serde(default)]
    uuid: String,
}

#[derive(Deserialize)]
struct ColumnRow {
    database: String,
    table: String,
    #[serde(flatten)]
    column: Column,
}

#[derive(Deserialize)]
struct PartRow {
    partition_id: String,
    #[serde(flatten)]
    part: Part,
    plain_bytes: u64,
    listed: u64,
    #[serde(default)]
    has_lightweight_delete: u8,
}

/// The parts of a partition, as they are now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// In the order in which they were inserted.
    pub(super) parts: Vec<Part>,
    /// What of other parts they replace: parts of rows that were updated.
    pub(super) patches: Vec<Part>,
    /// Uncompressed.
    pub(super) plain_bytes: u64,
    pub(super) listed: u64,
    /// Whether rows of them are marked as deleted.
    pub(super) has_deletions: bool,
}

/// What a server tells of parts in its version.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartColumns {
    hashes: bool,
    deletions: bool,
}

impl Parts {
    pub(super) fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    pub(super) fn all(&self) -> Vec<Part> {
        self.parts.iter().chain(&self.patches).cloned().collect()
    }
}

/// Whether parts are listed for tables of this engine.
pub(super) fn has_parts(engine: &str) -> bool {
    engine.ends_with("MergeTree")
}

/// Whether it holds rows.
pub(super) fn holds_rows(engine: &str) -> bool {
    has_parts(engine) || HOLDERS.contains(&engine)
}

impl Catalog {
    /// Reads it.
    ///
    /// # Errors
    /// `Missing` of what is selected; what the server says.
    pub(super) fn read(
        session: &Session,
        selection: &Selection,
        monitor: &dyn Monitor,
    ) -> Result<Self, ClickHouseError> {
        let rows: Vec<DatabaseRow> =
            session.ask("its databases", "SELECT name, engine FROM system.databases ORDER BY name")?;
        let there: Vec<DatabaseRow> =
            rows.into_iter().filter(|row| !OWN.contains(&row.name.as_str())).collect();
        let names: Vec<String> = there.iter().map(|row| row.name.clone()).collect();
        if let Some(missing) = selection.databases.iter().find(|wanted| !names.contains(wanted)) {
            return Err(ClickHouseError::Missing { what: format!("database {missing}"), there: names });
        }
        let mut local: Vec<Database> = Vec::new();
        for row in there {
            if !selection.databases.is_empty() && !selection.databases.contains(&row.name) {
                continue;
            }
            if !LOCAL.contains(&row.engine.as_str()) {
                monitor.note(&format!(
                    "the tables of database {} lie elsewhere ({}): only what makes it is backed up",
                    row.name, row.engine
                ));
            }
            let create = create_of(session, &row)?;
            if create.contains(HIDDEN) {
                monitor.warn(&format!("the server hides a secret in what makes database {}: it is not backed up, and has to be given again before a restore", row.name));
            }
            local.push(Database { name: row.name, engine: row.engine, create });
        }
        let mut tables = tables_of(session, &local, monitor)?;
        let there: Vec<String> = tables.iter().map(Table::full_name).collect();
        let named = selection.tables.iter().chain(&selection.exclude_tables);
        if let Some(missing) = named.into_iter().find(|wanted| !there.contains(wanted)) {
            return Err(ClickHouseError::Missing { what: format!("table {missing}"), there: Vec::new() });
        }
        tables.retain(|table| {
            let name = table.full_name();
            (selection.tables.is_empty() || selection.tables.contains(&name))
                && !selection.exclude_tables.contains(&name)
        });
        let is_whole = selection.databases.is_empty() && selection.tables.is_empty();
        let has_tables: BTreeSet<&str> = tables.iter().map(|table| table.database.as_str()).collect();
        let is_wanted =
            |name: &str| has_tables.contains(name) || (selection.tables.is_empty() && name != "default");
        local.retain(|database| is_wanted(&database.name));
        let functions = if is_whole { functions_of(session)? } else { Vec::new() };
        for table in tables.iter().filter(|table| table.create.contains(HIDDEN)) {
            monitor.warn(&format!("the server hides a secret in what makes {}: it is not backed up, and has to be given again after a restore", table.full_name()));
        }
        caveats::tell(session, &tables, monitor)?;
        Ok(Self { databases: local, functions, tables })
    }
}

/// Old servers do not know the question, and no engine that takes arguments.
fn create_of(session: &Session, row: &DatabaseRow) -> Result<String, ClickHouseError> {
    let what = format!("what makes database {}", row.name);
    let told: Result<Statement, _> =
        session.ask_one(&what, &format!("SHOW CREATE DATABASE {}", quoted(&row.name)));
    match told {
        Ok(told) => Ok(told.statement),
        Err(error) if error.is_of_syntax() => {
            Ok(format!("CREATE DATABASE {} ENGINE = {}", quoted(&row.name), row.engine))
        }
        Err(error) => Err(error),
    }
}

fn functions_of(session: &Session) -> Result<Vec<Function>, ClickHouseError> {
    let columns = columns_of_system(session, "functions")?;
    if !columns.contains("create_query") || !columns.contains("origin") {
        return Ok(Vec::new());
    }
    session.ask(
        "its functions",
        "SELECT name, create_query AS create FROM system.functions WHERE origin = 'SQLUserDefined' ORDER BY name",
    )
}

/// Those that a table of the server's own has in this version: none, if there is no such table.
///
/// # Errors
/// What the server says.
pub(super) fn columns_of_system(session: &Session, table: &str) -> Result<BTreeSet<String>, ClickHouseError> {
    #[derive(Deserialize)]
    struct Row {
        name: String,
    }
    let sql =
        format!("SELECT name FROM system.columns WHERE database = 'system' AND table = {}", literal(table));
    let rows: Vec<Row> = session.ask(&format!("the columns of system.{table}"), &sql)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

fn tables_of(
    session: &Session,
    databases: &[Database],
    monitor: &dyn Monitor,
) -> Result<Vec<Table>, ClickHouseError> {
    let local = databases.iter().filter(|database| LOCAL.contains(&database.engine.as_str()));
    let names: Vec<String> = local.map(|database| literal(&database.name)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let names = names.join(", ");
    let uuid = match columns_of_system(session, "tables")?.contains("uuid") {
        true => ", toString(uuid) AS uuid",
        false => "",
    };
    let sql = format!(
        "SELECT database, name, engine, create_table_query AS create, sorting_key, toUInt64(toUInt32(metadata_modification_time)) AS modified{uuid} \
        FROM system.tables WHERE database IN ({names}) AND NOT is_temporary ORDER BY database, name"
    );
    let mut rows: Vec<TableRow> = session.ask("its tables", &sql)?;
    // What a refreshable view is filled into anew, until it takes the place of what it had.
    rows.retain(|row| !row.name.starts_with(".tmp.inner"));
    let sql = format!(
        "SELECT database, table, name, type, default_kind AS default FROM system.columns WHERE database IN ({names})"
    );
    let mut columns: BTreeMap<(String, String), Vec<Column>> = BTreeMap::new();
    for row in session.ask::<ColumnRow>("its columns", &sql)? {
        columns.entry((row.database, row.table)).or_default().push(row.column);
    }
    // What holds the rows of a materialized view is no table of its own.
    let mut inner: BTreeMap<(String, String), TableRow> = BTreeMap::new();
    let (hidden, shown): (Vec<_>, Vec<_>) = rows.drain(..).partition(|row| row.name.starts_with(".inner"));
    for row in hidden {
        inner.insert((row.database.clone(), row.name.clone()), row);
    }
    let mut tables = Vec::new();
    for row in shown {
        let own = |row: &TableRow, engine: &str| Storage {
            table: row.name.clone(),
            engine: engine.to_owned(),
            sorting_key: row.sorting_key.clone(),
            identity: identity_of(row),
        };
        let mut key = (row.database.clone(), row.name.clone());
        let mut storage = holds_rows(&row.engine).then(|| own(&row, &row.engine));
        if row.engine == "MaterializedView" {
            let names = [format!(".inner_id.{}", row.uuid), format!(".inner.{}", row.name)];
            let found = names.into_iter().find_map(|name| inner.remove_entry(&(row.database.clone(), name)));
            if let Some((found, inner)) = found {
                storage = holds_rows(&inner.engine).then(|| own(&inner, &inner.engine));
                key = found;
            }
        }
        let columns = columns.remove(&key).unwrap_or_default();
        tables.push(Table {
            has_materialized: columns.iter().any(Column::is_materialized),
            columns,
            database: row.database,
            name: row.name,
            engine: row.engine,
            create: row.create,
            storage,
            rows: 0,
            partitions: Vec::new(),
        });
    }
    for (database, name) in inner.keys() {
        monitor.warn(&format!("{database}.{name} belongs to no view that is known: it is not backed up"));
    }
    Ok(tables)
}

fn identity_of(row: &TableRow) -> String {
    let has_uuid = row.uuid.bytes().any(|byte| byte.is_ascii_alphanumeric() && byte != b'0');
    if has_uuid { row.uuid.clone() } else { row.modified.to_string() }
}

/// The parts of a table by the ID of their partition; of one partition, if it is named.
///
/// # Errors
/// What the server says.
pub(super) fn parts_of(
    session: &Session,
    database: &str,
    table: &str,
    only: Option<&str>,
    columns: PartColumns,
) -> Result<BTreeMap<String, Parts>, ClickHouseError> {
    let hash = if columns.hashes { ", hash_of_all_files AS hash" } else { "" };
    let deletions = if columns.deletions { ", has_lightweight_delete" } else { "" };
    let only = only.map_or_else(String::new, |id| {
        let (id, of_patch) = (literal(id), literal(&format!("%-{id}")));
        format!(
            " AND (partition_id = {id} OR (partition_id LIKE 'patch-%' AND partition_id LIKE {of_patch}))"
        )
    });
    let sql = format!(
        "SELECT partition_id, name, rows, bytes, toUInt64(toUInt32(modification_time)) AS modified, data_uncompressed_bytes AS plain_bytes, \
        toUInt64(toUInt32(now())) AS listed{hash}{deletions} FROM system.parts WHERE active AND database = {} AND table = {}{only} ORDER BY min_block_number, name",
        literal(database),
        literal(table),
    );
    let rows: Vec<PartRow> = session.ask(&format!("the parts of {database}.{table}"), &sql)?;
    let (patches, rows): (Vec<PartRow>, Vec<PartRow>) =
        rows.into_iter().partition(|row| row.partition_id.starts_with("patch-"));
    let mut found: BTreeMap<String, Parts> = BTreeMap::new();
    for row in rows {
        let parts = found.entry(row.partition_id).or_default();
        parts.plain_bytes += row.plain_bytes;
        parts.listed = row.listed;
        parts.has_deletions |= row.has_lightweight_delete != 0;
        parts.parts.push(row.part);
    }
    for row in patches {
        let is_of = |id: &str| row.partition_id.strip_suffix(id).is_some_and(|front| front.ends_with('-'));
        if let Some((_, parts)) = found.iter_mut().find(|(id, _)| is_of(id)) {
            // They may delete, too.
            parts.has_deletions = true;
            parts.patches.push(row.part);
        }
    }
    Ok(found)
}

/// What is told of parts in this version.
///
/// # Errors
/// What the server says.
pub(super) fn part_columns(session: &Session) -> Result<PartColumns, ClickHouseError> {
    let columns = columns_of_system(session, "parts")?;
    Ok(PartColumns {
        hashes: columns.contains("hash_of_all_files"),
        deletions: columns.contains("has_lightweight_delete"),
    })
}

/// The table that holds the rows of a materialized view.
///
/// # Errors
/// `Missing`; what the server says.
pub(super) fn inner_of(session: &Session, database: &str, view: &str) -> Result<String, ClickHouseError> {
    #[derive(Deserialize)]
    struct Row {
        name: String,
    }
    let what = format!("what holds the rows of {database}.{view}");
    let (database, own) = (literal(database), literal(view));
    let uuid = match columns_of_system(session, "tables")?.contains("uuid") {
        false => String::new(),
        true => format!(
            " OR name IN (SELECT concat('.inner_id.', toString(uuid)) FROM system.tables WHERE database = {database} AND name = {own})"
        ),
    };
    let plain = literal(&format!(".inner.{view}"));
    let sql =
        format!("SELECT name FROM system.tables WHERE database = {database} AND (name = {plain}{uuid})");
    let rows: Vec<Row> = session.ask(&what, &sql)?;
    rows.into_iter().next().map(|row| row.name).ok_or(ClickHouseError::Missing { what, there: Vec::new() })
}
