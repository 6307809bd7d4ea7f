//! ClickHouse: the old server that Debian has, and a current one, which is the engine as a library behind a small front.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::process::Process;
use super::{started_or_unavailable, tools};
use crate::http::message::Request;
use crate::http::{Answer, percent_encoded, send};

/// Names the program `clickhouse-server`, of Debian's version.
pub const BINARY_VARIABLE: &str = "STRONGROOM_TEST_CLICKHOUSE";

/// Names the Python that has the current engine.
pub const PYTHON_VARIABLE: &str = "STRONGROOM_TEST_CHDB";

/// The folder of its virtual environment in the tools folder.
pub const ENVIRONMENT: &str = "chdb-python";

/// What that environment holds, as pip writes it: the second is the engine.
pub const REQUIREMENTS: [&str; 2] = ["chdb==4.4.0", "chdb-core==26.9.0"];

/// The password of the user `default`.
pub const PASSWORD: &str = "secret: word";

const FRONT: &str = include_str!("clickhouse/front.py");
const NAME: &str = "ClickHouse 18.16";
const NEWER_NAME: &str = "ClickHouse 26.9 (chdb)";

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 18.16.
    Old,
    /// 26.9.
    Current,
}

/// A running server; dropping it stops it and deletes its data.
#[derive(Debug)]
pub struct ClickHouse {
    /// None between two runs.
    process: Option<Process>,
    data: TempDir,
    program: PathBuf,
    version: Version,
}

impl ClickHouse {
    /// Starts one of each version; those that are not installed are missing, and then already counted as skipped tests.
    ///
    /// # Errors
    /// When one is there and does not start, or when it is not there in CI.
    pub fn start_each() -> Result<Vec<Self>> {
        let started = [Self::start(Version::Old)?, Self::start(Version::Current)?];
        Ok(started.into_iter().flatten().collect())
    }

    /// Starts one; `None` where it is not installed, which is then already counted as a skipped test.
    ///
    /// # Errors
    /// When it is there and does not start, or when it is not there in CI.
    pub fn start(version: Version) -> Result<Option<Self>> {
        let (name, program) = match version {
            Version::Old => (NAME, find_program()),
            Version::Current => (NEWER_NAME, find_python()),
        };
        started_or_unavailable(name, program, |program| {
            let data = tempfile::Builder::new().prefix("strongroom-clickhouse-data-").tempdir();
            let data = data.context("no temporary folder")?;
            let mut server = Self { process: None, data, program, version };
            server.restart()?;
            Ok(server)
        })
    }

