//! `diff`: what changed between two snapshots.

use serde_json::json;
use strongroom_repository::compare::{Difference, compare};
use strongroom_repository::reader::Reader;

use crate::arguments::Diff;
use crate::context::Context;
use crate::exit::Outcome;
use crate::render;

#[derive(Default)]
struct Counts {
    added: u64,
    removed: u64,
    changed: u64,
    metadata: u64,
    added_bytes: u64,
    removed_bytes: u64,
}

pub(crate) fn run(context: &Context<'_>, arguments: &Diff) -> anyhow::Result<Outcome> {
    let repository = context.open_with_index()?;
    let (first, second) =
        (context.select(&repository, &arguments.first)?, context.select(&repository, &arguments.second)?);
    let reader = Reader::new(&repository);
    let mut counts = Counts::default();
    compare(&reader, first, second, |difference| {
        let (sign, word, entry, before) = match &difference {
            Difference::Added(entry) => ('+', "added", entry, None),
            Difference::Removed(entry) => ('-', "removed", entry, Some(entry.bytes())),
            Difference::Changed(was, is) => ('M', "changed", is, Some(was.bytes())),
            Difference::Metadata(was, is) => ('U', "metadata", is, Some(was.bytes())),
        };
        match difference {
            Difference::Added(_) => {
                (counts.added, counts.added_bytes) = (counts.added + 1, counts.added_bytes + entry.bytes())
            }
            Difference::Removed(_) => {
                (counts.removed, counts.removed_bytes) =
                    (counts.removed + 1, counts.removed_bytes + entry.bytes())
            }
            Difference::Changed(..) => counts.changed += 1,
            Difference::Metadata(..) => counts.metadata += 1,
        }
        if sign == 'U' && !arguments.metadata {
            return;
        }
        if context.global.json {
            let after = (sign != '-').then(|| entry.bytes());
            context.json(&json!({ "type": "difference", "change": word, "path": render::path_json(&entry.path), "bytes_before": before, "bytes_after": after }));
        } else {
            crate::output::line!("{sign} /{}", entry.path);
        }
    })?;
    if context.global.json {
        context.json(&json!({
            "type": "summary", "first": first.id().to_hex(), "second": second.id().to_hex(), "added": counts.added, "removed": counts.removed,
            "changed": counts.changed, "metadata": counts.metadata, "added_bytes": counts.added_bytes, "removed_bytes": counts.removed_bytes,
        }));
    } else {
        context.terminal.say(&format!(
            "{} added ({}), {} removed ({}), {} changed, {} with other metadata only",
            counts.added,
            render::bytes(counts.added_bytes),
            counts.removed,
            render::bytes(counts.removed_bytes),
            counts.changed,
            counts.metadata
        ));
    }
    Ok(Outcome::Done)
}
