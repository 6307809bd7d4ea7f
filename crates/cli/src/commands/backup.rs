//! `backup files | stdin | command | postgres | opensearch | redis`.

use std::cell::RefCell;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Instant;

use anyhow::Context as _;
use serde_json::json;
use strongroom_engines::files::{Excludes, Files, WalkOptions, XattrScope};
use strongroom_engines::opensearch::{self, Opensearch, Selection};
use strongroom_engines::postgres::physical::PhysicalPostgres;
use strongroom_engines::postgres::{Limits, Postgres, Programs, Scope, Target};
use strongroom_engines::redis::{self, AofFiles, Redis};
use strongroom_engines::{Command, CommandStream, Engine, Stdin};
use strongroom_format::manifest::Totals;
use strongroom_repository::backup::group::{PartOf, Worked};
use strongroom_repository::backup::{BackupOptions, BackupReport};
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::share::Share;

use crate::arguments::{
    BackupCommand, BackupCommon, BackupFiles, BackupOpensearch, BackupPostgres, BackupRedis, BackupStdin,
    GroupArguments,
};
use crate::context::{Context, TOOL, host_name, user_name};
use crate::exit::{Outcome, PARTLY, Usage};
use crate::{hooks, render};

pub(crate) fn files(context: &Context<'_>, arguments: &BackupFiles) -> anyhow::Result<Outcome> {
    let options = WalkOptions {
        excludes: Excludes::new(&arguments.exclude, &arguments.exclude_file)?,
        one_file_system: arguments.one_file_system,
        exclude_caches: arguments.exclude_caches,
        exclude_if_present: arguments.exclude_if_present.clone(),
        xattrs: XattrScope::All,
    };
    let mut absolute = Vec::new();
    for path in &arguments.paths {
        absolute.push(std::path::absolute(path)?);
    }
    let source = absolute.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",");
    let asked = absolute.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect();
    let engine = Files { roots: arguments.paths.clone(), options };
    run(context, &engine, &arguments.common, &source, asked, arguments.force)
}

pub(crate) fn stdin(context: &Context<'_>, arguments: &BackupStdin) -> anyhow::Result<Outcome> {
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return Err(Usage("standard input is a terminal: pipe a dump into this command".into()).into());
    }
    let engine = Stdin::of_process(arguments.name.clone(), arguments.allow_empty)
        .context("cannot read standard input")?;
    run(
        context,
        &engine,
        &arguments.common,
        &arguments.name,
        vec![arguments.name.clone().into_bytes()],
        false,
    )
}

/// Engines whose `--jobs` are connections.
const SERVERS: [&str; 3] = ["postgres", "clickhouse", opensearch::ENGINE];
/// Connections to one database: more than that is a typing error.
pub(super) const MOST_JOBS: usize = 64;

pub(crate) fn postgres(context: &Context<'_>, arguments: &BackupPostgres) -> anyhow::Result<Outcome> {
    let target = Target::parse(arguments.dbname.as_deref().unwrap_or_default())?;
    let programs = Programs { folder: arguments.pg_bin.clone() };
    if arguments.physical {
        let engine =
            PhysicalPostgres { target, programs, force: arguments.force, is_remote: arguments.remote };
        return run(context, &engine, &arguments.common, engine.name(), Vec::new(), arguments.force);
    }
    let limits = Limits {
        schemas: arguments.schema.clone(),
        tables: arguments.table.clone(),
        exclude_schemas: arguments.exclude_schema.clone(),
        exclude_tables: arguments.exclude_table.clone(),
        exclude_table_data: arguments.exclude_table_data.clone(),
    };
    let names = &arguments.database;
    let is_whole = names.is_empty() && limits.is_none();
    let scope = if is_whole { Scope::Server } else { Scope::Databases(names.clone()) };
    let engine = Postgres {
        target,
        scope,
        limits,
        fingerprints: arguments.fingerprints,
        dumps: arguments.dumps.into(),
        jobs: arguments.common.jobs.unwrap_or(1).clamp(1, MOST_JOBS),
        programs,
    };
    let source =
        if names.is_empty() { "postgres".to_owned() } else { format!("postgres:{}", names.join(",")) };
    let asked = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    run(context, &engine, &arguments.common, &source, asked, false).context("no snapshot was made")
}

