//! What entries that do not count would have changed, as far as that can be known: a void one says it itself, of one that
//! is missing or damaged a checkpoint behind it may tell.

use std::collections::BTreeSet;

use strongroom_format::SnapshotId;
use strongroom_format::checkpoint::Hold;
use strongroom_format::entry::{HoldBody, PolicyBody, Statement};
use strongroom_format::manifest::Manifest;
use strongroom_format::policy::Policy;
use strongroom_keys::derive::Identity;

use crate::entries::ReadEntry;
use crate::state::{Snapshot, State};

/// IDs that are named; more are counted.
const NAMED: usize = 8;
/// Characters that are shown of what a signer wrote.
const SHOWN_CHARACTERS: usize = 200;

/// What a void entry would have changed, and who signed it.
pub(super) fn would_have(read: &ReadEntry, identity: &Identity) -> String {
    let id = read.signer.short();
    let signer = match (&read.signer_name, read.is_signed) {
        (Some(name), true) => format!("signed by {} ({id})", shown(name)),
        (Some(name), false) => format!("as if signed by {} ({id}), who did not sign it", shown(name)),
        (None, _) => format!("signed by {id}, whom no policy lists"),
    };
    match &read.entry {
        Some(entry) => format!("it would have {}, {signer}", says(&entry.statement, identity)),
        None => format!("what it says cannot be read, {signer}"),
    }
}

fn says(statement: &Statement, identity: &Identity) -> String {
    match statement {
        Statement::Policy(body) => put_in_force(body),
        Statement::Snapshot(body) => match Manifest::decode(&body.manifest) {
            Ok(manifest) => {
                let id = identity.snapshot_id(&body.manifest).short();
                format!(
                    "added snapshot {id} of {} of host {}",
                    shown(&manifest.source),
                    shown(&manifest.host)
                )
            }
            Err(_) => "added a snapshot whose manifest cannot be read".into(),
        },
        Statement::Forget(body) => {
            format!("forgotten {} ({})", snapshots(&body.snapshots), shown(&body.reason))
        }
        Statement::Reindex(body) => {
            format!("put {} index objects in place of {}", body.added.len(), body.removed.len())
        }
        Statement::Retire(body) => {
            format!(
                "retired {} packs and {} data keys, and brought {} packs",
                body.retired.len(),
                body.retired_keys.len(),
                body.packs.len()
            )
        }
        Statement::Expire(body) => format!(
            "expired {} ranges of the log of {}, system {} ({})",
            body.ranges.len(),
            shown(&body.source),
            body.system,
            shown(&body.reason)
        ),
        Statement::Attested(packs) => format!("attested {} packs", packs.len()),
        Statement::Tag(body) => {
            let (add, remove) = (body.add.join(","), body.remove.join(","));
            format!("tagged snapshot {}: +{} -{}", body.snapshot.short(), shown(&add), shown(&remove))
        }
        Statement::Hold(body) => held(body),
        Statement::Note(body) => format!("noted `{}`", shown(&body.event)),
    }
}

fn put_in_force(body: &PolicyBody) -> String {
    let Ok(policy) = Policy::decode(&body.policy) else {
        return "put a policy in force that cannot be read".into();
    };
    let signers: Vec<_> = policy.signers.iter().map(|signer| signer.name.as_str()).collect();
    let mut text =
        format!("put policy {} in force, with the signers {}", policy.sequence, shown(&signers.join(", ")));
    if !policy.forgotten.is_empty() {
        text = format!("{text}, and forgotten {}", snapshots(&policy.forgotten));
    }
    text
}

fn held(body: &HoldBody) -> String {
    let (name, snapshots) = (shown(&body.name), snapshots(&body.snapshots));
    if body.is_on {
        format!("put the hold {name} on {snapshots} ({})", shown(&body.reason))
    } else {
        format!("taken the hold {name} off {snapshots} ({})", shown(&body.reason))
    }
}

/// What a damaged entry said, by a later state that a maintainer signed while it was whole: `found`, where folding what is
/// there gives `folded`.
pub(super) fn by_checkpoint(number: u64, folded: &State, found: &State) -> String {
    let at = found.number;
    let mut said = brought_at(found, |other| other == number);
    if let Some(void) = found.voids.iter().find(|void| void.number == number) {
        said.push(format!("it was void: {}", shown(&void.reason)));
    }
    if !said.is_empty() {
        return format!("by the checkpoint of entry {at}: {}", said.join("; "));
    }
    let said = changed(folded, found);
    if said.is_empty() {
        format!("by the checkpoint of entry {at} it changed nothing that lasted")
    } else {
        format!(
            "the checkpoint of entry {at} has what no entry that is there says, and this one may have: {}",
            said.join("; ")
        )
    }
}

