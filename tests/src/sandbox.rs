//! A place of a test's own in which the `strongroom` binary runs: home folder, cache, repository, sources.
//!
//! Nothing of the machine's reaches the binary but `PATH`, and nothing that it writes outlives the test. A run that
//! cannot even be started fails the test on the spot, and so does a run that panicked, whatever its exit code.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails here")]

use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::strongroom;
use crate::services::aws::Credentials;

/// A folder with a home, a cache and, unless it was made [`empty`](Sandbox::empty), a repository that this home's
/// key file opens.
#[derive(Debug)]
pub struct Sandbox {
    folder: TempDir,
    environment: Vec<(OsString, OsString)>,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// With a repository.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        let sandbox = Self::empty();
        let _made = sandbox.run(["init", "--host", "test"]).assert_code(0);
        sandbox
    }

    /// Without one.
    #[must_use]
    pub fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("strongroom-test-").tempdir();
        let sandbox = Self { folder: folder.expect("no temporary folder"), environment: Vec::new() };
        std::fs::create_dir(sandbox.home()).expect("cannot make a home");
        sandbox
    }

    /// For a repository elsewhere, not made yet: every run has that URL and these variables, as the tools of a cloud
    /// know them.
    #[must_use]
    pub fn remote<N: Into<OsString>, V: Into<OsString>>(
        url: &str,
        environment: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut sandbox = Self::empty();
        sandbox.set("STRONGROOM_REPO", url);
        for (name, value) in environment {
            sandbox.set(name, value);
        }
        sandbox
    }

    /// As [`remote`](Sandbox::remote), for these endpoints of S3 and KMS.
    #[must_use]
    pub fn on_aws(url: &str, credentials: &Credentials, s3: &str, kms: &str) -> Self {
        let mut sandbox = Self::remote(url, credentials.environment());
        sandbox.set("AWS_ENDPOINT_URL_S3", s3);
        sandbox.set("AWS_ENDPOINT_URL_KMS", kms);
        sandbox
    }

    /// Another host of the same repository: nothing of this one's home and cache, and the same variables.
    #[must_use]
    pub fn other_host(&self) -> Self {
        Self { environment: self.environment.clone(), ..Self::empty() }
    }

    /// Sets a variable of every run from now on.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        let name = name.into();
        self.environment.retain(|(other, _)| *other != name);
        self.environment.push((name, value.into()));
    }

    /// A path in the sandbox; nothing need be there.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `HOME` of every run.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// `STRONGROOM_REPO` of every run, unless the sandbox was made for a repository [elsewhere](Sandbox::remote).
    #[must_use]
    pub fn repository(&self) -> PathBuf {
        self.path("repository")
    }

    /// `STRONGROOM_CACHE_DIR` of every run.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// Writes a file in the sandbox, and the folders above it.
    #[track_caller]
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("cannot make a folder");
        std::fs::write(&path, content).expect("cannot write a file");
        path
    }

    /// The binary with these arguments, in the sandbox's own world, with nothing on standard input.
    #[must_use]
    #[track_caller]
    pub fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = strongroom().expect("the binary under test is missing");
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_leaky(name)) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env("HOME", self.home())
            .env("STRONGROOM_REPO", self.repository())
            .env("STRONGROOM_CACHE_DIR", self.cache())
            .env("TZ", "UTC")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    #[track_caller]
    pub fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ran {
        run(&mut self.command(arguments))
    }

    /// Runs the binary to its end with `input` on standard input.
    #[track_caller]
    pub fn feed(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>, input: &[u8]) -> Ran {
        let mut running = self.start(arguments);
        running.write(input);
        running.finish()
    }

    /// Starts the binary with pipes on all sides.
    #[track_caller]
    pub fn start(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Running {
        start(&mut self.command(arguments))
    }

    /// Backs up with `--json` and these further arguments; gives the report.
    #[track_caller]
    pub fn backup(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Value {
        self.run(json(["backup"], arguments)).assert_code(0).one("backup")
    }

    /// Backs up `input` as the stream `name`; gives the snapshot's ID.
    #[track_caller]
    pub fn backup_stream(&self, name: &str, input: &[u8]) -> String {
        let ran = self.feed(["backup", "stdin", "--json", "--name", name], input).assert_code(0);
        id_of(&ran.one("backup"))
    }

    /// Asserts that a full check finds nothing at all.
    #[track_caller]
    pub fn assert_clean(&self) {
        let checked = self.run(["check", "--read-data", "--keys", "--json"]).assert_code(0).one("check");
        assert_eq!(checked["clean"], true, "{checked}");
    }

    /// The IDs of all snapshots, the oldest first.
    #[track_caller]
    pub fn snapshots(&self) -> Vec<String> {
        let listed = self.run(["snapshots", "--json"]).assert_code(0).json_lines();
        listed.iter().map(|snapshot| text(&snapshot["id"])).collect()
    }

    /// Writes out one stream or file of a snapshot.
    #[track_caller]
    pub fn cat(&self, snapshot: &str, path: &str) -> Vec<u8> {
        self.run(["cat", snapshot, path]).assert_code(0).stdout
    }
}

/// What would let the machine's own settings in.
fn is_leaky(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let clouds = ["AWS_", "AZURE_", "GOOGLE_"];
    name.starts_with("XDG_")
        || name.starts_with("LC_")
        || name == "LANG"
        || clouds.iter().any(|cloud| name.starts_with(cloud))
        || name.to_ascii_lowercase().ends_with("_proxy")
}

fn json<'a>(
    command: impl IntoIterator<Item = &'a str>,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Vec<OsString> {
    let command = command.into_iter().map(OsString::from);
    let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
    // First, because what follows `--` is a command's.
    std::iter::once("--json".into()).chain(command).chain(arguments).collect()
}

