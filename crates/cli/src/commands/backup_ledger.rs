//! `backup ledger`.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use serde_json::{Value, json};
use strongroom_engines::files::Excludes;
use strongroom_engines::ledger::{ChainOptions, Facts, IntegrityCheck, Ledger, LedgerError};

use super::backup::{self, Told};
use crate::arguments::{BackupLedger, Integrity};
use crate::context::Context;
use crate::exit::{Outcome, Usage};

pub(super) fn run(context: &Context<'_>, arguments: &BackupLedger) -> anyhow::Result<Outcome> {
    let root = canonical(&arguments.path)?;
    if !root.is_dir() {
        return Err(Usage(format!("{} is no folder: back up the folder it lies in", root.display())).into());
    }
    let file = |path: &Option<PathBuf>| path.as_deref().map(canonical).transpose();
    let engine = Ledger {
        excludes: Excludes::new(&arguments.exclude, &[])?,
        metadata: file(&arguments.metadata)?,
        chain: ChainOptions {
            database: file(&arguments.chain_db)?,
            height_query: arguments.height_query.clone(),
            table: arguments.blocks_table.clone(),
            columns: arguments.link_columns.clone().map(|columns| columns.0),
            links: arguments.verify_links,
        },
        integrity_check: match arguments.integrity_check {
            Integrity::Full => IntegrityCheck::Full,
            Integrity::Quick => IntegrityCheck::Quick,
            Integrity::None => IntegrityCheck::None,
        },
        require_one_moment: arguments.require_one_moment,
        lock_timeout: arguments.lock_timeout,
        told: Mutex::new(None),
        root,
    };
    let source = engine.root.display().to_string();
    let asked = vec![engine.root.as_os_str().as_bytes().to_vec()];
    let told =
        || engine.told.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(tell).unwrap_or_default();
    backup::run_and_tell(context, &engine, &arguments.common, &source, asked, arguments.force, &told)
        .context("no snapshot was made")
}

fn canonical(path: &Path) -> anyhow::Result<PathBuf> {
    let found = path.canonicalize();
    Ok(found.map_err(|source| LedgerError::Root { path: path.to_owned(), source })?)
}

/// What is told of a snapshot besides what is told of all.
fn tell(facts: &Facts) -> Told {
    let links = facts.chain.as_ref().and_then(|chain| chain.links.as_ref());
    let moment = &facts.moment;
    let damaged: Vec<&str> = facts
        .sqlite
        .iter()
        .filter(|database| !database.damage.is_empty())
        .map(|database| database.path.as_str())
        .collect();
    let json = json!({
        "height": facts.height, "head": facts.head, "height_from": facts.height_from, "one_moment": moment.one,
        "moment": moment, "sqlite": facts.sqlite.len(), "stores": facts.stores.len(), "damaged": damaged,
        "links": links.map(|links| json!({ "checked": links.checked, "broken": links.broken })),
    });
    let height = facts.height.map_or("height unknown".into(), |height| format!("height {height}"));
    let head = facts.head.as_ref().map_or(String::new(), |head| format!(" ({head})"));
    let links = links.map_or(String::new(), |links| match links.broken {
        0 => format!(", {} links hold", links.checked),
        broken => format!(", {broken} of {} links are BROKEN", links.checked),
    });
    let moment = if moment.one { ", as of one moment" } else { ", NOT of one moment" };
    Told {
        json: Value::from_iter([("ledger", json)]),
        line: Some(format!("{height}{head}{links}{moment}")),
        has_findings: facts.has_findings(),
    }
}
