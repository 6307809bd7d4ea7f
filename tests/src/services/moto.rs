//! moto: a KMS with encryption contexts, and a second S3 with conditional writes, versions and Object Lock.
//!
//! It checks no signature and no policy: any credentials will do. A proxy in front of it ([`crate::proxy::iam`]) tells
//! callers apart.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::Result;

use super::aws::{AwsClient, Credentials};
use super::process::Process;
use super::{shared_or_unavailable, started_or_unavailable, tools};
use crate::http::message::Request;
use crate::http::send;

/// Names the program `moto_server`.
pub const BINARY_VARIABLE: &str = "STRONGROOM_TEST_MOTO";

/// The folder of its virtual environment in the tools folder.
pub const ENVIRONMENT: &str = "moto-python";

/// What that environment holds, as pip writes it.
pub const REQUIREMENT: &str = "moto[server]==5.2.5";

/// The account that everything in it belongs to.
pub const ACCOUNT: &str = "123456789012";

const NAME: &str = "moto";

/// A running server; dropping it stops it, and what it held is gone.
#[derive(Debug)]
pub struct Moto {
    process: Process,
}

impl Moto {
    /// Starts a server of the test's own; `None` where moto is not installed, which is then already counted as a
    /// skipped test.
    ///
    /// # Errors
    /// When the server is there and does not start, or when it is not there in CI.
    pub fn start() -> Result<Option<Self>> {
        started_or_unavailable(NAME, find_program(), |program| Self::start_from(&program))
    }

    /// The server that the tests of this process share: make buckets and keys of your own.
    ///
    /// # Errors
    /// As [`Moto::start`].
    pub fn shared() -> Result<Option<&'static Self>> {
        static SHARED: OnceLock<Result<Moto, String>> = OnceLock::new();
        shared_or_unavailable(NAME, find_program(), &SHARED, |program| Self::start_from(&program))
    }

    /// `http://127.0.0.1:PORT`, of every service.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.process.endpoint()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.process.address()
    }

    /// A client; its credentials are as good as any.
    #[must_use]
    pub fn client(&self) -> AwsClient {
        AwsClient::new(self.address(), credentials("administrator"))
    }

    fn start_from(program: &Path) -> Result<Self> {
        let command = |port: u16, folder: &Path| {
            let mut command = Command::new(program);
            command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
            // Nothing of the machine's configuration, and no way to the real AWS.
            for (name, _) in std::env::vars_os() {
                let name = name.to_string_lossy();
                if name.starts_with("AWS_") || name.starts_with("MOTO_") {
                    command.env_remove(&*name);
                }
            }
            command.env("HOME", folder).env("MOTO_ACCOUNT_ID", ACCOUNT);
            command
        };
        let answers = |address| {
            send(address, &Request::new("GET", "/moto-api/data.json"), b"")
                .is_ok_and(|answer| answer.head.status == 200)
        };
        Ok(Self { process: Process::start("moto", command, answers)? })
    }
}

/// Credentials of a caller of that name; moto takes any.
#[must_use]
pub fn credentials(name: &str) -> Credentials {
    let key: String = name.to_uppercase().chars().filter(char::is_ascii_alphanumeric).collect();
    Credentials::new(&format!("TEST{key}"), "secret")
}

/// The program: what [`BINARY_VARIABLE`] names, or the one in the tools folder.
///
/// # Errors
/// When there is neither.
pub fn find_program() -> Result<PathBuf> {
    tools::program(BINARY_VARIABLE, Path::new(ENVIRONMENT).join("bin/moto_server"))
}
