//! `copy`, `sync`: snapshots of another repository, into this one, or of this one into another.

use serde_json::json;
use strongroom_format::SnapshotId;
use strongroom_repository::copy::CopyOptions;
use strongroom_repository::state::Snapshot;
use strongroom_repository::{Repository, RepositoryError};

use super::copy_logs::{self, Logs};
use crate::arguments::{Copy, CopyArguments, CopyLogs, Global, Other, Sync};
use crate::audit::{Reading, place};
use crate::context::{Context, TOOL};
use crate::exit::{Outcome, Usage};
use crate::output::line;
use crate::render;

pub(crate) fn run(context: &Context<'_>, arguments: &Copy) -> anyhow::Result<Outcome> {
    let how = &arguments.how;
    let global = global_of(context, how.from.other().ok_or_else(no_other)?);
    let there = Context::of(&global);
    let mut from = there.open_to_read()?;
    read_out(context, &there, &mut from, how, |from| copy_chosen(context, &there, from, arguments))
}

fn copy_chosen(
    context: &Context<'_>,
    there: &Context<'_>,
    from: &Repository,
    arguments: &Copy,
) -> anyhow::Result<Outcome> {
    let how = &arguments.how;
    let mut chosen = Vec::new();
    for text in &arguments.snapshots {
        let snapshot = there.select(from, text)?;
        if !chosen.contains(&snapshot) {
            chosen.push(snapshot);
        }
    }
    if arguments.snapshots.is_empty() {
        chosen = of_sources(from, &how.source)?;
    }
    let mut into = context.open()?;
    copy(context, from, &mut into, &chosen, how)?;
    let default = if arguments.snapshots.is_empty() { CopyLogs::All } else { CopyLogs::Needed };
    let logs = Logs::chosen(from, &chosen, how, default)?;
    copy_logs::copy(context, from, &mut into, &logs, how.dry_run)
}

pub(crate) fn sync(context: &Context<'_>, arguments: &Sync) -> anyhow::Result<Outcome> {
    let how = &arguments.how;
    let other = how.from.other().or_else(|| arguments.to.other()).ok_or_else(no_other)?;
    let global = global_of(context, other);
    let there = Context::of(&global);
    let (source, target) = match arguments.to.to_repo {
        Some(_) => (context, &there),
        None => (&there, context),
    };
    let mut from = source.open_to_read()?;
    read_out(target, source, &mut from, how, |from| copy_all(target, from, arguments))
}

/// The command line asks for one before.
fn no_other() -> anyhow::Error {
    Usage("which other repository? give --from-repo".into()).into()
}

fn copy_all(context: &Context<'_>, from: &Repository, arguments: &Sync) -> anyhow::Result<Outcome> {
    let how = &arguments.how;
    let chosen = of_sources(from, &how.source)?;
    let mut into = context.open()?;
    copy(context, from, &mut into, &chosen, how)?;
    let logs = Logs::chosen(from, &chosen, how, CopyLogs::All)?;
    let outcome = copy_logs::copy(context, from, &mut into, &logs, how.dry_run)?;
    if arguments.forget {
        forget(context, from, &mut into, &how.source, how.dry_run)?;
        copy_logs::expire(context, from, &mut into, &logs, how.dry_run)?;
    }
    Ok(outcome)
}

/// What is copied away is read: the repository that it is read from is told so.
fn read_out(
    context: &Context<'_>,
    there: &Context<'_>,
    from: &mut Repository,
    how: &CopyArguments,
    work: impl FnOnce(&Repository) -> anyhow::Result<Outcome>,
) -> anyhow::Result<Outcome> {
    if how.dry_run {
        return work(from);
    }
    let to = context.global.repo.as_deref().map(place_of).unwrap_or_default();
    let detail = json!({ "to": to, "sources": how.source });
    let reading = Reading { event: "copy-out", snapshot: None, detail: detail.clone() };
    there.audited(from, reading, |from| {
        let outcome = work(from)?;
        there.note(from, "copy-out", None, &detail);
        Ok(outcome)
    })
}

fn place_of(url: &str) -> String {
    if url.contains("://") { place(url) } else { url.to_owned() }
}

