//! `prune`: frees what no snapshot needs.

use serde_json::json;
use strongroom_repository::Repository;
use strongroom_repository::prune::{Amount, PruneOptions, PruneReport};

use crate::arguments::Prune;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::line;
use crate::render;

/// Days of a month, as storage is billed.
const MONTH_DAYS: f64 = 30.0;

pub(crate) fn run(context: &Context<'_>, arguments: &Prune) -> anyhow::Result<Outcome> {
    let mut repository = context.open()?;
    let options = PruneOptions {
        grace: arguments.grace,
        orphan_age: arguments.orphan_age,
        max_unused: arguments.max_unused,
        max_repack: arguments.max_repack.unwrap_or(u64::MAX),
        workers: context.readers(None),
        uploads: context.uploads(),
        dry_run: arguments.dry_run,
    };
    let prune = |repository: &mut Repository| Ok(repository.prune(&options, &context.terminal)?);
    let report = match arguments.dry_run {
        true => prune(&mut repository)?,
        false => context.performed(&mut repository, ("prune", None), json!({}), prune)?,
    };
    context.terminal.finish();
    let amounts = [
        ("unneeded", "no snapshot needs", report.unneeded),
        ("copied", "little is needed of: that is copied, the rest goes", report.copied),
        ("written", "hold what was copied", report.written),
        ("leftovers", "of runs that did not finish", report.leftovers),
        ("deleted", "deleted", report.deleted),
        ("parts", "parts of groups that were as old, deleted as well", report.parts),
        ("waiting", "retired, to be deleted when the grace has passed", report.waiting),
        ("expired", "of logs expired, and deleted", report.expired),
        ("expiring", "of logs expired, to be deleted when the grace has passed", report.expiring),
        ("young", "that may be of a run under way", report.young),
        ("locked", "retired, but locked by the store", report.locked),
        ("kept", "kept", report.kept),
    ];
    if context.global.json {
        let mut object = to_json(&report, arguments.dry_run);
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
    if report.retired_keys > 0 {
        line!("{:>7} data keys           that nothing is sealed under any more", report.retired_keys);
    }
    if report.freed_bytes() > 0 {
        line!("frees {}, once all that is retired is deleted", render::bytes(report.freed_bytes()));
    }
    if arguments.dry_run {
        costs(&report);
    }
    Ok(Outcome::Done)
}

fn costs(report: &PruneReport) {
    let cost = &report.cost;
    line!(
        "requests: {} PUT, {} GET, {} DELETE for packs and index objects",
        cost.puts,
        cost.gets,
        cost.deletes
    );
    if cost.early.objects > 0 {
        line!(
            "deleted early: {} objects, {}, are billed for {:.3} GiB-months more by their storage class",
            cost.early.objects,
            render::bytes(cost.early.bytes),
            gib_months(report)
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn gib_months(report: &PruneReport) -> f64 {
    report.cost.early_byte_days as f64 / MONTH_DAYS / f64::from(1 << 30)
}

fn to_json(report: &PruneReport, dry_run: bool) -> serde_json::Value {
    let cost = &report.cost;
    json!({
        "type": "prune",
        "dry_run": dry_run,
        "freed_bytes": report.freed_bytes(),
        "retired_keys": report.retired_keys,
        "deleted_keys": report.deleted_keys,
        "cost": {
            "puts": cost.puts,
            "gets": cost.gets,
            "deletes": cost.deletes,
            "early_deletions": { "objects": cost.early.objects, "bytes": cost.early.bytes },
            "early_gib_months": gib_months(report),
        },
    })
}
