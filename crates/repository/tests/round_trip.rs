//! Backups of streams into a repository in memory, and back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use support::{assert_clean, backup, files, memory, new_repository, noise, open, restore};

#[test]
fn days_are_incremental_and_each_restores() {
    let (_, store) = memory();
    new_repository(&store);
    let day1 = files([("dump.sql", noise(1, 20 << 20)), ("roles.sql", b"hello".to_vec()), ("empty", vec![])]);
    let mut day2 = day1.clone();
    day2.remove("empty");
    day2.get_mut("dump.sql").unwrap().splice(5 << 20..5 << 20, noise(2, 1000));

    let mut repository = open(&store);
    let first = backup(&mut repository, "db", &day1);
    let totals = first.totals;
    assert_eq!((totals.entries, totals.bytes, totals.new_bytes), (3, (20 << 20) + 5, (20 << 20) + 5));
    let again = backup(&mut repository, "db", &day1);
    assert_eq!(
        (again.totals.new_bytes, again.totals.stored_bytes),
        (0, 0),
        "nothing changed, nothing stored"
    );
    let second = backup(&mut open(&store), "db", &day2);
    assert!(second.totals.new_bytes < 600 << 10, "{:?}", second.totals);
    assert_eq!(second.parent, Some(again.id));

    let mut repository = open(&store);
    assert_eq!(restore(&mut repository, first.id), day1);
    assert_eq!(restore(&mut repository, second.id), day2);
    assert_eq!(repository.snapshots()[2].manifest.generation, 2);
    assert_clean(&store);
}
