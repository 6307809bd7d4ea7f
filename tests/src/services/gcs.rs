//! fake-gcs-server: Google Cloud Storage, without credentials.
//!
//! It takes uploads and lists pages in the JSON dialect only; [`xml`] in front of it adds those of the XML dialect.

mod xml;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use serde_json::json;

use super::aws::accepted;
use super::process::Process;
use super::{shared_or_unavailable, started_or_unavailable, tools};
use crate::http::message::Request;
use crate::http::send;
use crate::http::server::Server;

/// Names the program `fake-gcs-server`.
pub const BINARY_VARIABLE: &str = "STRONGROOM_TEST_GCS";

/// The Go module of it.
pub const MODULE: &str = "github.com/fsouza/fake-gcs-server";

/// The version of the module.
pub const VERSION: &str = "v1.56.1";

const NAME: &str = "fake-gcs-server";

/// A running server; dropping it stops it, and what it held is gone.
#[derive(Debug)]
pub struct Gcs {
    // Before the process: what is in front goes first.
    front: Server,
    process: Process,
}

impl Gcs {
    /// Starts a server of the test's own; `None` where it is not installed, which is then already counted as a
    /// skipped test.
    ///
    /// # Errors
    /// When the server is there and does not start, or when it is not there in CI.
    pub fn start() -> Result<Option<Self>> {
        started_or_unavailable(NAME, find_program(), |program| Self::start_from(&program))
    }

    /// The server that the tests of this process share: make buckets of your own.
    ///
    /// # Errors
    /// As [`Gcs::start`].
    pub fn shared() -> Result<Option<&'static Self>> {
        static SHARED: OnceLock<Result<Gcs, String>> = OnceLock::new();
        shared_or_unavailable(NAME, find_program(), &SHARED, |program| Self::start_from(&program))
    }

    /// `http://127.0.0.1:PORT`, of both dialects.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.front.endpoint()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.front.address()
    }

    /// A new bucket.
    ///
    /// # Errors
    /// When the server says no.
    pub fn create_bucket(&self, name: &str) -> Result<()> {
        let request =
            Request::new("POST", "/storage/v1/b?project=test").with("Content-Type", "application/json");
        let answer = send(self.process.address(), &request, json!({ "name": name }).to_string().as_bytes());
        accepted(answer.context("no answer to a new bucket")?).map(drop)
    }

    fn start_from(program: &Path) -> Result<Self> {
        let command = |port: u16, folder: &Path| {
            let mut command = Command::new(program);
            // In memory, because in a folder no object can be called `a` beside one called `a/b`.
            command.args(["-backend", "memory", "-scheme", "http", "-host", "127.0.0.1"]);
            command.args(["-port", &port.to_string(), "-public-host", &format!("127.0.0.1:{port}")]);
            command.args(["-log-level", "warn", "-data"]).arg(folder.join("none"));
            for (name, _) in std::env::vars_os() {
                if name.to_string_lossy().starts_with("FAKE_GCS_") {
                    command.env_remove(name);
                }
            }
            command
        };
        let answers = |address| {
            send(address, &Request::new("GET", "/storage/v1/b?project=test"), b"")
                .is_ok_and(|answer| answer.head.status == 200)
        };
        let process = Process::start("gcs", command, answers)?;
        let front = xml::front(process.address()).context("no port for the front")?;
        Ok(Self { front, process })
    }
}

/// The program: what [`BINARY_VARIABLE`] names, or the one in the tools folder.
///
/// # Errors
/// When there is neither.
pub fn find_program() -> Result<PathBuf> {
    tools::program(BINARY_VARIABLE, format!("fake-gcs-server-{VERSION}/fake-gcs-server"))
}
