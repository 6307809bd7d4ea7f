//! `restore`: a snapshot into a folder.

use std::time::Instant;

use serde_json::json;
use strongroom_engines::files::{DirectoryTarget, Filter, Overwrite, RestoreOptions, TargetOptions, restore};
use strongroom_engines::ledger::ENGINE as LEDGER;
use strongroom_engines::postgres::physical::ENGINE;
use strongroom_engines::redis::ENGINE as REDIS;
use strongroom_engines::s3::ENGINE as S3;
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;
use strongroom_repository::thaw::NeededPacks;
use strongroom_repository::tree::EntryCursor;
use strongroom_repository::{Repository, RepositoryError};

use super::ls::{self, is_root, parse_path};
use super::patterns::Selection;
use super::restore_s3::CurrentObjects;
use super::{restore_ledger, restore_postgres, restore_redis, restore_server};
use crate::arguments::{OverwritePolicy, Restore};
use crate::audit::{Reading, place};
use crate::context::{Context, tell_healed};
use crate::exit::{DAMAGE, Outcome, PARTLY, Usage};
use crate::{hooks, render, signals, thawing};

pub(crate) fn run(context: &Context<'_>, arguments: &Restore) -> anyhow::Result<Outcome> {
    if arguments.dry_run {
        return run_alone(context, arguments);
    }
    let asked = match (&arguments.snapshot, arguments.at_height) {
        (Some(snapshot), _) => snapshot.clone(),
        (None, height) => height.map_or(String::new(), |height| format!("at height {height}")),
    };
    let variables = [("STRONGROOM_OPERATION", "restore".to_owned()), ("STRONGROOM_SNAPSHOT", asked)];
    hooks::around(&arguments.hooks, &variables, |_| {}, || run_alone(context, arguments))
}

fn run_alone(context: &Context<'_>, arguments: &Restore) -> anyhow::Result<Outcome> {
    let mut repository = context.open_to_read()?;
    let snapshot = match (&arguments.snapshot, arguments.at_height) {
        (None, Some(height)) => restore_ledger::at_height(&repository, height, arguments.source.as_deref())?,
        (asked, _) => context.select(&repository, asked.as_deref().unwrap_or("latest"))?,
    }
    .clone();
    // Into a server, they are patterns of keys or indices.
    let selection = match arguments.server.to.is_some() {
        true => None,
        false => Selection::new(&arguments.include, &arguments.exclude)?,
    };
    let filter = selection.as_ref().map(|selection| selection as &dyn Filter);
    let is_bucket = snapshot.manifest.engine == S3;
    let current = is_bucket.then_some(CurrentObjects(filter));
    let options = RestoreOptions {
        filter: current.as_ref().map(|current| current as &dyn Filter).or(filter),
        subtree: match &arguments.subtree {
            // The folder itself, and not those above it.
            None if snapshot.manifest.engine == LEDGER => Some(restore_ledger::root(&repository, &snapshot)?),
            asked => asked.as_deref().filter(|path| !is_root(path)).map(parse_path).transpose()?,
        },
        workers: context.readers(arguments.jobs),
    };
    if let Some(subtree) = &options.subtree
        && EntryCursor::new(&Reader::new(&repository), &snapshot.manifest.tree)?.seek(subtree)?.is_none()
    {
        return Err(RepositoryError::NoSuchPath { snapshot: snapshot.id(), path: subtree.to_string() }.into());
    }
    let is_everything = options.filter.is_none() && options.subtree.is_none();
    if arguments.server.drop_existing && arguments.server.to.is_none() && snapshot.manifest.engine != LEDGER {
        let text = "--drop-existing is for restoring into a server (--to), or a ledger into its folder; --delta makes a folder what it was";
        return Err(Usage(text.into()).into());
    }
    if arguments.dry_run && snapshot.manifest.engine == ENGINE && is_everything {
        repository.require_read_access()?;
        return restore_postgres::plan_cluster(context, &repository, &snapshot, arguments);
    }
    if arguments.dry_run {
        return dry_run(context, &repository, &snapshot, &options);
    }
    // Before anything is written: without this right nothing would be.
    repository.require_read_access()?;
    if repository.has_cold_storage() {
        let packs = needed_packs(&repository, &snapshot, &options)?;
        thawing::wait(context, &repository, &packs, &arguments.thaw)?;
    }
    let chosen = Chosen { snapshot: &snapshot, selection: selection.as_ref(), options: &options };
    let reading = Reading { event: "restore", snapshot: Some(snapshot.id()), detail: asked_for(arguments) };
    context.audited(&mut repository, reading, |repository| carry_out(context, repository, &chosen, arguments))
}

/// What is restored.
struct Chosen<'c> {
    snapshot: &'c Snapshot,
    selection: Option<&'c Selection>,
    options: &'c RestoreOptions<'c>,
}

