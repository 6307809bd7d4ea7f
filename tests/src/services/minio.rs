//! MinIO: an S3 that checks signatures and enforces `If-None-Match` and Object Lock.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result};

use super::aws::{AwsClient, Credentials};
use super::process::Process;
use super::{shared_or_unavailable, started_or_unavailable, tools};

/// Names the program `minio`.
pub const BINARY_VARIABLE: &str = "STRONGROOM_TEST_MINIO";

/// The Go module of it.
pub const MODULE: &str = "github.com/minio/minio";

/// The version of the module.
pub const VERSION: &str = "v0.0.0-20260212201848-7aac2a2c5b7c";

const NAME: &str = "MinIO";

/// A running server; dropping it stops it and deletes its data.
#[derive(Debug)]
pub struct Minio {
    process: Process,
    root: Credentials,
}

impl Minio {
    /// Starts a server of the test's own; `None` where MinIO is not installed, which is then already counted as a
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
    /// As [`Minio::start`].
    pub fn shared() -> Result<Option<&'static Self>> {
        static SHARED: OnceLock<Result<Minio, String>> = OnceLock::new();
        shared_or_unavailable(NAME, find_program(), &SHARED, |program| Self::start_from(&program))
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.process.endpoint()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.process.address()
    }

    /// Of the administrator, who may do everything.
    #[must_use]
    pub fn root(&self) -> &Credentials {
        &self.root
    }

    /// A client with the administrator's credentials.
    #[must_use]
    pub fn client(&self) -> AwsClient {
        AwsClient::new(self.address(), self.root.clone())
    }

    /// Temporary credentials that may do everything as well, but whose access key is another: a proxy can tell
    /// callers apart by it.
    ///
    /// # Errors
    /// When the server says no.
    pub fn caller(&self, name: &str) -> Result<Credentials> {
        self.client().assume_role(name)
    }

    fn start_from(program: &Path) -> Result<Self> {
        // Its own to each server, so that one started on a port is not taken for another.
        let secret = format!("secret-{:016x}", RandomState::new().build_hasher().finish());
        let root = Credentials::new("strongroom-root", &secret);
        let command = |port: u16, folder: &Path| {
            let mut command = Command::new(program);
            command.args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}")]);
            command.args(["--console-address", "127.0.0.1:0"]).arg(folder.join("data"));
            for (name, _) in std::env::vars_os() {
                if name.to_string_lossy().starts_with("MINIO_") {
                    command.env_remove(name);
                }
            }
            command.env("MINIO_ROOT_USER", &root.access_key).env("MINIO_ROOT_PASSWORD", &root.secret_key);
            // It asks nobody for news.
            command.env("MINIO_UPDATE", "off").env("MINIO_BROWSER", "off").env("HOME", folder);
            command
        };
        let answers = |address| {
            let answer = AwsClient::new(address, root.clone()).s3("GET", "/", &[], b"");
            answer.is_ok_and(|answer| answer.head.status == 200)
        };
        let process = Process::start("minio", command, answers).context("MinIO")?;
        Ok(Self { process, root })
    }
}

/// The program: what [`BINARY_VARIABLE`] names, or the one in the tools folder.
///
/// # Errors
/// When there is neither.
pub fn find_program() -> Result<PathBuf> {
    tools::program(BINARY_VARIABLE, format!("minio-{VERSION}/minio"))
}
