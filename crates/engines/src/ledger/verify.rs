//! `verify`: a ledger is restored into a folder of its own, and compared with what was noted of it.

use std::path::Path;
use std::time::Instant;

use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use super::chain::{self, Blocks, Tip};
use super::error::LedgerError;
use super::facts::{ChainFacts, Facts, SqliteFacts, StoreFacts};
use super::lsm::store::pin;
use super::node_metadata;
use super::restore::root_of;
use super::sqlite::{self, of_sqlite, open_copy};
use crate::engine::EngineError;
use crate::files::{DirectoryTarget, RestoreOptions, TargetOptions, restore};
use crate::verdict::Verdict;

/// Restores below `scratch`, and looks at all of it: a verdict a database, one for the files, and one for the chain.
///
/// # Errors
/// `Facts`, `Read` where no test could even begin; what reading the snapshot fails with.
pub fn verify(
    reader: &Reader<'_>,
    snapshot: &Snapshot,
    scratch: &Path,
    monitor: &dyn Monitor,
    workers: usize,
) -> Result<Vec<Verdict>, EngineError> {
    let facts = Facts::of(reader, snapshot)?;
    let broken = |source| LedgerError::Read { path: scratch.to_owned(), source };
    let folder = tempfile::Builder::new().prefix("strongroom-verify-").tempdir_in(scratch).map_err(broken)?;
    let root = folder.path().join("data");
    let began = Instant::now();
    let target = DirectoryTarget::open(&root, TargetOptions { owner: false, ..TargetOptions::default() })?;
    let options = RestoreOptions { filter: None, subtree: Some(root_of(&facts)?), workers };
    let report = restore(reader, snapshot, &target, &options, monitor)?;
    let mut files = Verdict {
        name: "the files".into(),
        bytes: report.bytes,
        counts: vec![("files", report.files)],
        seconds: began.elapsed().as_secs_f64(),
        differences: Vec::new(),
    };
    for trouble in &report.troubles {
        let path = trouble.path.as_ref().map_or(String::new(), |path| format!("/{path}: "));
        files.differences.push(format!("{path}{}", trouble.message));
    }
    if let Some(then) = &facts.metadata
        && let Ok(bytes) = std::fs::read(root.join(&then.path))
        && node_metadata::parse(then.path.clone(), &bytes) != *then
    {
        files.differences.push(format!("{} says something else", then.path));
    }
    let mut verdicts = vec![files];
    for database in &facts.sqlite {
        if monitor.is_cancelled() {
            return Err(RepositoryError::Interrupted.into());
        }
        verdicts.push(of_database(&root, database));
    }
    verdicts.extend(facts.stores.iter().map(|store| of_store(&root, store)));
    if let Some(chain) = &facts.chain {
        let tip = Tip { height: facts.height, head: facts.head.clone() };
        verdicts.push(of_chain(&root, chain, &tip));
    }
    Ok(verdicts)
}

fn verdict(name: String, bytes: u64) -> Verdict {
    Verdict { name, bytes, counts: Vec::new(), seconds: 0.0, differences: Vec::new() }
}

fn of_database(root: &Path, facts: &SqliteFacts) -> Verdict {
    let path = root.join(&facts.path);
    let mut verdict = verdict(facts.path.clone(), facts.bytes);
    let look = || -> Result<_, LedgerError> {
        let connection = open_copy(&path)?;
        let wrong = |error| of_sqlite(&path, error);
        let damage = sqlite::check(&connection, "integrity_check").map_err(wrong)?;
        Ok((damage, sqlite::rows(&connection).map_err(wrong)?))
    };
    match look() {
        Ok((damage, tables)) => {
            verdict.counts =
                vec![("tables", tables.len() as u64), ("rows", tables.values().copied().sum::<u64>())];
            verdict.differences.extend(damage);
            for (name, rows) in &facts.tables {
                match tables.get(name) {
                    Some(found) if found == rows => {}
                    Some(found) => {
                        verdict.differences.push(format!("table {name} has {found} rows and not {rows}"));
                    }
                    None => verdict.differences.push(format!("table {name} is missing")),
                }
            }
        }
        Err(error) => verdict.differences.push(in_words(&error)),
    }
    verdict
}

fn of_store(root: &Path, facts: &StoreFacts) -> Verdict {
    let folder = if facts.path.is_empty() { root.to_owned() } else { root.join(&facts.path) };
    let name = if facts.path.is_empty() { facts.kind.clone() } else { facts.path.clone() };
    let mut verdict = verdict(name, facts.bytes + facts.log_bytes);
    match pin(&folder, facts.path.clone(), &mut |_| None) {
        Ok(Some(store)) => {
            verdict.counts = vec![("tables", store.facts.tables), ("blobs", store.facts.blobs)];
            if store.facts != *facts {
                verdict.differences.push(format!("it is {:?} and was {facts:?}", store.facts));
            }
        }
        Ok(None) => verdict.differences.push("it has no manifest".into()),
        Err(error) => verdict.differences.push(in_words(&error)),
    }
    verdict
}

/// All links, and not the last ones only.
fn of_chain(root: &Path, facts: &ChainFacts, tip: &Tip) -> Verdict {
    let path = root.join(&facts.database);
    let mut verdict = verdict(format!("the chain in {}", facts.database), 0);
    let look = || -> Result<_, LedgerError> {
        let connection = open_copy(&path)?;
        let wrong = |error| of_sqlite(&path, error);
        let blocks = Blocks::of(facts);
        let found = match (&facts.query, &blocks) {
            (Some(query), _) => chain::tip(&connection, query).map_err(wrong)?,
            (None, Some(blocks)) => blocks.tip(&connection).map_err(wrong)?,
            (None, None) => tip.clone(),
        };
        let links = blocks.map(|blocks| blocks.links(&connection, None)).transpose().map_err(wrong)?;
        Ok((found, links))
    };
    match look() {
        Ok((found, links)) => {
            verdict.counts.extend(found.height.map(|height| ("height", height)));
            if found != *tip {
                let in_words = |tip: &Tip| {
                    let height = tip.height.map_or("none".into(), |height| height.to_string());
                    format!("{height} ({})", tip.head.as_deref().unwrap_or("no head"))
                };
                verdict.differences.push(format!(
                    "the height is {} and was {}",
                    in_words(&found),
                    in_words(tip)
                ));
            }
            if let Some(links) = links {
                verdict.counts.push(("links", links.checked));
                verdict.differences.extend(links.named.iter().map(ToString::to_string));
                if links.broken > links.named.len() as u64 {
                    verdict.differences.push(format!("{} links are broken in all", links.broken));
                }
            }
        }
        Err(error) => verdict.differences.push(in_words(&error)),
    }
    verdict
}

fn in_words(error: &LedgerError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
