//! `restore --to`: a snapshot of PostgreSQL, into a server; `restore --to-archive`, into a file for `pg_restore`;
//! `restore --target`: a cluster.

use std::path::Path;
use std::time::Instant;

use serde_json::json;
use strongroom_engines::files::TargetOptions;
use strongroom_engines::postgres::physical::PhysicalSnapshot;
use strongroom_engines::postgres::{Archives, Destination, Programs, RestoreSwitches, Target, Wanted};
use strongroom_repository::Repository;
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use super::{recovery, restored};
use crate::arguments::Restore;
use crate::context::{Context, host_name, tell_healed, user_name};
use crate::exit::{Outcome, PARTLY, Usage};
use crate::output::line;
use crate::render;

/// Into a server.
pub(super) fn to_server(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    to: &str,
    arguments: &Restore,
) -> anyhow::Result<Outcome> {
    let asked = &arguments.server;
    let destination = Destination {
        target: Target::parse(to)?,
        database: asked.into.clone(),
        programs: Programs { folder: asked.pg_bin.clone() },
    };
    let wanted = Wanted {
        tables: asked.table.clone(),
        schemas: asked.schema.clone(),
        exclude_tables: asked.exclude_table.clone(),
    };
    let switches = RestoreSwitches {
        wanted,
        jobs: arguments.jobs.unwrap_or(1),
        drop_existing: asked.drop_existing,
        create: asked.create,
        single_transaction: asked.single_transaction,
        schema_only: asked.schema_only,
        data_only: asked.data_only,
        disable_triggers: asked.disable_triggers,
        no_owner: asked.no_owner,
        no_privileges: asked.no_privileges,
    };
    restored::into_server(context, repository, snapshot, |reader| {
        let archives = Archives::open(reader, snapshot)?;
        let database = chosen(&archives, arguments)?;
        let workers = context.readers(arguments.jobs);
        let bytes = archives.restore(&database, &destination, &switches, &context.terminal, workers)?;
        let text = format!(
            "restored database {} ({}) of snapshot {}",
            render::safe(&database),
            render::bytes(bytes),
            snapshot.id().short()
        );
        let detail = json!({
            "database": database, "into": asked.into, "tables": asked.table, "schemas": asked.schema, "exclude_tables": asked.exclude_table, "bytes": bytes,
        });
        Ok((detail, text))
    })
}

/// To a file, or to standard output.
pub(super) fn to_archive(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    file: &Path,
    arguments: &Restore,
) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let reader = Reader::new(repository);
    let archives = Archives::open(&reader, snapshot)?;
    let database = chosen(&archives, arguments)?;
    let workers = context.readers(arguments.jobs);
    let bytes = restored::write_file(context, file, None, |out| {
        Ok(archives.write(&database, out, &context.terminal, workers)?)
    })?;
    let is_stdout = restored::is_stdout(file);
    tell_healed(&reader);
    drop(archives);
    drop(reader);
    let seconds = began.elapsed().as_secs_f64();
    let detail = json!({
        "database": database, "archive": file.display().to_string(), "host": host_name(), "user": user_name(), "bytes": bytes, "seconds": seconds,
    });
    context.note(repository, "restore", Some(snapshot.id()), &detail);
    if context.global.json && !is_stdout {
        context.json(&json!({
            "type": "restore", "snapshot": snapshot.id().to_hex(), "database": database, "archive": file.display().to_string(), "bytes": bytes,
            "seconds": seconds,
        }));
    } else if !is_stdout {
        line!(
            "wrote database {} ({}) of snapshot {} to {} in {seconds:.1} s",
            render::safe(&database),
            render::bytes(bytes),
            snapshot.id().short(),
            file.display()
        );
    }
    Ok(Outcome::Done)
}

