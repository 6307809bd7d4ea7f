//! `cargo xtask fixture`: a repository as today's build writes it, to be kept in `tests/fixtures/`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::checkout::cargo;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where: nothing may be there yet
    folder: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let folder = std::path::absolute(&arguments.folder).context("cannot tell where that is")?;
    ensure!(
        !Path::exists(&folder),
        "{} is there already: what is kept is never written anew",
        folder.display()
    );
    let built = cargo()?.args(["build", "--locked", "--package", "strongroom"]).status();
    ensure!(built.context("cannot run cargo")?.success(), "strongroom does not build");
    let mut test = cargo()?;
    test.args([
        "test",
        "--locked",
        "--package",
        "strongroom-tests",
        "--test",
        "fixtures",
        "--",
        "this_build_can_write_one",
    ]);
    let written = test.env("STRONGROOM_TEST_NEW_FIXTURE", &folder).status();
    Ok(if written.context("cannot run cargo")?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
