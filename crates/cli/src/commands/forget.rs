//! `forget`: takes snapshots out of the repository, for good.

use serde_json::json;

use crate::arguments::Forget;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::line;
use crate::render;

pub(crate) fn run(context: &Context<'_>, arguments: &Forget) -> anyhow::Result<Outcome> {
    let mut repository = context.open()?;
    let mut chosen = Vec::new();
    for text in &arguments.snapshots {
        let snapshot = context.select(&repository, text)?;
        if !chosen.iter().any(|(id, _)| *id == snapshot.id()) {
            chosen.push((snapshot.id(), snapshot.manifest.source.clone()));
        }
    }
    if !arguments.dry_run {
        let ids: Vec<_> = chosen.iter().map(|(id, _)| *id).collect();
        repository.forget(&ids, &arguments.reason)?;
    }
    for (id, source) in &chosen {
        if context.global.json {
            context.json(
                &json!({ "type": "forget", "snapshot": id.to_hex(), "source": source, "dry_run": arguments.dry_run }),
            );
        } else {
            let done = if arguments.dry_run { "would forget" } else { "forgot" };
            line!("{done} {} of {}", id.short(), render::safe(source));
        }
    }
    if !arguments.dry_run {
        context.terminal.say("what only they needed stays in the store until `strongroom prune`");
    }
    Ok(Outcome::Done)
}
