//! Legal holds: what is held is forgotten by nobody, whoever appends first.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use strongroom_format::SnapshotId;
use strongroom_format::checkpoint::Hold;
use strongroom_format::entry::{ForgetBody, HoldBody, PolicyBody, Statement};
use strongroom_format::registry::Roles;
use strongroom_keys::sign::sign_policy;
use strongroom_repository::RepositoryError;
use strongroom_repository::retention::{Keep, Reason, Rules};
use strongroom_store::{MemoryStore, Store};
use support::*;

struct Fixture {
    memory: Arc<MemoryStore>,
    store: Arc<dyn Store>,
    ids: Vec<SnapshotId>,
}

impl Fixture {
    /// With so many snapshots of `db`.
    fn new(snapshots: u64) -> Self {
        let (memory, store) = memory();
        new_repository(&store);
        let day = |number: u64| files([("dump", number.to_le_bytes().to_vec())]);
        let ids = (0..snapshots).map(|number| backup(&mut open(&store), "db", &day(number)).id).collect();
        Self { memory, store, ids }
    }

    fn there(&self) -> Vec<SnapshotId> {
        open(&self.store).snapshots().iter().map(|snapshot| snapshot.id()).collect()
    }

    fn entries(&self) -> usize {
        names(&*self.store, "journal/").len()
    }

    /// Appends what no program would, and says whether it is void.
    fn is_void(&self, keys: &Keys, statement: Statement) -> bool {
        let number = keys.append(&*self.store, statement);
        open(&self.store).state().voids.iter().any(|void| void.number == number)
    }
}

fn forget(snapshots: &[SnapshotId]) -> Statement {
    Statement::Forget(ForgetBody { snapshots: snapshots.to_vec(), reason: "test".into() })
}

fn hold(snapshots: &[SnapshotId], name: &str, is_on: bool) -> Statement {
    let reason = "test".into();
    Statement::Hold(HoldBody { snapshots: snapshots.to_vec(), name: name.into(), is_on, reason })
}

/// All but the newest goes.
fn newest() -> Rules {
    Rules { keep: Keep { last: 1, ..Keep::default() }, ..Rules::default() }
}

fn is_held(error: &RepositoryError, id: SnapshotId, name: &str) -> bool {
    matches!(error, RepositoryError::Held { snapshot, hold } if *snapshot == id && hold == name)
}

#[test]
fn what_is_held_is_not_forgotten_until_an_admin_lets_go() {
    let fixture = Fixture::new(3);
    let ids = &fixture.ids;
    let mut repository = open(&fixture.store);
    assert_eq!(repository.hold(&ids[..1], "legal", "case 7").unwrap(), ids[..1]);
    assert_eq!(repository.hold(&ids[..2], "legal", "case 7").unwrap(), ids[1..2], "what is new");
    let _ = repository.hold(&ids[..1], "audit", "").unwrap();
    let entries = fixture.entries();
    assert!(repository.hold(&ids[..2], "legal", "again").unwrap().is_empty());
    let error = repository.forget(ids, "all of them").unwrap_err();
    assert!(is_held(&error, ids[0], "audit"), "{error}");
    let told = error.to_string();
    assert!(told.contains(&ids[0].short()) && told.contains("strongroom hold remove"), "{told}");
    let error = repository.release(ids, "legal", "").unwrap_err();
    assert!(
        matches!(&error, RepositoryError::NotHeld { snapshot, .. } if *snapshot == ids[2]),
        "all of them, or none: {error}"
    );
    assert_eq!((fixture.entries(), fixture.there().len()), (entries, 3));
    repository.release(&ids[..2], "legal", "settled").unwrap();
    let error = repository.forget(&ids[..1], "").unwrap_err();
    assert!(is_held(&error, ids[0], "audit"), "{error}");
    assert_eq!(repository.forget(&ids[1..2], "").unwrap(), 1);
    repository.release(&ids[..1], "audit", "settled").unwrap();
    assert_eq!(repository.forget(&ids[..1], "").unwrap(), 1);
    assert_eq!(fixture.there(), ids[2..]);
    let error = repository.hold(&ids[..1], "legal", "too late").unwrap_err();
    assert!(matches!(error, RepositoryError::NoSuchSnapshot { .. }), "{error}");
    let error = repository.hold_source("another", "legal", "").unwrap_err();
    assert!(matches!(error, RepositoryError::NoSuchSnapshot { .. }), "{error}");
    assert_eq!(repository.hold_source("db", "legal", "").unwrap(), ids[2..]);
    assert_clean(&fixture.store);
}

