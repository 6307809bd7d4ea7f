//! `stats`: what the repository holds.

use serde_json::json;

use crate::context::Context;
use crate::exit::Outcome;
use crate::render;

pub(crate) fn run(context: &Context<'_>) -> anyhow::Result<Outcome> {
    let repository = context.open_with_index()?;
    let s = repository.statistics()?;
    let stored = s.data_bytes + s.metadata_bytes + s.index_bytes;
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let ratio = |a: u64, b: u64| if b == 0 { 1.0 } else { a as f64 / b as f64 };
    if context.global.json {
        context.json(&json!({
            "type": "stats", "fingerprint": repository.fingerprint(), "snapshots": s.snapshots, "sources": s.sources, "logical_bytes": s.logical_bytes,
            "unique_bytes": s.unique_bytes, "chunks": s.chunks, "frame_bytes": s.frame_bytes, "stored_bytes": stored, "data_packs": s.data_packs,
            "data_bytes": s.data_bytes, "metadata_packs": s.metadata_packs, "metadata_bytes": s.metadata_bytes, "index_objects": s.index_objects,
            "index_bytes": s.index_bytes, "parts": s.parts, "part_bytes": s.part_bytes, "journal_entries": s.journal_entries, "deduplication": ratio(s.logical_bytes, s.unique_bytes),
            "compression": ratio(s.unique_bytes, s.frame_bytes),
        }));
        return Ok(Outcome::Done);
    }
    let lines = [
        ("repository", repository.location()),
        ("fingerprint", repository.fingerprint()),
        ("snapshots", format!("{} of {} sources", s.snapshots, s.sources)),
        ("restored size", render::bytes(s.logical_bytes)),
        (
            "unique data",
            format!(
                "{} in {} chunks (deduplication {:.2}x)",
                render::bytes(s.unique_bytes),
                s.chunks,
                ratio(s.logical_bytes, s.unique_bytes)
            ),
        ),
        (
            "compressed to",
            format!("{} ({:.2}x)", render::bytes(s.frame_bytes), ratio(s.unique_bytes, s.frame_bytes)),
        ),
        ("stored", render::bytes(stored)),
        ("data packs", format!("{} ({})", s.data_packs, render::bytes(s.data_bytes))),
        ("metadata packs", format!("{} ({})", s.metadata_packs, render::bytes(s.metadata_bytes))),
        ("index objects", format!("{} ({})", s.index_objects, render::bytes(s.index_bytes))),
        ("parts", format!("{} of groups ({})", s.parts, render::bytes(s.part_bytes))),
        ("journal", format!("{} entries", s.journal_entries)),
    ];
    for (name, value) in lines {
        crate::output::line!("{name:<16}{value}");
    }
    Ok(Outcome::Done)
}
