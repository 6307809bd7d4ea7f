//! Azurite: Azure Blob Storage, with shared keys.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::aws::{accepted, hmac_sha256};
use super::process::Process;
use super::{shared_or_unavailable, started_or_unavailable, tools};
use crate::http::message::Request;
use crate::http::{Answer, send};

/// Names the program `azurite-blob`.
pub const BINARY_VARIABLE: &str = "STRONGROOM_TEST_AZURITE";

/// Its package in the registry of Node.
pub const PACKAGE: &str = "azurite";

/// The newest that runs on Node 20.
pub const VERSION: &str = "3.35.0";

/// The account that every Azurite has.
pub const ACCOUNT: &str = "devstoreaccount1";

/// The key of [`ACCOUNT`], as Azurite's documentation prints it.
pub const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const NAME: &str = "Azurite";
const API_VERSION: &str = "2021-12-02";

/// A running server; dropping it stops it and deletes its data.
#[derive(Debug)]
pub struct Azurite {
    process: Process,
}

impl Azurite {
    /// Starts a server of the test's own; `None` where Azurite is not installed, which is then already counted as a
    /// skipped test.
    ///
    /// # Errors
    /// When the server is there and does not start, or when it is not there in CI.
    pub fn start() -> Result<Option<Self>> {
        started_or_unavailable(NAME, find_program(), |program| Self::start_from(&program))
    }

    /// The server that the tests of this process share: make containers of your own.
    ///
    /// # Errors
    /// As [`Azurite::start`].
    pub fn shared() -> Result<Option<&'static Self>> {
        static SHARED: OnceLock<Result<Azurite, String>> = OnceLock::new();
        shared_or_unavailable(NAME, find_program(), &SHARED, |program| Self::start_from(&program))
    }

    /// `http://127.0.0.1:PORT`, without the account.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.process.endpoint()
    }

    /// `http://127.0.0.1:PORT/devstoreaccount1`: what Azure's clients call the endpoint of an account.
    #[must_use]
    pub fn account_endpoint(&self) -> String {
        format!("{}/{ACCOUNT}", self.endpoint())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.process.address()
    }

    /// A new container.
    ///
    /// # Errors
    /// When the server says no.
    pub fn create_container(&self, name: &str) -> Result<()> {
        accepted(self.request("PUT", &format!("/{name}?restype=container"), &[], b"")?).map(drop)
    }

    /// Any request of Blob Storage, signed with the account's key; `target` is path and query below the account.
    ///
    /// # Errors
    /// When no answer comes; one that says no is an answer.
    pub fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        let mut request = Request::new(method, &format!("/{ACCOUNT}{target}"));
        for (name, value) in headers {
            request.headers.add(name, value);
        }
        request.headers.set("x-ms-date", &Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
        request.headers.set("x-ms-version", API_VERSION);
        sign(&mut request, body.len())?;
        send(self.address(), &request, body).with_context(|| format!("{method} {target} has no answer"))
    }

    fn start_from(program: &Path) -> Result<Self> {
        let command = |port: u16, folder: &Path| {
            let mut command = Command::new(program);
            command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
            command
                .args(["--disableTelemetry", "--skipApiVersionCheck", "--silent", "--location"])
                .arg(folder);
            command.env("HOME", folder).env_remove("AZURITE_ACCOUNTS");
            command
        };
        // Without a signature it answers, and says no.
        let answers = |address| send(address, &Request::new("GET", "/?comp=list"), b"").is_ok();
        Ok(Self { process: Process::start("azurite", command, answers)? })
    }
}

/// The program: what [`BINARY_VARIABLE`] names, or the one in the tools folder.
///
/// # Errors
/// When there is neither.
pub fn find_program() -> Result<PathBuf> {
    tools::program(BINARY_VARIABLE, format!("{PACKAGE}-{VERSION}/node_modules/.bin/azurite-blob"))
}

/// Adds the signature ("Authorize with Shared Key" of Azure's documentation).
fn sign(request: &mut Request, length: usize) -> Result<()> {
    let value = |name: &str| request.headers.first(name).unwrap_or_default().to_owned();
    let length = if length == 0 { String::new() } else { length.to_string() };
    let mut text = format!("{}\n\n\n{length}\n", request.method);
    // Date is empty: x-ms-date counts.
    for name in ["content-md5", "content-type", "", "if-modified-since", "if-match", "if-none-match"] {
        text.push_str(&format!("{}\n", value(name)));
    }
    text.push_str(&format!("{}\n{}\n", value("if-unmodified-since"), value("range")));
    let mut of_azure: Vec<String> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| name.starts_with("x-ms-"))
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    of_azure.sort();
    text.push_str(&of_azure.concat());
    // The account twice: once as such, once because an emulator has it in the path.
    text.push_str(&format!("/{ACCOUNT}{}", request.raw_path()));
    let mut query = request.query();
    query.sort();
    for (name, value) in query {
        text.push_str(&format!("\n{}:{value}", name.to_lowercase()));
    }
    let key = STANDARD.decode(KEY).context("the account's key is no base64")?;
    let signature = STANDARD.encode(hmac_sha256(&key, text.as_bytes()));
    request.headers.set("Authorization", &format!("SharedKey {ACCOUNT}:{signature}"));
    Ok(())
}
