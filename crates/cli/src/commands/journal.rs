//! `journal`: looks after the journal.

use serde_json::json;

use crate::arguments::JournalAction;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::line;

pub(crate) fn run(context: &Context<'_>, action: &JournalAction) -> anyhow::Result<Outcome> {
    let JournalAction::Settle = action;
    let mut repository = context.open()?;
    let last = repository.settle()?;
    if context.global.json {
        context.json(&json!({ "type": "settle", "entry": last }));
    } else {
        line!("settled up to entry {last}");
    }
    Ok(Outcome::Done)
}
