//! The protocol, played in every order: with all its rules nothing is lost, and without any of them something is.
#![allow(clippy::print_stdout, reason = "`--nocapture` shows how many states there are, and the histories")]

use strongroom_model::protocol::Protocol;
use strongroom_model::rules::{Rule, Rules};
use strongroom_model::scene::{self, Scene};

fn nothing_is_lost(scene: &'static Scene) {
    let outcome = Protocol::check(scene, Rules::ALL);
    println!("{}: {} states", scene.name, outcome.states);
    assert_eq!(outcome.broken, None);
}

#[test]
fn something_new() {
    nothing_is_lost(&scene::NEW);
}

#[test]
fn a_writer_beside_two_pruners() {
    nothing_is_lost(&scene::TWO_PRUNERS);
}

#[test]
fn two_writers_beside_a_pruner() {
    nothing_is_lost(&scene::TWO_WRITERS);
}

#[test]
fn a_crowd() {
    nothing_is_lost(&scene::CROWD);
}

#[test]
fn a_resumed_run() {
    nothing_is_lost(&scene::RESUMED);
}

#[test]
fn a_group_commit() {
    nothing_is_lost(&scene::GROUP);
}

#[test]
fn deltas() {
    nothing_is_lost(&scene::DELTAS);
}

#[test]
fn deltas_beside_two_pruners() {
    nothing_is_lost(&scene::MORE_PRUNERS);
}

#[test]
fn deltas_of_two_writers() {
    nothing_is_lost(&scene::MORE_WRITERS);
}

#[test]
fn deltas_of_each_other() {
    nothing_is_lost(&scene::CIRCLES);
}

#[test]
fn data_keys_are_retired() {
    nothing_is_lost(&scene::KEYS);
}

#[test]
fn data_is_sealed_anew() {
    nothing_is_lost(&scene::SEALED_ANEW);
}

#[test]
fn the_index_is_compacted() {
    nothing_is_lost(&scene::INDEX);
}

#[test]
fn void_entries_and_a_revoked_writer() {
    nothing_is_lost(&scene::VOID);
}

#[test]
fn a_damaged_entry() {
    nothing_is_lost(&scene::DAMAGE);
}

/// Each rule with its number in the specification, and a scene that loses data without it.
const NEEDED: [(&str, Rule, &Scene); 28] = [
    ("A1", Rule::NumbersAreTakenOnce, &scene::TWO_WRITERS),
    ("A2", Rule::VoidUnlessDecidedBefore, &scene::VOID),
    ("A3", Rule::VoidUnlessListed, &scene::VOID),
    ("A4", Rule::WhatWasBroughtStays, &scene::VOID),
    ("C1", Rule::ContentFirst, &scene::NEW),
    ("C2", Rule::OnlyWhatIsNamedCounts, &scene::TWO_WRITERS),
    ("C3", Rule::RetiredDoesNotCount, &scene::TWO_WRITERS),
    ("W1", Rule::WriterRebases, &scene::TWO_WRITERS),
    ("W2", Rule::OwnPacksAreChecked, &scene::NEW),
    ("W3", Rule::ParentIsThere, &scene::TWO_WRITERS),
    ("W4", Rule::BasesAreReliedOn, &scene::DELTAS),
    ("W5", Rule::RescuesTakeBases, &scene::DELTAS),
    ("W6", Rule::KeysAreChecked, &scene::KEYS),
    ("G1", Rule::PartsFromTheirBase, &scene::GROUP),
    ("G2", Rule::SmallestBase, &scene::GROUP),
    ("G3", Rule::PartsPacksAreChecked, &scene::RESUMED),
    ("P1", Rule::BasesAreNeeded, &scene::DELTAS),
    ("P2", Rule::AllThatStaysKeepsItsBases, &scene::DELTAS),
    ("P3", Rule::BasesAreShallower, &scene::CIRCLES),
    ("P4", Rule::EntryAsAWhole, &scene::TWO_PRUNERS),
    ("P5", Rule::PrunerDecidesAgain, &scene::TWO_PRUNERS),
    ("P6", Rule::CopiesAreChecked, &scene::TWO_PRUNERS),
    ("P7", Rule::LeftoversAreUnnamed, &scene::TWO_PRUNERS),
    ("P8", Rule::DamageStopsRetiring, &scene::DAMAGE),
    ("K1", Rule::CopiesKeepKeys, &scene::KEYS),
    ("K2", Rule::KeysAreDecidedAgain, &scene::KEYS),
    ("D1", Rule::RetireBeforeDelete, &scene::TWO_PRUNERS),
    ("X1", Rule::IndexesSayAll, &scene::INDEX),
];

#[test]
fn without_any_rule_data_is_lost() {
    assert_eq!(NEEDED.map(|(_, rule, _)| rule), Rule::ALL);
    for (number, rule, scene) in NEEDED {
        let outcome = Protocol::check(scene, Rules::without(rule));
        let Some((_, steps)) = outcome.broken else {
            panic!("{number} {rule:?} is not needed in {}", scene.name)
        };
        println!("without {number} {rule:?}, in {} states: {}", outcome.states, steps.join("; "));
    }
}

#[test]
fn the_specification_has_every_rule() {
    let specification = include_str!("../../../format-spec/protocols.md");
    for (number, rule, _) in NEEDED {
        assert!(specification.contains(&format!("**{number}. ")), "{number} {rule:?}");
    }
}
