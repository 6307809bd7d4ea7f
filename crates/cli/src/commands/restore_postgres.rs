//! `restore --to`: a snapshot of PostgreSQL, into a server.

use std::time::Instant;

use serde_json::json;
use strongroom_engines::postgres::{Archives, Destination, Programs, RestoreSwitches, Target};
use strongroom_repository::Repository;
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use crate::arguments::Restore;
use crate::context::{Context, host_name, tell_healed, user_name};
use crate::exit::{Outcome, Usage};
use crate::output::line;
use crate::render;

pub(super) fn run(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    to: &str,
    arguments: &Restore,
) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let asked = &arguments.server;
    let destination = Destination {
        target: Target::parse(to)?,
        database: asked.into.clone(),
        programs: Programs { folder: asked.pg_bin.clone() },
    };
    let switches = RestoreSwitches {
        tables: asked.table.clone(),
        drop_existing: asked.drop_existing,
        create: asked.create,
        single_transaction: asked.single_transaction,
        schema_only: asked.schema_only,
        data_only: asked.data_only,
        disable_triggers: asked.disable_triggers,
        no_owner: asked.no_owner,
    };
    let reader = Reader::new(repository);
    let archives = Archives::open(&reader, snapshot)?;
    let database = match (&asked.database, archives.databases().as_slice()) {
        (Some(name), _) => name.clone(),
        (None, [only]) => (*only).to_owned(),
        (None, several) => {
            let several = several.join(", ");
            return Err(
                Usage(format!("which database? the snapshot has {several}: give --database NAME")).into()
            );
        }
    };
    context.terminal.begin("restoring", None);
    let workers = context.readers(arguments.jobs);
    let bytes = archives.restore(&database, &destination, &switches, &context.terminal, workers)?;
    context.terminal.finish();
    let healed_packs = tell_healed(&reader);
    drop(archives);
    drop(reader);
    let seconds = began.elapsed().as_secs_f64();
    let detail = json!({
        "database": database, "into": asked.into, "tables": asked.table, "host": host_name(), "user": user_name(), "bytes": bytes, "seconds": seconds,
    });
    context.note(repository, "restore", Some(snapshot.id()), &detail);
    if context.global.json {
        context.json(&json!({
            "type": "restore", "snapshot": snapshot.id().to_hex(), "database": database, "into": asked.into, "tables": asked.table, "bytes": bytes,
            "healed_packs": healed_packs, "seconds": seconds,
        }));
    } else {
        line!(
            "restored database {} ({}) of snapshot {} in {seconds:.1} s",
            render::safe(&database),
            render::bytes(bytes),
            snapshot.id().short()
        );
    }
    Ok(Outcome::Done)
}
