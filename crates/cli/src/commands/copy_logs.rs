//! `copy`, `sync`: log archives of another repository, into this one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use strongroom_engines::postgres::physical::ENGINE;
use strongroom_format::entry::SegmentRange;
use strongroom_format::wal_file::Segment;
use strongroom_repository::Repository;
use strongroom_repository::state::Snapshot;
use strongroom_repository::wal::{ArchivedFile, LogCopyOptions, unneeded};

use super::wal_expire;
use crate::arguments::{CopyArguments, CopyLogs};
use crate::context::Context;
use crate::exit::{DAMAGE, Outcome};
use crate::output::line;
use crate::render;

/// Which files of log archives are meant.
pub(super) enum Logs {
    All,
    None,
    /// Of these sources, or systems.
    Some {
        sources: BTreeSet<String>,
        systems: BTreeSet<u64>,
    },
    /// Of these systems, without what is unneeded of each archive.
    Needed(BTreeMap<(String, u64), Vec<SegmentRange>>),
}

impl Logs {
    pub(super) fn chosen(
        from: &Repository,
        snapshots: &[&Snapshot],
        how: &CopyArguments,
        default: CopyLogs,
    ) -> anyhow::Result<Self> {
        let physical = || snapshots.iter().copied().filter(|snapshot| snapshot.manifest.engine == ENGINE);
        match how.logs.unwrap_or(default) {
            CopyLogs::None => Ok(Self::None),
            CopyLogs::All if how.source.is_empty() => Ok(Self::All),
            CopyLogs::All => {
                let bases = wal_expire::bases(from, physical())?;
                let systems = bases.iter().map(|base| base.system).collect();
                Ok(Self::Some { sources: how.source.iter().cloned().collect(), systems })
            }
            CopyLogs::Needed => {
                let mut firsts: BTreeMap<u64, Vec<Segment>> = BTreeMap::new();
                for base in wal_expire::bases(from, physical())? {
                    firsts.entry(base.system).or_default().push(base.first);
                }
                let mut needed = BTreeMap::new();
                if !firsts.is_empty() {
                    for log in from.log_archives(None)?.archives {
                        if let Some(firsts) = firsts.get(&log.system) {
                            needed.insert((log.source, log.system), unneeded(&log.timelines, firsts));
                        }
                    }
                }
                Ok(Self::Needed(needed))
            }
        }
    }

    fn has_archive(&self, source: &str, system: u64) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Some { sources, systems } => sources.contains(source) || systems.contains(&system),
            Self::Needed(needed) => needed.contains_key(&(source.to_owned(), system)),
        }
    }

    fn has_file(&self, file: &ArchivedFile) -> bool {
        match self {
            Self::Needed(needed) => needed
                .get(&(file.source.clone(), file.system))
                .is_some_and(|unneeded| !unneeded.iter().any(|range| range.covers(file.file))),
            _ => self.has_archive(&file.source, file.system),
        }
    }
}

pub(super) fn copy(
    context: &Context<'_>,
    from: &Repository,
    into: &mut Repository,
    logs: &Logs,
    dry_run: bool,
) -> anyhow::Result<Outcome> {
    if matches!(logs, Logs::None) {
        return Ok(Outcome::Done);
    }
    let options = LogCopyOptions { wants: &|file| logs.has_file(file), dry_run };
    let report = into.copy_logs_from(from, &options, &context.terminal)?;
    context.terminal.finish();
    if context.global.json {
        context.json(&json!({
            "type": "copy_logs", "copied": report.copied, "bytes": report.bytes, "were_here": report.were_here,
            "expired_here": report.expired_here, "damaged": report.damaged.len(), "differ": report.differ.len(), "dry_run": dry_run,
        }));
    } else if report.copied + report.were_here > 0 {
        let would = if dry_run { "would copy" } else { "copied" };
        let (copied, bytes) = (report.copied, render::bytes(report.bytes));
        line!("{would} {copied} files of logs ({bytes}); {} are here already", report.were_here);
    }
    let is_whole = report.damaged.is_empty() && report.differ.is_empty();
    Ok(if is_whole { Outcome::Done } else { Outcome::Code(DAMAGE) })
}

/// Expires here what was expired there.
pub(super) fn expire(
    context: &Context<'_>,
    from: &Repository,
    into: &mut Repository,
    logs: &Logs,
    dry_run: bool,
) -> anyhow::Result<()> {
    let touched = into.expire_logs_as(from, &|source, system| logs.has_archive(source, system), dry_run)?;
    if touched > 0 && !context.global.json {
        let would = if dry_run { "would expire" } else { "expired" };
        line!("{would} of {touched} logs what the other repository has expired");
    }
    Ok(())
}
