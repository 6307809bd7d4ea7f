//! Waiting for cold storage: hours, with a word now and then.

use std::time::Duration;

use anyhow::bail;
use serde_json::json;
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::thaw::NeededPacks;
use strongroom_repository::{Repository, RepositoryError};

use crate::arguments::Thaw;
use crate::context::Context;

const FIRST_LOOK: Duration = Duration::from_secs(1);
const LAST_LOOK: Duration = Duration::from_secs(60);
/// How often a signal is looked for meanwhile.
const NAP: Duration = Duration::from_millis(200);

/// Has packs thawed and waits until all can be read.
pub(crate) fn wait(
    context: &Context<'_>,
    repository: &Repository,
    packs: &NeededPacks,
    arguments: &Thaw,
) -> anyhow::Result<()> {
    let mut thawed = repository.thaw(packs, arguments.thaw_days)?;
    if thawed.is_ready() {
        return Ok(());
    }
    let cold = thawed.asked + thawed.thawing;
    context.terminal.say(&format!(
        "{cold} of {} packs are in cold storage ({} were asked for before): they are being thawed, for {} days. That takes 3 to 5 hours out of Glacier, and up to 12 out of Deep Archive.",
        packs.count(),
        thawed.thawing,
        arguments.thaw_days
    ));
    if context.global.json {
        context.json(&json!({ "type": "thaw", "packs": packs.count(), "cold": cold, "asked": thawed.asked }));
    }
    if arguments.no_wait {
        bail!("{cold} packs are in cold storage and were asked for: run this again when they are thawed");
    }
    context.terminal.say("Waiting. This may be interrupted and run again: what was asked for stays so.");
    let mut pause = FIRST_LOOK;
    while !thawed.is_ready() {
        let mut slept = Duration::ZERO;
        while slept < pause {
            if context.terminal.is_cancelled() {
                return Err(RepositoryError::Interrupted.into());
            }
            std::thread::sleep(NAP);
            slept += NAP;
        }
        pause = (pause * 2).min(LAST_LOOK);
        thawed = repository.thaw(packs, arguments.thaw_days)?;
    }
    context.terminal.say("All packs are thawed.");
    Ok(())
}
