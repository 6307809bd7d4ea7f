//! `cargo xtask fuzz`: runs the fuzz targets of `fuzz/`, each for a time, from its seeds and what earlier runs found; as many at once as
//! there are processors.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use strongroom_tests::services::in_ci;

use crate::checkout::{root, tools_folder};
use crate::install::on_path;

/// Seconds a target of `--smoke`.
const SMOKE_SECONDS: u32 = 3;
/// For a few seconds building takes longest: as fast as that goes. All that is ours is safe Rust, so that it finds what it may find
/// without a sanitizer, too.
const SMOKE_BUILD: [&str; 2] = ["--sanitizer", "none"];
const SMOKE_PROFILE: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
];
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
    let mut build = fuzz(&folder, &["build"])?;
    if arguments.smoke {
        build.args(SMOKE_BUILD).envs(SMOKE_PROFILE);
    }
    let built = build.status().context("cannot run cargo fuzz")?;
    if !built.success() {
        bail!("the fuzz targets do not build");
    }
    let seconds = if arguments.smoke { SMOKE_SECONDS } else { arguments.seconds };
    println!("fuzzing {} targets for {seconds} s each", targets.len());
    let programs = folder.join("target").join(host()?).join("release");
    let waiting = Mutex::new(targets.iter());
    let findings = Mutex::new(Vec::new());
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> Result<()> {
        while let Some(target) = next() {
            if !run_target(&folder, &programs.join(target), target, seconds)? {
                findings.lock().unwrap_or_else(PoisonError::into_inner).push(target.as_str());
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let findings = findings.into_inner().unwrap_or_else(PoisonError::into_inner);
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

/// The platform that is built for, as compilers call it.
fn host() -> Result<String> {
    let said = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say what it builds for")
}

/// Whether it found nothing; what it printed is told when it did.
fn run_target(folder: &Path, program: &Path, target: &str, seconds: u32) -> Result<bool> {
    let corpus = folder.join("corpus").join(target);
    let artifacts = folder.join("artifacts").join(target);
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut command = Command::new(program);
    // SQLite, compiled into one file, trips a check for names that are defined twice.
    command.env("ASAN_OPTIONS", "detect_odr_violation=0").current_dir(folder).arg(&corpus);
    let seeds = folder.join("seeds").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command.args([
        format!("-artifact_prefix={}/", artifacts.display()),
        format!("-max_total_time={seconds}"),
        format!("-max_len={LARGEST_INPUT}"),
        "-rss_limit_mb=2048".into(),
        "-timeout=20".into(),
        "-verbosity=0".into(),
    ]);
    let ran = command.output().with_context(|| format!("cannot run {}", program.display()))?;
    if !ran.status.success() {
        eprintln!("{target}: {}\n{}", ran.status, String::from_utf8_lossy(&ran.stderr));
    }
    Ok(ran.status.success())
}
