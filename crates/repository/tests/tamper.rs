//! Evidence of tampering: what verifying the journal finds, names and holds against a head that was noted elsewhere.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use strongroom_format::entry::{ForgetBody, JournalEntry, NoteBody, Statement};
use strongroom_format::registry::Roles;
use strongroom_format::{ContentHash, SnapshotId};
use strongroom_keys::derive::content_hash;
use strongroom_repository::check::{
    Expected, ExportedEntry, Finding, FindingKind, JournalHead, JournalReport, Severity, Verdict,
};
use strongroom_repository::monitor::Silent;
use strongroom_store::{MemoryStore, Store};
use support::*;

struct Fixture {
    memory: Arc<MemoryStore>,
    store: Arc<dyn Store>,
    /// Entries 1 to 3; 4 and 5 are notes.
    ids: Vec<SnapshotId>,
}

impl Fixture {
    fn new() -> Self {
        let (memory, store) = memory();
        new_repository(&store);
        let day = |number: u64| files([("dump", number.to_le_bytes().to_vec())]);
        let ids = (0..3).map(|number| backup(&mut open(&store), "db", &day(number)).id).collect();
        for event in ["first", "second"] {
            open(&store).note(event, None, "{}").unwrap();
        }
        Self { memory, store, ids }
    }

    fn verify(&self, head: Option<JournalHead>) -> JournalReport {
        let expected = Expected { head, remembered: None };
        open(&self.store).verify_journal(&expected, &Silent).unwrap()
    }

    /// As it is now, where nothing is wrong.
    fn head(&self) -> JournalHead {
        let report = self.verify(None);
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        report.head
    }

    fn delete(&self, number: u64) {
        self.memory.delete(&entry_name(number)).unwrap();
    }

    fn export(&self, from: u64) -> Vec<ExportedEntry> {
        let mut entries = Vec::new();
        open(&self.store).export_journal(from, &Silent, &mut |entry| entries.push(entry.clone())).unwrap();
        entries
    }
}

/// The only finding of this kind about an entry.
fn finding(report: &JournalReport, kind: FindingKind, number: u64) -> &Finding {
    let object = entry_name(number).to_string();
    let found: Vec<_> =
        report.findings.iter().filter(|one| one.kind == kind && one.object == object).collect();
    assert_eq!(found.len(), 1, "{kind:?} {number}: {:#?}", report.findings);
    found[0]
}

fn assert_says(finding: &Finding, parts: &[&str]) {
    for part in parts {
        assert!(finding.detail.contains(part), "{part}: {}", finding.detail);
    }
}

fn note(event: &str) -> Statement {
    Statement::Note(NoteBody { event: event.into(), snapshot: None, time_ns: 0, detail: "{}".into() })
}

#[test]
fn a_head_is_the_chain_and_stays_good_while_the_journal_grows() {
    let fixture = Fixture::new();
    let head = fixture.head();
    assert_eq!(head, JournalHead { number: 5, chain: chain_to(&*fixture.store, 5) });
    open(&fixture.store).write_checkpoint().unwrap();
    open(&fixture.store).note("third", None, "{}").unwrap();
    let report = fixture.verify(Some(head));
    assert!(report.is_clean(), "{:#?}", report.findings);
    assert_eq!((report.head.number, report.checked.entries, report.checked.checkpoints), (6, 7, 1));
    let first = JournalHead { number: 0, chain: chain_to(&*fixture.store, 0) };
    assert!(fixture.verify(Some(first)).is_clean());
}

#[test]
fn a_journal_that_was_cut_short_is_told_by_the_head() {
    let fixture = Fixture::new();
    let head = fixture.head();
    fixture.delete(5);
    fixture.delete(4);
    assert!(fixture.verify(None).is_clean(), "nothing in the store tells");
    let report = fixture.verify(Some(head));
    let found = finding(&report, FindingKind::Missing, 4);
    assert_eq!(found.severity, Severity::Damage);
    assert_says(found, &["ends at entry 3", "entry 5 was noted", "rolled back"]);
    // Whoever goes on from there makes another history.
    open(&fixture.store).note("another", None, "{}").unwrap();
    open(&fixture.store).note("history", None, "{}").unwrap();
    assert!(fixture.verify(None).is_clean());
    let report = fixture.verify(Some(head));
    assert_says(finding(&report, FindingKind::Contradiction, 5), &["another was noted", "another history"]);
    assert!(!report.is_clean());
}

