//! A Redis server of its own, which writes a dump when it is asked to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::process::Process;
use super::started_or_unavailable;

/// Names the program `redis-server`; `redis-cli` lies beside it.
pub const BINARY_VARIABLE: &str = "STRONGROOM_TEST_REDIS";

/// Names the folder of the programs of a newer Redis.
pub const NEWER_BINARIES_VARIABLE: &str = "STRONGROOM_TEST_REDIS8_BIN";
/// Names the folder of the programs of Valkey.
pub const VALKEY_BINARIES_VARIABLE: &str = "STRONGROOM_TEST_VALKEY_BIN";

const NAME: &str = "Redis";
const DUMP: &str = "dump.rdb";
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// A running server; dropping it stops it and deletes its data.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    program: PathBuf,
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
        started_or_unavailable(NAME, find_program(), |program| Self::start_from(program, dump))
    }

    fn start_from(program: PathBuf, dump: Option<&Path>) -> Result<Self> {
        let command = |port: u16, folder: &Path| {
            // A link would do for reading, but the server replaces it by its own dump.
            let copied = dump.map_or(Ok(0), |dump| std::fs::copy(dump, folder.join(DUMP)));
            let mut command = Command::new(&program);
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--daemonize", "no"]);
            // It dumps only when it is asked to.
            command.args(["--save", "", "--appendonly", "no", "--dbfilename", DUMP]).arg("--dir");
            // Without the dump it must not start: it would be empty.
            command.arg(if copied.is_ok() { folder } else { Path::new("/nonexistent") });
            command
        };
        Ok(Self { process: Process::start("redis", command, answers)?, program })
    }

    /// The URL by which a client reaches it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.process.address())
    }

    /// A `redis-cli` that connects to this server.
    #[must_use]
    pub fn client(&self) -> Command {
        let mut command = Command::new(self.program.with_file_name("redis-cli"));
        command.env_remove("REDISCLI_AUTH");
        command.args(["-h", "127.0.0.1", "-p", &self.process.address().port().to_string()]);
        command
    }

    /// Has it write its dump, and says where that is.
    ///
    /// # Errors
    /// When it does not.
    pub fn save(&self) -> Result<PathBuf> {
        let said = self.client().arg("SAVE").output().context("cannot run redis-cli")?;
        let text = String::from_utf8_lossy(&said.stdout);
        ensure!(said.status.success() && text.trim() == "OK", "Redis writes no dump: {}", text.trim());
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
