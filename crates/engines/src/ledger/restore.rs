//! `restore --drop-existing`: a ledger in the place of the one that is there.

use std::path::{Path, PathBuf};

use strongroom_format::path::EntryPath;
use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use super::error::LedgerError;
use super::exchange::{Exchange, Leftover};
use super::facts::Facts;
use super::in_use::refuse_if_in_use;
use super::kept::{UNTOUCHED, keep};
use crate::engine::EngineError;
use crate::files::{DirectoryTarget, FilesReport, Filter, RestoreOptions, TargetOptions, restore};

/// What to restore, and over what.
pub struct InPlace<'a> {
    /// The data directory.
    pub target: &'a Path,
    /// What is restored; of all else what is there is kept.
    pub filter: Option<&'a dyn Filter>,
    /// How.
    pub options: TargetOptions,
    /// Threads.
    pub workers: usize,
}

/// What was done.
#[derive(Debug)]
pub struct Restored {
    /// What came out of the snapshot.
    pub report: FilesReport,
    /// Files of the old directory that are in the new one.
    pub kept: u64,
    /// What an earlier restore had left.
    pub leftover: Option<Leftover>,
}

/// Restores a ledger beside its target, and exchanges both.
///
/// # Errors
/// `InUse`, `Restoring`, `NotWhole`, `Place`; what reading the snapshot fails with. The target is then as it was, unless the
/// error says otherwise.
pub fn restore_in_place(
    reader: &Reader<'_>,
    snapshot: &Snapshot,
    in_place: &InPlace<'_>,
    monitor: &dyn Monitor,
) -> Result<Restored, EngineError> {
    let facts = Facts::of(reader, snapshot)?;
    let target = resolved(in_place.target)?;
    let exchange = Exchange::begin(&target)?;
    let leftover = exchange.recover()?;
    if let Some(leftover) = &leftover {
        monitor.warn(&told(leftover, &target));
    }
    if target.exists() {
        refuse_if_in_use(&target)?;
    }
    let made = make(reader, snapshot, in_place, &facts, (&exchange, &target), monitor);
    let (report, kept) = made.inspect_err(|_| {
        // The next restore deletes it, if that fails.
        let _ = exchange.clean();
    })?;
    exchange.exchange()?;
    if let Err(error) = exchange.clean() {
        monitor.warn(&format!("{} is restored; {error}", target.display()));
    }
    Ok(Restored { report, kept, leftover })
}

/// Makes the new directory, up to where only the exchange is missing.
fn make(
    reader: &Reader<'_>,
    snapshot: &Snapshot,
    in_place: &InPlace<'_>,
    facts: &Facts,
    (exchange, target): (&Exchange, &Path),
    monitor: &dyn Monitor,
) -> Result<(FilesReport, u64), EngineError> {
    let options =
        RestoreOptions { filter: in_place.filter, subtree: Some(root_of(facts)?), workers: in_place.workers };
    let new = DirectoryTarget::open(&exchange.new, in_place.options)?;
    let report = restore(reader, snapshot, &new, &options, monitor).map_err(|error| match error {
        RepositoryError::Write { source } => EngineError::Ledger(LedgerError::Place {
            operation: "write",
            path: exchange.new.clone(),
            state: UNTOUCHED,
            source,
        }),
        error => error.into(),
    })?;
    drop(new);
    if let Some(first) = report.troubles.first() {
        let path = first.path.as_ref().map_or(String::new(), |path| format!("/{path}: "));
        return Err(LedgerError::NotWhole {
            troubles: report.troubles.len() as u64 + report.more_troubles,
            first: format!("{path}{}", first.message),
            is_damage: report.troubles.iter().any(|trouble| trouble.is_damage),
        }
        .into());
    }
    let mut kept = 0;
    if target.exists() {
        kept = keep(target, &exchange.new, &facts.root, in_place.filter)?;
        // A node may have been started meanwhile.
        refuse_if_in_use(target)?;
    }
    if monitor.is_cancelled() {
        return Err(RepositoryError::Interrupted.into());
    }
    exchange.prepare(&snapshot.id().to_hex())?;
    Ok((report, kept))
}

/// Where the data directory is in the snapshot.
pub(super) fn root_of(facts: &Facts) -> Result<EntryPath, LedgerError> {
    let path = EntryPath::new(facts.root.trim_start_matches('/'));
    path.map_err(|error| LedgerError::Facts { what: error.to_string() })
}

/// Absolute and without symbolic links, whether it is there or not.
fn resolved(target: &Path) -> Result<PathBuf, LedgerError> {
    let of_root = |source| LedgerError::Root { path: target.to_owned(), source };
    let absolute = std::path::absolute(target).map_err(of_root)?;
    if let Ok(found) = absolute.canonicalize() {
        return Ok(found);
    }
    let (Some(above), Some(name)) = (absolute.parent(), absolute.file_name()) else { return Ok(absolute) };
    std::fs::create_dir_all(above).map_err(of_root)?;
    Ok(above.canonicalize().map_err(of_root)?.join(name))
}

fn told(leftover: &Leftover, target: &Path) -> String {
    let target = target.display();
    match leftover {
        Leftover::Unfinished => {
            format!(
                "an earlier restore did not end: {target} was still the old directory; what it left is deleted"
            )
        }
        Leftover::Finished { snapshot } => format!(
            "an earlier restore, of snapshot {snapshot}, had put its directory in place: {target} was the new one; what it left of the old one is deleted"
        ),
    }
}
