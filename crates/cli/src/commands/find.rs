//! `find`: entries by name, in all snapshots.

use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;
use strongroom_repository::tree::EntryCursor;

use super::ls;
use super::patterns::Patterns;
use crate::arguments::Find;
use crate::context::Context;
use crate::exit::Outcome;
use crate::render;

pub(crate) fn run(context: &Context<'_>, arguments: &Find) -> anyhow::Result<Outcome> {
    let repository = context.open_with_index()?;
    let patterns = Patterns::new(&arguments.pattern, arguments.ignore_case)?;
    let snapshots: Vec<&Snapshot> = if arguments.snapshot.is_empty() {
        repository.snapshots().iter().collect()
    } else {
        arguments.snapshot.iter().map(|id| context.select(&repository, id)).collect::<Result<_, _>>()?
    };
    let reader = Reader::new(&repository);
    let mut found = 0_u64;
    for snapshot in snapshots {
        let mut cursor = EntryCursor::new(&reader, &snapshot.manifest.tree)?;
        while let Some(entry) = cursor.next_entry()? {
            if !patterns.matches_itself(&entry.path) {
                continue;
            }
            found += 1;
            if context.global.json {
                let mut value = ls::to_json(&entry);
                value["snapshot"] = snapshot.id().to_hex().into();
                context.json(&value);
            } else {
                let time = entry
                    .metadata
                    .as_ref()
                    .map_or_else(|| " ".repeat(19), |m| render::time_ms(m.mtime_ns.div_euclid(1_000_000)));
                crate::output::line!(
                    "{} {} {:>12} {time} /{}",
                    snapshot.id().short(),
                    render::time_ms(snapshot.time_ms()),
                    entry.bytes(),
                    entry.path
                );
            }
        }
    }
    context.terminal.say(&format!("{found} found"));
    Ok(Outcome::Done)
}