/// What a state behind the journal's end has that the journal does not say.
pub(super) fn behind_the_end(folded: &State, found: &State) -> Vec<String> {
    let mut said = brought_at(found, |number| number > folded.number);
    said.extend(changed(folded, found));
    said
}

/// What a state lays to certain entries.
fn brought_at(found: &State, is_meant: impl Fn(u64) -> bool) -> Vec<String> {
    let mut said = Vec::new();
    let brought: Vec<_> = found.snapshots.iter().filter(|one| is_meant(one.state.number)).collect();
    for snapshot in brought.iter().take(NAMED) {
        let (source, host) = (shown(&snapshot.manifest.source), shown(&snapshot.manifest.host));
        said.push(format!("it brought snapshot {} of {source} of host {host}", snapshot.id().short()));
    }
    if brought.len() > NAMED {
        said.push(format!("and {} snapshots more", brought.len() - NAMED));
    }
    for (number, _) in found.policies.iter().filter(|(number, _)| is_meant(*number)) {
        said.push(format!("it put a policy in force (entry {number})"));
    }
    let retired = found.retired.values().filter(|number| is_meant(**number)).count();
    if retired > 0 {
        said.push(format!("it retired {retired} packs"));
    }
    let keys = found.retired_keys.values().filter(|number| is_meant(**number)).count();
    if keys > 0 {
        said.push(format!("it retired {keys} data keys"));
    }
    let holds = |snapshot: &&Snapshot| snapshot.state.holds.iter().any(|hold| is_meant(hold.number));
    let held: Vec<_> = found.snapshots.iter().filter(holds).map(Snapshot::id).collect();
    if !held.is_empty() {
        said.push(format!("it put a hold on {}", snapshots(&held)));
    }
    said
}

/// What differs from one state to a later one, and that no state lays to an entry.
fn changed(folded: &State, found: &State) -> Vec<String> {
    let mut said = Vec::new();
    let there: BTreeSet<_> = found.snapshots.iter().map(Snapshot::id).collect();
    let mut gone: BTreeSet<_> = found.forgotten.difference(&folded.forgotten).copied().collect();
    gone.extend(folded.snapshots.iter().map(Snapshot::id).filter(|id| !there.contains(id)));
    if !gone.is_empty() {
        said.push(format!("{} forgotten", snapshots(&gone.into_iter().collect::<Vec<_>>())));
    }
    let (mut tagged, mut released) = (Vec::new(), Vec::new());
    for snapshot in &found.snapshots {
        let Some(known) = folded.snapshots.iter().find(|known| known.id() == snapshot.id()) else { continue };
        if known.state.tags != snapshot.state.tags {
            tagged.push(snapshot.id());
        }
        let is_gone = |hold: &Hold| snapshot.hold(&hold.name).is_none();
        if known.state.holds.iter().any(is_gone) {
            released.push(snapshot.id());
        }
    }
    if !tagged.is_empty() {
        said.push(format!("other tags of {}", snapshots(&tagged)));
    }
    if !released.is_empty() {
        said.push(format!("a hold taken off {}", snapshots(&released)));
    }
    let counts = [
        ("packs more", found.packs.keys().filter(|id| !folded.packs.contains_key(id)).count()),
        ("index objects more", found.indexes.keys().filter(|id| !folded.indexes.contains_key(id)).count()),
        ("index objects less", folded.indexes.keys().filter(|id| !found.indexes.contains_key(id)).count()),
        ("attested packs more", found.attested.keys().filter(|id| !folded.attested.contains_key(id)).count()),
    ];
    said.extend(counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")));
    said
}

fn snapshots(ids: &[SnapshotId]) -> String {
    let named: Vec<_> = ids.iter().take(NAMED).map(SnapshotId::short).collect();
    let (what, named) = (if ids.len() == 1 { "snapshot" } else { "snapshots" }, named.join(", "));
    match ids.len() {
        0 => "no snapshot".into(),
        count if count > NAMED => format!("{what} {named} and {} more", count - NAMED),
        _ => format!("{what} {named}"),
    }
}

/// The beginning of a text that somebody else wrote.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
