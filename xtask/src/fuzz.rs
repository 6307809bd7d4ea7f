//! `cargo xtask fuzz`: runs the fuzz targets of `fuzz/`, each for a time, from its seeds and what earlier runs found.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use strongroom_tests::services::in_ci;

use crate::checkout::{root, tools_folder};
use crate::install::on_path;

/// Seconds a target of `--smoke`.
const SMOKE_SECONDS: u32 = 3;
/// Largest input, bytes.
const LARGEST_INPUT: u32 = 64 << 10;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these targets
    targets: Vec<String>,
    /// Seconds a target
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// A few seconds a target: that they build, and hold for their seeds
    #[arg(long)]
    smoke: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let folder = root()?.join("fuzz");
    let targets = targets(&folder, &arguments.targets)?;
    if !has_nightly() {
        if in_ci() {
            bail!("fuzzing needs a nightly toolchain (rustup toolchain install nightly)");
        }
        println!("SKIPPED fuzzing: there is no nightly toolchain (rustup toolchain install nightly)");
        return Ok(ExitCode::SUCCESS);
    }
    install_cargo_fuzz()?;
    let built = fuzz(&folder, &["build"])?.status().context("cannot run cargo fuzz")?;
    if !built.success() {
        bail!("the fuzz targets do not build");
    }
    let seconds = if arguments.smoke { SMOKE_SECONDS } else { arguments.seconds };
    let mut findings = Vec::new();
    for target in &targets {
        println!("fuzzing {target} for {seconds} s");
        if !run_target(&folder, target, seconds)? {
            findings.push(target.as_str());
        }
    }
    if findings.is_empty() {
        println!("{} targets, no finding", targets.len());
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("error: findings in {} (inputs below fuzz/artifacts/)", findings.join(", "));
    Ok(ExitCode::FAILURE)
}

fn targets(folder: &Path, wanted: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder.join("fuzz_targets")).context("no fuzz targets")? {
        let path = entry?.path();
        all.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
    }
    all.sort();
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        bail!("there is no fuzz target `{unknown}`: there are {}", all.join(", "));
    }
    Ok(if wanted.is_empty() { all } else { wanted.to_vec() })
}

fn has_nightly() -> bool {
    Command::new("cargo").args(["+nightly", "--version"]).output().is_ok_and(|output| output.status.success())
}

fn install_cargo_fuzz() -> Result<()> {
    let tools = tools_folder()?;
    if on_path("cargo-fuzz").is_some() || tools.join("bin/cargo-fuzz").exists() {
        return Ok(());
    }
    let mut install = Command::new("cargo");
    install.args(["install", "--quiet", "--locked", "cargo-fuzz", "--root"]).arg(&tools);
    if !install.status().context("cannot run cargo")?.success() {
        bail!("cargo-fuzz cannot be installed");
    }
    Ok(())
}

/// The toolchain of the command line, not that of the process that runs this.
fn fuzz(folder: &Path, arguments: &[&str]) -> Result<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(tools_folder()?.join("bin")).chain(std::env::split_paths(&path));
    let mut command = Command::new("cargo");
    command.arg("+nightly").arg("fuzz").args(arguments).current_dir(folder);
    command.env("PATH", std::env::join_paths(paths)?).env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    Ok(command)
}

fn run_target(folder: &Path, target: &str, seconds: u32) -> Result<bool> {
    let corpus = folder.join("corpus").join(target);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let mut command = fuzz(folder, &["run", target])?;
    // SQLite, compiled into one file, trips a check for names that are defined twice.
    command.env("ASAN_OPTIONS", "detect_odr_violation=0");
    command.arg(&corpus);
    let seeds = folder.join("seeds").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command.arg("--").args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={LARGEST_INPUT}"),
        "-rss_limit_mb=2048".into(),
        "-timeout=20".into(),
        "-verbosity=0".into(),
    ]);
    Ok(command.status().context("cannot run cargo fuzz")?.success())
}
