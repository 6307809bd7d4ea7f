//! `cargo xtask simulate`: more seeds of the simulation than the tests take.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::checkout::cargo;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    first: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut command = cargo()?;
    command.args([
        "test",
        "--locked",
        "--package",
        "strongroom-repository",
        "--test",
        "simulation",
        "--",
        "--nocapture",
    ]);
    command.env("STRONGROOM_SEEDS", arguments.seeds.to_string());
    command.env("STRONGROOM_SEED", arguments.first.to_string());
    let passed = command.status().context("cannot run cargo")?.success();
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
