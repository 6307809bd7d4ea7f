//! `snapshots`: the list.

use std::collections::BTreeMap;

use serde_json::json;
use strongroom_engines::ledger::{ENGINE as LEDGER, Facts};
use strongroom_format::checkpoint::Hold;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use crate::arguments::Snapshots;
use crate::context::Context;
use crate::exit::Outcome;
use crate::render;

pub(crate) fn run(context: &Context<'_>, arguments: &Snapshots) -> anyhow::Result<Outcome> {
    let mut repository = context.open()?;
    // Their heights are in their facts.
    let has_heights = repository.snapshots().iter().any(|s| s.manifest.engine == LEDGER);
    if has_heights {
        repository = context.with_index(repository)?;
    }
    let reader = Reader::new(&repository);
    let height_of = |s: &Snapshot| {
        let is_ledger = s.manifest.engine == LEDGER;
        is_ledger.then(|| Facts::of(&reader, s).ok()?.height).flatten()
    };
    let wanted = |s: &&Snapshot| {
        arguments.source.as_ref().is_none_or(|source| s.manifest.source == *source)
            && arguments.host.as_ref().is_none_or(|host| s.manifest.host == *host)
            && (arguments.tag.is_empty() || arguments.tag.iter().any(|tag| s.state.tags.contains(tag)))
    };
    let mut shown: Vec<&Snapshot> = repository.snapshots().iter().filter(wanted).collect();
    if let Some(latest) = arguments.latest {
        let mut left = BTreeMap::new();
        shown.reverse();
        shown.retain(|s| {
            let count = left.entry((&s.manifest.host, &s.manifest.source)).or_insert(latest);
            let keep = *count > 0;
            *count = count.saturating_sub(1);
            keep
        });
        shown.reverse();
    }
    if context.global.json {
        for snapshot in shown {
            let mut told = to_json(snapshot);
            if let Some(height) = height_of(snapshot) {
                told["height"] = height.into();
            }
            context.json(&told);
        }
        return Ok(Outcome::Done);
    }
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|s| {
            let totals = &s.manifest.totals;
            let mut tags = s.state.tags.join(",");
            if totals.unreadable > 0 {
                tags = format!("{tags} (partial)").trim().to_owned();
            }
            if !s.state.holds.is_empty() {
                tags = format!("{tags} (held)").trim().to_owned();
            }
            let mut row = vec![
                s.id().short(),
                render::time_ms(s.time_ms()),
                render::safe(&s.manifest.host),
                render::safe(&s.manifest.source),
                s.manifest.engine.clone(),
                totals.files.to_string(),
                render::bytes(totals.bytes),
                render::bytes(totals.stored_bytes),
            ];
            if has_heights {
                row.push(height_of(s).map_or(String::new(), |height| height.to_string()));
            }
            row.push(render::safe(&tags));
            row
        })
        .collect();
    let mut header = vec!["ID", "TIME", "HOST", "SOURCE", "ENGINE", "FILES", "SIZE", "STORED", "TAGS"];
    if has_heights {
        header.insert(8, "HEIGHT");
    }
    crate::output::text!("{}", render::table(&header, &[5, 6, 7, 8][..header.len() - 6], &rows));
    context.terminal.say(&format!("{} snapshot{}", rows.len(), if rows.len() == 1 { "" } else { "s" }));
    Ok(Outcome::Done)
}

/// A snapshot for machines.
pub(crate) fn to_json(snapshot: &Snapshot) -> serde_json::Value {
    let manifest = &snapshot.manifest;
    let totals = &manifest.totals;
    let hold = |hold: &Hold| json!({ "name": hold.name, "entry": hold.number });
    let holds: Vec<_> = snapshot.state.holds.iter().map(hold).collect();
    json!({
        "type": "snapshot", "id": snapshot.id().to_hex(), "time": render::rfc3339_ms(snapshot.time_ms()), "source": manifest.source,
        "host": manifest.host, "user": manifest.user, "engine": manifest.engine, "tool": manifest.tool,
        "started": render::rfc3339_ns(manifest.started_ns), "finished": render::rfc3339_ns(manifest.finished_ns),
        "parent": manifest.parent.map(|parent| parent.to_hex()), "generation": manifest.generation, "entry": snapshot.state.number,
        "signer": snapshot.state.signer.to_hex(), "entries": totals.entries, "files": totals.files, "bytes": totals.bytes,
        "new_bytes": totals.new_bytes, "stored_bytes": totals.stored_bytes, "unreadable": totals.unreadable, "tags": snapshot.state.tags,
        "holds": holds,
    })
}
