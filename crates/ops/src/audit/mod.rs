//! The audit trail: the journal told as who did what, where, when, to what, and how it ended. A pure fold over its entries, those too
//! that do not count: an auditor asks for them first.
//!
//! Who acted is told twice. The signer is proven: each entry is signed by a key that the policy lists. The user, the host and who
//! called `sudo` are what the acting host said of itself.

mod note;
mod policy;
mod record;
mod statement;

use std::collections::HashMap;

use jiff::Timestamp;
use strongroom_format::SnapshotId;
use strongroom_format::entry::Statement;
use strongroom_format::manifest::Manifest;
use strongroom_format::policy::Policy;
use strongroom_repository::check::{ExportedEntry, Verdict};

pub use self::note::{COMMAND, Command, DRILL, Drill, DrillResult, redact};
pub use self::record::{Kind, Record, Selection, Verdict as Outcome};

/// What earlier entries tell of later ones.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    sources: HashMap<SnapshotId, String>,
    policy: Option<Policy>,
}

impl Trail {
    /// What an entry tells; entries come in the order of the journal, all of them.
    pub fn record(&mut self, entry: &ExportedEntry) -> Record {
        let time = entry.time_ms.and_then(|ms| i64::try_from(ms).ok());
        let mut record = Record {
            entry: entry.number,
            time: time.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            signer: entry.signer.map(|signer| signer.to_hex()),
            signer_name: entry.signer_name.clone(),
            hash: entry.hash.map(|hash| hash.to_hex()),
            chain: entry.chain.to_hex(),
            ..Record::default()
        };
        if let Some(statement) = &entry.statement {
            self.statement(&mut record, statement, entry.snapshot);
        }
        match &entry.verdict {
            Verdict::Counts => self.remember(entry),
            Verdict::Void(why) => record.is_not(Outcome::Void, why),
            Verdict::Damaged(why) => record.is_not(Outcome::Unreadable, why),
        }
        record
    }

    fn remember(&mut self, entry: &ExportedEntry) {
        match (&entry.statement, entry.snapshot) {
            (Some(Statement::Snapshot(body)), Some(id)) => {
                if let Ok(manifest) = Manifest::decode(&body.manifest) {
                    self.sources.insert(id, manifest.source);
                }
            }
            (Some(Statement::Policy(body)), _) => self.policy = Policy::decode(&body.policy).ok(),
            _ => {}
        }
    }

