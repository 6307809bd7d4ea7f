//! `cargo xtask drill`: the disaster drill of the tests with more data and a release build, against the runbooks' objectives.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use strongroom_tests::binary::BINARY_VARIABLE;

use crate::checkout::{cargo, root};

/// Read by `tests/tests/disaster.rs`.
const SCALE_VARIABLE: &str = "STRONGROOM_TEST_DRILL_SCALE";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many times the data of the test. A thousand: 2 million rows in PostgreSQL, 500,000 keys, 5 million rows in ClickHouse,
    /// 300,000 documents, 20,000 objects, 300,000 blocks
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    scale: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut build = cargo()?;
    build.args(["build", "--release", "--quiet", "--locked", "--package", "strongroom"]);
    ensure!(build.status().context("cannot run cargo")?.success(), "it cannot be built");
    let mut drill = cargo()?;
    drill
        .args([
            "test",
            "--quiet",
            "--locked",
            "--package",
            "strongroom-tests",
            "--test",
            "disaster",
            "--",
            "--nocapture",
        ])
        .env(BINARY_VARIABLE, root()?.join("target/release/strongroom"))
        .env(SCALE_VARIABLE, arguments.scale.to_string());
    let passed = drill.status().context("cannot run cargo")?.success();
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
