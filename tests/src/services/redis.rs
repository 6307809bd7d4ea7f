//! A Redis server of its own, which writes a dump when it is asked to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

pub use fake::FakeRedis;

use super::process::Process;
use super::{started_or_unavailable, unavailable};

mod estates;
mod fake;

/// Names the program `redis-server`; `redis-cli` lies beside it.
pub const BINARY_VARIABLE: &str = "STRONGROOM_TEST_REDIS";

/// Names the folder of the programs of a newer Redis.
pub const NEWER_BINARIES_VARIABLE: &str = "STRONGROOM_TEST_REDIS8_BIN";
/// Names the folder of the programs of Valkey.
pub const VALKEY_BINARIES_VARIABLE: &str = "STRONGROOM_TEST_VALKEY_BIN";

const NAME: &str = "Redis";
const DUMP: &str = "dump.rdb";
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
const SAVE_PATIENCE: Duration = Duration::from_secs(60);

/// A running server; dropping it stops it and deletes its data.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    program: PathBuf,
    /// Beside its own.
    tls_port: Option<u16>,
}

impl Redis {
    /// Starts an empty server; `None` where Redis is not installed, which is then already counted as a skipped test.
    ///
    /// # Errors
    /// When the server is there and does not start, or when it is not there in CI.
    pub fn start() -> Result<Option<Self>> {
        Self::start_with(None)
    }

    /// As [`Redis::start`], with what a dump holds.
    ///
    /// # Errors
    /// As [`Redis::start`], and when it cannot read the dump.
    pub fn start_with(dump: Option<&Path>) -> Result<Option<Self>> {
        started_or_unavailable(NAME, find_program(), |program| Self::start_of(&program, dump, &[]))
    }

    /// An empty server of each version that is tested with, with these settings; those that are not installed are counted as
    /// skipped tests.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn start_each(settings: &[&str]) -> Result<Vec<Self>> {
        programs()?.iter().map(|program| Self::start_of(program, None, settings)).collect()
    }

    /// Starts one of the [`programs`], with what a dump holds, and settings as on its command line.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_of(program: &Path, dump: Option<&Path>, settings: &[&str]) -> Result<Self> {
        let command = |port: u16, folder: &Path| {
            // A link would do for reading, but the server replaces it by its own dump.
            let copied = dump.map_or(Ok(0), |dump| std::fs::copy(dump, folder.join(DUMP)));
            let mut command = Command::new(program);
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--daemonize", "no"]);
            // It dumps only when it is asked to, and at once.
            command.args(["--save", "", "--appendonly", "no", "--dbfilename", DUMP]);
            command.args(["--repl-diskless-sync-delay", "0"]).args(settings).arg("--dir");
            // Without the dump it must not start: it would be empty.
            command.arg(if copied.is_ok() { folder } else { Path::new("/nonexistent") });
            command
        };
        let process = Process::start("redis", command, answers)?;
        Ok(Self { process, program: program.to_owned(), tls_port: None })
    }

    /// As [`Redis::start_of`], on append-only files, which are copied.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_in(program: &Path, append_only: &Path, settings: &[&str]) -> Result<Self> {
        let command = |port: u16, folder: &Path| {
            let to = folder.join("appendonlydir");
            let copied = std::fs::create_dir(&to).and_then(|()| {
                let files = append_only.read_dir()?;
                files
                    .flatten()
                    .try_for_each(|file| std::fs::copy(file.path(), to.join(file.file_name())).map(drop))
            });
            let mut command = Command::new(program);
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--daemonize", "no"]);
            command.args(["--save", "", "--repl-diskless-sync-delay", "0", "--appendonly", "yes"]);
            command.args(settings).arg("--dir");
            command.arg(if copied.is_ok() { folder } else { Path::new("/nonexistent") });
            command
        };
        let process = Process::start("redis", command, answers)?;
        Ok(Self { process, program: program.to_owned(), tls_port: None })
    }

    /// A new folder with a program that has this happen to what it finds in its folder, before it serves it.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn programs_that_first(&self, folder: &Path, command: &str) -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let _gone = std::fs::remove_dir_all(folder);
        std::fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let name = self.program.file_name().unwrap_or_default();
        let client = self.client();
        let (real, client) = (self.program.display(), Path::new(client.get_program()).display());
        let script = format!(
            "#!/bin/sh\n\
             '{real}' --port 0 --unixsocket ./first --save '' --dbfilename dump.rdb >/dev/null 2>&1 &\n\
             until '{client}' -s ./first PING 2>/dev/null | grep -q PONG; do sleep 0.01; done\n\
             '{client}' -s ./first {command} >/dev/null && '{client}' -s ./first SAVE >/dev/null\n\
             '{client}' -s ./first SHUTDOWN NOSAVE; wait\nexec '{real}' \"$@\"\n"
        );
        let path = folder.join(name);
        std::fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
            .context("cannot make it run")?;
        Ok(folder.to_owned())
    }

    /// Another server of the same program, with what this one holds: what a restart makes of it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restarted(&self) -> Result<Self> {
        Self::start_of(&self.program, Some(&self.save()?), &[])
    }

    /// Its program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The folder of its programs.
    #[must_use]
    pub fn binaries(&self) -> &Path {
        self.program.parent().unwrap_or(Path::new("/"))
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.process.folder()
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.process.address().port()
    }

    /// Runs a command, and gives its answer.
    ///
    /// # Errors
    /// When it is an error.
    pub fn ask(&self, words: &[&str]) -> Result<String> {
        self.run(self.client().args(words))
    }

    /// Runs a script of the server's own language.
    ///
    /// # Errors
    /// When it fails.
    pub fn eval(&self, script: &str) -> Result<String> {
        self.ask(&["EVAL", script, "0"])
    }

    /// Runs a client of [`Redis::client`].
    ///
    /// # Errors
    /// When it says that something is wrong.
    pub fn run(&self, client: &mut Command) -> Result<String> {
        let said = client.output().context("cannot run the client")?;
        let text = String::from_utf8_lossy(&said.stdout).trim_end().to_owned();
        let wrong = String::from_utf8_lossy(&said.stderr).into_owned();
        ensure!(said.status.success(), "the server refuses: {text} {wrong}");
        Ok(text)
    }

    /// What all that it holds comes to, whichever encodings it has; it needs `enable-debug-command`.
    ///
    /// # Errors
    /// When it does not say.
    pub fn digest(&self) -> Result<String> {
        self.ask(&["DEBUG", "DIGEST"])
    }

    /// The URL by which a client reaches it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.process.address())
    }

    /// A `redis-cli` that connects to this server.
    #[must_use]
    pub fn client(&self) -> Command {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().replace("-server", "-cli");
        let mut command = Command::new(self.program.with_file_name(name));
        command.env_remove("REDISCLI_AUTH");
        command.args(["-e", "-h", "127.0.0.1", "-p", &self.process.address().port().to_string()]);
        command
    }

    /// Has it write its dump, and says where that is.
    ///
    /// # Errors
    /// When it does not.
    pub fn save(&self) -> Result<PathBuf> {
        // A dump that it has sent to a replica counts as being written until it has collected the process that did.
        const BUSY: &str = "already in progress";
        let deadline = Instant::now() + SAVE_PATIENCE;
        loop {
            match self.ask(&["SAVE"]) {
                Err(refused) if refused.to_string().contains(BUSY) && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(refused) => return Err(refused.context("Redis writes no dump")),
                Ok(_saved) => break,
            }
        }
        Ok(self.process.folder().join(DUMP))
    }
}

