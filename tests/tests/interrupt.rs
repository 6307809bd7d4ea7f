//! A run that is ended in the middle leaves nothing that counts, and the next one works.
//!
//! Each test knows that the run is in the middle by the pipes it holds: what it wrote has been read, or what it waits
//! for has been said.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs::File;
use std::io::{Read, Write};

use rustix::process::Signal;
use strongroom_tests::noise::noise;
use strongroom_tests::sandbox::Sandbox;

/// More than any pipe and buffer holds.
const LENGTH: usize = 8 << 20;

fn make_fifo(sandbox: &Sandbox, name: &str) -> std::path::PathBuf {
    let path = sandbox.path(name);
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    path
}

fn goes_on(sandbox: &Sandbox) {
    assert!(sandbox.snapshots().is_empty());
    sandbox.assert_clean();
    let bytes = noise(LENGTH, 1);
    let id = sandbox.backup_stream("dump", &bytes);
    assert!(sandbox.cat(&id, "dump") == bytes);
    sandbox.assert_clean();
}

fn interrupt_a_stream(signal: Signal, code: i32) {
    let sandbox = Sandbox::new();
    let mut running = sandbox.start(["backup", "stdin", "--name", "dump"]);
    running.write(&noise(LENGTH, 1));
    running.signal(signal);
    // The pipe is still open: nothing but the signal ends it.
    let _said = running.wait().assert_code(code).assert_says(["interrupted"]);
    goes_on(&sandbox);
}

#[test]
fn an_interrupted_backup_of_a_stream_leaves_no_snapshot() {
    interrupt_a_stream(Signal::INT, 130);
}

#[test]
fn a_terminated_backup_of_a_stream_leaves_no_snapshot() {
    interrupt_a_stream(Signal::TERM, 143);
}

#[test]
fn a_killed_backup_leaves_no_snapshot() {
    let sandbox = Sandbox::new();
    let mut child = sandbox
        .command(["backup", "stdin", "--name", "dump"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(&noise(LENGTH, 1)).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    goes_on(&sandbox);
}

#[test]
fn an_interrupted_command_is_ended_with_the_backup() {
    let sandbox = Sandbox::new();
    let (started, ended) = (make_fifo(&sandbox, "started"), make_fifo(&sandbox, "ended"));
    // The command holds `ended` open for writing for as long as it lives, and would live for ever.
    let script = format!(
        "exec 9>'{}'; echo half; echo started >'{}'; exec sleep infinity",
        ended.display(),
        started.display()
    );
    let running = sandbox.start(["backup", "command", "--name", "dump", "--", "sh", "-c", &script]);
    let mut ended = File::open(&ended).unwrap();
    assert_eq!(std::fs::read_to_string(&started).unwrap(), "started\n");
    running.signal(Signal::TERM);
    let _said = running.wait().assert_code(143);
    let mut rest = Vec::new();
    ended.read_to_end(&mut rest).unwrap();
    goes_on(&sandbox);
}

#[test]
fn an_interrupted_backup_of_files_leaves_no_snapshot() {
    let sandbox = Sandbox::new();
    let mut exclude = make_fifo(&sandbox, "patterns");
    sandbox.write("source/a", noise(1000, 1));
    // It waits for its exclude file, which is a pipe that nobody writes to yet.
    let running = sandbox.start(["backup", "files", "source", "--exclude-file", "patterns"]);
    let held = std::fs::OpenOptions::new().write(true).open(&exclude).unwrap();
    running.signal(Signal::INT);
    let _said = running.wait().assert_code(130);
    drop(held);
    exclude.clear();
    goes_on(&sandbox);
}

#[test]
fn an_interrupted_cat_says_so_in_its_exit_code() {
    let sandbox = Sandbox::new();
    let _id = sandbox.backup_stream("dump", &noise(LENGTH, 1));
    let mut running = sandbox.start(["cat", "latest"]);
    let mut stdout = running.stdout();
    let mut head = [0; 1];
    stdout.read_exact(&mut head).unwrap();
    // It has more to write than the pipe holds, and nobody reads.
    running.signal(Signal::TERM);
    let _said = running.wait().assert_code(143);
    drop(stdout);
    sandbox.assert_clean();
}

#[test]
fn a_second_signal_ends_at_once() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.start(["backup", "stdin", "--name", "dump"]);
    running.write(&noise(LENGTH, 1));
    running.signal(Signal::INT);
    running.signal(Signal::TERM);
    let ran = running.wait();
    assert!(matches!(ran.status.code(), Some(130 | 143)), "{ran}");
    goes_on(&sandbox);
}