/// The snapshot that a report of `backup --json` names.
#[must_use]
#[track_caller]
pub fn id_of(report: &Value) -> String {
    text(&report["snapshot"])
}

/// A JSON string.
#[must_use]
#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().expect("this is no string").to_owned()
}

/// Runs a command of [`Sandbox::command`] to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    let what = words(command);
    let output = command.output().expect("cannot run the binary");
    Ran::new(what, output)
}

/// Starts a command of [`Sandbox::command`] with pipes on all sides.
#[must_use]
#[track_caller]
pub fn start(command: &mut Command) -> Running {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let what = words(command);
    let mut child = command.spawn().expect("cannot start the binary");
    let input = child.stdin.take();
    Running { what, child, input, said: Vec::new() }
}

fn words(command: &Command) -> String {
    command.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// The binary under way, with its standard input held open.
#[derive(Debug)]
pub struct Running {
    what: String,
    child: Child,
    input: Option<ChildStdin>,
    /// What was read of its standard error.
    said: Vec<u8>,
}

impl Running {
    /// Writes to its standard input. More than a pipe holds comes through only once it reads: when this returns,
    /// it is in the middle. A reader that went away is no error here: its exit code will tell.
    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("standard input is closed already");
        match input.write_all(bytes) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                panic!("cannot write to `{}`: {error}", self.what)
            }
            _ => {}
        }
    }

    /// Sends a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("cannot send a signal");
    }

    /// Waits until it has said this, or is gone.
    #[track_caller]
    pub fn wait_until_it_says(&mut self, what: &str) {
        let stderr = self.child.stderr.as_mut().expect("standard error is taken already");
        let mut byte = [0];
        while !self.said.ends_with(what.as_bytes()) && stderr.read(&mut byte).expect("cannot hear it") > 0 {
            self.said.extend_from_slice(&byte);
        }
    }

    /// Ends it as a crash does.
    #[track_caller]
    pub fn kill(mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("cannot kill the binary");
    }

    /// Its process ID.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its standard output, to be read while it runs.
    #[track_caller]
    pub fn stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("standard output is taken already")
    }

    /// Closes its standard input and waits for its end.
    #[track_caller]
    pub fn finish(mut self) -> Ran {
        drop(self.input.take());
        self.wait()
    }

    /// Waits for its end with standard input still open.
    #[track_caller]
    pub fn wait(mut self) -> Ran {
        // `wait_with_output` would close it.
        let held = self.input.take();
        let mut output = self.child.wait_with_output().expect("cannot wait for the binary");
        drop(held);
        output.stderr.splice(..0, self.said);
        Ran::new(self.what, output)
    }
}

/// A run that has ended.
#[derive(Debug)]
#[must_use]
pub struct Ran {
    what: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it said.
    pub stderr: String,
}

impl Ran {
    #[track_caller]
    fn new(what: String, output: Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let ran = Self { what, status: output.status, stdout: output.stdout, stderr };
        assert!(!ran.stderr.contains("panicked at"), "it panicked\n{ran}");
        assert!(ran.status.signal().is_none() && ran.status.code() != Some(101), "it broke down\n{ran}");
        ran
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn assert_code(self, code: i32) -> Self {
        assert!(self.status.code() == Some(code), "exit code {code} is expected\n{self}");
        self
    }

    /// Asserts that standard error holds each of these.
    #[track_caller]
    pub fn assert_says<const N: usize>(self, parts: [&str; N]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "it should say {part:?}\n{self}");
        }
        self
    }

    /// Asserts that standard output holds each of these.
    #[track_caller]
    pub fn assert_prints<const N: usize>(self, parts: [&str; N]) -> Self {
        let printed = self.text();
        for part in parts {
            assert!(printed.contains(part), "it should print {part:?}\n{self}");
        }
        self
    }

    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Every line of standard output, each one JSON object.
    #[must_use]
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| match serde_json::from_str::<Value>(line) {
            Ok(value) if value["type"].is_string() => value,
            _ => panic!("{line:?} is no JSON object with a type\n{self}"),
        };
        self.text().lines().map(parse).collect()
    }

    /// The lines of JSON with this type.
    #[must_use]
    #[track_caller]
    pub fn all(&self, kind: &str) -> Vec<Value> {
        self.json_lines().into_iter().filter(|value| value["type"] == kind).collect()
    }

    /// The only line of JSON with this type.
    #[must_use]
    #[track_caller]
    pub fn one(&self, kind: &str) -> Value {
        let mut found = self.all(kind);
        assert_eq!(found.len(), 1, "one object of type {kind} is expected\n{self}");
        found.remove(0)
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (stdout, cut) = match self.stdout.get(..4096) {
            Some(start) => (start, "..."),
            None => (&self.stdout[..], ""),
        };
        let stdout = String::from_utf8_lossy(stdout);
        write!(
            f,
            "`strongroom {}`: {}\nstdout:\n{stdout}{cut}\nstderr:\n{}",
            self.what, self.status, self.stderr
        )
    }
}
