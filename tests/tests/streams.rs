//! `backup stdin` and `backup command`: a stream is kept whole or not at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::{Sandbox, id_of, run};

#[test]
fn standard_input_comes_back_byte_for_byte() {
    let sandbox = Sandbox::new();
    for (number, length) in [1, 4096, 65_537, 1 << 20, 5_000_001].into_iter().enumerate() {
        let bytes = noise(length, number as u64);
        let id = sandbox.backup_stream("dump.sql", &bytes);
        assert!(sandbox.cat(&id, "dump.sql") == bytes, "{length} bytes differ");
        // The only stream needs no path.
        assert!(sandbox.run(["cat", &id]).assert_code(0).stdout == bytes);
    }
    sandbox.assert_clean();
}

#[test]
fn the_same_stream_again_stores_nothing() {
    let sandbox = Sandbox::new();
    let bytes = noise(3_000_000, 1);
    let _first = sandbox.backup_stream("x", &bytes);
    let second =
        sandbox.feed(["backup", "stdin", "--name", "x", "--json"], &bytes).assert_code(0).one("backup");
    assert_eq!((&second["bytes"], &second["new_bytes"]), (&3_000_000.into(), &0.into()));
    assert!(second["parent"].is_string());
}

#[test]
fn an_empty_stream_makes_no_snapshot_unless_it_is_allowed() {
    let sandbox = Sandbox::new();
    let _refused = sandbox.run(["backup", "stdin", "--name", "x"]).assert_code(1).assert_says([
        "stream `x` is empty",
        "no snapshot was made",
        "--allow-empty",
    ]);
    let _refused = sandbox
        .run(["backup", "command", "--name", "x", "--", "true"])
        .assert_code(1)
        .assert_says(["is empty"]);
    assert!(sandbox.snapshots().is_empty());
    let _kept = sandbox.run(["backup", "stdin", "--name", "x", "--allow-empty"]).assert_code(0);
    let _kept =
        sandbox.run(["backup", "command", "--name", "x", "--allow-empty", "--", "true"]).assert_code(0);
    assert_eq!(sandbox.snapshots().len(), 2);
    assert_eq!(sandbox.cat("latest", "x"), b"");
    sandbox.assert_clean();
}

#[test]
fn a_command_that_fails_makes_no_snapshot_whatever_it_wrote() {
    let sandbox = Sandbox::new();
    let script = "head -c 3000000 /dev/zero; echo 'FATAL: disk on fire' >&2; exit 7";
    let ran = sandbox.run(["backup", "command", "--name", "db", "--", "sh", "-c", script]).assert_code(1);
    let _said = ran.assert_says(["exit status: 7", "FATAL: disk on fire", "no snapshot was made", "`db`"]);
    let killed = sandbox
        .run(["backup", "command", "--name", "db", "--", "sh", "-c", "echo half; kill -9 $$"])
        .assert_code(1);
    let _said = killed.assert_says(["signal: 9", "no snapshot was made"]);
    let missing = sandbox.run(["backup", "command", "--name", "db", "--", "no-such-program"]).assert_code(1);
    let _said = missing.assert_says(["no-such-program", "cannot be started"]);
    let in_json = sandbox
        .run(["--json", "backup", "command", "--name", "db", "--", "false"])
        .assert_code(1)
        .one("error");
    assert_eq!(in_json["exit_code"], 1);
    assert!(sandbox.snapshots().is_empty());
    sandbox.assert_clean();
}

#[test]
fn what_a_good_command_says_is_shown_and_its_arguments_stay_whole() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run([
        "backup",
        "command",
        "--name",
        "x",
        "--",
        "sh",
        "-c",
        "echo NOTICE: slow >&2; printf '%s' \"$1\"",
        "sh",
        "a  b'c",
    ]);
    let _said = ran.assert_code(0).assert_says(["NOTICE: slow"]);
    assert_eq!(sandbox.cat("latest", "x"), b"a  b'c");
}

#[test]
fn a_command_reads_nothing_of_our_standard_input() {
    let sandbox = Sandbox::new();
    let ran = sandbox
        .feed(["backup", "command", "--name", "x", "--", "sh", "-c", "cat; echo done"], b"not for you");
    let _done = ran.assert_code(0);
    assert_eq!(sandbox.cat("latest", "x"), b"done\n");
}