/// Shards that are read side by side, where nobody says how many.
const SHARDS: usize = 2;

pub(crate) fn opensearch(context: &Context<'_>, arguments: &BackupOpensearch) -> anyhow::Result<Outcome> {
    let engine = Opensearch {
        target: super::restore_opensearch::target(&arguments.url, arguments.ca_file.as_ref())?,
        selection: Selection {
            include: arguments.index.clone(),
            exclude: arguments.exclude.clone(),
            hidden: arguments.hidden,
        },
        by_scroll: arguments.scroll,
        jobs: arguments.common.jobs.unwrap_or(SHARDS).clamp(1, MOST_JOBS),
    };
    let names = &arguments.index;
    let source =
        if names.is_empty() { engine.name().into() } else { format!("opensearch:{}", names.join(",")) };
    let asked = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    run(context, &engine, &arguments.common, &source, asked, arguments.force).context("no snapshot was made")
}

pub(crate) fn redis(context: &Context<'_>, arguments: &BackupRedis) -> anyhow::Result<Outcome> {
    let mut target = redis::Target::parse(&arguments.url)?.or_password(redis_password());
    target.ca_file = arguments.ca_file.clone().or(target.ca_file);
    let part = part_of_engine(&arguments.group)?;
    if arguments.aof {
        if part.is_some() {
            return Err(Usage("append-only files are of one server: --shard divides a cluster".into()).into());
        }
        let engine = AofFiles { target, folder: arguments.dir.clone() };
        let ran = run(context, &engine, &arguments.common, engine.name(), Vec::new(), false);
        return ran.context("no snapshot was made");
    }
    let temporary = arguments.scratch_dir.clone().unwrap_or_else(std::env::temp_dir);
    let share = arguments.group.shard;
    let engine = Redis { target, temporary, share };
    let asked = Asked { source: engine.name(), words: Vec::new(), force: false, part };
    run_as(context, &engine, &arguments.common, asked, &Told::default).context("no snapshot was made")
}

/// As `redis-cli` takes it.
pub(super) fn redis_password() -> Option<String> {
    std::env::var("REDISCLI_AUTH").ok()
}

pub(crate) fn command(context: &Context<'_>, arguments: &BackupCommand) -> anyhow::Result<Outcome> {
    let mut streams: Vec<CommandStream> = arguments
        .stream
        .iter()
        .map(|(name, command)| CommandStream {
            name: name.clone(),
            command: vec!["sh".into(), "-c".into(), command.clone()],
        })
        .collect();
    if let Some(name) = &arguments.name {
        streams.push(CommandStream { name: name.clone(), command: arguments.command.clone() });
    }
    if streams.is_empty() {
        return Err(Usage("which command? write --name NAME -- CMD ARGS, or --stream NAME=CMD".into()).into());
    }
    let names: Vec<&str> = streams.iter().map(|stream| stream.name.as_str()).collect();
    if let Some(twice) =
        names.iter().enumerate().find_map(|(at, name)| names[..at].contains(name).then_some(name))
    {
        return Err(Usage(format!("two streams are named `{twice}`")).into());
    }
    let source = names.join(",");
    let asked = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    let engine = Command { streams, allow_empty: arguments.allow_empty };
    run(context, &engine, &arguments.common, &source, asked, false)
}

pub(super) fn run(
    context: &Context<'_>,
    engine: &dyn Engine,
    common: &BackupCommon,
    source: &str,
    asked: Vec<Vec<u8>>,
    force: bool,
) -> anyhow::Result<Outcome> {
    run_and_tell(context, engine, common, source, asked, force, &Told::default)
}

/// What an engine tells of a snapshot besides what is told of all.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Fields of the report.
    pub(super) json: serde_json::Value,
    /// The same for people.
    pub(super) line: Option<String>,
    /// Whether the snapshot is good and what was backed up is not.
    pub(super) has_findings: bool,
}

