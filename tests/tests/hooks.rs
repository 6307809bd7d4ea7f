//! `--pre`, `--post`, `--on-failure`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use rustix::process::Signal;
use strongroom_tests::patience::wait_for;
use strongroom_tests::sandbox::{Sandbox, id_of};

/// What hooks wrote, line by line.
fn told(sandbox: &Sandbox) -> Vec<String> {
    let text = std::fs::read_to_string(sandbox.path("told")).unwrap_or_default();
    let _none = std::fs::remove_file(sandbox.path("told"));
    text.lines().map(str::to_owned).collect()
}

/// A hook that writes down when it runs.
fn tell(sandbox: &Sandbox, more: &str) -> String {
    format!(
        "echo \"$STRONGROOM_HOOK{more}\" >> '{}'; echo never on standard output",
        sandbox.path("told").display()
    )
}

#[test]
fn a_backup_runs_between_its_hooks() {
    let sandbox = Sandbox::new();
    let data = sandbox.write("data/file", "running");
    // What the first one does is seen by the backup, and undone by the last.
    let pause = format!("echo paused > '{}'; {}", data.display(), tell(&sandbox, ""));
    let go_on = format!(
        "echo running > '{}'; {}",
        data.display(),
        tell(&sandbox, " $STRONGROOM_OPERATION $STRONGROOM_SOURCE $STRONGROOM_ENGINE $STRONGROOM_RESULT")
    );
    let folder = sandbox.path("data").display().to_string();
    let done = sandbox.backup([
        "files",
        &folder,
        "--source",
        "node",
        "--pre",
        &pause,
        "--post",
        &go_on,
        "--on-failure",
        "exit 1",
    ]);
    assert_eq!(told(&sandbox), ["pre", "post backup node files done"]);
    let path = format!("{}/file", folder.trim_start_matches('/'));
    assert_eq!(sandbox.cat(&id_of(&done), &path), b"paused\n");
    assert_eq!(std::fs::read_to_string(&data).unwrap(), "running\n");

    // A service that does not go on is told, and the snapshot is there.
    let failed = sandbox.run(["backup", "files", &folder, "--source", "node", "--post", "exit 7"]);
    let _failed = failed.assert_code(3).assert_says(["the post hook failed (exit status: 7)"]);
    assert_eq!(sandbox.snapshots().len(), 2);
    sandbox.assert_clean();
}

#[test]
fn what_will_not_pause_makes_no_snapshot_and_goes_on() {
    let sandbox = Sandbox::new();
    let folder = sandbox.write("data/file", "running").parent().unwrap().display().to_string();
    let (post, on_failure) = (tell(&sandbox, " $STRONGROOM_RESULT"), tell(&sandbox, " $STRONGROOM_ERROR"));
    let after = ["--source", "node", "--post", &post, "--on-failure", &on_failure];
    for (pre, more, why) in [
        ("exit 2", &[][..], "the pre hook failed (exit status: 2): exit 2"),
        (
            "sleep 600",
            &["--hook-timeout", "1s"],
            "the pre hook was ended after 1 s (--hook-timeout): sleep 600",
        ),
    ] {
        let ran = sandbox.run([&["backup", "files", &folder, "--pre", pre][..], &after, more].concat());
        let _ran = ran.assert_code(1).assert_says([why]);
        assert_eq!(told(&sandbox), [format!("on-failure {why}"), "post failed".into()]);
    }
    let streams = ["backup", "command", "--stream", "dump=echo half; exit 9"];
    let failed = sandbox.run([&streams[..], &after].concat()).assert_code(1);
    let _failed = failed.assert_says(["exit status: 9"]);
    let after_it = told(&sandbox);
    assert!(after_it[0].starts_with("on-failure the command for stream `dump` failed"), "{after_it:?}");
    assert_eq!(after_it[1], "post failed");
    assert!(sandbox.snapshots().is_empty());
    let journal = sandbox.run(["journal", "export"]).assert_code(0).text();
    assert!(journal.contains("the pre hook was ended after 1 s"), "{journal}");
    sandbox.assert_clean();
}

#[test]
fn an_interrupted_one_goes_on_all_the_same() {
    let sandbox = Sandbox::new();
    let started = sandbox.path("started");
    let command = format!("echo > '{}'; sleep 600", started.display());
    let post = format!("sleep 0.2; {}", tell(&sandbox, " $STRONGROOM_RESULT"));
    let running =
        sandbox.start(["backup", "command", "--stream", &format!("dump={command}"), "--post", &post]);
    wait_for("the command is waited for", || started.exists());
    running.signal(Signal::INT);
    let _interrupted = running.wait().assert_code(130);
    assert_eq!(told(&sandbox), ["post failed"]);
    assert!(sandbox.snapshots().is_empty());
}

#[test]
fn a_restore_runs_between_its_hooks() {
    let sandbox = Sandbox::new();
    let id = sandbox.backup_stream("dump", b"data");
    let into = sandbox.path("restored");
    let restore = ["restore", &id, "--target", into.to_str().unwrap()];
    let refused = sandbox.run([&restore[..], &["--pre", "exit 1", "--post", &tell(&sandbox, "")]].concat());
    let _refused = refused.assert_code(1).assert_says(["the pre hook failed"]);
    assert!(!into.exists() && told(&sandbox) == ["post"]);
    let (pre, post) = (tell(&sandbox, " $STRONGROOM_OPERATION"), tell(&sandbox, " $STRONGROOM_RESULT"));
    let _restored = sandbox.run([&restore[..], &["--pre", &pre, "--post", &post]].concat()).assert_code(0);
    assert_eq!(std::fs::read(into.join("dump")).unwrap(), b"data");
    assert_eq!(told(&sandbox), ["pre restore", "post done"]);
    let _planned = sandbox.run([&restore[..], &["--dry-run", "--pre", "exit 1"]].concat()).assert_code(0);
}
