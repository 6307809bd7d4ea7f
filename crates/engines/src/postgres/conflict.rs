//! Whether a database has already what is to be restored into it, or needs what is to be dropped. `pg_restore` would find out in the
//! middle.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::archive::TocEntry;
use super::error::PostgresError;
use super::session::Session;

/// Kinds of entries that [`THERE`] tells of.
const COMPARED: [&str; 8] =
    ["SCHEMA", "TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE", "TYPE", "DOMAIN"];

/// Schemas, relations and types of people's own.
const THERE: &str = "SELECT row_to_json(found) FROM (
    SELECT '' AS schema, nspname AS name FROM pg_catalog.pg_namespace
    UNION SELECT nspname, relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
        WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    UNION SELECT nspname, typname FROM pg_catalog.pg_type JOIN pg_catalog.pg_namespace n ON n.oid = typnamespace
        WHERE typtype IN ('d', 'e', 'r') AND nspname !~ '^pg_' AND nspname <> 'information_schema') found";

/// Tables that others need: by foreign keys, and by what views read.
const NEEDED: &str = "SELECT row_to_json(found) FROM (
    SELECT json_build_object('schema', tn.nspname, 'name', t.relname) AS table, json_build_object('schema', n.nspname, 'name', c.relname) AS by, what
    FROM (
        SELECT confrelid AS table, conrelid AS by, 'foreign key ' || conname || ' of ' AS what FROM pg_catalog.pg_constraint
            WHERE contype = 'f' AND conparentid = 0 AND conrelid <> confrelid
        UNION SELECT refobjid, ev_class, '' FROM pg_catalog.pg_depend JOIN pg_catalog.pg_rewrite r ON r.oid = objid
            WHERE classid = 'pg_catalog.pg_rewrite'::regclass AND refclassid = 'pg_catalog.pg_class'::regclass AND refobjid <> ev_class
    ) needs JOIN pg_catalog.pg_class t ON t.oid = needs.table JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
        JOIN pg_catalog.pg_class c ON c.oid = needs.by JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    ORDER BY tn.nspname, t.relname, n.nspname, c.relname, what) found";

#[derive(Deserialize)]
struct Need {
    table: Named,
    by: Named,
    what: String,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    schema: String,
    name: String,
}

/// Looks before a part of a database is dropped: whether anything needs it that is not dropped as well.
///
/// # Errors
/// `Needed`; as [`Session::ask`].
pub(super) fn require_unneeded<'e>(
    session: &mut Session<'_>,
    wanted: impl Iterator<Item = &'e TocEntry>,
) -> Result<(), PostgresError> {
    let named = |entry: &TocEntry| Named {
        schema: entry.schema.clone().unwrap_or_default(),
        name: entry.tag.clone(),
    };
    let dropped: BTreeSet<Named> =
        wanted.filter(|entry| COMPARED.contains(&entry.kind.as_str())).map(named).collect();
    let needs: Vec<Need> = session.ask_json(NEEDED)?;
    let is_left = |need: &&Need| dropped.contains(&need.table) && !dropped.contains(&need.by);
    let mut found = needs.iter().filter(is_left);
    let Some(Need { table, by, what }) = found.next() else { return Ok(()) };
    Err(PostgresError::Needed {
        table: format!("{}.{}", table.schema, table.name),
        by: format!("{what}{}.{}", by.schema, by.name),
        more: found.count(),
    })
}

/// Looks before anything is done.
///
/// # Errors
/// `InTheWay`; as [`Session::ask`].
pub(super) fn require_none<'e>(
    session: &mut Session<'_>,
    wanted: impl Iterator<Item = &'e TocEntry>,
) -> Result<(), PostgresError> {
    let there: BTreeSet<Named> = session.ask_json(THERE)?.into_iter().collect();
    // Of the schema public there may be an entry that makes nothing.
    let makes = |entry: &&TocEntry| {
        COMPARED.contains(&entry.kind.as_str())
            && entry.definition.as_ref().is_some_and(|sql| sql.contains("CREATE "))
    };
    let named = |entry: &TocEntry| Named {
        schema: entry.schema.clone().unwrap_or_default(),
        name: entry.tag.clone(),
    };
    let mut found = wanted.filter(makes).filter(|entry| there.contains(&named(entry)));
    let Some(first) = found.next() else { return Ok(()) };
    let dot = if named(first).schema.is_empty() { "" } else { "." };
    Err(PostgresError::InTheWay {
        database: session.ask_one("SELECT current_database()")?,
        first: format!("{} {}{dot}{}", first.kind.to_lowercase(), named(first).schema, first.tag),
        more: found.count(),
    })
}
