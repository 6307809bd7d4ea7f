//! `mount`: snapshots as a folder.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use strongroom_ops::mount::mount;
use strongroom_ops::words::with_causes;
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;
use strongroom_repository::{Repository, RepositoryError};

use crate::arguments::Mount;
use crate::audit::Reading;
use crate::context::Context;
use crate::exit::{Outcome, Usage};
use crate::signals;

/// Whether it was unmounted, or a signal came, is looked at this often.
const TICK: Duration = Duration::from_millis(100);

pub(crate) fn run(context: &Context<'_>, arguments: &Mount) -> anyhow::Result<Outcome> {
    let folder = &arguments.folder;
    if !is_empty_folder(folder)? {
        return Err(Usage(format!("{} is no empty folder", folder.display())).into());
    }
    let mut repository = context.open_to_read()?;
    repository.require_read_access()?;
    let snapshots = chosen(context, &repository, arguments)?;
    let shown = snapshots.len();
    let detail = json!({ "to": folder.display().to_string(), "snapshots": shown });
    let reading = Reading { event: "mount", snapshot: None, detail: detail.clone() };
    context.audited(&mut repository, reading, |repository| {
        context.note(repository, "mount", None, &detail);
        Ok(())
    })?;
    // What the kernel asks may come until the process ends.
    let reader: &'static Reader<'static> = Box::leak(Box::new(Reader::new(Box::leak(Box::new(repository)))));
    let global = context.global.clone();
    let say = move |error: &RepositoryError| {
        let text = with_causes(error);
        Context::of(&global).terminal.warn(&format!("a read failed with an I/O error: {text}"));
    };
    let mounted =
        mount(reader, snapshots, folder, arguments.allow_other, Box::new(say)).with_context(|| {
            format!(
                "{} cannot be mounted (FUSE needs /dev/fuse, and for other users than root fusermount3)",
                folder.display()
            )
        })?;
    if context.global.json {
        context
            .json(&json!({ "type": "mounted", "folder": folder.display().to_string(), "snapshots": shown }));
    } else {
        crate::output::line!("{shown} snapshots are in {}: ids/, sources/, latest", folder.display());
        context.terminal.say(&format!("interrupt to unmount, or `umount {}`", folder.display()));
    }
    while !mounted.has_ended() && !signals::is_interrupted() {
        std::thread::sleep(TICK);
    }
    mounted
        .unmount()
        .with_context(|| format!("{} is still mounted: leave it, then `umount {0}`", folder.display()))?;
    // To be asked to stop is how it ends.
    signals::settle();
    Ok(Outcome::Done)
}

fn is_empty_folder(folder: &Path) -> anyhow::Result<bool> {
    let fail = || {
        format!(
            "{} cannot be read (if an earlier mount ended without unmounting it: `umount {0}`)",
            folder.display()
        )
    };
    if !std::fs::metadata(folder).with_context(fail)?.is_dir() {
        return Ok(false);
    }
    Ok(std::fs::read_dir(folder).with_context(fail)?.next().is_none())
}

/// The snapshots that were asked for, or all.
fn chosen(
    context: &Context<'_>,
    repository: &Repository,
    arguments: &Mount,
) -> anyhow::Result<Vec<Snapshot>> {
    let mut chosen: Vec<Snapshot> = Vec::new();
    if arguments.snapshots.is_empty() {
        chosen.extend_from_slice(repository.snapshots());
    }
    for text in &arguments.snapshots {
        let snapshot = context.select(repository, text)?;
        if chosen.iter().all(|other| other.id() != snapshot.id()) {
            chosen.push(snapshot.clone());
        }
    }
    let sources = &arguments.sources;
    for source in sources {
        if chosen.iter().all(|snapshot| snapshot.manifest.source != *source) {
            return Err(Usage(format!("there is no snapshot of `{source}`")).into());
        }
    }
    chosen.retain(|snapshot| sources.is_empty() || sources.contains(&snapshot.manifest.source));
    chosen.sort_by_key(|snapshot| snapshot.manifest.started_ns);
    Ok(chosen)
}