pub(super) fn run_and_tell(
    context: &Context<'_>,
    engine: &dyn Engine,
    common: &BackupCommon,
    source: &str,
    asked: Vec<Vec<u8>>,
    force: bool,
    told: &dyn Fn() -> Told,
) -> anyhow::Result<Outcome> {
    run_as(context, engine, common, Asked { source, words: asked, force, part: None }, told)
}

/// What is to be backed up.
pub(super) struct Asked<'a> {
    /// Its name where none is given.
    pub(super) source: &'a str,
    /// As it was said.
    pub(super) words: Vec<Vec<u8>>,
    pub(super) force: bool,
    /// Which part of a group this is.
    pub(super) part: Option<PartOf>,
}

/// The host of what several workers back up together: where they run changes from day to day.
const GROUP_HOST: &str = "group";

/// The part that a worker is to store, if its group is to become one snapshot.
pub(super) fn part_of(arguments: &GroupArguments) -> anyhow::Result<Option<PartOf>> {
    let Some(group) = arguments.group.clone().filter(|group| !group.is_empty()) else { return Ok(None) };
    let Some(Share { number, of }) = arguments.shard else {
        let text = "which worker of the group is this? --group (STRONGROOM_GROUP) needs --shard I/N";
        return Err(Usage(text.into()).into());
    };
    Ok(Some(PartOf { group, number, count: of }))
}

/// As [`part_of`], of an engine whose workers' parts are no snapshots of their own.
pub(super) fn part_of_engine(arguments: &GroupArguments) -> anyhow::Result<Option<PartOf>> {
    let part = part_of(arguments)?;
    if part.is_none() && arguments.shard.is_some() {
        let text = "a shard of this is no snapshot of its own: --shard needs --group (STRONGROOM_GROUP), and `commit --group` makes one of all";
        return Err(Usage(text.into()).into());
    }
    Ok(part)
}

pub(super) fn run_as(
    context: &Context<'_>,
    engine: &dyn Engine,
    common: &BackupCommon,
    asked: Asked<'_>,
    told: &dyn Fn() -> Told,
) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    super::tag::check(common.tag.iter())?;
    let Asked { source, words, force, part } = asked;
    let repository = context.open()?;
    let host = common.host.clone().filter(|host| !host.is_empty());
    let options = BackupOptions {
        source: common
            .source
            .clone()
            .filter(|source| !source.is_empty())
            .unwrap_or_else(|| source.to_owned()),
        engine: engine.name().to_owned(),
        host: host.unwrap_or_else(|| part.as_ref().map_or_else(host_name, |_| GROUP_HOST.to_owned())),
        user: user_name(),
        tool: TOOL.to_owned(),
        arguments: words,
        tags: common.tag.clone(),
        copied: None,
        force,
        delta: !common.no_delta,
        keep_base_keys: common.keep_base_keys,
        compression_level: common.compression,
        // That of servers means connections.
        workers: context.workers(common.jobs.filter(|_| !SERVERS.contains(&engine.name()))),
        uploads: context.uploads(),
    };
    let variables = [
        ("STRONGROOM_OPERATION", "backup".to_owned()),
        ("STRONGROOM_SOURCE", options.source.clone()),
        ("STRONGROOM_ENGINE", options.engine.clone()),
    ];
    let repository = RefCell::new(repository);
    let failed = |error: &anyhow::Error| {
        strongroom_ops::note_failure(&mut repository.borrow_mut(), &options, &error.to_string());
    };
    hooks::around(&common.hooks, &variables, failed, || {
        context.terminal.begin("backing up", None);
        if let Some(part) = &part {
            let mut repository = repository.borrow_mut();
            let worked =
                strongroom_ops::backup_part(&mut repository, engine, &options, part, &context.terminal)?;
            context.terminal.finish();
            return Ok(show_part(context, &options, part, &worked, began));
        }
        let report =
            strongroom_ops::backup(&mut repository.borrow_mut(), engine, &options, &context.terminal)?;
        context.terminal.finish();
        let told = told();
        show(context, &options, &report, &told, began);
        let is_partial = report.totals.unreadable > 0 || told.has_findings;
        Ok(if is_partial { Outcome::Code(PARTLY) } else { Outcome::Done })
    })
}