/// The program that [`BINARY_VARIABLE`] names, or else the one on `PATH`.
///
/// # Errors
/// When there is none.
pub fn find_program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(BINARY_VARIABLE) {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "{BINARY_VARIABLE} names {}, and there is no such program", path.display());
        return Ok(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&path).map(|folder| folder.join("redis-server"));
    programs.find(|program| program.is_file()).context("redis-server is not on PATH")
}

/// Of each version that is tested with: that of [`find_program`], a newer Redis, Valkey. Those that are not installed are
/// counted as skipped tests.
///
/// # Errors
/// When one is not there in CI.
pub fn programs() -> Result<Vec<PathBuf>> {
    let of = |variable: &str, name: &str| match std::env::var_os(variable) {
        Some(folder) => Ok(PathBuf::from(folder).join(name)),
        None => default_folder(name),
    };
    let mut programs = Vec::new();
    for (name, program) in [
        ("Redis", find_program()),
        ("Redis 8", of(NEWER_BINARIES_VARIABLE, "redis-server")),
        ("Valkey", of(VALKEY_BINARIES_VARIABLE, "valkey-server")),
    ] {
        match program {
            Ok(program) => programs.push(program),
            Err(error) => unavailable(name, &format!("{error:#}"))?,
        }
    }
    Ok(programs)
}

/// Where `cargo xtask services install` puts them.
fn default_folder(name: &str) -> Result<PathBuf> {
    let folders = [Some(PathBuf::from("/opt/strongroom-tools")), super::tools::tools_folder()];
    let place = format!("{name}-trixie/usr/bin/{name}");
    let found =
        folders.into_iter().flatten().map(|folder| folder.join(&place)).find(|program| program.is_file());
    found.with_context(|| {
        format!("{name} of Debian 13 is not in the tools folder (`cargo xtask test` installs it)")
    })
}

/// It says `LOADING` until it has read its dump.
fn answers(address: SocketAddr) -> bool {
    let mut answer = [0; 7];
    TcpStream::connect(address).is_ok_and(|mut stream| {
        stream.set_read_timeout(Some(ANSWER_PATIENCE)).is_ok()
            && stream.write_all(b"PING\r\n").is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && answer == *b"+PONG\r\n"
    })
}
