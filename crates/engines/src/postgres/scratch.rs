//! A server of its own, for as long as a restore is tested: nobody else reaches it, and nothing of it stays.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::error::PostgresError;
use super::{Programs, Target};

/// Who owns all of it.
const SUPERUSER: &str = "strongroom_scratch";

/// What it is told: it need not outlive a crash, takes little memory, and archives and sends nothing in the name of whoever it
/// was restored from.
const SETTINGS: [&str; 12] = [
    "listen_addresses=",
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "archive_mode=off",
    "autovacuum=off",
    "max_wal_size=4GB",
    "logging_collector=off",
    "shared_buffers=128MB",
    "huge_pages=off",
    "ssl=off",
    "primary_conninfo=",
];

const NO_SPACE: &str = "No space left on device";

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
        let scratch = Self::prepare(programs, major, parent)?;
        let mut initdb = scratch.command("initdb");
        initdb.args(["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--username", SUPERUSER]);
        scratch.run(initdb.arg("--pgdata").arg(scratch.data()))?;
        scratch.serve()?;
        Ok(scratch)
    }

    /// Only the place for one, where somebody else makes its data directory.
    ///
    /// # Errors
    /// As [`Scratch::start`].
    pub(super) fn prepare(programs: &Programs, major: u32, parent: &Path) -> Result<Self, PostgresError> {
        let initdb = programs.find("initdb", Some(major))?;
        let folder = tempfile::Builder::new().prefix("strongroom-scratch-").tempdir_in(parent);
        let folder = folder.map_err(|source| failed(parent, source.to_string()))?;
        let account = unprivileged(folder.path())?;
        // Links to it may lie where the server's user may not look.
        let initdb = initdb.canonicalize().map_err(|source| failed(&initdb, source.to_string()))?;
        let programs = initdb.parent().map(Path::to_path_buf).unwrap_or_default();
        let scratch = Self { folder, programs, account };
        scratch.give(scratch.folder.path())?;
        Ok(scratch)
    }

    /// Starts it on its data directory, whatever the configuration there says of who may come in and what is archived.
    ///
    /// # Errors
    /// `Scratch` with what it said.
    pub(super) fn serve(&self) -> Result<(), PostgresError> {
        let write = |file: &Path, text: &str| {
            std::fs::write(file, text).map_err(|source| failed(file, source.to_string()))?;
            self.give(file)
        };
        let access = self.folder.path().join("access");
        write(&access, "local all all trust\n")?;
        // Where packages keep it elsewhere.
        let configuration = self.data().join("postgresql.conf");
        if !configuration.exists() {
            write(&configuration, "")?;
        }
        let mut options = format!("-p 5432 -k '{}'", self.folder.path().display());
        options.push_str(&format!(" -c hba_file='{}'", access.display()));
        for setting in SETTINGS {
            options.push_str(" -c ");
            options.push_str(setting);
        }
        let mut start = self.command("pg_ctl");
        start.args(["start", "--wait", "--silent", "--timeout=86400", "-o", &options, "--pgdata"]);
        self.run(start.arg(self.data()).arg("--log").arg(self.log()))
    }

    /// Has `pg_verifybackup` compare its data directory with a manifest, and read the log that it names. Gives what it finds.
    ///
    /// # Errors
    /// `Scratch` when it cannot be run.
    pub(super) fn verify_backup(&self, manifest: &Path) -> Result<Vec<String>, PostgresError> {
        self.give(manifest)?;
        let mut program = self.command("pg_verifybackup");
        // It says anew where tablespaces lie.
        program
            .args(["--quiet", "--ignore=tablespace_map", "--manifest-path"])
            .arg(manifest)
            .arg(self.data());
        let name = Path::new(program.get_program()).to_path_buf();
        let ended =
            program.stderr(Stdio::piped()).output().map_err(|source| failed(&name, source.to_string()))?;
        let said = String::from_utf8_lossy(&ended.stderr);
        let mut found: Vec<String> =
            said.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).take(LINES_KEPT).collect();
        if !ended.status.success() && found.is_empty() {
            found.push(format!("pg_verifybackup: {}", ended.status));
        }
        Ok(if ended.status.success() { Vec::new() } else { found })
    }

    /// A file or folder to the server's user.
    fn give(&self, path: &Path) -> Result<(), PostgresError> {
        let Some((user, group)) = self.account else { return Ok(()) };
        chown(path, Some(user), Some(group)).map_err(|source| failed(path, source.to_string()))
    }

    /// All of a data directory to the server's user.
    ///
    /// # Errors
    /// `Scratch`.
    pub(super) fn give_all(&self, folder: &Path) -> Result<(), PostgresError> {
        if self.account.is_none() {
            return Ok(());
        }
        let wrong = |source: std::io::Error| failed(folder, source.to_string());
        let mut left = vec![folder.to_owned()];
        while let Some(path) = left.pop() {
            let status = path.symlink_metadata().map_err(wrong)?;
            if status.is_symlink() {
                continue;
            }
            self.give(&path)?;
            if status.is_dir() {
                for entry in path.read_dir().map_err(wrong)? {
                    left.push(entry.map_err(wrong)?.path());
                }
            }
        }
        Ok(())
    }

    /// How to reach it.
    ///
    /// # Errors
    /// `Target` where the folder's name is none that libpq takes.
    pub(super) fn target(&self) -> Result<Target, PostgresError> {
        self.target_of(SUPERUSER)
    }

    /// As who is another.
    ///
    /// # Errors
    /// As [`Scratch::target`].
    pub(super) fn target_of(&self, user: &str) -> Result<Target, PostgresError> {
        let quote = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
        let folder = quote(&self.folder.path().to_string_lossy());
        Target::parse(&format!("host='{folder}' port=5432 user='{}' dbname=template1", quote(user)))
    }

    /// Its data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Another folder of its own.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where it says so itself.
    pub(super) fn why_it_broke_down(&self) -> Option<PostgresError> {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let why = log.lines().find(|line| line.contains("PANIC: ") || line.contains(NO_SPACE));
        why.map(|why| failed(self.folder.path(), why.to_owned()))
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
