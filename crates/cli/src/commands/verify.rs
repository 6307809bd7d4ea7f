//! `verify`: a restore test.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::json;
use strongroom_engines::postgres::physical::{ENGINE, PhysicalSnapshot, PhysicalVerification};
use strongroom_engines::postgres::{
    Archives, Assertion, DatabaseVerdict, Place, Programs, Target, Verification,
};
use strongroom_ops::config::Config;
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::reader::Reader;

use crate::arguments::Verify;
use crate::context::{Context, host_name, tell_healed, user_name};
use crate::exit::{DAMAGE, Outcome, Usage};
use crate::output::line;
use crate::render;

pub(crate) fn run(context: &Context<'_>, arguments: &Verify) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let mut repository = context.open_to_read()?;
    let wanted = arguments
        .source
        .as_ref()
        .map_or_else(|| arguments.snapshot.clone(), |source| format!("latest:{source}"));
    let snapshot = context.select(&repository, &wanted)?.clone();
    repository.require_read_access()?;
    let programs = Programs { folder: arguments.pg_bin.clone() };
    // How old what one gets back is.
    let age_seconds = Timestamp::now().as_millisecond().saturating_sub(snapshot.time_ms()).max(0) / 1000;
    let reader = Reader::new(&repository);
    context.terminal.begin("verifying", None);
    let workers = context.readers(arguments.jobs);
    let folder = arguments.scratch_dir.clone().unwrap_or_else(std::env::temp_dir);
    let asked = assertions(arguments, &snapshot.manifest.source)?;
    let verdicts = if snapshot.manifest.engine == ENGINE {
        if arguments.scratch_url.is_some() {
            let text = "a cluster cannot be restored into a server that runs: leave --scratch-url out";
            return Err(Usage(text.into()).into());
        }
        let verification =
            PhysicalVerification { databases: &arguments.database, assertions: &asked, scratch: &folder };
        let cluster = PhysicalSnapshot::open(&reader, &snapshot)?;
        cluster.verify(verification, &programs, &context.terminal, workers)?
    } else {
        let place = match &arguments.scratch_url {
            Some(url) => Place::Server(Target::parse(url)?),
            None => Place::Scratch(folder),
        };
        let verification =
            Verification { databases: arguments.database.clone(), place, assertions: asked.clone() };
        Archives::open(&reader, &snapshot)?.verify(&verification, &programs, &context.terminal, workers)?
    };
    context.terminal.finish();
    let healed_packs = tell_healed(&reader);
    drop(reader);
    let is_good = verdicts.iter().all(|verdict| verdict.differences.is_empty());
    let restore_seconds: f64 = verdicts.iter().map(|verdict| verdict.seconds).sum();
    let detail = json!({
        "result": if is_good { "good" } else { "differs" }, "host": host_name(), "user": user_name(),
        "databases": verdicts.iter().map(of_database).collect::<Vec<_>>(), "assertions": asked.len(),
        "restore_seconds": restore_seconds, "age_seconds": age_seconds, "seconds": began.elapsed().as_secs_f64(),
    });
    context.note(&mut repository, "verify", Some(snapshot.id()), &detail);
    if context.global.json {
        let mut report = detail;
        report["type"] = "verify".into();
        report["snapshot"] = snapshot.id().to_hex().into();
        report["healed_packs"] = healed_packs.into();
        context.json(&report);
    } else {
        for verdict in &verdicts {
            tell(verdict);
        }
        let result = if is_good { "restores as it was" } else { "does NOT restore as it was" };
        line!(
            "snapshot {} {result}: restored in {restore_seconds:.1} s, {} old",
            snapshot.id().short(),
            render::age(age_seconds)
        );
    }
    Ok(if is_good { Outcome::Done } else { Outcome::Code(DAMAGE) })
}

/// Those that were given, and those that the configuration has of the source.
fn assertions(arguments: &Verify, source: &str) -> anyhow::Result<Vec<Assertion>> {
    let given = arguments.assertions.iter().map(|sql| Assertion { sql: sql.clone(), ..Assertion::default() });
    let mut all: Vec<Assertion> = given.collect();
    if let Some(path) = arguments.config.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        let config = Config::read(path)?;
        all.extend(config.assertions(source).iter().cloned().map(|one| Assertion {
            name: Some(one.name),
            sql: one.sql,
            database: one.database,
        }));
    }
    Ok(all)
}

fn of_database(verdict: &DatabaseVerdict) -> serde_json::Value {
    json!({
        "name": verdict.name, "bytes": verdict.bytes, "tables": verdict.tables, "rows": verdict.rows,
        "restore_seconds": verdict.seconds, "differences": verdict.differences,
    })
}

fn tell(verdict: &DatabaseVerdict) {
    line!(
        "{}: {} tables, {} rows, {}{}: {}",
        render::safe(&verdict.name),
        verdict.tables,
        verdict.rows,
        render::bytes(verdict.bytes),
        if verdict.seconds > 0.0 { format!(", restored in {:.1} s", verdict.seconds) } else { String::new() },
        if verdict.differences.is_empty() { "as it was" } else { "NOT as it was" }
    );
    for difference in &verdict.differences {
        line!("  {}", render::safe(difference));
    }
}
