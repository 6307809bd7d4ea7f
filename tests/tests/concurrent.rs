//! Backups at the same time: nobody waits for a lock, all of them commit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::{Sandbox, id_of};

/// More than any pipe and buffer holds.
const LENGTH: usize = 8 << 20;

#[test]
fn two_backups_in_the_middle_at_once_both_commit() {
    let sandbox = Sandbox::new();
    let (one, two) = (noise(LENGTH, 1), noise(LENGTH, 2));
    let mut first = sandbox.start(["backup", "stdin", "--name", "one", "--json"]);
    let mut second = sandbox.start(["backup", "stdin", "--name", "two", "--json"]);
    first.write(&one);
    second.write(&two);
    // Both have read most of their streams, and neither has committed.
    let second = id_of(&second.finish().assert_code(0).one("backup"));
    let first = id_of(&first.finish().assert_code(0).one("backup"));
    assert_eq!(sandbox.snapshots(), [second.clone(), first.clone()]);
    assert!(sandbox.cat(&first, "one") == one && sandbox.cat(&second, "two") == two);
    sandbox.assert_clean();
}

#[test]
fn the_same_data_from_two_at_once_is_whole_twice() {
    let sandbox = Sandbox::new();
    let bytes = noise(LENGTH, 1);
    let mut both = [(); 2].map(|()| sandbox.start(["backup", "stdin", "--name", "same", "--json"]));
    for (part, running) in bytes.chunks(LENGTH / 8).flat_map(|part| [(part, 0), (part, 1)]) {
        both[running].write(part);
    }
    let ids = both.map(|running| id_of(&running.finish().assert_code(0).one("backup")));
    assert_ne!(ids[0], ids[1]);
    for id in &ids {
        assert!(sandbox.cat(id, "same") == bytes);
    }
    sandbox.assert_clean();
}

#[test]
fn many_that_commit_at_once_all_commit() {
    let sandbox = Sandbox::new();
    let mut running: Vec<_> = (0..8)
        .map(|number| sandbox.start(["backup", "stdin", "--name", &format!("s{number}"), "--json"]))
        .collect();
    for (number, running) in running.iter_mut().enumerate() {
        running.write(&noise(100_000, number as u64));
    }
    let threads: Vec<_> =
        running.into_iter().map(|running| std::thread::spawn(|| running.finish())).collect();
    let mut ids: Vec<String> = threads
        .into_iter()
        .map(|thread| id_of(&thread.join().unwrap().assert_code(0).one("backup")))
        .collect();
    let mut listed = sandbox.snapshots();
    ids.sort();
    listed.sort();
    assert_eq!(ids, listed);
    for number in 0..8 {
        assert!(sandbox.cat(&format!("latest:s{number}"), &format!("s{number}")) == noise(100_000, number));
    }
    sandbox.assert_clean();
}

#[test]
fn reading_goes_on_while_a_backup_is_under_way() {
    let sandbox = Sandbox::new();
    let old = noise(1_000_000, 1);
    let id = sandbox.backup_stream("dump", &old);
    let mut running = sandbox.start(["backup", "stdin", "--name", "dump", "--json"]);
    running.write(&noise(LENGTH, 2));
    assert_eq!(sandbox.snapshots(), std::slice::from_ref(&id));
    assert!(sandbox.cat("latest", "dump") == old);
    let _checked = sandbox.run(["check", "--read-data"]).assert_code(0);
    let _tagged = sandbox.run(["tag", "latest", "--add", "kept"]).assert_code(0);
    let second = id_of(&running.finish().assert_code(0).one("backup"));
    assert_eq!(sandbox.snapshots(), [id, second]);
    sandbox.assert_clean();
}