fn show_part(
    context: &Context<'_>,
    options: &BackupOptions,
    part: &PartOf,
    worked: &Worked,
    began: Instant,
) -> Outcome {
    let (totals, snapshot) = match worked {
        Worked::Stored { totals, .. } | Worked::Already { totals } => (*totals, None),
        Worked::Committed { snapshot } => (Totals::default(), Some(snapshot)),
    };
    let PartOf { group, number, count } = part;
    let seconds = began.elapsed().as_secs_f64();
    if context.global.json {
        let result = match worked {
            Worked::Stored { .. } => "stored",
            Worked::Already { .. } => "already",
            Worked::Committed { .. } => "committed",
        };
        context.json(&json!({
            "type": "part", "group": group, "part": number, "parts": count, "result": result, "source": options.source,
            "host": options.host, "engine": options.engine, "snapshot": snapshot.map(|id| id.to_hex()),
            "entries": totals.entries, "files": totals.files, "bytes": totals.bytes, "new_bytes": totals.new_bytes,
            "stored_bytes": totals.stored_bytes, "unreadable": totals.unreadable, "seconds": seconds,
        }));
    } else {
        let group = render::safe(group);
        match worked {
            Worked::Stored { .. } => crate::output::line!(
                "part {number} of {count} of group {group}: {} in {seconds:.1} s; {} new, {} stored",
                render::bytes(totals.bytes),
                render::bytes(totals.new_bytes),
                render::bytes(totals.stored_bytes)
            ),
            Worked::Already { .. } => crate::output::line!(
                "part {number} of {count} of group {group} is stored already; there is nothing to do"
            ),
            Worked::Committed { snapshot } => crate::output::line!(
                "group {group} is committed already, as snapshot {snapshot}; there is nothing to do"
            ),
        }
    }
    if totals.unreadable > 0 { Outcome::Code(PARTLY) } else { Outcome::Done }
}

fn show(context: &Context<'_>, options: &BackupOptions, report: &BackupReport, told: &Told, began: Instant) {
    let totals = &report.totals;
    let seconds = began.elapsed().as_secs_f64();
    if context.global.json {
        let mut detail = json!({
            "type": "backup", "snapshot": report.id.to_hex(), "source": options.source, "host": options.host, "engine": options.engine,
            "parent": report.parent.map(|parent| parent.to_hex()), "entries": totals.entries, "files": totals.files, "bytes": totals.bytes,
            "new_bytes": totals.new_bytes, "stored_bytes": totals.stored_bytes, "unreadable": totals.unreadable, "seconds": seconds,
        });
        for (name, value) in told.json.as_object().into_iter().flatten() {
            detail[name] = value.clone();
        }
        context.json(&detail);
        return;
    }
    crate::output::line!("snapshot {} of {}", report.id, render::safe(&options.source));
    let rate = render::bytes(
        u64::try_from(u128::from(totals.bytes) * 1000 / began.elapsed().as_millis().max(1))
            .unwrap_or(u64::MAX),
    );
    crate::output::line!(
        "{}, {} in {seconds:.1} s ({rate}/s); {} new, {} stored",
        render::files(totals.files),
        render::bytes(totals.bytes),
        render::bytes(totals.new_bytes),
        render::bytes(totals.stored_bytes)
    );
    if let Some(line) = &told.line {
        crate::output::line!("{}", render::safe(line));
    }
    match report.parent {
        Some(parent) => context.terminal.say(&format!("parent {}", parent.short())),
        None => context.terminal.say("the first snapshot of this source"),
    }
    if totals.unreadable > 0 {
        let files = if totals.unreadable == 1 {
            "1 file or folder".to_owned()
        } else {
            format!("{} files and folders", totals.unreadable)
        };
        eprintln!(
            "warning: {files} could not be read, or changed while being read (each is named above); all else is in the snapshot"
        );
    }
}
