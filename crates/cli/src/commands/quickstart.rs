//! `quickstart`: the main job, on embedded defaults.

use std::path::Path;

use serde_json::json;
use strongroom_ops::{Day, quickstart};

use crate::context::{Context, TOOL, host_name, workers};
use crate::exit::{DAMAGE, Outcome};
use crate::render;

pub(crate) fn run(context: &Context<'_>, dir: Option<&Path>) -> anyhow::Result<Outcome> {
    let folder = match dir {
        Some(dir) => std::path::absolute(dir)?,
        None => std::env::temp_dir().join(format!("strongroom-quickstart-{}", std::process::id())),
    };
    let json = context.global.json;
    context.terminal.say("three daily snapshots of a ledger (SQLite) that grows by 1% a day ...");
    let mut number = 0;
    let mut told = |day: &Day| {
        number += 1;
        if json {
            context.json(&json!({ "type": "day", "day": number, "snapshot": day.snapshot.to_hex(), "blocks": day.blocks, "bytes": day.bytes, "new_bytes": day.new_bytes, "stored_bytes": day.stored_bytes }));
        } else {
            crate::output::line!(
                "day {number}: snapshot {}  {} blocks, {}; {} new, stored {}",
                day.snapshot.short(),
                day.blocks,
                render::bytes(day.bytes),
                render::bytes(day.new_bytes),
                render::bytes(day.stored_bytes)
            );
        }
    };
    let report = quickstart(&folder, &host_name(), TOOL, workers(None), &context.terminal, &mut told)?;
    let clean = report.check.is_clean();
    if json {
        context.json(&json!({
            "type": "quickstart", "folder": report.folder, "repository": report.repository, "key_file": report.key_file, "fingerprint": report.fingerprint,
            "restored": report.restored.to_hex(), "compared_bytes": report.compared_bytes, "check_clean": clean,
        }));
    } else {
        crate::output::line!(
            "restored snapshot {}: {} compared byte for byte, the same",
            report.restored.short(),
            render::bytes(report.compared_bytes)
        );
        super::check::show(context, &report.check);
    }
    context.terminal.say(&format!("\nall of it is in {}; look around:", report.folder.display()));
    context.terminal.say(&format!(
        "  export STRONGROOM_REPO={} STRONGROOM_KEY_FILE={}",
        report.repository.display(),
        report.key_file.display()
    ));
    context.terminal.say(&format!(
        "  strongroom snapshots; strongroom ls -l {}; strongroom stats",
        report.restored.short()
    ));
    Ok(if clean { Outcome::Done } else { Outcome::Code(DAMAGE) })
}
