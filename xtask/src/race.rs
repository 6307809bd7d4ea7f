//! `cargo xtask race`: what `benches/race` needs, installed if need be, and then the race.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use strongroom_race::cluster::{ClusterArguments, ClusterEquipment};
use strongroom_race::{Arguments, Equipment, Scenario, Tool};
use strongroom_tests::services::in_ci;

use crate::checkout::{cargo, root, tools_folder};
use crate::services::{BORG, LINUX_SOURCES, PGBACKREST, POSTGRES, REDIS, RESTIC, RUSTIC, TIME};

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut tools = Vec::new();
    let mut missing = Vec::new();
    for tool in &arguments.tools {
        match program(*tool) {
            Ok(program) => tools.push((*tool, program)),
            // Its rivals can race without it, but nobody should overlook that.
            Err(error) if *tool != Tool::Strongroom && !in_ci() => {
                missing.push(format!("WITHOUT {tool}, which cannot be had: {error:#}"));
            }
            Err(error) => return Err(error),
        }
    }
    let scenarios = arguments.scenarios();
    if scenarios.contains(&Scenario::Database) {
        POSTGRES.ensure()?;
    }
    if scenarios.contains(&Scenario::Redis) {
        REDIS.ensure()?;
    }
    let unpacks = scenarios.contains(&Scenario::Files) && arguments.tree_mb.is_none();
    let equipment = Equipment {
        time: TIME.ensure()?,
        tools,
        linux_sources: unpacks.then(|| LINUX_SOURCES.ensure()).transpose()?,
        cache: tools_folder()?.join("race-data"),
    };
    for line in &missing {
        eprintln!("{line}");
    }
    strongroom_race::run(arguments, &equipment)?;
    for line in &missing {
        println!("\n{line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// `cargo xtask race-cluster`.
pub(crate) fn run_cluster(arguments: &ClusterArguments) -> Result<ExitCode> {
    POSTGRES.ensure()?;
    let equipment = ClusterEquipment {
        time: TIME.ensure()?,
        pgbackrest: PGBACKREST.ensure()?,
        strongroom: build_strongroom()?,
    };
    strongroom_race::cluster::run(arguments, &equipment)?;
    Ok(ExitCode::SUCCESS)
}

fn program(tool: Tool) -> Result<PathBuf> {
    match tool {
        Tool::Strongroom => build_strongroom(),
        Tool::Restic => RESTIC.ensure(),
        Tool::Rustic => RUSTIC.ensure(),
        Tool::Borg => BORG.ensure(),
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
