//! `copy`, `sync`: snapshots of another repository, into this one.

use serde_json::json;
use strongroom_repository::copy::CopyOptions;
use strongroom_repository::state::Snapshot;
use strongroom_repository::{Repository, RepositoryError};

use crate::arguments::{Copy, FromArguments, Global, Sync};
use crate::context::{Context, TOOL, host_name};
use crate::exit::{Outcome, Usage};
use crate::output::line;
use crate::progress::Terminal;
use crate::render;

pub(crate) fn run(context: &Context<'_>, arguments: &Copy) -> anyhow::Result<Outcome> {
    let global = other(context, &arguments.from);
    let there = Context { terminal: Terminal::new(&global), global: &global };
    let from = there.open_to_read()?;
    let mut chosen = Vec::new();
    for text in &arguments.snapshots {
        let snapshot = there.select(&from, text)?;
        if !chosen.contains(&snapshot) {
            chosen.push(snapshot);
        }
    }
    if arguments.snapshots.is_empty() {
        chosen = of_sources(&from, &arguments.source)?;
    }
    let options = options(context, arguments.compression, arguments.jobs);
    let mut into = context.open()?;
    copy(context, &from, &mut into, &chosen, &options, arguments.dry_run)?;
    Ok(Outcome::Done)
}

pub(crate) fn sync(context: &Context<'_>, arguments: &Sync) -> anyhow::Result<Outcome> {
    let global = other(context, &arguments.from);
    let there = Context { terminal: Terminal::new(&global), global: &global };
    let from = there.open_to_read()?;
    let chosen = of_sources(&from, &arguments.source)?;
    let options = options(context, arguments.compression, arguments.jobs);
    let mut into = context.open()?;
    copy(context, &from, &mut into, &chosen, &options, arguments.dry_run)?;
    if arguments.forget {
        forget(context, &from, &mut into, &arguments.source, arguments.dry_run)?;
    }
    Ok(Outcome::Done)
}

/// The arguments that open the other repository.
fn other(context: &Context<'_>, from: &FromArguments) -> Global {
    let mut global = context.global.clone();
    global.repo = Some(from.from_repo.clone());
    global.fingerprint.clone_from(&from.from_fingerprint);
    if from.from_key_file.is_some() || from.from_passphrase_file.is_some() {
        global.key_file.clone_from(&from.from_key_file);
        global.passphrase_file.clone_from(&from.from_passphrase_file);
    }
    global.store.hot_store = None;
    if from.from_region.is_some() {
        global.store.region.clone_from(&from.from_region);
    }
    if from.from_endpoint.is_some() {
        global.store.endpoint.clone_from(&from.from_endpoint);
    }
    global.without_empty()
}

fn of_sources<'r>(from: &'r Repository, sources: &[String]) -> anyhow::Result<Vec<&'r Snapshot>> {
    for source in sources {
        if !from.snapshots().iter().any(|snapshot| snapshot.manifest.source == *source) {
            return Err(Usage(format!("the other repository has no snapshot of source `{source}`")).into());
        }
    }
    let is_meant = |snapshot: &&Snapshot| sources.is_empty() || sources.contains(&snapshot.manifest.source);
    Ok(from.snapshots().iter().filter(is_meant).collect())
}

fn options(context: &Context<'_>, compression_level: i32, jobs: Option<usize>) -> CopyOptions {
    CopyOptions {
        tool: TOOL.to_owned(),
        compression_level,
        workers: context.workers(jobs),
        uploads: context.uploads(),
        tags: None,
        leave_out_damaged: false,
    }
}

/// Copies what is not there yet, the oldest first.
fn copy(
    context: &Context<'_>,
    from: &Repository,
    into: &mut Repository,
    snapshots: &[&Snapshot],
    options: &CopyOptions,
    dry_run: bool,
) -> anyhow::Result<()> {
    let mut copied = 0;
    for snapshot in snapshots {
        let known = into.copy_of(&from.origin_of(snapshot)?).map(Snapshot::id);
        let (id, source) = (snapshot.id(), &snapshot.manifest.source);
        if let Some(known) = known {
            if context.global.json {
                context.json(&json!({ "type": "copy", "snapshot": id.to_hex(), "is": known.to_hex(), "copied": false }));
            }
            continue;
        }
        copied += 1;
        if dry_run {
            say(
                context,
                &id.short(),
                source,
                "would be copied",
                &json!({ "type": "copy", "snapshot": id.to_hex(), "dry_run": true }),
            );
            continue;
        }
        let report = match into.copy_from(from, snapshot, options, &context.terminal) {
            Err(RepositoryError::AlreadyCopied { .. }) => continue,
            copied => copied?.backup,
        };
        context.terminal.finish();
        let detail = json!({
            "host": host_name(), "from": from.location(), "snapshot": id.to_hex(),
        });
        context.note(into, "copy", Some(report.id), &detail);
        let totals = &report.totals;
        let what = format!(
            "copied as {}: {}, {} stored",
            report.id.short(),
            render::bytes(totals.bytes),
            render::bytes(totals.stored_bytes)
        );
        let object = json!({
            "type": "copy", "snapshot": id.to_hex(), "is": report.id.to_hex(), "copied": true, "bytes": totals.bytes,
            "new_bytes": totals.new_bytes, "stored_bytes": totals.stored_bytes,
        });
        say(context, &id.short(), source, &what, &object);
    }
    if !context.global.json {
        let would = if dry_run { "would copy" } else { "copied" };
        line!("{would} {copied} of {} snapshots; the others are here already", snapshots.len());
    }
    Ok(())
}

/// Forgets copies of what the other repository has no longer.
fn forget(
    context: &Context<'_>,
    from: &Repository,
    into: &mut Repository,
    sources: &[String],
    dry_run: bool,
) -> anyhow::Result<()> {
    let there = from.config().repository;
    let mut gone = Vec::new();
    for snapshot in into.snapshots() {
        let is_meant = sources.is_empty() || sources.contains(&snapshot.manifest.source);
        let Some(origin) = snapshot.manifest.origin.filter(|origin| is_meant && origin.repository == there)
        else {
            continue;
        };
        if from.copy_of(&origin).is_none() {
            gone.push((snapshot.id(), snapshot.manifest.source.clone()));
        }
    }
    if !gone.is_empty() && !dry_run {
        let ids: Vec<_> = gone.iter().map(|(id, _)| *id).collect();
        into.forget(&ids, "forgotten in the repository it was copied from")?;
    }
    let what = if dry_run { "would be forgotten" } else { "forgotten" };
    for (id, source) in gone {
        let object =
            json!({ "type": "forget", "snapshot": id.to_hex(), "source": source, "dry_run": dry_run });
        say(context, &id.short(), &source, what, &object);
    }
    Ok(())
}

fn say(context: &Context<'_>, id: &str, source: &str, what: &str, object: &serde_json::Value) {
    if context.global.json {
        context.json(object);
    } else {
        line!("{id} of {}: {what}", render::safe(source));
    }
}
