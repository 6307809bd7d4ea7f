//! `wal-push`: what PostgreSQL's `archive_command` runs for each file of its log.

use std::fs::File;
use std::path::Path;

use anyhow::Context as _;
use strongroom_engines::wal_segment;
use strongroom_format::wal_file::LogFile;
use strongroom_repository::wal::{ArchivedFile, WalWriter};

use super::{wal_agent, wal_queue};
use crate::arguments::WalPush;
use crate::context::Context;
use crate::exit::{Outcome, Usage};

/// Says nothing: a server runs this, and keeps what is said in its log.
pub(crate) fn run(context: &Context<'_>, arguments: &WalPush) -> anyhow::Result<Outcome> {
    match arguments.queue_max {
        Some(limit_bytes) => wal_queue::run(context, arguments, limit_bytes),
        None => push(context, arguments),
    }
}

/// Pushes, through an agent where there is to be one.
pub(super) fn push(context: &Context<'_>, arguments: &WalPush) -> anyhow::Result<Outcome> {
    if let Some(idle) = arguments.agent
        && let Some(outcome) = wal_agent::push(context, arguments, idle)?
    {
        return Ok(outcome);
    }
    let archive = &arguments.archive;
    let (file, mut content) = identify(&arguments.path, &archive.source, archive.system_identifier)?;
    let mut repository = context.open()?;
    let _ = WalWriter::new(&mut repository).push(&file, &mut content)?;
    Ok(Outcome::Done)
}

/// What a file is, by its name and by what it says itself.
pub(super) fn identify(
    path: &Path,
    source: &str,
    system: Option<u64>,
) -> anyhow::Result<(ArchivedFile, File)> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let file: LogFile =
        name.parse().map_err(|error| Usage(format!("{} is no file of a log: {error}", path.display())))?;
    let mut content = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let found = wal_segment::system_of(path, file, &mut content);
    let system = match (found, system) {
        (Ok(found), Some(given)) if found != given => {
            return Err(
                Usage(format!("{} is of database system {found}, not {given}", path.display())).into()
            );
        }
        (Err(wal_segment::LogFileError::Control { .. }), Some(given)) => given,
        (found, _) => found?,
    };
    Ok((ArchivedFile { source: source.to_owned(), system, file }, content))
}
