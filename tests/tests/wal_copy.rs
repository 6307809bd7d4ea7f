//! `copy` and `sync` of log archives, into a repository with another key.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use serde_json::Value;
use strongroom_tests::archiving::{command_of_server, give_to_server, name_of, segment};
use strongroom_tests::patience::wait_for;
use strongroom_tests::sandbox::{Ran, Sandbox, id_of, run, text};
use strongroom_tests::services::postgres::{Postgres, installations};

const SYSTEM: u64 = 7_311_000_000_000_000_001;

/// Runs a command of another host that copies from this one's repository.
fn copy(from: &Sandbox, into: &Sandbox, command: &[&str]) -> Ran {
    let keys = std::fs::read_dir(from.home().join(".config/strongroom/keys")).unwrap();
    let key = keys.map(|entry| entry.unwrap().path()).next().unwrap();
    let mut copying = into.command(command);
    copying.arg("--from-repo").arg(from.repository()).arg("--from-key-file").arg(key);
    run(&mut copying)
}

fn lines(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.run(["wal", "list", "--json"]).assert_code(0).all("wal")
}

#[test]
fn logs_are_copied_once_and_without_what_is_not_wanted() {
    let (from, into) = (Sandbox::new(), Sandbox::new());
    let _ = from.write("data/global/pg_control", [&SYSTEM.to_le_bytes()[..], &[0; 100]].concat());
    let push = |sandbox: &Sandbox, place: u64, source: &str| {
        let path = sandbox.write(format!("data/pg_wal/{}", name_of(place)), segment(SYSTEM, place, 7));
        let _ = sandbox.run(["wal-push", path.to_str().unwrap(), "--source", source]).assert_code(0);
    };
    for place in 1..=3 {
        push(&from, place, "postgres");
    }
    push(&from, 1, "other");
    assert!(lines(&into).is_empty());
    let _ = copy(&from, &into, &["sync", "--logs", "none"]).assert_code(0);
    let _ = copy(&from, &into, &["copy", "--logs", "needed"]).assert_code(0);
    assert!(lines(&into).is_empty());
    let told = copy(&from, &into, &["sync", "--dry-run"]).assert_code(0);
    let _ = told.assert_prints(["would copy 4 files of logs"]);
    let _ = copy(&from, &into, &["sync", "--source", "nobody"]).assert_code(2);
    let copied =
        copy(&from, &into, &["sync", "--source", "postgres", "--json"]).assert_code(0).one("copy_logs");
    assert_eq!((&copied["copied"], &copied["were_here"]), (&3.into(), &0.into()));
    push(&from, 4, "postgres");
    let copied = copy(&from, &into, &["sync", "--json"]).assert_code(0).one("copy_logs");
    assert_eq!((&copied["copied"], &copied["were_here"]), (&2.into(), &3.into()));
    let told: Vec<(String, Value)> =
        lines(&into).iter().map(|line| (text(&line["source"]), line["segments"].clone())).collect();
    assert_eq!(told, [("other".into(), 1.into()), ("postgres".into(), 4.into())]);
    into.assert_clean();
    // The server can go on with the copy.
    push(&into, 4, "postgres");
    push(&into, 5, "postgres");
    assert_eq!(lines(&into)[1]["missing_segments"], 0);
    let destination = into.path("segment");
    let arguments =
        ["wal-get", &name_of(2), destination.to_str().unwrap(), "--system-identifier", &SYSTEM.to_string()];
    let _ = into.run(arguments).assert_code(0);
    assert!(std::fs::read(destination).unwrap() == segment(SYSTEM, 2, 7));
}

#[test]
fn a_base_backup_takes_the_log_that_it_needs() {
    let Some(binaries) = installations().unwrap().pop() else { return };
    let mut from = Sandbox::new();
    from.set("STRONGROOM_PG_BIN", &binaries);
    std::fs::create_dir(from.path("cache-of-server")).unwrap();
    let archive = command_of_server(&from, "wal-push %p");
    give_to_server(&from.path(""));
    let settings = [("archive_mode", "on"), ("archive_command", &*archive)];
    let server = Postgres::start_of(&binaries, &settings).unwrap();
    server.psql("CREATE TABLE t (n int)").unwrap();
    let write = || {
        server.psql("INSERT INTO t SELECT generate_series(1, 1000); SELECT pg_walfile_name(pg_switch_wal())")
    };
    let back_up = || {
        let id = id_of(&from.backup(["postgres", "--physical", "--dbname", &server.url("postgres")]));
        give_to_server(&from.path(""));
        id
    };
    let _ = write().unwrap();
    let early = back_up();
    let _ = write().unwrap();
    let late = back_up();
    let last = write().unwrap();
    wait_for("archiving is waited for", || {
        server.psql("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver").unwrap() >= last
    });

    let of = |id: &str| {
        let into = Sandbox::new();
        let _ = copy(&from, &into, &["copy", id]).assert_code(0);
        let line = lines(&into).remove(0);
        assert_eq!((text(&line["last"]), &line["missing_segments"]), (last.clone(), &0.into()), "{line}");
        into.assert_clean();
        text(&line["first"])
    };
    let (first_of_early, first_of_late) = (of(&early), of(&late));
    assert!(first_of_early < first_of_late, "{first_of_early} {first_of_late}");
    assert!(text(&lines(&from)[0]["first"]) < first_of_early);

    // What is expired here is not copied, and in a copy goes when that is asked for.
    let into = Sandbox::new();
    let _ = copy(&from, &into, &["sync"]).assert_code(0);
    let _ = from.run(["forget", &early]).assert_code(0);
    let _ = from.run(["wal", "expire", "--keep-within", "0s"]).assert_code(0);
    let first = |sandbox: &Sandbox| text(&lines(sandbox)[0]["first"]);
    assert_eq!(first(&from), first_of_late);
    let _ = copy(&from, &into, &["sync"]).assert_code(0);
    assert!(first(&into) < first_of_late);
    let _ = copy(&from, &into, &["sync", "--forget"]).assert_code(0).assert_prints(["expired of 1 logs"]);
    assert_eq!(first(&into), first_of_late);
    give_to_server(&from.path(""));
}
