//! `verify`: a restore test.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use strongroom_engines::clickhouse::{self, ClickHouseError};
use strongroom_engines::ledger;
use strongroom_engines::opensearch::{self, Indices};
use strongroom_engines::postgres::physical::{ENGINE, PhysicalSnapshot, PhysicalVerification};
use strongroom_engines::postgres::{Archives, Assertion, Place, Programs, Target, Verification};
use strongroom_engines::s3;
use strongroom_engines::{EngineError, Verdict};
use strongroom_engines::{files, redis};
use strongroom_repository::Repository;
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::reader::Reader;
use strongroom_repository::share::Share;
use strongroom_repository::state::Snapshot;

use super::backup::redis_password;
use super::restore_redis::numbers;
use super::{backup_clickhouse, backup_s3, restore_opensearch};
use crate::arguments::Verify;
use crate::audit::{Reading, place};
use crate::context::{Context, tell_healed};
use crate::exit::{DAMAGE, Outcome, Usage};
use crate::output::line;
use crate::{clock, configured, render};

pub(crate) fn run(context: &Context<'_>, arguments: &Verify) -> anyhow::Result<Outcome> {
    let mut repository = context.open_to_read()?;
    let wanted = arguments
        .source
        .as_ref()
        .map_or_else(|| arguments.snapshot.clone(), |source| format!("latest:{source}"));
    let snapshot = context.select(&repository, &wanted)?.clone();
    repository.require_read_access()?;
    let mut detail = json!({});
    if let Some(to) = &arguments.scratch_url {
        detail["to"] = place(to).into();
    }
    let reading = Reading { event: "verify", snapshot: Some(snapshot.id()), detail };
    context.audited(&mut repository, reading, |repository| test(context, repository, &snapshot, arguments))
}

fn test(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    arguments: &Verify,
) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    // How old what one gets back is.
    let age_seconds = clock::now().as_millisecond().saturating_sub(snapshot.time_ms()).max(0) / 1000;
    let reader = Reader::new(repository);
    context.terminal.begin("verifying", None);
    let workers = context.readers(arguments.jobs);
    let engine = snapshot.manifest.engine.as_str();
    let is_read = is_of_contents(engine) || engine == s3::ENGINE && arguments.scratch_url.is_none();
    if arguments.shard.is_some() && !is_read {
        let text = format!(
            "a snapshot of `{engine}` is tested by one restore as a whole: --shard divides what is read of files, streams, the output of commands, and of a bucket without --scratch-url"
        );
        return Err(Usage(text).into());
    }
    let asked = assertions(context, arguments, &snapshot.manifest.source)?;
    let test = RestoreTest { context, reader: &reader, snapshot, arguments, workers };
    let verdicts = match snapshot.manifest.engine.as_str() {
        ENGINE => test.cluster(&asked)?,
        opensearch::ENGINE => test.indices(&asked)?,
        redis::ENGINE => test.redis(&asked)?,
        redis::AOF_ENGINE => test.append_only(&asked)?,
        ledger::ENGINE => test.ledger(&asked)?,
        s3::ENGINE => test.bucket(&asked)?,
        "clickhouse" => test.clickhouse(asked.clone())?,
        engine if is_of_contents(engine) => test.contents(&asked)?,
        _ => test.databases(&asked)?,
    };
    context.terminal.finish();
    let healed_packs = tell_healed(&reader);
    drop(reader);
    let is_good = verdicts.iter().all(|verdict| verdict.differences.is_empty());
    let restore_seconds: f64 = verdicts.iter().map(|verdict| verdict.seconds).sum();
    let mut detail = json!({
        "result": if is_good { "good" } else { "differs" },
        "databases": verdicts.iter().map(of_part).collect::<Vec<_>>(), "assertions": asked.len(),
        "restore_seconds": restore_seconds, "age_seconds": age_seconds, "seconds": began.elapsed().as_secs_f64(),
    });
    if let Some(shard) = arguments.shard {
        detail["shard"] = shard.to_string().into();
    }
    // A share of a test is none of the snapshot.
    let event = if arguments.shard.is_some() { "verify-shard" } else { "verify" };
    context.note(repository, event, Some(snapshot.id()), &detail);
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
            render::span(age_seconds)
        );
    }
    Ok(if is_good { Outcome::Done } else { Outcome::Code(DAMAGE) })
}

