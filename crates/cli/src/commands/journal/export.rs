//! `journal export`: one JSON object an entry.

use serde_json::{Map, Value, json};
use strongroom_format::entry::{PackRef, Statement};
use strongroom_format::manifest::{Manifest, SnapshotBody};
use strongroom_format::policy::Policy;
use strongroom_format::registry::EntryKind;
use strongroom_format::wal_file::Segment;
use strongroom_format::{KeyId, SnapshotId};
use strongroom_repository::check::{ExportedEntry, Verdict};

use crate::context::Context;
use crate::exit::Outcome;
use crate::render;

pub(crate) fn run(context: &Context<'_>, from: u64) -> anyhow::Result<Outcome> {
    let repository = context.open_afresh()?;
    repository.export_journal(from, &context.terminal, &mut |entry| context.json(&to_json(entry)))?;
    Ok(Outcome::Done)
}

fn to_json(entry: &ExportedEntry) -> Value {
    let (verdict, reason) = match &entry.verdict {
        Verdict::Counts => ("counts", None),
        Verdict::Void(reason) => ("void", Some(reason)),
        Verdict::Damaged(reason) => ("damaged", Some(reason)),
    };
    let mut line = json!({
        "type": "entry", "number": entry.number, "verdict": verdict, "reason": reason,
        "time": entry.time_ms.map(|time| render::rfc3339_ms(i64::try_from(time).unwrap_or(i64::MAX))),
        "kind": entry.statement.as_ref().map(|statement| kind(statement.kind())),
        "signer": entry.signer.map(|signer| signer.to_hex()), "signer_name": entry.signer_name, "signed": entry.is_signed,
        "hash": entry.hash.map(|hash| hash.to_hex()), "chain": entry.chain.to_hex(),
    });
    let says = entry.statement.as_ref().map(|statement| says(statement, entry.snapshot));
    line["says"] = says.map_or(Value::Null, Value::Object);
    line
}

fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Policy => "policy",
        EntryKind::Snapshot => "snapshot",
        EntryKind::Forget => "forget",
        EntryKind::Reindex => "reindex",
        EntryKind::Retire => "retire",
        EntryKind::Expire => "expire",
        EntryKind::Attested => "attested",
        EntryKind::Verified => "verified",
        EntryKind::Tag => "tag",
        EntryKind::Hold => "hold",
        EntryKind::Note => "note",
        EntryKind::Reinstate => "reinstate",
    }
}

fn says(statement: &Statement, id: Option<SnapshotId>) -> Map<String, Value> {
    let value = match statement {
        Statement::Policy(body) => policy(&body.policy),
        Statement::Snapshot(body) => snapshot(body, id),
        Statement::Forget(body) => json!({ "snapshots": ids(&body.snapshots), "why": body.reason }),
        Statement::Reindex(body) => json!({ "added": body.added.len(), "removed": body.removed.len() }),
        Statement::Retire(body) => json!({
            "packs_retired": body.retired.len(), "keys_retired": body.retired_keys.iter().map(KeyId::to_hex).collect::<Vec<_>>(),
            "packs": body.packs.len(), "pack_bytes": bytes(&body.packs), "index_objects": body.indexes.len(),
        }),
        Statement::Expire(body) => {
            let ranges = body.ranges.iter().map(|range| {
                let name = |place| Segment { timeline: range.timeline, place }.to_string();
                json!({ "first": name(range.first), "last": name(range.last) })
            });
            json!({
                "source": body.source, "system_identifier": body.system.to_string(), "segments": ranges.collect::<Vec<_>>(),
                "why": body.reason,
            })
        }
        Statement::Attested(packs) => json!({ "packs": packs.len() }),
        Statement::Tag(body) => {
            json!({ "snapshot": body.snapshot.to_hex(), "added": body.add, "removed": body.remove })
        }
        Statement::Hold(body) => {
            json!({ "snapshots": ids(&body.snapshots), "name": body.name, "on": body.is_on, "why": body.reason })
        }
        Statement::Note(body) => json!({
            "event": body.event, "snapshot": body.snapshot.map(|id| id.to_hex()), "client_time": render::rfc3339_ns(body.time_ns),
            "detail": serde_json::from_str::<Value>(&body.detail).unwrap_or_else(|_| Value::String(body.detail.clone())),
        }),
    };
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn policy(encoded: &[u8]) -> Value {
    let Ok(policy) = Policy::decode(encoded) else { return json!({}) };
    let signers: Vec<_> = policy
        .signers
        .iter()
        .map(|signer| json!({ "id": signer.id.to_hex(), "name": signer.name, "roles": signer.roles.names().collect::<Vec<_>>(), "sources": signer.sources }))
        .collect();
    let recipients: Vec<_> = policy
        .recipients
        .iter()
        .map(|recipient| json!({ "id": recipient.id.to_hex(), "label": recipient.label }))
        .collect();
    json!({
        "sequence": policy.sequence, "signers": signers, "recipients": recipients, "metadata_key": policy.metadata.id.to_hex(),
        "snapshots_forgotten": ids(&policy.forgotten), "settled": policy.settled,
    })
}

fn snapshot(body: &SnapshotBody, id: Option<SnapshotId>) -> Value {
    let stored = json!({
        "snapshot": id.map(|id| id.to_hex()), "packs": body.packs.len(), "pack_bytes": bytes(&body.packs),
        "index_objects": body.indexes.len(), "data_keys": body.keys.iter().map(|key| key.id.to_hex()).collect::<Vec<_>>(),
    });
    let Ok(manifest) = Manifest::decode(&body.manifest) else { return stored };
    let totals = &manifest.totals;
    let mut value = json!({
        "source": manifest.source, "host": manifest.host, "user": manifest.user, "engine": manifest.engine, "tool": manifest.tool,
        "parent": manifest.parent.map(|parent| parent.to_hex()), "started": render::rfc3339_ns(manifest.started_ns),
        "finished": render::rfc3339_ns(manifest.finished_ns), "files": totals.files, "bytes": totals.bytes, "new_bytes": totals.new_bytes,
        "stored_bytes": totals.stored_bytes, "unreadable": totals.unreadable, "tags": manifest.tags,
        "copy_of": manifest.origin.map(|origin| json!({
            "repository": origin.repository.to_hex(), "snapshot": origin.snapshot.to_hex(), "time": render::rfc3339_ms(origin.time_ms.try_into().unwrap_or(i64::MAX)),
        })),
    });
    if let (Value::Object(value), Value::Object(stored)) = (&mut value, stored) {
        value.extend(stored);
    }
    value
}

fn ids(snapshots: &[SnapshotId]) -> Vec<String> {
    snapshots.iter().map(SnapshotId::to_hex).collect()
}

fn bytes(packs: &[PackRef]) -> u64 {
    packs.iter().fold(0, |sum, pack| sum.saturating_add(pack.length))
}