/// For the note of its begin: what of it, and where to.
fn asked_for(arguments: &Restore) -> serde_json::Value {
    let server = &arguments.server;
    let mut detail = json!({});
    if let Some(target) = &arguments.target {
        detail["target"] = target.display().to_string().into();
    }
    if let Some(to) = &server.to {
        detail["to"] = place(to).into();
    }
    if let Some(archive) = &server.to_archive {
        detail["archive"] = archive.display().to_string().into();
    }
    if let Some(subtree) = &arguments.subtree {
        detail["subtree"] = subtree.as_str().into();
    }
    for (name, patterns) in [
        ("include", &arguments.include),
        ("exclude", &arguments.exclude),
        ("tables", &server.table),
        ("schemas", &server.schema),
    ] {
        if !patterns.is_empty() {
            detail[name] = json!(patterns);
        }
    }
    detail
}

fn carry_out(
    context: &Context<'_>,
    repository: &mut Repository,
    chosen: &Chosen<'_>,
    arguments: &Restore,
) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let Chosen { snapshot, selection, options } = *chosen;
    let is_redis = snapshot.manifest.engine == REDIS;
    let is_bucket = snapshot.manifest.engine == S3;
    let is_everything = options.filter.is_none() && options.subtree.is_none();
    if arguments.server.to.is_some() {
        signals::leaves(
            "what was restored up to then, if anything, is still in the server: restore again with --drop-existing",
        );
    } else if arguments.target.is_some() {
        signals::leaves("what was written up to then, if anything, is still there: restore again");
    }
    if let Some(to) = &arguments.server.to {
        return restore_server::run(context, repository, snapshot, to, arguments);
    }
    if is_redis && (is_everything || arguments.server.to_archive.is_some()) {
        return redis(context, repository, snapshot, arguments);
    }
    refuse(snapshot, &[("--aof", arguments.server.aof)])?;
    if let Some(file) = &arguments.server.to_archive {
        return restore_postgres::to_archive(context, repository, snapshot, file, arguments);
    }
    let into = arguments
        .target
        .as_deref()
        .ok_or_else(|| Usage("restore into which folder? give --target DIR".into()))?;
    if arguments.delta && into.canonicalize().is_ok_and(|into| into.parent().is_none()) {
        return Err(Usage("--delta would delete all that this host has: give another --target".into()).into());
    }
    let overwrite = match arguments.overwrite {
        _ if arguments.delta => Overwrite::Delta,
        OverwritePolicy::Never => Overwrite::Never,
        OverwritePolicy::IfChanged => Overwrite::IfChanged,
        OverwritePolicy::IfNewer => Overwrite::IfNewer,
        OverwritePolicy::Always => Overwrite::Always,
    };
    let target_options = TargetOptions {
        overwrite,
        numeric_ids: arguments.numeric_ids,
        // Objects have none.
        owner: !is_bucket,
        sparse: arguments.sparse,
    };
    if arguments.server.drop_existing {
        let target = (into, target_options);
        return restore_ledger::in_place(context, repository, snapshot, target, selection, arguments);
    }
    if snapshot.manifest.engine == ENGINE && is_everything {
        if ![Overwrite::Never, Overwrite::Delta].contains(&overwrite) {
            return Err(Usage(
                "a cluster is restored into an empty folder, or over another state of it with --delta".into(),
            )
            .into());
        }
        return restore_postgres::to_data_directory(
            context,
            repository,
            snapshot,
            into,
            target_options,
            arguments,
        );
    }
    let reader = Reader::new(repository);
    let target = DirectoryTarget::open(into, target_options)?;
    context.terminal.begin("restoring", is_everything.then_some(snapshot.manifest.tree.bytes));
    let report = restore(&reader, snapshot, &target, options, &context.terminal)?;
    context.terminal.finish();
    let healed_packs = tell_healed(&reader);
    drop(reader);
    let troubles = report.troubles.len() as u64 + report.more_troubles;
    let is_damaged = report.troubles.iter().any(|trouble| trouble.is_damage);
    let seconds = began.elapsed().as_secs_f64();
    for trouble in &report.troubles {
        let path = trouble.path.as_ref().map(|path| format!("/{path}"));
        if context.global.json {
            context.json(&json!({ "type": "trouble", "path": trouble.path.as_ref().map(render::path_json), "message": trouble.message, "damage": trouble.is_damage }));
        }
        eprintln!("error: {}{}", path.map_or(String::new(), |path| format!("{path}: ")), trouble.message);
    }
    let detail = json!({
        "target": into.display().to_string(), "host": crate::context::host_name(), "user": crate::context::user_name(), "files": report.files,
        "bytes": report.bytes, "written": report.written, "deleted": report.deleted, "troubles": troubles, "include": arguments.include, "exclude": arguments.exclude, "subtree": arguments.subtree,
    });
    context.note(repository, "restore", Some(snapshot.id()), &detail);
    if context.global.json {
        context.json(&json!({
            "type": "restore", "snapshot": snapshot.id().to_hex(), "target": into.display().to_string(), "files": report.files,
            "directories": report.directories, "others": report.others, "skipped": report.skipped, "bytes": report.bytes, "written": report.written, "deleted": report.deleted, "troubles": troubles, "healed_packs": healed_packs, "seconds": seconds,
        }));
    } else {
        crate::output::line!(
            "restored {} ({}) of snapshot {} into {}",
            render::files(report.files),
            render::bytes(report.bytes),
            snapshot.id().short(),
            into.display()
        );
        let skipped = if report.skipped > 0 {
            format!(", {} left as they were", report.skipped)
        } else {
            String::new()
        };
        let delta = render::delta(arguments.delta, report.written, report.deleted);
        context.terminal.say(&format!(
            "{}, {} links and others{skipped}{delta}, in {seconds:.1} s",
            render::count(report.directories, "folder"),
            report.others
        ));
    }
    if report.files + report.directories + report.others + report.skipped == 0 && options.filter.is_some() {
        eprintln!("warning: nothing in the snapshot matches");
        return Ok(Outcome::Code(PARTLY));
    }
    if is_damaged {
        eprintln!(
            "error: the snapshot is damaged: {} not restored, all else was and is verified; `strongroom check --read-data` tells more",
            if troubles == 1 { "1 part was".to_owned() } else { format!("{troubles} parts were") }
        );
        return Ok(Outcome::Code(DAMAGE));
    }
    Ok(if troubles > 0 { Outcome::Code(PARTLY) } else { Outcome::Done })
}