/// Whether there is no server to restore it into.
fn is_of_contents(engine: &str) -> bool {
    matches!(engine, "files" | "stdin" | "command")
}

/// A restore that is made to be looked at.
struct RestoreTest<'t, 'r> {
    context: &'t Context<'t>,
    reader: &'r Reader<'r>,
    snapshot: &'r Snapshot,
    arguments: &'t Verify,
    workers: usize,
}

impl RestoreTest<'_, '_> {
    fn scratch_folder(&self) -> PathBuf {
        self.arguments.scratch_dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    fn share(&self) -> Option<Share> {
        self.arguments.shard
    }

    fn programs(&self) -> Programs {
        Programs { folder: self.arguments.pg_bin.clone() }
    }

    fn cluster(&self, asked: &[Assertion]) -> anyhow::Result<Vec<Verdict>> {
        if self.arguments.scratch_url.is_some() {
            let text = "a cluster cannot be restored into a server that runs: leave --scratch-url out";
            return Err(Usage(text.into()).into());
        }
        let (databases, scratch) = (&self.arguments.database, &self.scratch_folder());
        let verification = PhysicalVerification { databases, assertions: asked, scratch };
        let cluster = PhysicalSnapshot::open(self.reader, self.snapshot)?;
        Ok(cluster.verify(verification, &self.programs(), &self.context.terminal, self.workers)?)
    }

    fn ledger(&self, asked: &[Assertion]) -> anyhow::Result<Vec<Verdict>> {
        if !asked.is_empty() || self.arguments.scratch_url.is_some() || !self.arguments.database.is_empty() {
            let text = "a ledger is tested as a whole, in a folder: give --scratch-dir at most";
            return Err(Usage(text.into()).into());
        }
        let (folder, monitor) = (self.scratch_folder(), &self.context.terminal);
        Ok(ledger::verify(self.reader, self.snapshot, &folder, monitor, self.workers)?)
    }

    /// There is no server to restore into: what comes back is compared as it is read.
    fn contents(&self, asked: &[Assertion]) -> anyhow::Result<Vec<Verdict>> {
        if !asked.is_empty() || !self.arguments.database.is_empty() {
            let text = "this snapshot is of files or streams: there is no database to ask; everything of it is read and compared";
            return Err(Usage(text.into()).into());
        }
        Ok(vec![files::verify(
            self.reader,
            self.snapshot,
            self.share(),
            &self.context.terminal,
            self.workers,
        )?])
    }

    fn indices(&self, asked: &[Assertion]) -> anyhow::Result<Vec<Verdict>> {
        if !asked.is_empty() {
            return Err(Usage("--assert is SQL: OpenSearch is not asked in it".into()).into());
        }
        let url = self.arguments.scratch_url.as_deref().ok_or_else(|| {
            let text = "a restore test of OpenSearch needs a cluster: give --scratch-url; indices strongroom-verify-* are made and dropped there";
            Usage(text.into())
        })?;
        let target = restore_opensearch::target(url, self.arguments.ca_file.as_ref())?;
        let indices = Indices::open(self.reader, self.snapshot)?;
        Ok(indices.verify(&target, &self.arguments.database, &self.context.terminal, self.workers)?)
    }

    fn append_only(&self, asked: &[Assertion]) -> anyhow::Result<Vec<Verdict>> {
        if !asked.is_empty() || self.arguments.scratch_url.is_some() || !self.arguments.database.is_empty() {
            let text = "append-only files are tested as a whole, by a server that is started on them";
            return Err(Usage(text.into()).into());
        }
        let snapshot = redis::AofSnapshot::open(self.reader, self.snapshot)?;
        let programs = self.arguments.redis_bin.as_deref();
        Ok(vec![snapshot.verify(&self.scratch_folder(), programs, &self.context.terminal, self.workers)?])
    }

    fn redis(&self, asked: &[Assertion]) -> anyhow::Result<Vec<Verdict>> {
        if !asked.is_empty() {
            return Err(Usage("--assert is SQL, and Redis knows none".into()).into());
        }
        let folder = self.scratch_folder();
        let place = match &self.arguments.scratch_url {
            Some(url) => {
                let mut target = redis::Target::parse(url)?.or_password(redis_password());
                target.ca_file = self.arguments.ca_file.clone().or(target.ca_file);
                redis::Place::Server(target)
            }
            None => {
                redis::Place::Scratch { folder: folder.clone(), programs: self.arguments.redis_bin.clone() }
            }
        };
        let databases = numbers(&self.arguments.database)?;
        let verification = redis::Verification { databases, place, temporary: folder };
        let dumps = redis::Dumps::open(self.reader, self.snapshot)?;
        Ok(dumps.verify(&verification, &self.context.terminal, self.workers)?)
    }

    fn bucket(&self, asked: &[Assertion]) -> anyhow::Result<Vec<Verdict>> {
        if !asked.is_empty() || !self.arguments.database.is_empty() {
            return Err(Usage("a bucket has no databases, and is not asked in SQL".into()).into());
        }
        let objects = s3::Objects::open(self.reader, self.snapshot)?;
        let terminal = &self.context.terminal;
        let Some(url) = &self.arguments.scratch_url else {
            return Ok(objects.verify_by_reading(self.share(), terminal, self.workers)?);
        };
        let target =
            backup_s3::target(self.context, url, &self.arguments.s3, self.arguments.ca_file.as_ref())?;
        let protected = backup_s3::own_prefixes(self.context, &target, false)?;
        let switches =
            s3::BucketSwitches { protected, requests: s3::REQUESTS, ..s3::BucketSwitches::default() };
        Ok(objects.verify_in(&target, &switches, terminal, self.workers)?)
    }

    fn clickhouse(&self, assertions: Vec<Assertion>) -> anyhow::Result<Vec<Verdict>> {
        let place = match &self.arguments.scratch_url {
            Some(url) => {
                clickhouse::Place::Server(backup_clickhouse::target(url, self.arguments.ca_file.clone())?)
            }
            None => clickhouse::Place::Scratch {
                folder: self.scratch_folder(),
                program: self.arguments.clickhouse_bin.clone().filter(|path| !path.as_os_str().is_empty()),
            },
        };
        let databases = self.arguments.database.clone();
        let verification = clickhouse::Verification { databases, place, assertions };
        let tables = clickhouse::Tables::open(self.reader, self.snapshot)?;
        match tables.verify(&verification, &self.context.terminal, self.workers) {
            Err(EngineError::ClickHouse(ClickHouseError::NoProgram)) => Err(Usage(
                "there is no clickhouse-server here to restore into: name its program with --clickhouse-bin, or a server with --scratch-url".into(),
            )
            .into()),
            verdicts => Ok(verdicts?),
        }
    }

    fn databases(&self, asked: &[Assertion]) -> anyhow::Result<Vec<Verdict>> {
        let place = match &self.arguments.scratch_url {
            Some(url) => Place::Server(Target::parse(url)?),
            None => Place::Scratch(self.scratch_folder()),
        };
        let databases = self.arguments.database.clone();
        let verification = Verification { databases, place, assertions: asked.to_vec() };
        let archives = Archives::open(self.reader, self.snapshot)?;
        Ok(archives.verify(&verification, &self.programs(), &self.context.terminal, self.workers)?)
    }
}

/// Those that were given, and those that the configuration has of the source.
fn assertions(context: &Context<'_>, arguments: &Verify, source: &str) -> anyhow::Result<Vec<Assertion>> {
    let given = arguments.assertions.iter().map(|sql| Assertion { sql: sql.clone(), ..Assertion::default() });
    let mut all: Vec<Assertion> = given.collect();
    if let Some(path) = &context.global.config {
        let config = configured::read(path)?.0;
        all.extend(config.assertions(source).iter().cloned().map(|one| Assertion {
            name: Some(one.name),
            sql: one.sql,
            database: one.database,
        }));
    }
    Ok(all)
}

fn of_part(verdict: &Verdict) -> serde_json::Value {
    let mut told = json!({
        "name": verdict.name, "bytes": verdict.bytes, "restore_seconds": verdict.seconds,
        "differences": verdict.differences,
    });
    for (what, number) in &verdict.counts {
        told[*what] = (*number).into();
    }
    told
}

fn tell(verdict: &Verdict) {
    let counts: String = verdict.counts.iter().map(|(what, number)| format!("{number} {what}, ")).collect();
    line!(
        "{}: {counts}{}{}: {}",
        render::safe(&verdict.name),
        render::bytes(verdict.bytes),
        if verdict.seconds > 0.0 { format!(", restored in {:.1} s", verdict.seconds) } else { String::new() },
        if verdict.differences.is_empty() { "as it was" } else { "NOT as it was" }
    );
    for difference in &verdict.differences {
        line!("  {}", render::safe(difference));
    }
}
