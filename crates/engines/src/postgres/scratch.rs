//! A server of its own, for as long as a restore is tested: nobody else reaches it, and nothing of it stays.

use std::fmt::Write as _;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::error::PostgresError;
use super::{Programs, Target};

/// Who owns all of it.
const SUPERUSER: &str = "strongroom_scratch";

/// What it is told beside its defaults: it need not outlive a crash, and archives nothing in the name of whoever it was
/// restored from.
const SETTINGS: &str = "listen_addresses = ''\nfsync = off\nfull_page_writes = off\nsynchronous_commit = off\n\
    archive_mode = off\nautovacuum = off\nmax_wal_size = '4GB'\nlogging_collector = off\n";

/// What of its log an error repeats, lines.
const LINES_KEPT: usize = 8;

/// It runs until it is dropped.
pub(super) struct Scratch {
    folder: TempDir,
    /// The folder of its programs.
    programs: PathBuf,
    /// Whose it is, where that is not who runs this.
    account: Option<(u32, u32)>,
}

impl Scratch {
    /// Makes and starts one below `parent`.
    ///
    /// # Errors
    /// `NoProgram` without a server of this version; `Scratch` with what it said.
    pub(super) fn start(programs: &Programs, major: u32, parent: &Path) -> Result<Self, PostgresError> {
        let initdb = programs.find("initdb", Some(major))?;
        let folder = tempfile::Builder::new().prefix("strongroom-scratch-").tempdir_in(parent);
        let folder = folder.map_err(|source| failed(parent, source.to_string()))?;
        let account = unprivileged(folder.path())?;
        // Links to it may lie where the server's user may not look.
        let initdb = initdb.canonicalize().map_err(|source| failed(&initdb, source.to_string()))?;
        let programs = initdb.parent().map(Path::to_path_buf).unwrap_or_default();
        let scratch = Self { folder, programs, account };
        if let Some((user, group)) = account {
            let given = chown(scratch.folder.path(), Some(user), Some(group));
            given.map_err(|source| failed(scratch.folder.path(), source.to_string()))?;
        }
        let mut initdb = scratch.command("initdb");
        initdb.args(["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--username", SUPERUSER]);
        scratch.run(initdb.arg("--pgdata").arg(scratch.data()))?;
        let mut settings = SETTINGS.to_owned();
        let socket = scratch.folder.path().to_string_lossy().replace('\'', "''");
        // Writing to a string does not fail.
        let _ = writeln!(settings, "unix_socket_directories = '{socket}'");
        let file = scratch.data().join("postgresql.auto.conf");
        std::fs::write(&file, settings).map_err(|source| failed(&file, source.to_string()))?;
        let mut start = scratch.command("pg_ctl");
        start.args(["start", "--wait", "--silent", "--timeout=300", "-o", "-p 5432", "--pgdata"]);
        scratch.run(start.arg(scratch.data()).arg("--log").arg(scratch.log()))?;
        Ok(scratch)
    }

    /// How to reach it.
    ///
    /// # Errors
    /// `Target` where the folder's name is none that libpq takes.
    pub(super) fn target(&self) -> Result<Target, PostgresError> {
        let folder = self.folder.path().to_string_lossy().replace('\\', "\\\\").replace('\'', "\\'");
        Target::parse(&format!("host='{folder}' port=5432 user={SUPERUSER} dbname=template1"))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// A program of the server's, as who runs the server.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path()).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null());
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group).env("HOME", self.folder.path());
        }
        command
    }

    fn run(&self, command: &mut Command) -> Result<(), PostgresError> {
        let program = Path::new(command.get_program()).to_path_buf();
        let ended = command.stderr(Stdio::piped()).spawn().and_then(std::process::Child::wait_with_output);
        let ended = ended.map_err(|source| failed(&program, source.to_string()))?;
        if ended.status.success() {
            return Ok(());
        }
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned() + &log;
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        Err(failed(&program, lines[lines.len().saturating_sub(LINES_KEPT)..].join(" / ")))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut stop = self.command("pg_ctl");
        stop.args(["stop", "--mode=immediate", "--silent", "--wait", "--pgdata"]).arg(self.data());
        // Of one that never started nothing is stopped.
        let _ = self.run(&mut stop);
    }
}

fn failed(what: &Path, why: String) -> PostgresError {
    PostgresError::Scratch { what: what.to_owned(), why }
}

/// PostgreSQL refuses to be root: whose it is then.
fn unprivileged(folder: &Path) -> Result<Option<(u32, u32)>, PostgresError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let user = uzers::get_user_by_name("postgres").or_else(|| uzers::get_user_by_name("nobody"));
    let user = user.filter(|user| user.uid() != 0);
    let why = "PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody";
    user.map(|user| Some((user.uid(), user.primary_group_id()))).ok_or_else(|| failed(folder, why.into()))
}