/// As what servers start from.
fn redis(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    arguments: &Restore,
) -> anyhow::Result<Outcome> {
    let server = &arguments.server;
    let of_postgres = [
        ("--table", !server.table.is_empty()),
        ("--schema", !server.schema.is_empty()),
        ("--exclude-table", !server.exclude_table.is_empty()),
        ("--create", server.create),
        ("--single-transaction", server.single_transaction),
        ("--schema-only", server.schema_only),
        ("--data-only", server.data_only),
        ("--no-owner", server.no_owner),
        ("--no-privileges", server.no_privileges),
        ("--tablespace", !server.tablespace.is_empty()),
        ("--delta", arguments.delta),
        ("--overwrite", arguments.overwrite != OverwritePolicy::Never),
    ];
    refuse(snapshot, &of_postgres)?;
    match (&server.to_archive, &arguments.target) {
        (Some(file), _) => restore_redis::to_archive(context, repository, snapshot, file, arguments),
        (None, Some(folder)) => restore_redis::to_files(context, repository, snapshot, folder, arguments),
        _ => Err(Usage("restore into which folder? give --target DIR".into()).into()),
    }
}

fn needed_packs(
    repository: &Repository,
    snapshot: &Snapshot,
    options: &RestoreOptions<'_>,
) -> anyhow::Result<NeededPacks> {
    let reader = Reader::new(repository);
    let mut cursor = EntryCursor::new(&reader, &snapshot.manifest.tree)?;
    let mut packs = NeededPacks::default();
    while let Some(entry) = cursor.next_entry()? {
        let is_left_out = options.subtree.as_ref().is_some_and(|subtree| !entry.path.is_within(subtree))
            || options.filter.is_some_and(|filter| !filter.wants(&entry));
        if let Some(content) = entry.content().filter(|_| !is_left_out) {
            // What cannot be read is told by the restore itself.
            let _ = packs.add(&reader, content);
        }
    }
    Ok(packs)
}

fn dry_run(
    context: &Context<'_>,
    repository: &Repository,
    snapshot: &Snapshot,
    options: &RestoreOptions<'_>,
) -> anyhow::Result<Outcome> {
    let reader = Reader::new(repository);
    let mut cursor = EntryCursor::new(&reader, &snapshot.manifest.tree)?;
    let (mut entries, mut bytes) = (0_u64, 0_u64);
    while let Some(entry) = cursor.next_entry()? {
        if options.subtree.as_ref().is_some_and(|subtree| !entry.path.is_within(subtree))
            || options.filter.is_some_and(|filter| !filter.wants(&entry))
        {
            continue;
        }
        entries += 1;
        bytes += entry.bytes();
        if context.global.json {
            context.json(&ls::to_json(&entry));
        } else {
            crate::output::line!("{:>12} /{}", entry.bytes(), entry.path);
        }
    }
    if context.global.json {
        context.json(&json!({ "type": "summary", "snapshot": snapshot.id().to_hex(), "entries": entries, "bytes": bytes }));
    } else {
        context.terminal.say(&format!("would restore {entries} entries, {}", render::bytes(bytes)));
    }
    if entries == 0 && options.filter.is_some() {
        eprintln!("warning: nothing in the snapshot matches");
        return Ok(Outcome::Code(PARTLY));
    }
    Ok(Outcome::Done)
}

/// What was given and is not for snapshots of this kind.
pub(super) fn refuse(snapshot: &Snapshot, given: &[(&str, bool)]) -> Result<(), Usage> {
    let engine = &snapshot.manifest.engine;
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => {
            Err(Usage(format!("{flag} is not for restoring a snapshot of {engine} into a server")))
        }
        None => Ok(()),
    }
}
