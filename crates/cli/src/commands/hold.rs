//! `hold`: keeps snapshots from being forgotten, and shows what is held.

use serde_json::json;
use strongroom_format::SnapshotId;
use strongroom_repository::Repository;
use strongroom_repository::holds::HeldSnapshot;

use crate::arguments::HoldAction;
use crate::context::Context;
use crate::exit::{Outcome, Usage};
use crate::output::line;
use crate::render;

pub(crate) fn run(context: &Context<'_>, action: &HoldAction) -> anyhow::Result<Outcome> {
    match action {
        HoldAction::Add { snapshots, source, name, reason } => {
            check_name(name)?;
            let mut repository = context.open()?;
            let (chosen, held) = match source {
                None => {
                    let chosen = select(context, &repository, snapshots)?;
                    let detail = json!({ "name": name, "snapshots": chosen.len() });
                    let held =
                        context.performed(&mut repository, ("hold", Some("add")), detail, |repository| {
                            Ok(repository.hold(&chosen, name, reason)?)
                        })?;
                    (chosen, held)
                }
                Some(source) => {
                    let detail = json!({ "name": name, "source": source });
                    let held =
                        context.performed(&mut repository, ("hold", Some("add")), detail, |repository| {
                            Ok(repository.hold_source(source, name, reason)?)
                        })?;
                    let of_source =
                        repository.snapshots().iter().filter(|snapshot| snapshot.manifest.source == *source);
                    (of_source.map(strongroom_repository::state::Snapshot::id).collect(), held)
                }
            };
            for id in chosen {
                say(context, id, name, true, held.contains(&id));
            }
        }
        HoldAction::Remove { snapshots, name, reason } => {
            let mut repository = context.open()?;
            let chosen = select(context, &repository, snapshots)?;
            let detail = json!({ "name": name, "snapshots": chosen.len() });
            context.performed(&mut repository, ("hold", Some("remove")), detail, |repository| {
                Ok(repository.release(&chosen, name, reason)?)
            })?;
            for id in chosen {
                say(context, id, name, false, true);
            }
        }
        HoldAction::List => list(context, &context.open()?.holds()?),
    }
    Ok(Outcome::Done)
}

fn check_name(name: &str) -> anyhow::Result<()> {
    if name.is_empty() || name.contains(',') || name.chars().any(char::is_control) {
        return Err(Usage("a hold's name is not empty and has no comma".into()).into());
    }
    Ok(())
}

fn select(
    context: &Context<'_>,
    repository: &Repository,
    snapshots: &[String],
) -> anyhow::Result<Vec<SnapshotId>> {
    let mut chosen = Vec::new();
    for text in snapshots {
        let id = context.select(repository, text)?.id();
        if !chosen.contains(&id) {
            chosen.push(id);
        }
    }
    Ok(chosen)
}

fn say(context: &Context<'_>, id: SnapshotId, name: &str, is_on: bool, changed: bool) {
    if context.global.json {
        context.json(
            &json!({ "type": "hold", "snapshot": id.to_hex(), "name": name, "on": is_on, "changed": changed }),
        );
        return;
    }
    let name = render::safe(name);
    match (is_on, changed) {
        (true, true) => line!("{} is under the hold {name}", id.short()),
        (true, false) => line!("{} is under the hold {name} already", id.short()),
        (false, _) => line!("{} is no longer under the hold {name}", id.short()),
    }
}

fn list(context: &Context<'_>, holds: &[HeldSnapshot]) {
    if context.global.json {
        for hold in holds {
            context.json(&to_json(hold));
        }
        return;
    }
    let rows: Vec<_> = holds.iter().map(row).collect();
    crate::output::text!(
        "{}",
        render::table(&["ID", "SOURCE", "HOST", "HOLD", "SINCE", "BY", "WHY"], &[], &rows)
    );
}

fn row(hold: &HeldSnapshot) -> Vec<String> {
    let unknown = || "?".to_owned();
    let told = hold.told.as_ref();
    vec![
        hold.snapshot.short(),
        render::safe(&hold.source),
        render::safe(&hold.host),
        render::safe(&hold.name),
        hold.time_ms.map_or_else(unknown, |time| render::time_ms(i64::try_from(time).unwrap_or(i64::MAX))),
        told.map_or_else(unknown, |told| render::safe(&told.signer_name)),
        told.map_or_else(unknown, |told| render::safe(&told.reason)),
    ]
}

fn to_json(hold: &HeldSnapshot) -> serde_json::Value {
    let told = hold.told.as_ref();
    json!({
        "type": "hold", "snapshot": hold.snapshot.to_hex(), "source": hold.source, "host": hold.host, "name": hold.name, "entry": hold.entry,
        "since": hold.time_ms.map(|time| render::rfc3339_ms(i64::try_from(time).unwrap_or(i64::MAX))),
        "signer": told.map(|told| told.signer.to_hex()), "signer_name": told.map(|told| &told.signer_name),
        "reason": told.map(|told| &told.reason),
    })
}