#[test]
fn several_streams_make_one_snapshot() {
    let sandbox = Sandbox::new();
    let big = sandbox.write("big", noise(4_000_000, 2));
    let stream = format!("dumps/big.bin=cat '{}'", big.display());
    let ran = sandbox.run([
        "backup",
        "command",
        "--json",
        "--source",
        "all",
        "--stream",
        "globals.sql=echo roles",
        "--stream",
        &stream,
    ]);
    let report = ran.assert_code(0).one("backup");
    assert_eq!((&report["files"], &report["source"]), (&2.into(), &"all".into()));
    assert_eq!(sandbox.snapshots(), [id_of(&report)]);
    assert_eq!(sandbox.cat("latest:all", "globals.sql"), b"roles\n");
    assert!(sandbox.cat("latest", "dumps/big.bin") == std::fs::read(&big).unwrap());
    let _ambiguous = sandbox.run(["cat", "latest"]).assert_code(2).assert_says(["more than one file"]);
    let target = sandbox.path("target");
    let _restored = run(sandbox.command(["restore", "latest", "--target"]).arg(&target)).assert_code(0);
    assert_eq!(std::fs::read(target.join("globals.sql")).unwrap(), b"roles\n");
    sandbox.assert_clean();
}

#[test]
fn one_of_two_streams_that_fails_leaves_nothing() {
    let sandbox = Sandbox::new();
    // The good one would go on for ever: it is ended, and nobody waits for it.
    let ran = sandbox.run([
        "backup",
        "command",
        "--stream",
        "good=cat /dev/zero",
        "--stream",
        "bad=echo half; echo broken >&2; exit 3",
    ]);
    let _said = ran.assert_code(1).assert_says(["`bad`", "exit status: 3", "broken", "no snapshot was made"]);
    assert!(sandbox.snapshots().is_empty());
    let ran = sandbox
        .run(["backup", "command", "--stream", "good=echo fine", "--stream", "empty=true"])
        .assert_code(1);
    let _said = ran.assert_says(["`empty` is empty"]);
    assert!(sandbox.snapshots().is_empty());
    sandbox.assert_clean();
}

#[test]
fn names_that_no_entry_can_have_are_refused_before_anything_runs() {
    let sandbox = Sandbox::new();
    for name in ["", "/absolute", "a/../b", ".", "a//b"] {
        let marker = sandbox.path("ran");
        let ran = run(sandbox.command(["backup", "command", "--name", name, "--", "touch"]).arg(&marker));
        assert!(matches!(ran.status.code(), Some(1 | 2)) && !marker.exists(), "{name:?}: {ran}");
        let ran = sandbox.feed(["backup", "stdin", "--name", name], b"x");
        assert!(matches!(ran.status.code(), Some(1 | 2)), "{name:?}: {ran}");
    }
    assert!(sandbox.snapshots().is_empty());
}

#[test]
fn whoever_reads_a_stream_may_stop_reading() {
    use std::io::Read;
    let sandbox = Sandbox::new();
    let bytes = noise(8_000_000, 3);
    let _id = sandbox.backup_stream("x", &bytes);
    let mut running = sandbox.start(["cat", "latest", "x"]);
    let mut head = [0; 10];
    running.stdout().read_exact(&mut head).unwrap();
    let ran = running.finish().assert_code(0);
    assert_eq!((&head[..], ran.stderr.as_str()), (&bytes[..10], ""));
    for command in [&["ls"][..], &["snapshots"], &["stats"], &["completions", "bash"], &["check"]] {
        let mut running = sandbox.start(command);
        drop(running.stdout());
        let ran = running.finish();
        assert_eq!(ran.status.code(), Some(0), "{ran}");
    }
}

#[test]
fn a_full_standard_output_is_an_error() {
    let sandbox = Sandbox::new();
    let _id = sandbox.backup_stream("x", &noise(2_000_000, 4));
    for command in [&["cat", "latest", "x"][..], &["ls"], &["snapshots", "--json"], &["completions", "bash"]]
    {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut child =
            sandbox.command(command).stdout(full).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(1), "{command:?}");
    }
}