/// A cluster, ready to start.
pub(super) fn to_data_directory(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    into: &Path,
    options: TargetOptions,
    arguments: &Restore,
) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let reader = Reader::new(repository);
    let cluster = PhysicalSnapshot::open(&reader, snapshot)?;
    let tablespaces = arguments.server.tablespace.iter().cloned().collect();
    let recovery = recovery::of(context, &arguments.recovery, repository, &cluster)?;
    context.terminal.begin("restoring", Some(snapshot.manifest.tree.bytes));
    let workers = context.readers(arguments.jobs);
    let done = cluster.restore(into, options, &tablespaces, recovery.as_ref(), &context.terminal, workers)?;
    context.terminal.finish();
    let healed_packs = tell_healed(&reader);
    drop(cluster);
    drop(reader);
    let seconds = began.elapsed().as_secs_f64();
    let target = recovery.as_ref().map(|recovery| recovery.until.to_string());
    let detail = json!({
        "target": into.display().to_string(), "host": host_name(), "user": user_name(), "bytes": done.bytes, "written": done.written,
        "deleted": done.deleted, "seconds": seconds, "recovers_to": done.stop_lsn, "recovery_target": target, "troubles": done.troubles.len(),
    });
    context.note(repository, "restore", Some(snapshot.id()), &detail);
    for trouble in &done.troubles {
        eprintln!("warning: {}", render::safe(trouble));
    }
    let is_whole = done.troubles.is_empty();
    if context.global.json {
        context.json(&json!({
            "type": "restore", "snapshot": snapshot.id().to_hex(), "target": into.display().to_string(), "files": done.files, "bytes": done.bytes,
            "written": done.written, "deleted": done.deleted, "server_major": done.server_major, "recovers_to": done.stop_lsn, "recovery_target": target, "troubles": done.troubles, "healed_packs": healed_packs,
            "seconds": seconds,
        }));
    } else if is_whole {
        line!(
            "restored the cluster of snapshot {} ({} files, {}{}) into {} in {seconds:.1} s: start PostgreSQL {} on it; it recovers {}",
            snapshot.id().short(),
            done.files,
            render::bytes(done.bytes),
            render::delta(arguments.delta, done.written, done.deleted),
            into.display(),
            done.server_major,
            recovery
                .as_ref()
                .map_or_else(|| format!("to {}", done.stop_lsn), |recovery| recovery.until.to_string())
        );
    } else {
        line!(
            "the cluster is NOT whole: {} parts of it were not restored; do not start it",
            done.troubles.len()
        );
    }
    Ok(if is_whole { Outcome::Done } else { Outcome::Code(PARTLY) })
}

/// What restoring a cluster would come to, and what could not be.
pub(super) fn plan_cluster(
    context: &Context<'_>,
    repository: &Repository,
    snapshot: &Snapshot,
    arguments: &Restore,
) -> anyhow::Result<Outcome> {
    let reader = Reader::new(repository);
    let cluster = PhysicalSnapshot::open(&reader, snapshot)?;
    let recovery = recovery::of(context, &arguments.recovery, repository, &cluster)?;
    let tablespaces = arguments.server.tablespace.iter().cloned().collect();
    let spaces = cluster.plan(&tablespaces, recovery.as_ref())?;
    let (tree, end) = (&snapshot.manifest.tree, cluster.end());
    let target = recovery.as_ref().map(|recovery| recovery.until.to_string());
    if context.global.json {
        let spaces: Vec<_> =
            spaces.iter().map(|space| json!({ "name": space.name, "target": space.folder })).collect();
        context.json(&json!({
            "type": "summary", "snapshot": snapshot.id().to_hex(), "entries": tree.entries, "bytes": tree.bytes, "server_major": end.server_major,
            "timeline": end.timeline, "recovers_to": end.lsn, "backup_ended_ms": end.time_ms, "recovery_target": target, "tablespaces": spaces,
        }));
        return Ok(Outcome::Done);
    }
    line!(
        "would restore the cluster of snapshot {} (PostgreSQL {}, {} entries, {})",
        snapshot.id().short(),
        end.server_major,
        tree.entries,
        render::bytes(tree.bytes)
    );
    for space in &spaces {
        line!("tablespace {} into {}", render::safe(&space.name), space.folder.display());
    }
    let backup = format!(
        "{} on timeline {}, where its backup ended at {}",
        end.lsn,
        end.timeline,
        render::rfc3339_ms(end.time_ms)
    );
    match target {
        None => line!("it would recover to {backup}"),
        Some(target) => line!("it would recover {target}, and before that reach {backup}"),
    }
    Ok(Outcome::Done)
}

/// The database that was named, or the only one.
fn chosen(archives: &Archives<'_>, arguments: &Restore) -> anyhow::Result<String> {
    match (&arguments.server.database, archives.databases().as_slice()) {
        (Some(name), _) => Ok(name.clone()),
        (None, [only]) => Ok((*only).to_owned()),
        (None, several) => {
            let several = several.join(", ");
            Err(Usage(format!("which database? the snapshot has {several}: give --database NAME")).into())
        }
    }
}
