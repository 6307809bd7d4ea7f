//! `audit`: who did what, where and when, and how it ended.

use std::cell::Cell;

use strongroom_ops::audit::{Outcome as Ended, Record, Selection, Trail};

use crate::arguments::Audit;
use crate::context::Context;
use crate::exit::{DAMAGE, Outcome};
use crate::output::line;
use crate::render;

/// Digits of a chain that people see.
const SHORT: usize = 16;

pub(crate) fn run(context: &Context<'_>, arguments: &Audit) -> anyhow::Result<Outcome> {
    let selection = Selection {
        since: arguments.since,
        until: arguments.until,
        sources: arguments.source.clone(),
        kinds: arguments.kind.iter().map(|kind| kind.0).collect(),
    };
    // Not what this host remembers of the journal: what is stored.
    let repository = context.open_afresh()?;
    let mut trail = Trail::default();
    let is_damaged = Cell::new(false);
    if !context.global.json {
        line!("{:<19}  {:>6}  {:<10}  {:<28}  {:<16}  WHAT", "TIME", "ENTRY", "RESULT", "WHO", "CHAIN");
    }
    repository.export_journal(0, &context.terminal, &mut |entry| {
        let record = trail.record(entry);
        if !selection.wants(&record) {
            return;
        }
        is_damaged.set(is_damaged.get() || record.result == Ended::Unreadable);
        match context.global.json {
            true => {
                let mut told = serde_json::to_value(&record).unwrap_or_default();
                told["type"] = "audit".into();
                context.json(&told);
            }
            false => tell(&record),
        }
    })?;
    Ok(if is_damaged.get() { Outcome::Code(DAMAGE) } else { Outcome::Done })
}

fn tell(record: &Record) {
    let time = record.time.map_or_else(|| "?".into(), |time| render::time_ms(time.as_millisecond()));
    let signer = record.signer_name.as_deref().unwrap_or("?");
    let sudo = record.sudo_user.as_ref().map(|user| format!(" ({user})")).unwrap_or_default();
    let who = match (&record.user, &record.host) {
        (Some(user), Some(host)) if host == signer => format!("{user}@{host}{sudo}"),
        (Some(user), Some(host)) => format!("{user}@{host}{sudo} [{signer}]"),
        _ => format!("[{signer}]"),
    };
    let mut what = format!("{} {}", record.what, record.object);
    for change in &record.changes {
        what = format!("{what}; {change}");
    }
    if let Some(error) = &record.error {
        what = format!("{what}: {error}");
    }
    line!(
        "{time:<19}  {:>6}  {:<10}  {:<28}  {:<16}  {}",
        record.entry,
        record.result.name(),
        render::safe(&who),
        &record.chain[..SHORT.min(record.chain.len())],
        render::safe(what.trim())
    );
}