#[test]
fn no_policy_of_retention_takes_what_is_held() {
    let fixture = Fixture::new(4);
    let mut repository = open(&fixture.store);
    let _ = repository.hold(&fixture.ids[1..2], "legal", "").unwrap();
    let judged = repository.forget_all_but(&newest(), "test").unwrap();
    assert_eq!(judged[1].reasons, [Reason::Held("legal".into())]);
    assert_eq!(fixture.there(), [fixture.ids[1], fixture.ids[3]]);
}

#[test]
fn a_hold_that_comes_between_a_decision_and_its_entry_stands() {
    let fixture = Fixture::new(3);
    let mut late = open(&fixture.store);
    let mut later = open(&fixture.store);
    let _ = open(&fixture.store).hold(&fixture.ids[..1], "legal", "").unwrap();
    // By what they know nothing is held; the entry's number is taken.
    assert!(late.snapshots()[0].state.holds.is_empty());
    let error = late.forget(&fixture.ids[..2], "").unwrap_err();
    assert!(is_held(&error, fixture.ids[0], "legal"), "{error}");
    assert_eq!(fixture.there(), fixture.ids, "nor is the other one forgotten");
    let judged = later.forget_all_but(&newest(), "").unwrap();
    let stays: Vec<_> = judged.iter().map(|one| one.stays()).collect();
    assert_eq!(stays, [true, false, true]);
    assert_eq!(fixture.there(), [fixture.ids[0], fixture.ids[2]]);
    assert_clean(&fixture.store);
}

#[test]
fn an_entry_that_forgets_what_is_held_is_void() {
    let fixture = Fixture::new(3);
    let (ids, keys) = (&fixture.ids, Keys::of(&fixture.store));
    let _ = open(&fixture.store).hold(&ids[..1], "legal", "").unwrap();
    assert!(fixture.is_void(&keys, forget(&ids[..2])), "all of it");
    let policy = |forgotten: &[SnapshotId]| {
        let mut policy = open(&fixture.store).state().policy.clone();
        policy.sequence += 1;
        policy.forgotten = forgotten.to_vec();
        let policy = policy.encode();
        let root_signature = sign_policy(&keys.root, keys.repository, &policy);
        Statement::Policy(PolicyBody { policy, root_signature })
    };
    assert!(fixture.is_void(&keys, policy(&ids[..2])));
    assert_eq!(fixture.there(), *ids);
    assert!(fixture.is_void(&keys, hold(&[ids[1], SnapshotId([9; 32])], "legal", true)), "what is not there");
    assert!(fixture.is_void(&keys, hold(&ids[..2], "legal", false)), "one is not held");
    assert!(!fixture.is_void(&keys, hold(&ids[..1], "legal", true)), "again is no change");
    assert!(!fixture.is_void(&keys, policy(&ids[1..2])));
    assert!(!fixture.is_void(&keys, hold(&ids[..1], "legal", false)));
    assert!(!fixture.is_void(&keys, policy(&ids[..2])), "the other one is gone already");
    assert_eq!(fixture.there(), ids[2..]);
}

#[test]
fn nothing_is_forgotten_while_a_damaged_entry_may_have_held_it() {
    let fixture = Fixture::new(3);
    let mut late = open(&fixture.store);
    let _ = open(&fixture.store).hold(&fixture.ids[..1], "legal", "").unwrap();
    let number = late.state().number + 1;
    let host = Host::add(&fixture.store, "web", Roles::WRITE, &["web"]);
    fixture.memory.overwrite(&entry_name(number), b"nothing of the kind");
    // Whoever has not seen it yet decides again, too.
    for repository in [&mut late, &mut open(&fixture.store)] {
        let by_hand = repository.forget(&fixture.ids[..1], "").map(drop);
        let by_rules = repository.forget_all_but(&newest(), "").map(drop);
        for refused in [by_hand, by_rules] {
            let is_it = |error: &RepositoryError| matches!(error, RepositoryError::NotForgettable { number: at, .. } if *at == number);
            assert!(refused.as_ref().is_err_and(is_it), "{refused:?}");
        }
    }
    let mut admin = open(&fixture.store);
    let error = admin.revoke_writer(host.id, &fixture.ids[..1]).unwrap_err();
    assert!(matches!(error, RepositoryError::NotForgettable { .. }), "{error}");
    let _ = admin.revoke_writer(host.id, &[]).unwrap();
    assert_eq!(fixture.there(), fixture.ids);
    let _ = admin.settle().unwrap();
    assert_eq!(admin.forget(&fixture.ids[..1], "").unwrap(), 1);
}

