//! `restore` of a ledger: in the place of what is there, and by height.

use std::path::Path;
use std::time::Instant;

use serde_json::json;
use strongroom_engines::files::TargetOptions;
use strongroom_engines::ledger::{ENGINE, Facts, InPlace, Leftover, restore_in_place};
use strongroom_format::path::EntryPath;
use strongroom_repository::Repository;
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use super::ls::parse_path;
use super::patterns::Selection;
use super::restored::tell;
use crate::arguments::Restore;
use crate::context::{Context, tell_healed};
use crate::exit::{Outcome, Usage};
use crate::render;

/// The newest snapshot of a ledger that is at that height or below.
pub(super) fn at_height<'r>(
    repository: &'r Repository,
    height: u64,
    source: Option<&str>,
) -> anyhow::Result<&'r Snapshot> {
    let reader = Reader::new(repository);
    let all = repository.snapshots();
    let of_ledgers = || all.iter().filter(|snapshot| snapshot.manifest.engine == ENGINE);
    let wanted =
        of_ledgers().filter(|snapshot| source.is_none_or(|source| snapshot.manifest.source == source));
    let sources: std::collections::BTreeSet<&str> =
        wanted.clone().map(|snapshot| snapshot.manifest.source.as_str()).collect();
    if sources.len() > 1 {
        let all: Vec<&str> = sources.into_iter().collect();
        return Err(Usage(format!("which ledger? give --source: there are {}", all.join(", "))).into());
    }
    let mut lowest = None;
    for snapshot in wanted.rev() {
        let Some(found) = Facts::of(&reader, snapshot)?.height else { continue };
        if found <= height {
            return Ok(snapshot);
        }
        lowest = Some(lowest.map_or(found, |lowest: u64| lowest.min(found)));
    }
    let text = match lowest {
        Some(lowest) => format!("no snapshot is at height {height} or below: the lowest is at {lowest}"),
        None => "there is no snapshot of a ledger with a height".into(),
    };
    Err(Usage(text).into())
}

/// The data directory, in a snapshot.
pub(super) fn root(repository: &Repository, snapshot: &Snapshot) -> anyhow::Result<EntryPath> {
    parse_path(&Facts::of(&Reader::new(repository), snapshot)?.root)
}

/// In the place of what is there.
pub(super) fn in_place(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    (target, options): (&Path, TargetOptions),
    selection: Option<&Selection>,
    arguments: &Restore,
) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let reader = Reader::new(repository);
    let facts = Facts::of(&reader, snapshot)?;
    context.terminal.begin("restoring", selection.is_none().then_some(snapshot.manifest.tree.bytes));
    let in_place = InPlace {
        target,
        filter: selection.map(|selection| selection as &dyn strongroom_engines::files::Filter),
        options,
        workers: context.readers(arguments.jobs),
    };
    let restored = restore_in_place(&reader, snapshot, &in_place, &context.terminal)?;
    context.terminal.finish();
    let healed_packs = tell_healed(&reader);
    drop(reader);
    let seconds = began.elapsed().as_secs_f64();
    let report = &restored.report;
    let leftover = restored.leftover.as_ref().map(|leftover| match leftover {
        Leftover::Unfinished => "old",
        Leftover::Finished { .. } => "new",
    });
    let detail = json!({
        "target": target.display().to_string(), "files": report.files, "directories": report.directories, "bytes": report.bytes,
        "kept": restored.kept, "height": facts.height, "head": facts.head, "earlier_left": leftover,
        "include": arguments.include, "exclude": arguments.exclude, "seconds": seconds,
    });
    let height = facts.height.map_or(String::new(), |height| format!(", height {height}"));
    let kept = if restored.kept > 0 {
        format!("; {} files of the old directory are kept", restored.kept)
    } else {
        String::new()
    };
    let text = format!(
        "restored {} files ({}) of snapshot {}{height} in the place of {}{kept}, in {seconds:.1} s",
        report.files,
        render::bytes(report.bytes),
        snapshot.id().short(),
        target.display()
    );
    tell(context, repository, snapshot, (detail, healed_packs), &text);
    Ok(Outcome::Done)
}
