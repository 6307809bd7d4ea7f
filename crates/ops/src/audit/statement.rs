//! What entries tell that are no notes.

use strongroom_format::entry::{ExpireBody, HoldBody, RetireBody, Statement};
use strongroom_format::manifest::{Manifest, SnapshotBody};
use strongroom_format::policy::Policy;
use strongroom_format::{KeyId, SnapshotId};

use super::record::{Kind, Record, Verdict};
use super::{Trail, policy};

impl Trail {
    pub(super) fn statement(&self, record: &mut Record, statement: &Statement, id: Option<SnapshotId>) {
        let (kind, what) = match statement {
            Statement::Policy(_) => (Kind::Key, "policy"),
            Statement::Snapshot(_) => (Kind::Backup, "snapshot"),
            Statement::Forget(_) => (Kind::Forget, "forget"),
            Statement::Reindex(_) => (Kind::Upkeep, "reindex"),
            Statement::Retire(_) => (Kind::Prune, "retire"),
            Statement::Expire(_) => (Kind::Log, "expire"),
            Statement::Attested(_) => (Kind::Upkeep, "attest"),
            Statement::Tag(_) => (Kind::Tag, "tag"),
            Statement::Hold(body) if body.is_on => (Kind::Hold, "hold"),
            Statement::Hold(_) => (Kind::Hold, "release"),
            Statement::Note(_) => (Kind::Other, "note"),
        };
        record.kind = kind;
        record.what = what.to_owned();
        match statement {
            Statement::Policy(body) => self.policy(record, &body.policy),
            Statement::Snapshot(body) => snapshot(record, body, id),
            Statement::Forget(body) => {
                self.snapshots(record, &body.snapshots);
                add_reason(record, &body.reason);
            }
            Statement::Reindex(body) => {
                record.object = format!("{} index objects for {}", body.added.len(), body.removed.len());
            }
            Statement::Retire(body) => retire(record, body),
            Statement::Expire(body) => expire(record, body),
            Statement::Attested(packs) => record.object = format!("{} packs", packs.len()),
            Statement::Tag(body) => {
                self.snapshots(record, &[body.snapshot]);
                let added = body.add.iter().map(|tag| format!("+{tag}"));
                record.changes = added.chain(body.remove.iter().map(|tag| format!("-{tag}"))).collect();
            }
            Statement::Hold(body) => self.hold(record, body),
            Statement::Note(body) => self.note(record, body),
        }
    }

    fn policy(&self, record: &mut Record, encoded: &[u8]) {
        match Policy::decode(encoded) {
            Ok(policy) => {
                record.object = format!("policy {}", policy.sequence);
                record.changes = policy::changes(self.policy.as_ref(), &policy);
            }
            Err(error) => record.is_not(Verdict::Unreadable, &error.to_string()),
        }
    }

    fn hold(&self, record: &mut Record, body: &HoldBody) {
        self.snapshots(record, &body.snapshots);
        record.object = format!("{}: {}", record.object, body.name);
        add_reason(record, &body.reason);
    }
}

fn snapshot(record: &mut Record, body: &SnapshotBody, id: Option<SnapshotId>) {
    record.keys_created = hex(body.keys.iter().map(|key| key.id));
    record.snapshots = id.iter().map(SnapshotId::to_hex).collect();
    let Ok(manifest) = Manifest::decode(&body.manifest) else { return };
    let short = id.map(|id| id.short()).unwrap_or_default();
    record.object = format!("snapshot {short} of {}", manifest.source);
    record.host = Some(manifest.host);
    record.user = Some(manifest.user);
    record.sources = vec![manifest.source];
    if manifest.totals.unreadable > 0 {
        record.result = Verdict::Partly;
    }
    if manifest.origin.is_some() {
        record.kind = Kind::Copy;
        record.what = "copy".to_owned();
    }
}

fn retire(record: &mut Record, body: &RetireBody) {
    record.object = format!("{} packs", body.retired.len());
    record.keys_created = hex(body.keys.iter().map(|key| key.id));
    record.keys_retired = hex(body.retired_keys.iter().copied());
    if !body.retired_keys.is_empty() {
        record.changes.push(format!("{} data keys retired", body.retired_keys.len()));
    }
}

fn expire(record: &mut Record, body: &ExpireBody) {
    record.object = format!("{} ranges of the log of {}", body.ranges.len(), body.source);
    record.sources = vec![body.source.clone()];
    add_reason(record, &body.reason);
}

fn add_reason(record: &mut Record, reason: &str) {
    if !reason.is_empty() {
        record.object = format!("{} ({reason})", record.object);
    }
}

fn hex(keys: impl Iterator<Item = KeyId>) -> Vec<String> {
    keys.map(|key| key.to_hex()).collect()
}
