//! Hosts that write and cannot read: what they say of deltas, and how the data keys of their own last runs let them
//! store some.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::{Arc, Mutex};

use strongroom_format::registry::Roles;
use strongroom_repository::RepositoryError;
use strongroom_repository::administration::DeltaRules;
use strongroom_repository::backup::BackupOptions;
use strongroom_repository::monitor::Monitor;
use strongroom_store::Store;
use support::*;

/// All that a run says.
#[derive(Default)]
struct Said {
    notes: Mutex<Vec<String>>,
    warnings: Mutex<Vec<String>>,
}

impl Said {
    fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap())
    }

    fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock().unwrap())
    }
}

impl Monitor for Said {
    fn note(&self, message: &str) {
        self.notes.lock().unwrap().push(message.to_owned());
    }

    fn warn(&self, message: &str) {
        self.warnings.lock().unwrap().push(message.to_owned());
    }
}

fn set(store: &Arc<dyn Store>, rules: DeltaRules) {
    assert!(open(store).set_delta_rules(rules).unwrap().is_some());
}

#[test]
fn that_what_changed_is_stored_whole_is_said_once_where_it_could_be_otherwise() {
    let (_, store) = memory();
    new_repository(&store);
    let host = Host::add(&store, "db2", Roles::WRITE, &["db"]);
    let run = |files: &Files, delta: bool| {
        let said = Said::default();
        let options = BackupOptions { delta, ..options("db") };
        let _ = backup_with(&mut host.open(&store), &options, files, &said).unwrap();
        assert!(said.warnings().is_empty());
        said.notes()
    };
    assert!(run(&day(0), true).is_empty(), "nothing to differ from");
    assert!(run(&day(0), true).is_empty(), "nothing new");
    let notes = run(&day(1), true);
    assert!(notes.len() == 1 && notes[0].contains("stored whole"), "{notes:?}");
    assert!(run(&day(2), false).is_empty(), "it is what was asked for");
    set(&store, DeltaRules { deltas: Some(false), base_keys: None });
    assert!(run(&day(3), true).is_empty(), "nobody stores deltas");
    assert_eq!(deltas(&store), 0);
    // Who may read is told nothing.
    set(&store, DeltaRules { deltas: Some(true), base_keys: None });
    for number in 0..2 {
        let said = Said::default();
        let _ = backup_with(&mut open(&store), &options("db"), &day(number), &said).unwrap();
        assert!(said.notes().is_empty() && said.warnings().is_empty());
    }
}

#[test]
fn a_policy_without_deltas_holds_for_every_run_and_takes_none_away() {
    let (_, store) = memory();
    new_repository(&store);
    let mut ids: Vec<_> = (0..2).map(|number| backup(&mut open(&store), "db", &day(number)).id).collect();
    let before = deltas(&store);
    assert!(before > 0);
    set(&store, DeltaRules { deltas: Some(false), base_keys: None });
    ids.push(backup(&mut open(&store), "db", &day(2)).id);
    assert_eq!(deltas(&store), before);
    for (number, id) in (0..).zip(&ids) {
        assert!(restore(&mut open(&store), *id) == day(number));
    }
    set(&store, DeltaRules { deltas: Some(true), base_keys: None });
    ids.push(backup(&mut open(&store), "db", &day(3)).id);
    assert!(deltas(&store) > before);
    assert!(restore(&mut open(&store), ids[3]) == day(3));
    assert_clean(&store);
}

#[test]
fn the_rules_are_for_administrators_to_set() {
    let (_, store) = memory();
    new_repository(&store);
    let host = Host::add(&store, "db2", Roles::WRITE, &["db"]);
    let rules = DeltaRules { deltas: Some(false), base_keys: Some(3) };
    let error = host.open(&store).set_delta_rules(rules).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSigner { role: "admin" }), "{error:?}");
    let mut admin = open(&store);
    let error = admin.set_delta_rules(DeltaRules { base_keys: Some(65), ..rules }).unwrap_err();
    assert!(matches!(error, RepositoryError::Unstorable { .. }), "{error:?}");
    set(&store, rules);
    assert_eq!(admin.set_delta_rules(rules).unwrap(), None, "it is so already");
    set(&store, DeltaRules { deltas: None, base_keys: Some(64) });
    let policy = open(&store).state().policy.clone();
    assert_eq!((policy.deltas, policy.base_keys), (false, 64));
    // Other changes leave them as they are.
    let _ = Host::add(&store, "db3", Roles::WRITE, &["db"]);
    let policy = open(&store).state().policy.clone();
    assert_eq!((policy.deltas, policy.base_keys), (false, 64));
    assert_clean(&store);
}
