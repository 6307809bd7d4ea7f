//! `prune`: frees what no snapshot needs.

use serde_json::json;
use strongroom_repository::prune::{Amount, PruneOptions};

use crate::arguments::Prune;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::line;
use crate::render;

pub(crate) fn run(context: &Context<'_>, arguments: &Prune) -> anyhow::Result<Outcome> {
    let mut repository = context.open()?;
    let options =
        PruneOptions { grace: arguments.grace, orphan_age: arguments.orphan_age, dry_run: arguments.dry_run };
    let report = repository.prune(&options, &context.terminal)?;
    context.terminal.finish();
    let amounts = [
        ("unneeded", "no snapshot needs", report.unneeded),
        ("leftovers", "of runs that did not finish", report.leftovers),
        ("deleted", "deleted", report.deleted),
        ("waiting", "retired, to be deleted when the grace has passed", report.waiting),
        ("young", "that may be of a run under way", report.young),
        ("locked", "retired, but locked by the store", report.locked),
        ("kept", "kept", report.kept),
    ];
    if context.global.json {
        let mut object = json!({ "type": "prune", "dry_run": arguments.dry_run });
        for (name, _, Amount { objects, bytes }) in amounts {
            object[name] = json!({ "objects": objects, "bytes": bytes });
        }
        context.json(&object);
        return Ok(Outcome::Done);
    }
    if arguments.dry_run {
        line!("nothing is changed; a prune now would come to this:");
    }
    for (_, what, Amount { objects, bytes }) in
        amounts.into_iter().filter(|(_, _, amount)| amount.objects > 0)
    {
        line!("{:>7} objects {:>10}  {what}", objects, render::bytes(bytes));
    }
    Ok(Outcome::Done)
}
