//! A server of its own, for as long as a restore is tested: nobody else reaches it, and nothing of it stays.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use strongroom_repository::monitor::Monitor;
use tempfile::TempDir;

use super::connection::Connection;
use super::error::RedisError;
use super::target::Target;

const POLL: Duration = Duration::from_millis(20);
/// What of its log an error repeats, lines.
const LINES_KEPT: usize = 3;
const SOCKET: &str = "socket";
const LOG: &str = "log";

/// Files that it starts from.
#[derive(Debug, Clone, Copy)]
pub(super) struct AppendOnly<'a> {
    /// None before 7.0, when there was one file.
    pub(super) folder: Option<&'a str>,
    pub(super) name: &'a str,
}

/// It runs until it is dropped.
pub(super) struct Scratch {
    folder: TempDir,
    program: PathBuf,
    child: Option<Child>,
}

impl Scratch {
    /// The place for one below `parent`, and the program `SERVER-server` from `programs`, or else from the path.
    ///
    /// # Errors
    /// `Scratch` without a program.
    pub(super) fn prepare(programs: Option<&Path>, server: &str, parent: &Path) -> Result<Self, RedisError> {
        let program = find(programs, server)?;
        let folder = tempfile::Builder::new().prefix("strongroom-scratch-").tempdir_in(parent);
        let folder = folder.map_err(|source| failed(parent, source.to_string()))?;
        let data = folder.path().join("data");
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&data)
            .map_err(|source| failed(&data, source.to_string()))?;
        Ok(Self { folder, program, child: None })
    }

    /// Where its files are.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts it on its files, and waits until it has read them.
    ///
    /// # Errors
    /// `Scratch` with what it said.
    pub(super) fn serve(
        &mut self,
        databases: u64,
        append_only: Option<AppendOnly<'_>>,
        monitor: &dyn Monitor,
    ) -> Result<(), RedisError> {
        let log = self.folder.path().join(LOG);
        let output = std::fs::File::create(&log).map_err(|source| failed(&log, source.to_string()))?;
        let mut command = Command::new(&self.program);
        command.current_dir(self.data()).stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
        command.args(["--port", "0", "--daemonize", "no", "--save", "", "--repl-diskless-sync", "yes"]);
        command.args([
            "--repl-diskless-sync-delay",
            "0",
            "--unixsocketperm",
            "700",
            "--dbfilename",
            "dump.rdb",
        ]);
        match append_only {
            None => command.args(["--appendonly", "no"]),
            Some(AppendOnly { folder, name }) => {
                command.args(["--appendonly", "yes", "--appendfsync", "no", "--aof-load-truncated", "no"]);
                command.args(["--appendfilename", name, "--auto-aof-rewrite-percentage", "0"]);
                command.args(folder.map(|folder| ["--appenddirname", folder]).into_iter().flatten())
            }
        };
        command.args(["--databases", &databases.max(16).to_string()]);
        command.arg("--dir").arg(self.data()).arg("--unixsocket").arg(self.folder.path().join(SOCKET));
        let child = command.spawn().map_err(|source| failed(&self.program, source.to_string()))?;
        self.child = Some(child);
        let target = self.target();
        loop {
            let exited = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = exited {
                return Err(failed(&self.program, format!("{status}: {}", self.said())));
            }
            // It says LOADING until it has read all of it.
            let answers =
                Connection::open(&target, monitor).and_then(|mut connection| connection.ask(&[b"PING"]));
            if answers.is_ok() {
                return Ok(());
            }
            if monitor.is_cancelled() {
                return Err(failed(&self.program, "it was given up".into()));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Whether it ended by itself.
    pub(super) fn has_refused(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// How to reach it.
    pub(super) fn target(&self) -> Target {
        Target::socket(self.folder.path().join(SOCKET))
    }

    fn said(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default();
        // What it warns of stands behind a `#`.
        let said = log.lines().filter_map(|line| Some(line.split_once(" # ")?.1));
        let lines: Vec<&str> = said.filter(|line| !line.contains("WARNING")).collect();
        lines[lines.len().saturating_sub(LINES_KEPT)..].join(" / ")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Of one that has ended nothing is ended.
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

fn failed(what: &Path, why: String) -> RedisError {
    RedisError::Scratch { what: what.to_owned(), why }
}

/// The one of that name, or else the other.
fn find(programs: Option<&Path>, server: &str) -> Result<PathBuf, RedisError> {
    let names = if server == "valkey" {
        ["valkey-server", "redis-server"]
    } else {
        ["redis-server", "valkey-server"]
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = match programs {
        Some(folder) => vec![folder.to_owned()],
        None => std::env::split_paths(&path).collect(),
    };
    for name in names {
        if let Some(program) =
            folders.iter().map(|folder| folder.join(name)).find(|program| program.is_file())
        {
            return Ok(program);
        }
    }
    let place = programs.map_or_else(|| "PATH".into(), |folder| folder.display().to_string());
    Err(failed(Path::new(names[0]), format!("there is none in {place}")))
}
