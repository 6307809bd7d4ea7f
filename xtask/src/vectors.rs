//! `cargo xtask vectors`: writes the vectors of the specification, or compares them.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::checkout::{cargo, root};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail if they are not what the code makes
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut command = cargo()?;
    command.args(["run", "--quiet", "--locked", "--package", "strongroom-vectors", "--"]);
    command.arg(root()?.join("format-spec/vectors"));
    if arguments.check {
        command.arg("--check");
    }
    let status = command.status().context("cannot run cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
