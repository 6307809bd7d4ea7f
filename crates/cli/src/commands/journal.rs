//! `journal`: looks after the journal, verifies it, and writes out what it says.

mod export;

use serde_json::json;
use strongroom_repository::RepositoryError;
use strongroom_repository::cache::remembered_head;
use strongroom_repository::check::{Expected, JournalHead, JournalReport, Severity};
use strongroom_repository::monitor::Monitor as _;

use super::check::{print, to_json};
use crate::arguments::JournalAction;
use crate::context::Context;
use crate::exit::{DAMAGE, Outcome};
use crate::output::line;
use crate::render;

pub(crate) fn run(context: &Context<'_>, action: &JournalAction) -> anyhow::Result<Outcome> {
    match action {
        JournalAction::Settle => settle(context),
        JournalAction::Verify { expect_head } => verify(context, *expect_head),
        JournalAction::Export { from, .. } => export::run(context, *from),
    }
}

fn settle(context: &Context<'_>) -> anyhow::Result<Outcome> {
    let mut repository = context.open()?;
    let last = repository.settle()?;
    if context.global.json {
        context.json(&json!({ "type": "settle", "entry": last }));
    } else {
        line!("settled up to entry {last}");
    }
    Ok(Outcome::Done)
}

fn verify(context: &Context<'_>, head: Option<JournalHead>) -> anyhow::Result<Outcome> {
    let repository = match context.open_afresh() {
        Ok(repository) => repository,
        // What to do about an `init` is no help here: there was a journal, whoever asks for it knows.
        Err(error) if is_without_first_entry(&error) && head.is_some() => {
            return Ok(say_empty(context, &error));
        }
        Err(error) => return Err(error),
    };
    // What this host remembers is no reason to believe anything, but one to raise the alarm.
    let folder = context.cache_folder();
    let remembered = folder.and_then(|folder| remembered_head(&folder, &repository.fingerprint()));
    context.terminal.begin("verifying", None);
    let report = repository.verify_journal(&Expected { head, remembered }, &context.terminal)?;
    context.terminal.finish();
    show(context, &report, head);
    Ok(if report.is_clean() { Outcome::Done } else { Outcome::Code(DAMAGE) })
}

fn is_without_first_entry(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(RepositoryError::UnfinishedInit { .. }))
}

fn say_empty(context: &Context<'_>, error: &anyhow::Error) -> Outcome {
    if context.global.json {
        context.json(&json!({ "type": "error", "message": error.to_string(), "exit_code": DAMAGE }));
    }
    context.terminal.warn(&format!("the journal has no first entry: {error}"));
    Outcome::Code(DAMAGE)
}

fn show(context: &Context<'_>, report: &JournalReport, expected: Option<JournalHead>) {
    for finding in &report.findings {
        if context.global.json { context.json(&to_json(finding)) } else { print(finding) }
    }
    let (head, checked) = (&report.head, &report.checked);
    if context.global.json {
        context.json(&json!({
            "type": "journal_verify", "clean": report.is_clean(), "findings": report.findings.len(), "head": head.to_string(),
            "entry": head.number, "chain": head.chain.to_hex(), "expected_head": expected.map(|head| head.to_string()),
            "entries": checked.entries, "checkpoints": checked.checkpoints,
        }));
        return;
    }
    line!("{head}");
    let wrong = report.findings.iter().filter(|finding| finding.severity != Severity::Info).count() as u64;
    let looked_at = format!("{} entries and {} checkpoints", checked.entries, checked.checkpoints);
    let goes_on = expected.map(|head| format!(", and it goes on from entry {} as noted", head.number));
    context.terminal.say(&match wrong {
        0 => format!(
            "verified {looked_at}: each is signed and follows the one before{}",
            goes_on.unwrap_or_default()
        ),
        wrong => format!(
            "{} in {looked_at}: the journal is NOT what it should be",
            render::count(wrong, "finding")
        ),
    });
}
