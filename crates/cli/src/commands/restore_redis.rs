//! `restore` of a snapshot of Redis: `--to` into a server that runs, `--target` as files for one that does not, `--to-archive`
//! as one dump.

use std::path::Path;
use std::time::Instant;

use serde_json::json;
use strongroom_engines::redis::{AofFolder, Dumps, RestoreInto, Target, Wanted};
use strongroom_repository::Repository;
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use super::backup::redis_password;
use super::restored;
use crate::arguments::Restore;
use crate::context::{Context, tell_healed};
use crate::exit::{Outcome, Usage};
use crate::render;

/// Into a server.
pub(super) fn to_server(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    to: &str,
    arguments: &Restore,
) -> anyhow::Result<Outcome> {
    let mut target = Target::parse(to)?.or_password(redis_password());
    target.ca_file = arguments.server.ca_file.clone().or(target.ca_file);
    restored::into_server(context, repository, snapshot, |reader| {
        let dumps = Dumps::open(reader, snapshot)?;
        let into = chosen(&dumps, target, arguments)?;
        let done = dumps.restore(&into, &context.terminal, context.readers(arguments.jobs))?;
        if done.keys == 0 && !into.wanted.is_all() {
            context.terminal.warn("no key in the snapshot matches");
        }
        let expired = match done.expired {
            0 => String::new(),
            expired => format!(" ({expired} more have expired since)"),
        };
        let text = format!(
            "restored {} keys{expired} of {} databases of snapshot {} into {}",
            done.keys,
            done.databases,
            snapshot.id().short(),
            render::safe(&into.target.to_string())
        );
        let detail = json!({
            "to": into.target.to_string(), "databases": done.databases, "into": into.into, "include": arguments.include, "exclude": arguments.exclude,
            "drop_existing": into.drop_existing, "keys": done.keys, "expired": done.expired, "functions": done.functions,
        });
        Ok((detail, text))
    })
}

/// Where to, and what of it.
fn chosen(dumps: &Dumps<'_>, target: Target, arguments: &Restore) -> anyhow::Result<RestoreInto> {
    let databases = numbers(arguments.server.database.as_slice())?;
    let into = match &arguments.server.into {
        Some(number) => {
            Some(numbers(std::slice::from_ref(number))?).and_then(|numbers| numbers.first().copied())
        }
        None => target.named_database(),
    };
    let several = if databases.is_empty() { dumps.databases() } else { databases.clone() };
    if into.is_some() && several.len() > 1 {
        let several = several.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let text = format!("which database into that one? the snapshot has {several}: give --database N");
        return Err(Usage(text).into());
    }
    Ok(RestoreInto {
        target,
        databases,
        into,
        wanted: Wanted { include: arguments.include.clone(), exclude: arguments.exclude.clone() },
        drop_existing: arguments.server.drop_existing,
        temporary: arguments.server.scratch_dir.clone().unwrap_or_else(std::env::temp_dir),
    })
}

/// For a server that is not running.
pub(super) fn to_files(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    folder: &Path,
    arguments: &Restore,
) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let reader = Reader::new(repository);
    let dumps = Dumps::open(&reader, snapshot)?;
    let as_files = if arguments.server.aof { AofFolder::Yes } else { AofFolder::No };
    let databases = numbers(arguments.server.database.as_slice())?;
    context.terminal.begin("restoring", Some(snapshot.manifest.tree.bytes));
    let workers = context.readers(arguments.jobs);
    let (path, bytes) = dumps.write_files(folder, as_files, &databases, &context.terminal, workers)?;
    context.terminal.finish();
    let healed_packs = tell_healed(&reader);
    drop(dumps);
    drop(reader);
    tell(context, repository, snapshot, (&path, bytes, healed_packs), began);
    Ok(Outcome::Done)
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
    let dumps = Dumps::open(&reader, snapshot)?;
    let databases = numbers(arguments.server.database.as_slice())?;
    let workers = context.readers(arguments.jobs);
    let total = Some(snapshot.manifest.tree.bytes);
    let bytes = restored::write_file(context, file, total, |out| {
        Ok(dumps.write(&databases, out, &context.terminal, workers)?)
    })?;
    let healed_packs = tell_healed(&reader);
    drop(dumps);
    drop(reader);
    if !restored::is_stdout(file) {
        tell(context, repository, snapshot, (file, bytes, healed_packs), began);
    }
    Ok(Outcome::Done)
}

fn tell(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    (path, bytes, healed_packs): (&Path, u64, usize),
    began: Instant,
) {
    let seconds = began.elapsed().as_secs_f64();
    let detail = json!({ "path": path.display().to_string(), "bytes": bytes, "seconds": seconds });
    let (id, bytes) = (snapshot.id().short(), render::bytes(bytes));
    let text = format!("wrote the keys of snapshot {id} to {} ({bytes}) in {seconds:.1} s", path.display());
    restored::tell(context, repository, snapshot, (detail, healed_packs), &text);
}

/// Databases are numbers.
pub(super) fn numbers(texts: &[String]) -> Result<Vec<u64>, Usage> {
    let number = |text: &String| {
        text.parse().map_err(|_| Usage(format!("a database of Redis is a number, and `{text}` is none")))
    };
    texts.iter().map(number).collect()
}