    /// Snapshots, for people and by their sources.
    fn snapshots(&self, record: &mut Record, ids: &[SnapshotId]) {
        for id in ids {
            record.snapshots.push(id.to_hex());
            if let Some(source) = self.sources.get(id)
                && !record.sources.contains(source)
            {
                record.sources.push(source.clone());
            }
        }
        record.object = match ids {
            [] => String::new(),
            [one] => format!("snapshot {}", one.short()),
            several => format!("{} snapshots", several.len()),
        };
        if !record.sources.is_empty() {
            record.object = format!("{} of {}", record.object, record.sources.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use strongroom_format::entry::{ForgetBody, NoteBody};
    use strongroom_format::{ContentHash, WriterId};

    use super::*;

    fn entry(number: u64, statement: Statement) -> ExportedEntry {
        ExportedEntry {
            number,
            time_ms: Some(1_800_000_000_000 + number * 1000),
            hash: Some(ContentHash([1; 32])),
            chain: ContentHash([2; 32]),
            verdict: Verdict::Counts,
            signer: Some(WriterId([3; 16])),
            signer_name: Some("db1".into()),
            is_signed: true,
            statement: Some(statement),
            snapshot: None,
        }
    }

    fn note(event: &str, snapshot: Option<SnapshotId>, detail: &str) -> Statement {
        Statement::Note(NoteBody { event: event.into(), snapshot, time_ns: 0, detail: detail.into() })
    }

    #[test]
    fn notes_say_who_did_what_and_how_it_ended() {
        let mut trail = Trail::default();
        let id = SnapshotId([7; 32]);
        trail.sources.insert(id, "shop".into());
        let began = r#"{"host":"db1","user":"root","sudo_user":"eve","operation":"77","target":"/tmp/x"}"#;
        let record = trail.record(&entry(5, note("restore-began", Some(id), began)));
        assert_eq!((record.kind, record.what.as_str()), (Kind::Restore, "restore"));
        assert_eq!(record.result, Outcome::Began);
        assert_eq!(record.object, "snapshot 07070707 of shop into /tmp/x");
        assert_eq!((record.user.as_deref(), record.sudo_user.as_deref()), (Some("root"), Some("eve")));
        assert_eq!(record.sources, ["shop"]);
        for (event, detail, kind, result) in [
            ("restore", r#"{"troubles":2}"#, Kind::Restore, Outcome::Partly),
            ("restore", r#"{"troubles":0}"#, Kind::Restore, Outcome::Done),
            ("restore-failed", r#"{"error":"no route"}"#, Kind::Restore, Outcome::Failed),
            ("verify", r#"{"result":"differs"}"#, Kind::Verify, Outcome::Damage),
            ("check", r#"{"clean":false}"#, Kind::Check, Outcome::Damage),
            ("check", r#"{"clean":true}"#, Kind::Check, Outcome::Done),
            ("backup-failed", r#"{"source":"x"}"#, Kind::Backup, Outcome::Failed),
            ("run-ended", r#"{"work":"backup","result":"skipped"}"#, Kind::Run, Outcome::Skipped),
            ("command", r#"{"command":"key","action":"rotate"}"#, Kind::Key, Outcome::Done),
            ("copy-out-began", "{}", Kind::Copy, Outcome::Began),
            ("repair-packs", "{}", Kind::Repair, Outcome::Done),
            ("something else", "no JSON", Kind::Other, Outcome::Done),
        ] {
            let record = trail.record(&entry(6, note(event, None, detail)));
            assert_eq!((record.kind, record.result), (kind, result), "{event} {detail}");
        }
    }

    #[test]
    fn what_does_not_count_is_told_and_teaches_nothing() {
        let mut trail = Trail::default();
        let forget =
            Statement::Forget(ForgetBody { snapshots: vec![SnapshotId([7; 32])], reason: "old".into() });
        let void = ExportedEntry { verdict: Verdict::Void("not its role".into()), ..entry(5, forget) };
        let record = trail.record(&void);
        assert_eq!((record.kind, record.result), (Kind::Forget, Outcome::Void));
        assert_eq!(record.error.as_deref(), Some("not its role"));
        let lost = ExportedEntry { verdict: Verdict::Damaged("is missing".into()), statement: None, ..void };
        let record = trail.record(&lost);
        assert_eq!(record.result, Outcome::Unreadable);
        let of_keys = Selection { kinds: vec![Kind::Key], ..Selection::default() };
        assert!(of_keys.wants(&record), "nobody knows what it was about");
    }

    #[test]
    fn only_what_is_asked_for_is_wanted() {
        let record = Trail::default().record(&entry(5, note("restore", None, r#"{"source":"shop"}"#)));
        let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).ok();
        let all = Selection::default();
        assert!(all.wants(&record));
        for (selection, is_wanted) in [
            (Selection { since: at(5), until: at(5), ..all.clone() }, true),
            (Selection { since: at(6), ..all.clone() }, false),
            (Selection { until: at(4), ..all.clone() }, false),
            (Selection { sources: vec!["shop".into()], ..all.clone() }, true),
            (Selection { sources: vec!["other".into()], ..all.clone() }, false),
            (Selection { kinds: vec![Kind::Restore, Kind::Key], ..all.clone() }, true),
            (Selection { kinds: vec![Kind::Key], ..all }, false),
        ] {
            assert_eq!(selection.wants(&record), is_wanted, "{selection:?}");
        }
    }
}