#[test]
fn a_checkpoint_tells_what_was_cut_off() {
    let fixture = Fixture::new();
    let _ = open(&fixture.store).forget(&fixture.ids[..1], "test").unwrap();
    open(&fixture.store).write_checkpoint().unwrap();
    (2..=6).for_each(|number| fixture.delete(number));
    let report = fixture.verify(None);
    let found = report.findings.iter().find(|one| one.object.starts_with("checkpoints/")).unwrap();
    let [first, second, third] = [0, 1, 2].map(|at: usize| fixture.ids[at].short());
    assert_says(found, &["ends at entry 1", &second, &third, &format!("snapshot {first} forgotten")]);
}

#[test]
fn what_a_lost_entry_said_a_checkpoint_tells() {
    for is_deleted in [true, false] {
        let lose = |fixture: &Fixture, number| {
            if is_deleted {
                fixture.delete(number);
            } else {
                fixture.memory.overwrite(&entry_name(number), b"something else");
            }
        };
        let fixture = Fixture::new();
        let head = fixture.head();
        lose(&fixture, 2);
        let report = fixture.verify(Some(head));
        let kind = if is_deleted { FindingKind::Missing } else { FindingKind::Undecodable };
        assert_says(finding(&report, kind, 2), &["cannot be known"]);
        let found = finding(&report, FindingKind::Contradiction, 5);
        assert_says(found, &["another was noted", "the first that does not fit is entry 2"]);

        let fixture = Fixture::new();
        let _ = open(&fixture.store).forget(&fixture.ids[..1], "test").unwrap();
        open(&fixture.store).note("third", None, "{}").unwrap();
        open(&fixture.store).write_checkpoint().unwrap();
        [2, 4, 6].into_iter().for_each(|number| lose(&fixture, number));
        let report = fixture.verify(None);
        let [first, second] = [0, 1].map(|at: usize| fixture.ids[at].short());
        let brought = format!("it brought snapshot {second} of db of host db1");
        assert_says(finding(&report, kind, 2), &["by the checkpoint of entry 7", &brought]);
        let forgotten = format!("snapshot {first} forgotten");
        assert_says(finding(&report, kind, 6), &["this one may have", &forgotten]);
    }
}

#[test]
fn a_replaced_entry_makes_void_what_follows_others_and_that_is_told() {
    let fixture = Fixture::new();
    let _ = open(&fixture.store).forget(&fixture.ids[..1], "older than 30 days").unwrap();
    let (head, keys) = (fixture.head(), Keys::of(&fixture.store));
    // Somebody with a signer's key and the store's: the entry opens, verifies and follows.
    let entry = JournalEntry {
        number: 2,
        base: 1,
        previous: chain_to(&*fixture.store, 1),
        previous_time_ms: 5,
        statement: note("nothing happened"),
    };
    fixture.memory.overwrite(&entry_name(2), &keys.seal(&entry, &keys.signer));
    let report = fixture.verify(Some(head));
    let [first, third] = [0, 2].map(|at: usize| fixture.ids[at].short());
    let added = format!("it would have added snapshot {third} of db of host db1, signed by db1");
    assert_says(finding(&report, FindingKind::Void, 3), &["does not follow the entries before", &added]);
    let forgotten = format!("it would have forgotten snapshot {first} (older than 30 days), signed by db1");
    assert_says(finding(&report, FindingKind::Void, 6), &[&forgotten]);
    assert_says(finding(&report, FindingKind::Void, 5), &["noted `second`"]);
    let found = finding(&report, FindingKind::Contradiction, 6);
    assert_says(found, &["another was noted", "the first that does not fit is entry 3"]);
    // At the last entry nothing follows it: only the head tells.
    let last = JournalHead { number: 2, chain: chain_to(&*fixture.store, 2) };
    (3..=6).for_each(|number| fixture.delete(number));
    assert_eq!(fixture.head(), last);
    assert!(!fixture.verify(Some(head)).is_clean());
}

#[test]
fn what_somebody_tried_is_told() {
    let fixture = Fixture::new();
    let host = Host::add(&fixture.store, "web", Roles::WRITE, &["web"]);
    let forget = Statement::Forget(ForgetBody { snapshots: fixture.ids.clone(), reason: "x".repeat(10_000) });
    let number = host.stolen(&fixture.store).append(&*fixture.store, forget);
    let report = fixture.verify(None);
    let found = finding(&report, FindingKind::Void, number);
    assert_eq!(found.severity, Severity::Suspicious);
    let named: Vec<_> = fixture.ids.iter().map(SnapshotId::short).collect();
    let forgotten = format!("it would have forgotten snapshots {}", named.join(", "));
    assert_says(found, &["lacks the role", &forgotten, "signed by web", &host.id.short()]);
    assert!(found.detail.len() < 1000, "{}", found.detail.len());
    // One that never opened says nothing, and one that a stranger signed is as much worth.
    let garbage = names(&*fixture.store, "journal/").len() as u64;
    put(&*fixture.store, &entry_name(garbage), b"garbage");
    open(&fixture.store).note("on", None, "{}").unwrap();
    let report = fixture.verify(None);
    assert!(!finding(&report, FindingKind::Void, garbage).detail.contains("it would have"));
    // Settled, all of it is known; it still is told.
    open(&fixture.store).settle().unwrap();
    let report = fixture.verify(None);
    assert!(report.is_clean());
    assert_says(finding(&report, FindingKind::Void, number), &[&forgotten]);
}

