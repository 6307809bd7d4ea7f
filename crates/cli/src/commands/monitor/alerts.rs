//! `--alerts`: tells all channels of the configuration what is new.

use std::path::Path;

use jiff::Timestamp;
use strongroom_ops::config::Config;
use strongroom_ops::notify::{self, SENT, Sent};
use strongroom_ops::status::{Finding, Kind, Status};
use strongroom_repository::Repository;
use strongroom_repository::monitor::Monitor as _;

use crate::context::Context;
use crate::{clock, exit};

/// What this host told while the repository could not be opened, below the folder of its state.
const WITHOUT_ACCESS: &str = "alerts.json";

/// Tells them; what was told is noted in the journal. Whether each that was to be told was.
pub(super) fn tell(
    context: &Context<'_>,
    config: &Config,
    status: &Status,
    repository: &mut Repository,
) -> anyhow::Result<bool> {
    let mut sent = status.sent.clone();
    let told = all(context, config, &status.findings, &mut sent, status.now)?;
    if sent != status.sent {
        context.note(repository, SENT, None, &serde_json::to_value(&sent)?);
    }
    // It can be opened again: what was told of that is over.
    let file = context.state_folder()?.join(WITHOUT_ACCESS);
    if let Some(mut known) = read(&file) {
        let over = all(context, config, &[], &mut known, status.now)?;
        if over {
            std::fs::remove_file(&file)?;
        }
        return Ok(told && over);
    }
    Ok(told)
}

/// Tells them that the repository cannot be opened; the journal cannot note it.
pub(super) fn tell_no_access(
    context: &Context<'_>,
    config: &Config,
    error: &anyhow::Error,
) -> anyhow::Result<()> {
    let (what, _) = exit::describe(error);
    let kind = Kind::NoAccess;
    let finding = Finding {
        kind,
        severity: kind.severity(),
        source: None,
        since: None,
        what: format!("the repository cannot be opened: {what}"),
    };
    let folder = context.state_folder()?;
    let file = folder.join(WITHOUT_ACCESS);
    let before = read(&file).unwrap_or_default();
    let mut sent = before.clone();
    all(context, config, &[finding], &mut sent, clock::now())?;
    if sent != before {
        std::fs::create_dir_all(&folder)?;
        std::fs::write(&file, serde_json::to_vec(&sent)?)?;
    }
    Ok(())
}

fn read(file: &Path) -> Option<Sent> {
    std::fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
}

fn all(
    context: &Context<'_>,
    config: &Config,
    findings: &[Finding],
    sent: &mut Sent,
    now: Timestamp,
) -> anyhow::Result<bool> {
    let repository = context.url()?.to_string();
    let mut all_told = true;
    if config.notify.is_empty() {
        context.terminal.warn("the configuration names nobody to tell: it has no [notify.NAME]");
    }
    for (name, channel) in &config.notify {
        match notify::tell(name, channel, findings, &repository, sent, now) {
            Ok(true) => context.terminal.say(&format!("{name} was told")),
            Ok(false) => {}
            Err(error) => {
                all_told = false;
                let (what, _) = exit::describe(&anyhow::Error::new(error));
                context.terminal.warn(&format!("{name} was not told, and is next time: {what}"));
            }
        }
    }
    Ok(all_told)
}