/// Puts a copy under the holds of what it was copied from. Gives the names of those that it was not under.
///
/// # Errors
/// As [`Repository::hold`].
pub(crate) fn hold_as(
    into: &mut Repository,
    copy: SnapshotId,
    snapshot: &Snapshot,
) -> Result<Vec<String>, RepositoryError> {
    let mut put_on = Vec::new();
    for hold in &snapshot.state.holds {
        let reason = format!("the snapshot that this is a copy of, {}, is under it", snapshot.id().to_hex());
        if !into.hold(&[copy], &hold.name, &reason)?.is_empty() {
            put_on.push(hold.name.clone());
        }
    }
    Ok(put_on)
}

/// The arguments that open the other repository.
fn global_of(context: &Context<'_>, other: Other<'_>) -> Global {
    let mut global = context.global.clone();
    global.repo = Some(other.repo.to_owned());
    global.fingerprint = other.fingerprint.cloned();
    if other.key_file.is_some() || other.passphrase_file.is_some() {
        global.key_file = other.key_file.cloned();
        global.passphrase_file = other.passphrase_file.cloned();
    }
    global.store.hot_store = None;
    if other.region.is_some() {
        global.store.region = other.region.cloned();
    }
    if other.endpoint.is_some() {
        global.store.endpoint = other.endpoint.cloned();
    }
    global.without_empty()
}

fn of_sources<'r>(from: &'r Repository, sources: &[String]) -> anyhow::Result<Vec<&'r Snapshot>> {
    for source in sources {
        let has_snapshot = || from.snapshots().iter().any(|snapshot| snapshot.manifest.source == *source);
        if !has_snapshot() && from.log_archives(Some(source))?.archives.is_empty() {
            return Err(Usage(format!("the other repository has no snapshot of source `{source}`")).into());
        }
    }
    let is_meant = |snapshot: &&Snapshot| sources.is_empty() || sources.contains(&snapshot.manifest.source);
    Ok(from.snapshots().iter().filter(is_meant).collect())
}

fn options(context: &Context<'_>, how: &CopyArguments) -> CopyOptions {
    CopyOptions {
        tool: TOOL.to_owned(),
        compression_level: how.compression,
        workers: context.workers(how.jobs),
        uploads: context.uploads(),
        tags: None,
        leave_out_damaged: false,
    }
}

/// Copies what is not there yet, the oldest first; holds too, also those that were put on later.
fn copy(
    context: &Context<'_>,
    from: &Repository,
    into: &mut Repository,
    snapshots: &[&Snapshot],
    how: &CopyArguments,
) -> anyhow::Result<()> {
    let (options, dry_run) = (options(context, how), how.dry_run);
    let mut copied = 0;
    for snapshot in snapshots {
        let known = into.copy_of(&from.origin_of(snapshot)?).map(Snapshot::id);
        let (id, source) = (snapshot.id(), &snapshot.manifest.source);
        if let Some(known) = known {
            if context.global.json {
                context.json(&json!({ "type": "copy", "snapshot": id.to_hex(), "is": known.to_hex(), "copied": false }));
            }
            let put_on = if dry_run { Vec::new() } else { hold_as(into, known, snapshot)? };
            if !put_on.is_empty() {
                context.terminal.say(&format!("{} is under hold now: {}", known.short(), put_on.join(", ")));
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
        let report = match into.copy_from(from, snapshot, &options, &context.terminal) {
            Err(RepositoryError::AlreadyCopied { .. }) => continue,
            copied => copied?.backup,
        };
        context.terminal.finish();
        let detail = json!({
            "from": from.location(), "snapshot": id.to_hex(),
        });
        hold_as(into, report.id, snapshot)?;
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
    let (mut gone, mut held) = (Vec::new(), Vec::new());
    for snapshot in into.snapshots() {
        let is_meant = sources.is_empty() || sources.contains(&snapshot.manifest.source);
        let Some(origin) = snapshot.manifest.origin.filter(|origin| is_meant && origin.repository == there)
        else {
            continue;
        };
        if from.copy_of(&origin).is_none() {
            let list = if snapshot.state.holds.is_empty() { &mut gone } else { &mut held };
            list.push((snapshot.id(), snapshot.manifest.source.clone()));
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
    for (id, source) in held {
        let object = json!({ "type": "held", "snapshot": id.to_hex(), "source": source, "dry_run": dry_run });
        say(context, &id.short(), &source, "stays: it is under hold", &object);
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
