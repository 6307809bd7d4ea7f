//! `repair versions`: brings back what was overwritten or deleted.

use serde_json::json;
use strongroom_repository::repair::versions::{VersionsReport, repair_opening};

use crate::context::Context;
use crate::exit::{DAMAGE, Outcome};
use crate::output::line;

pub(super) fn run(context: &Context<'_>, dry_run: bool) -> anyhow::Result<Outcome> {
    // What opening itself needs comes first, and needs no key.
    let store = context.store_at(|url, options| Ok(url.open(options)?))?;
    let mut report = repair_opening(&*store, dry_run, &context.terminal)?;
    tell(context, &report, dry_run);
    let rest = context.open()?.repair_versions(dry_run, &context.terminal)?;
    context.terminal.finish();
    tell(context, &rest, dry_run);
    report.checked += rest.checked;
    report.restored.extend(rest.restored);
    report.lost.extend(rest.lost);
    if context.global.json {
        context.json(&json!({
            "type": "repair", "checked": report.checked, "restored": report.restored.len(), "lost": report.lost.len(), "dry_run": dry_run,
        }));
    } else {
        line!(
            "looked at {} objects, {} {}, {} lost",
            report.checked,
            done(dry_run),
            report.restored.len(),
            report.lost.len()
        );
    }
    Ok(if report.lost.is_empty() { Outcome::Done } else { Outcome::Code(DAMAGE) })
}

fn tell(context: &Context<'_>, report: &VersionsReport, dry_run: bool) {
    for (name, version) in &report.restored {
        if context.global.json {
            context.json(&json!({ "type": "repaired", "object": name.as_str(), "version": version, "dry_run": dry_run }));
        } else {
            line!("{} {name} (version {version})", done(dry_run));
        }
    }
    for name in &report.lost {
        if context.global.json {
            context.json(&json!({ "type": "lost", "object": name.as_str() }));
        } else {
            line!("LOST: {name}: no version of it is whole");
        }
    }
}

fn done(dry_run: bool) -> &'static str {
    if dry_run { "would bring back" } else { "brought back" }
}
