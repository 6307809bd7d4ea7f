//! `repair snapshots`: marks those that damage touches, and makes whole ones out of what can be read.

use serde_json::json;
use strongroom_format::SnapshotId;
use strongroom_repository::Repository;
use strongroom_repository::check::CheckOptions;
use strongroom_repository::copy::CopyOptions;
use strongroom_repository::repair::DAMAGED_TAG;

use crate::commands::copy::hold_as;
use crate::context::{Context, TOOL, host_name};
use crate::exit::{DAMAGE, Outcome};
use crate::output::line;
use crate::render;

/// The tag of a snapshot that was made out of what could be read of a damaged one.
const REPAIRED_TAG: &str = "repaired";

/// What to do.
#[derive(Clone, Copy)]
pub(super) struct How {
    pub(super) read_data: bool,
    pub(super) leave_out: bool,
    pub(super) forget: bool,
}

pub(super) fn run(context: &Context<'_>, how: How, dry_run: bool) -> anyhow::Result<Outcome> {
    let mut repository =
        if how.read_data || how.leave_out { context.open_to_read()? } else { context.open()? };
    let options = CheckOptions {
        read_data: how.read_data,
        workers: context.pack_readers(None),
        ..CheckOptions::default()
    };
    let report = repository.mark_damaged(&options, dry_run, &context.terminal)?;
    context.terminal.finish();
    for (id, findings) in &report.damaged {
        let source = source_of(&repository, *id);
        let named = findings.iter().filter_map(|at| report.check.findings.get(*at));
        let paths: Vec<String> = named
            .clone()
            .flat_map(|finding| &finding.paths)
            .filter(|(snapshot, _)| snapshot == id)
            .map(|(_, path)| path.to_string())
            .collect();
        if context.global.json {
            context.json(&json!({
                "type": "damaged-snapshot", "snapshot": id.to_hex(), "source": source, "paths": paths, "dry_run": dry_run,
                "newly_marked": report.marked.contains(id),
            }));
            continue;
        }
        line!("{} of {} is damaged", id.short(), render::safe(&source));
        for path in &paths {
            line!("    {}", render::safe(path));
        }
        let more: u64 = named.map(|finding| finding.more_paths).sum();
        if more > 0 {
            line!("    and {more} more");
        }
    }
    for id in &report.whole_again {
        if context.global.json {
            context.json(&json!({ "type": "whole-snapshot", "snapshot": id.to_hex(), "dry_run": dry_run }));
        } else {
            line!("{} is whole again", id.short());
        }
    }
    if how.leave_out && !dry_run {
        for id in report.damaged.keys() {
            replace(context, &mut repository, *id, how.forget)?;
        }
    }
    if !context.global.json {
        let would = if dry_run { "would be" } else { "are" };
        line!(
            "{} of {} snapshots are damaged; {} {would} newly tagged `{DAMAGED_TAG}`",
            report.damaged.len(),
            repository.snapshots().len(),
            report.marked.len()
        );
    }
    let is_there = |id| repository.snapshots().iter().any(|snapshot| snapshot.id() == id);
    let is_left = report.damaged.keys().any(|id| is_there(*id));
    Ok(if is_left { Outcome::Code(DAMAGE) } else { Outcome::Done })
}

fn source_of(repository: &Repository, id: SnapshotId) -> String {
    let found = repository.snapshots().iter().find(|snapshot| snapshot.id() == id);
    found.map(|snapshot| snapshot.manifest.source.clone()).unwrap_or_default()
}

/// Makes a snapshot out of what can be read of a damaged one.
fn replace(
    context: &Context<'_>,
    repository: &mut Repository,
    id: SnapshotId,
    forget: bool,
) -> anyhow::Result<()> {
    let from = context.open_to_read()?;
    let Some(snapshot) = from.snapshots().iter().find(|snapshot| snapshot.id() == id) else { return Ok(()) };
    let kept = snapshot.state.tags.iter().filter(|tag| *tag != DAMAGED_TAG && *tag != REPAIRED_TAG);
    let options = CopyOptions {
        tool: TOOL.to_owned(),
        compression_level: 3,
        workers: context.workers(None),
        uploads: context.uploads(),
        tags: Some(kept.cloned().chain([REPAIRED_TAG.to_owned()]).collect()),
        leave_out_damaged: true,
    };
    let copy = repository.copy_from(&from, snapshot, &options, &context.terminal)?;
    context.terminal.finish();
    let left_out: Vec<String> = copy.left_out.iter().map(ToString::to_string).collect();
    let detail = json!({ "host": host_name(), "damaged": id.to_hex(), "left_out": left_out });
    hold_as(repository, copy.backup.id, snapshot)?;
    context.note(repository, "repair-snapshot", Some(copy.backup.id), &detail);
    let is_held = !snapshot.state.holds.is_empty();
    let forget = forget && !is_held;
    if forget {
        repository
            .forget(&[id], &format!("damaged; what could be read of it is {}", copy.backup.id.to_hex()))?;
    }
    if context.global.json {
        context.json(&json!({
            "type": "repaired-snapshot", "snapshot": id.to_hex(), "is": copy.backup.id.to_hex(), "left_out": left_out,
            "forgotten": forget,
        }));
        return Ok(());
    }
    line!(
        "what can be read of {} of {} is {}: {} entries are left out{}",
        id.short(),
        render::safe(&snapshot.manifest.source),
        copy.backup.id.short(),
        left_out.len(),
        match (forget, is_held) {
            (true, _) => ", and the damaged one is forgotten",
            (_, true) => "; both are under hold",
            _ => "",
        }
    );
    Ok(())
}