#[test]
fn whoever_is_listed_holds_and_only_an_admin_lets_go() {
    let fixture = Fixture::new(1);
    let host = Host::add(&fixture.store, "clerk", Roles::WRITE, &["web"]);
    let mut clerk = host.open(&fixture.store);
    assert_eq!(clerk.hold(&fixture.ids, "legal", "case 7").unwrap(), fixture.ids);
    let error = clerk.release(&fixture.ids, "legal", "").unwrap_err();
    assert!(matches!(error, RepositoryError::NoSigner { role: "admin" }), "{error}");
    assert!(fixture.is_void(&host.stolen(&fixture.store), hold(&fixture.ids, "legal", false)));
    // A revocation that would forget it does nothing at all.
    let mut admin = open(&fixture.store);
    let error = admin.revoke_writer(host.id, &fixture.ids).unwrap_err();
    assert!(is_held(&error, fixture.ids[0], "legal"), "{error}");
    assert!(admin.state().policy.signer(host.id).is_some());
    let _ = admin.revoke_writer(host.id, &[]).unwrap();
    assert_eq!(admin.snapshots()[0].state.holds.len(), 1, "what he did while he was listed stays");
    admin.release(&fixture.ids, "legal", "").unwrap();
}

#[test]
fn a_checkpoint_has_the_holds_of_the_journal() {
    let fixture = Fixture::new(2);
    let mut repository = open(&fixture.store);
    let _ = repository.hold(&fixture.ids, "legal", "").unwrap();
    let _ = repository.hold(&fixture.ids[..1], "audit", "").unwrap();
    let _ = repository.hold(&fixture.ids[..1], "legal", "").unwrap();
    repository.release(&fixture.ids[1..], "legal", "").unwrap();
    let folded = repository.state().to_checkpoint();
    let expected = [("audit", 4), ("legal", 3)].map(|(name, number)| Hold { name: name.into(), number });
    assert_eq!((&folded.snapshots[0].holds[..], &folded.snapshots[1].holds[..]), (&expected[..], &[][..]));
    repository.write_checkpoint().unwrap();
    let mut from_checkpoint = open(&fixture.store);
    assert_eq!(from_checkpoint.state().to_checkpoint(), folded);
    let error = from_checkpoint.forget(&fixture.ids[..1], "").unwrap_err();
    assert!(is_held(&error, fixture.ids[0], "audit"), "{error}");
    // `check` folds the journal and compares.
    assert_clean(&fixture.store);
}

#[test]
fn a_listing_says_who_when_and_why() {
    let fixture = Fixture::new(2);
    let mut clerk = Host::add(&fixture.store, "clerk", Roles::WRITE, &["web"]).open(&fixture.store);
    fixture.memory.advance_ms(5_000_000);
    let _ = clerk.hold(&fixture.ids, "legal", "case 7").unwrap();
    let entry = clerk.state().number;
    let stored_ms = fixture.store.stat(&entry_name(entry)).unwrap().modified_ms;
    fixture.memory.advance_ms(5_000_000);
    let _ = open(&fixture.store).hold(&fixture.ids[1..], "audit", "").unwrap();
    // Nor does moving the repository change when that was.
    let bytes = read(&*fixture.store, &entry_name(entry));
    fixture.memory.overwrite(&entry_name(entry), &bytes);
    assert_ne!(fixture.store.stat(&entry_name(entry)).unwrap().modified_ms, stored_ms);
    let holds = open(&fixture.store).holds().unwrap();
    let told: Vec<_> = holds
        .iter()
        .map(|hold| {
            let origin = hold.told.as_ref().unwrap();
            (hold.snapshot, &*hold.name, hold.entry, &*origin.signer_name, &*origin.reason)
        })
        .collect();
    let expected = [
        (fixture.ids[0], "legal", entry, "clerk", "case 7"),
        (fixture.ids[1], "audit", entry + 1, "db1", ""),
        (fixture.ids[1], "legal", entry, "clerk", "case 7"),
    ];
    assert_eq!(told, expected);
    assert_eq!((holds[0].time_ms, holds[2].time_ms), (Some(stored_ms), Some(stored_ms)));
    assert_eq!((&*holds[0].source, &*holds[0].host), ("db", "db1"));
    // The last entry's time only the store knows, and its own word is taken where nobody tells it.
    assert!(holds[1].time_ms.is_some_and(|time| time > stored_ms));
}