#[test]
fn settling_damage_does_not_make_another_head_of_it() {
    let fixture = Fixture::new();
    let head = fixture.head();
    fixture.memory.overwrite(&entry_name(3), b"something else");
    open(&fixture.store).settle().unwrap();
    let report = fixture.verify(None);
    assert!(report.is_clean(), "{:#?}", report.findings);
    let after = report.head;
    // Who noted it before sees that an entry is not what it was, whatever the root key's holder says of it.
    let report = fixture.verify(Some(head));
    assert_says(finding(&report, FindingKind::Contradiction, 5), &["replaced or removed"]);
    assert!(fixture.verify(Some(after)).is_clean());
}

#[test]
fn what_a_host_remembers_raises_the_alarm() {
    let fixture = Fixture::new();
    let hash = |number| content_hash(&read(&*fixture.store, &entry_name(number)));
    let verify = |remembered| {
        let expected = Expected { head: None, remembered: Some(remembered) };
        open(&fixture.store).verify_journal(&expected, &Silent).unwrap()
    };
    assert!(verify((4, hash(4))).is_clean());
    assert_says(
        finding(&verify((4, ContentHash([7; 32]))), FindingKind::Contradiction, 4),
        &["another this host has seen"],
    );
    assert_says(
        finding(&verify((9, ContentHash([7; 32]))), FindingKind::Missing, 6),
        &["entry 9 this host has seen"],
    );
}

#[test]
fn an_export_has_every_entry_with_what_it_is_worth() {
    let fixture = Fixture::new();
    let host = Host::add(&fixture.store, "web", Roles::WRITE, &["web"]);
    let forget = Statement::Forget(ForgetBody { snapshots: fixture.ids.clone(), reason: "x".into() });
    let void = host.stolen(&fixture.store).append(&*fixture.store, forget.clone());
    fixture.memory.advance_ms(7_000_000);
    open(&fixture.store).note("last", None, "{}").unwrap();
    let lost = fixture.store.stat(&entry_name(4)).unwrap().modified_ms;
    fixture.delete(4);
    let entries = fixture.export(0);
    assert_eq!(entries.len() as u64, void + 2);
    let last = entries.last().unwrap();
    let report = fixture.verify(None);
    assert_eq!(report.head, JournalHead { number: last.number, chain: last.chain });
    for (number, entry) in entries.iter().enumerate() {
        let number = number as u64;
        assert_eq!(entry.number, number);
        match number {
            4 => {
                assert!(matches!(&entry.verdict, Verdict::Damaged(_)), "{entry:?}");
                assert!(entry.hash.is_none() && entry.statement.is_none() && entry.signer.is_none());
                // The entry behind it told its time before it was lost.
                assert_eq!(entry.time_ms, Some(lost));
            }
            _ if number == void => {
                assert!(matches!(&entry.verdict, Verdict::Void(_)), "{entry:?}");
                assert_eq!((&entry.statement, entry.signer), (&Some(forget.clone()), Some(host.id)));
                assert!(entry.is_signed);
            }
            _ => {
                let stored = read(&*fixture.store, &entry_name(number));
                assert_eq!(entry.verdict, Verdict::Counts);
                assert_eq!((entry.hash, entry.is_signed), (Some(content_hash(&stored)), true));
                assert_eq!(entry.signer_name.as_deref(), Some("db1"));
                // That of the entry before a void one is told by the first that counts, which saw the void one's.
                let told_of = if number + 1 == void { void } else { number };
                let told = fixture.store.stat(&entry_name(told_of)).unwrap().modified_ms;
                assert_eq!(entry.time_ms, Some(told), "{number}");
            }
        }
    }
    assert_eq!(entries[2].snapshot, Some(fixture.ids[1]));
    let part = fixture.export(3);
    let (numbers, chains): (Vec<_>, Vec<_>) = part.iter().map(|entry| (entry.number, entry.chain)).unzip();
    assert_eq!(numbers, (3..void + 2).collect::<Vec<_>>());
    assert_eq!(chains, entries[3..].iter().map(|entry| entry.chain).collect::<Vec<_>>());
    assert!(fixture.export(void + 2).is_empty() && fixture.export(u64::MAX).is_empty());
}
