//! `repair index`: the index anew, out of packs alone.

use serde_json::json;

use crate::context::{Context, host_name};
use crate::exit::{DAMAGE, Outcome};
use crate::output::line;

pub(super) fn run(context: &Context<'_>, all: bool, dry_run: bool) -> anyhow::Result<Outcome> {
    let mut repository = context.open()?;
    let report = repository.repair_index(all, dry_run, &context.terminal)?;
    context.terminal.finish();
    let would = if dry_run { "would be replaced" } else { "replaced" };
    let names = |names: &[strongroom_store::ObjectName]| -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    };
    let object = json!({
        "type": "repair-index", "objects": report.objects, "damaged": names(&report.damaged), "described": report.described,
        "unreadable": names(&report.unreadable), "dry_run": dry_run,
    });
    if context.global.json {
        context.json(&object);
    } else if report.is_whole() {
        line!("{} index objects are whole: there is nothing to do", report.objects);
    } else {
        for name in &report.damaged {
            line!("{name}: damaged, {would}");
        }
        for name in &report.unreadable {
            line!("LOST: {name}: nothing says what it holds");
        }
        let are = if dry_run { "would be" } else { "are" };
        line!("{} packs {are} described anew, by what they say of themselves", report.described);
    }
    if !dry_run && !report.is_whole() {
        let detail = json!({
            "host": host_name(), "damaged": report.damaged.len(), "described": report.described, "unreadable": report.unreadable.len(),
        });
        context.note(&mut repository, "repair-index", None, &detail);
    }
    Ok(if report.unreadable.is_empty() { Outcome::Done } else { Outcome::Code(DAMAGE) })
}
