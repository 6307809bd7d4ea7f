//! `restore --to`: a snapshot of ClickHouse, into a server.

use serde_json::json;
use strongroom_engines::clickhouse::{RestoreSwitches, Tables, Wanted};
use strongroom_repository::Repository;
use strongroom_repository::state::Snapshot;

use super::{backup_clickhouse, restored};
use crate::arguments::Restore;
use crate::context::Context;
use crate::exit::{Outcome, Usage};
use crate::render;

pub(super) fn to_server(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    to: &str,
    arguments: &Restore,
) -> anyhow::Result<Outcome> {
    let asked = &arguments.server;
    let target = backup_clickhouse::target(to, asked.ca_file.clone())?;
    let switches = RestoreSwitches {
        wanted: Wanted {
            database: asked.database.clone(),
            tables: asked.table.clone(),
            partitions: asked.partition.clone(),
            renames: asked.rename.iter().map(|text| parse_rename(text)).collect::<Result<_, _>>()?,
            into: asked.into.clone(),
        },
        drop_existing: asked.drop_existing,
        schema_only: asked.schema_only,
        data_only: asked.data_only,
    };
    restored::into_server(context, repository, snapshot, |reader| {
        let tables = match asked.shard {
            Some(shard) => Tables::open_shard(reader, snapshot, shard)?,
            None => Tables::open(reader, snapshot)?,
        };
        let done = tables.restore(&target, &switches, &context.terminal, context.readers(arguments.jobs))?;
        let text = format!(
            "restored {} tables and views, {} partitions with {} rows ({}) of snapshot {} into {}",
            done.tables,
            done.partitions,
            done.rows,
            render::bytes(done.bytes),
            snapshot.id().short(),
            render::safe(&target.to_string())
        );
        let detail = json!({
            "database": asked.database, "into": asked.into, "tables": asked.table, "partitions": asked.partition,
            "shard": asked.shard.map(|shard| shard.to_string()),
            "restored_tables": done.tables, "restored_partitions": done.partitions, "rows": done.rows,
            "bytes": done.bytes,
        });
        Ok((detail, text))
    })
}

/// `DATABASE.TABLE=DATABASE.TABLE`
fn parse_rename(text: &str) -> Result<(String, String), Usage> {
    let is_full = |name: &str| {
        name.split_once('.').is_some_and(|(database, table)| !database.is_empty() && !table.is_empty())
    };
    match text.split_once('=') {
        Some((old, new)) if is_full(old) && is_full(new) => Ok((old.to_owned(), new.to_owned())),
        _ => Err(Usage(format!("--rename {text}: write DATABASE.TABLE=DATABASE.TABLE"))),
    }
}
