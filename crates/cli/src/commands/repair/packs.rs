//! `repair packs`: saves what is whole of damaged packs.

use serde_json::json;
use strongroom_format::PackId;
use strongroom_repository::repair::packs::{PacksOptions, PacksReport};

use crate::context::{Context, host_name};
use crate::exit::{DAMAGE, Outcome, Usage};
use crate::output::line;
use crate::render;

pub(super) fn run(
    context: &Context<'_>,
    packs: &[String],
    give_up_gone: bool,
    dry_run: bool,
) -> anyhow::Result<Outcome> {
    let packs = packs.iter().map(|text| pack_id(text)).collect::<Result<Vec<_>, _>>()?;
    let mut repository = context.open()?;
    let options = PacksOptions { packs, give_up_gone, readers: context.pack_readers(None), dry_run };
    let report = repository.repair_packs(&options, &context.terminal)?;
    context.terminal.finish();
    if context.global.json {
        json(context, &report, dry_run)
    } else {
        print(&report, &options)
    }
    if !dry_run && report.retired > 0 {
        let detail = json!({
            "host": host_name(), "retired": report.retired, "written": report.written, "lost_chunks": report.lost_chunks,
        });
        context.note(&mut repository, "repair-packs", None, &detail);
    }
    Ok(if report.damaged.is_empty() { Outcome::Done } else { Outcome::Code(DAMAGE) })
}

fn pack_id(text: &str) -> Result<PackId, Usage> {
    let digits = text.rsplit('/').next().unwrap_or(text);
    PackId::from_hex(digits)
        .ok_or_else(|| Usage(format!("`{text}` is no pack: give its 64 digits, or its name in the store")))
}

fn print(report: &PacksReport, options: &PacksOptions) {
    for pack in &report.damaged {
        let healed = if pack.is_healed { "; its parity heals it" } else { "" };
        line!("{}: {}{healed}; {} frames are whole, {} are lost", pack.name, pack.why, pack.whole, pack.lost);
    }
    if report.dependents > 0 {
        line!("{} whole frames of other packs cannot be opened without what is lost", report.dependents);
    }
    line!("read {} packs ({}), {} damaged", report.read, render::bytes(report.bytes), report.damaged.len());
    if report.damaged.is_empty() {
        return;
    }
    let done = if options.dry_run { "would be" } else { "are" };
    if report.retired > 0 {
        line!(
            "what is intact of {} packs {done} copied, and {} chunks are lost",
            report.retired,
            report.lost_chunks
        );
    }
    if !options.give_up_gone && report.damaged.iter().any(|pack| pack.is_gone) {
        line!("what is gone still counts, in case it is found again: --give-up-gone gives it up");
    }
    if report.retired > 0 && !options.dry_run {
        line!(
            "next: `strongroom repair snapshots` marks what is touched; a backup stores again what it finds missing"
        );
    }
}

fn json(context: &Context<'_>, report: &PacksReport, dry_run: bool) {
    for pack in &report.damaged {
        context.json(&json!({
            "type": "damaged", "object": pack.name.as_str(), "why": pack.why, "gone": pack.is_gone, "healed": pack.is_healed, "whole_frames": pack.whole,
            "lost_frames": pack.lost,
        }));
    }
    context.json(&json!({
        "type": "repair-packs", "read": report.read, "bytes": report.bytes, "damaged": report.damaged.len(),
        "dependent_frames": report.dependents, "lost_chunks": report.lost_chunks, "retired": report.retired,
        "written": report.written, "dry_run": dry_run,
    }));
}
