//! Who races over a cluster, and by which commands.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use strongroom_tests::services::postgres::{Postgres, SUPERUSER};

use crate::contender::output;

const PGBACKREST_CONFIGURATION: &str = "[global]
repo1-bundle=y
repo1-block=y
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=race
compress-type=zst
compress-level=3
process-max=2
start-fast=y
archive-check=n
log-level-console=warn
log-level-file=off
";

/// A backup tool with its repository.
pub(super) trait Contender {
    fn name(&self) -> &'static str;
    fn repository(&self) -> PathBuf;
    fn backup(&self) -> Command;
    /// The latest, into this folder.
    fn restore(&self, data: &Path, is_delta: bool) -> Command;
}

pub(super) struct Strongroom {
    program: PathBuf,
    folder: PathBuf,
    url: String,
    binaries: PathBuf,
}

impl Strongroom {
    pub(super) fn new(program: &Path, server: &Postgres, folder: &Path) -> Result<Self> {
        std::fs::create_dir(folder).context("no folder for a repository")?;
        let one = Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            url: server.url("postgres"),
            binaries: server.binaries().to_owned(),
        };
        output(one.command().arg("init"))?;
        Ok(one)
    }

    /// As `pg_dump` has it.
    pub(super) fn backup_of(&self, database: &str) -> Command {
        let mut command = self.command();
        command.args(["backup", "postgres", "--database", database, "--dbname", &self.url]);
        command
    }

    /// The latest of those, into a server.
    pub(super) fn restore_to(&self, url: &str, database: &str) -> Command {
        let mut command = self.command();
        command.args(["restore", "latest", "--database", database, "--to", url]);
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("STRONGROOM_REPO", self.repository())
            .env("STRONGROOM_KEY_FILE", self.folder.join("key"))
            .env("STRONGROOM_CACHE_DIR", self.folder.join("cache"))
            .env("STRONGROOM_PG_BIN", &self.binaries)
            .arg("--json");
        command
    }
}

impl Contender for Strongroom {
    fn name(&self) -> &'static str {
        "strongroom"
    }

    fn repository(&self) -> PathBuf {
        self.folder.join("repository")
    }

    fn backup(&self) -> Command {
        let mut command = self.command();
        command.args(["backup", "postgres", "--physical", "--dbname", &self.url]);
        command
    }

    fn restore(&self, data: &Path, is_delta: bool) -> Command {
        let mut command = self.command();
        command.args(["restore", "latest", "--target"]).arg(data).args(is_delta.then_some("--delta"));
        command
    }
}

pub(super) struct PgBackRest {
    program: PathBuf,
    folder: PathBuf,
}

impl PgBackRest {
    pub(super) fn new(programs: &Path, server: &Postgres, folder: &Path) -> Result<Self> {
        std::fs::create_dir(folder).context("no folder for a repository")?;
        let place = |name: &str| folder.join(name).display().to_string();
        let configuration = format!(
            "{PGBACKREST_CONFIGURATION}repo1-path={}\nlock-path={}\nspool-path={}\n\n[race]\npg1-path={}\npg1-host-user=root\npg1-user={SUPERUSER}\npg1-port={}\npg1-socket-path={}\n",
            place("repository"),
            place("lock"),
            place("spool"),
            server.data_directory().display(),
            server.port(),
            server.socket_folder().display(),
        );
        std::fs::write(folder.join("configuration"), configuration)
            .context("cannot write a configuration")?;
        let one = Self { program: programs.join("pgbackrest"), folder: folder.to_owned() };
        output(one.command().arg("stanza-create"))?;
        Ok(one)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.folder.join("configuration")).arg("--stanza=race");
        command
    }
}

impl Contender for PgBackRest {
    fn name(&self) -> &'static str {
        "pgBackRest"
    }

    fn repository(&self) -> PathBuf {
        self.folder.join("repository")
    }

    fn backup(&self) -> Command {
        let mut command = self.command();
        // The first is a full one by itself.
        command.args(["--type=incr", "backup"]);
        command
    }

    fn restore(&self, data: &Path, is_delta: bool) -> Command {
        let mut command = self.command();
        command.arg("--pg1-path").arg(data).args(is_delta.then_some("--delta")).arg("restore");
        command
    }
}
