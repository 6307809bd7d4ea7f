//! Who races, and by which commands.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Operation;
use crate::checkout::{cargo, output, root};
use crate::services::{BORG, RESTIC};

/// The name of the dump in every repository.
const NAME: &str = "dump.sql";

/// Protects nothing: the data is generated, and deleted with the repository.
const PASSPHRASE: &str = "race";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Tool {
    Strongroom,
    Restic,
    Borg,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strongroom => "strongroom",
            Self::Restic => "restic",
            Self::Borg => "borg",
        })
    }
}

/// A tool that is installed.
pub(super) struct Contender {
    tool: Tool,
    program: PathBuf,
}

impl Contender {
    /// Builds or installs it first, if need be.
    pub(super) fn ready(tool: Tool) -> Result<Self> {
        let program = match tool {
            Tool::Strongroom => build_strongroom()?,
            Tool::Restic => RESTIC.ensure()?,
            Tool::Borg => BORG.ensure()?,
        };
        Ok(Self { tool, program })
    }

    pub(super) fn tool(&self) -> Tool {
        self.tool
    }

    pub(super) fn version(&self) -> Result<String> {
        let argument = if self.tool == Tool::Restic { "version" } else { "--version" };
        let said = output(Command::new(&self.program).arg(argument))?;
        Ok(String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or_default().to_owned())
    }

    /// Where a tool keeps its repository, below the place that a round gives it.
    pub(super) fn repository(place: &Path) -> PathBuf {
        place.join("repository")
    }

    /// Makes an empty repository.
    pub(super) fn initialize(&self, place: &Path) -> Result<()> {
        let mut command = self.in_place(place);
        match self.tool {
            Tool::Strongroom => command.arg("init").arg("--key-file").arg(place.join("key")),
            Tool::Restic => command.arg("init"),
            Tool::Borg => command.args(["init", "--encryption", "repokey-blake2"]),
        };
        output(&mut command).with_context(|| format!("{} makes no repository", self.tool))?;
        Ok(())
    }

    /// The command that is measured: backups read standard input, restores write standard output.
    pub(super) fn command(&self, operation: Operation, place: &Path) -> Command {
        let mut command = self.in_place(place);
        match self.tool {
            Tool::Strongroom => command.args(strongroom_arguments(operation)),
            Tool::Restic => command.arg("--quiet").args(restic_arguments(operation)),
            Tool::Borg => command.args(borg_arguments(operation)),
        };
        command
    }

    fn in_place(&self, place: &Path) -> Command {
        let mut command = Command::new(&self.program);
        let repository = Self::repository(place);
        let cache = place.join("cache");
        command.current_dir(place);
        match self.tool {
            Tool::Strongroom => command
                .env("STRONGROOM_REPO", repository)
                .env("STRONGROOM_KEY_FILE", place.join("key"))
                .env("STRONGROOM_CACHE_DIR", cache),
            Tool::Restic => command
                .env("RESTIC_REPOSITORY", repository)
                .env("RESTIC_PASSWORD", PASSPHRASE)
                .env("RESTIC_CACHE_DIR", cache),
            Tool::Borg => command
                .env("BORG_REPO", repository)
                .env("BORG_PASSPHRASE", PASSPHRASE)
                .env("BORG_BASE_DIR", cache),
        };
        command
    }
}

fn strongroom_arguments(operation: Operation) -> &'static [&'static str] {
    match operation {
        Operation::FirstBackup | Operation::SameAgain | Operation::NextDay => {
            &["backup", "stdin", "--name", NAME]
        }
        Operation::Restore => &["cat", "latest", NAME],
        Operation::Check => &["check", "--read-data"],
    }
}

fn restic_arguments(operation: Operation) -> &'static [&'static str] {
    match operation {
        Operation::FirstBackup | Operation::SameAgain | Operation::NextDay => {
            &["backup", "--stdin", "--stdin-filename", NAME]
        }
        Operation::Restore => &["dump", "latest", NAME],
        Operation::Check => &["check", "--read-data"],
    }
}

/// An archive of borg's has a name of its own.
fn borg_arguments(operation: Operation) -> &'static [&'static str] {
    match operation {
        Operation::FirstBackup => {
            &["create", "--compression", "zstd,3", "--stdin-name", NAME, "::first", "-"]
        }
        Operation::SameAgain => &["create", "--compression", "zstd,3", "--stdin-name", NAME, "::again", "-"],
        Operation::NextDay => &["create", "--compression", "zstd,3", "--stdin-name", NAME, "::next-day", "-"],
        Operation::Restore => &["extract", "--stdout", "::next-day", NAME],
        Operation::Check => &["check", "--verify-data"],
    }
}

fn build_strongroom() -> Result<PathBuf> {
    eprintln!("building strongroom");
    let status =
        cargo()?.args(["build", "--quiet", "--release", "--locked", "--package", "strongroom"]).status();
    ensure!(status.context("cannot run cargo")?.success(), "strongroom does not build");
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Ok(root()?.join(target).join("release/strongroom"))
}
