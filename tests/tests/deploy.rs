//! What is in `deploy/` and `examples/`: charts, manifests, rules, the dashboard, units and the Compose file are what their own
//! tools take, say the same as each other, and name commands, metrics and files that there are.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "deploy/manifests.rs"]
mod manifests;
#[path = "deploy/metrics.rs"]
mod metrics;
#[path = "deploy/restore_jobs.rs"]
mod restore_jobs;
#[path = "deploy/schedules.rs"]
mod schedules;
#[path = "deploy/units.rs"]
mod units;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use strongroom_tests::services::deployment::{SCHEMAS, Tool};

const EXAMPLES: [&str; 5] = ["aitbc", "aivo", "chatcard", "comply-ai", "save-it"];

/// A file of the checkout.
fn at(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

fn read(path: impl AsRef<Path>) -> String {
    let path = at(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The programs, in their order; `None` where one is missing, which is counted.
fn tools<const N: usize>(tools: [Tool; N]) -> Option<[PathBuf; N]> {
    let found = tools.map(|tool| tool.found().unwrap());
    found.iter().all(Option::is_some).then(|| found.map(Option::unwrap))
}

/// Runs it with this on standard input; gives what it printed. Its failure is this test's.
fn run(command: &mut Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // What it says may fill a pipe before it has read all.
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // One that fails early reads not all.
    let _ = writer.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{printed}", output.status);
    printed
}

/// The documents of a YAML text.
fn documents(python: &Path, yaml: &str) -> Vec<Value> {
    const PROGRAM: &str = "import json,sys,yaml; json.dump([d for d in yaml.safe_load_all(sys.stdin) if d is not None], sys.stdout)";
    serde_json::from_str(&run(Command::new(python).args(["-c", PROGRAM]), yaml)).unwrap()
}

/// That of a file.
fn document(path: &str) -> Option<Value> {
    let [python] = tools([SCHEMAS])?;
    documents(&python, &read(path)).into_iter().next()
}
