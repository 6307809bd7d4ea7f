//! `show`: all about one snapshot.

use serde_json::json;
use strongroom_repository::reader::Reader;

use super::snapshots::to_json;
use crate::arguments::Show;
use crate::context::Context;
use crate::exit::Outcome;
use crate::render;

pub(crate) fn run(context: &Context<'_>, arguments: &Show) -> anyhow::Result<Outcome> {
    let repository = context.open_with_index()?;
    let snapshot = context.select(&repository, &arguments.snapshot)?;
    let manifest = &snapshot.manifest;
    let facts = match &manifest.facts {
        Some(facts) => {
            Some(String::from_utf8_lossy(&Reader::new(&repository).blob(facts.node)?).into_owned())
        }
        None => None,
    };
    let streams: Vec<_> = manifest
        .streams
        .iter()
        .map(|s| json!({ "name": String::from_utf8_lossy(&s.name), "chunker": s.chunker.name(), "parameters": s.parameters, "bytes": s.bytes }))
        .collect();
    if context.global.json {
        let mut value = to_json(snapshot);
        value["streams"] = streams.into();
        value["arguments"] = manifest
            .arguments
            .iter()
            .map(|a| String::from_utf8_lossy(a).into_owned())
            .collect::<Vec<_>>()
            .into();
        value["facts"] = facts.map_or(serde_json::Value::Null, |facts| {
            serde_json::from_str(&facts).unwrap_or(serde_json::Value::String(facts))
        });
        value["data_keys"] = snapshot.state.keys.iter().map(|key| key.id.to_hex()).collect::<Vec<_>>().into();
        context.json(&value);
        return Ok(Outcome::Done);
    }
    let totals = &manifest.totals;
    let signer = repository
        .state()
        .policy
        .signer(snapshot.state.signer)
        .map_or("(not in the policy any more)", |signer| signer.name.as_str());
    let holds: Vec<_> = snapshot.state.holds.iter().map(|hold| hold.name.as_str()).collect();
    let mut lines = vec![
        ("snapshot", snapshot.id().to_hex()),
        ("source", render::safe(&manifest.source)),
        ("engine", manifest.engine.clone()),
        ("host", format!("{} (user {})", render::safe(&manifest.host), render::safe(&manifest.user))),
        ("time", render::time_ms(snapshot.time_ms())),
        ("started", render::time_ms(manifest.started_ns / 1_000_000)),
        ("finished", render::time_ms(manifest.finished_ns / 1_000_000)),
        ("parent", manifest.parent.map_or("none".into(), |parent| parent.short())),
        ("generation", manifest.generation.to_string()),
        ("entries", format!("{} ({})", totals.entries, render::files(totals.files))),
        ("size", format!("{} ({} bytes)", render::bytes(totals.bytes), totals.bytes)),
        ("new", render::bytes(totals.new_bytes)),
        ("stored", render::bytes(totals.stored_bytes)),
        ("unreadable", totals.unreadable.to_string()),
        ("tags", render::safe(&snapshot.state.tags.join(", "))),
        ("holds", render::safe(&holds.join(", "))),
        ("tool", render::safe(&manifest.tool)),
        ("journal entry", format!("{}, signed by {}", snapshot.state.number, render::safe(signer))),
    ];
    lines.extend(facts.map(|facts| ("facts", render::safe(&facts))));
    for (name, value) in lines {
        crate::output::line!("{name:<14}{value}");
    }
    Ok(Outcome::Done)
}