    /// Ends it as a crash does, and starts it again with the same data, at another port.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        let command = |port: u16, _: &Path| match self.version {
            Version::Old => old(&self.program, port, self.data.path()),
            Version::Current => current(&self.program, port, self.data.path()),
        };
        let answers = |address| {
            send(address, &Request::new("GET", "/"), b"").is_ok_and(|answer| answer.head.status == 200)
        };
        self.process = Some(Process::start("clickhouse", command, answers)?);
        Ok(())
    }

    /// Ends it as a crash does.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Which one it is.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its program: of the current one, Python.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When it was stopped.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.process.as_ref().context("the server was stopped")?.address())
    }

    /// With user and password.
    ///
    /// # Errors
    /// When it was stopped.
    pub fn url(&self) -> Result<String> {
        Ok(format!("http://default:{}@{}", percent_encoded(PASSWORD, true), self.address()?))
    }

    /// Runs one query, and gives what it answers.
    ///
    /// # Errors
    /// When it fails, with what the server says.
    pub fn query(&self, sql: &str) -> Result<String> {
        let answer = self.ask(sql)?;
        ensure!(answer.head.status == 200, "{sql}: {}", answer.text());
        Ok(answer.text())
    }

    /// Runs queries that end with a semicolon at the end of a line.
    ///
    /// # Errors
    /// As [`ClickHouse::query`]; the rest is then not run.
    pub fn run(&self, script: &str) -> Result<()> {
        for sql in script.split(";\n").map(str::trim).filter(|sql| !sql.is_empty()) {
            self.query(sql.trim_end_matches(';'))?;
        }
        Ok(())
    }

    /// All rows of all tables of a database that hold some, and what makes them: what is to be the same after a restore.
    ///
    /// # Errors
    /// As [`ClickHouse::query`].
    pub fn text_of(&self, database: &str) -> Result<String> {
        let mut text = String::new();
        let tables = self.query(&format!(
            "SELECT concat(if(engine IN ('SummingMergeTree', 'ReplacingMergeTree') OR engine = 'MaterializedView', 'FINAL', 'ALL'), ' ', name) FROM system.tables WHERE database = '{database}' AND name NOT LIKE '.inner%' AND engine != 'Dictionary' ORDER BY name"
        ))?;
        for (kind, name) in tables.lines().filter_map(|line| line.split_once(' ')) {
            // What may be merged at any moment is looked at as if it were; a view has nothing of its own.
            let last = if kind == "FINAL" && !name.starts_with("to_") { " FINAL" } else { "" };
            let quoted = format!("`{database}`.`{}`", name.replace('`', "\\`"));
            let mut create = self.query(&format!("SHOW CREATE TABLE {quoted}"))?;
            for (before, after) in [("", "."), ("\\'", "\\'"), ("(", ",")] {
                create = create
                    .replace(&format!("{before}{database}{after}"), &format!("{before}DATABASE{after}"));
            }
            text.push_str(&create);
            let rows = self.query(&format!("SELECT * FROM {quoted}{last} FORMAT TabSeparated"))?;
            let mut rows: Vec<&str> = rows.lines().collect();
            rows.sort_unstable();
            text.push_str(&rows.join("\n"));
            text.push('\n');
        }
        Ok(text)
    }

    fn ask(&self, sql: &str) -> Result<Answer> {
        use base64::Engine as _;
        let login = base64::prelude::BASE64_STANDARD.encode(format!("default:{PASSWORD}"));
        let request = Request::new("POST", "/").with("Authorization", &format!("Basic {login}"));
        send(self.address()?, &request, sql.as_bytes()).with_context(|| format!("no answer to {sql}"))
    }
}

fn old(program: &Path, port: u16, folder: &Path) -> Command {
    let path = |name: &str| format!("{}/{name}/", folder.display());
    let config = format!(
        "<yandex><logger><level>error</level><console>1</console></logger><http_port>{port}</http_port>\
        <listen_host>127.0.0.1</listen_host><path>{}</path><tmp_path>{}</tmp_path><user_files_path>{}</user_files_path>\
        <format_schema_path>{}</format_schema_path><users_config>users.xml</users_config>\
        <default_profile>default</default_profile><default_database>default</default_database>\
        <mark_cache_size>67108864</mark_cache_size><timezone>UTC</timezone></yandex>",
        path("data"),
        path("tmp"),
        path("files"),
        path("schemas")
    );
    let users = format!(
        "<yandex><profiles><default/></profiles><users><default><password>{PASSWORD}</password><networks><ip>::/0</ip>\
        </networks><profile>default</profile><quota>default</quota></default></users><quotas><default/></quotas></yandex>"
    );
    // What cannot be written is missing when it starts, which is said then.
    let _config = std::fs::write(folder.join("config.xml"), config);
    let _users = std::fs::write(folder.join("users.xml"), users);
    let mut command = Command::new(program);
    command.arg(format!("--config-file={}", folder.join("config.xml").display()));
    command
}

fn current(python: &Path, port: u16, folder: &Path) -> Command {
    let front = folder.join("front.py");
    let _front = std::fs::write(&front, FRONT);
    let mut command = Command::new(python);
    command.arg(front).arg(port.to_string()).arg(folder).arg(PASSWORD).env("TZ", "UTC").env("HOME", folder);
    command
}

/// The program that [`BINARY_VARIABLE`] names, or else the one where Debian puts it.
///
/// # Errors
/// When there is none, or when it is of another version.
pub fn find_program() -> Result<PathBuf> {
    let named = std::env::var_os(BINARY_VARIABLE).map(PathBuf::from);
    let path = named.unwrap_or_else(|| PathBuf::from("/usr/sbin/clickhouse-server"));
    ensure!(path.is_file(), "there is no {}", path.display());
    Ok(path)
}

/// The Python that [`PYTHON_VARIABLE`] names, or else the one in the tools folder.
///
/// # Errors
/// When there is neither.
pub fn find_python() -> Result<PathBuf> {
    tools::program(PYTHON_VARIABLE, Path::new(ENVIRONMENT).join("bin/python"))
}
