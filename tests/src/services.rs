//! Real servers, one module each.
//!
//! `cargo xtask test` installs them and tells the tests by environment variables where they are; a plain
//! `cargo test` finds what the machine has. Object stores and KMS take any number of buckets and keys of tests that
//! know nothing of each other, so the tests of a process may share one ([`minio::Minio::shared`] and the like).

use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};

pub mod aws;
pub mod azurite;
pub mod chromium;
pub mod clickhouse;
pub mod deployment;
pub mod gcs;
pub mod json_schema;
pub mod ledger;
pub mod minio;
pub mod moto;
pub mod opensearch;
pub mod postgres;
mod process;
pub mod redis;
pub mod tools;

/// Names the file in which skipped tests leave a line each; `cargo xtask test` sets it and counts the lines.
pub const SKIPPED_FILE_VARIABLE: &str = "STRONGROOM_TEST_SKIPPED_FILE";

/// Whether this is a run of continuous integration, where nothing may be skipped.
#[must_use]
pub fn in_ci() -> bool {
    is_true(std::env::var("CI").ok().as_deref())
}

/// Says loudly that the running test is skipped because `service` cannot be had, and leaves a line in the file
/// that [`SKIPPED_FILE_VARIABLE`] names.
///
/// # Errors
/// In CI always; elsewhere when that file cannot be written.
pub fn unavailable(service: &str, why: &str) -> Result<()> {
    if in_ci() {
        bail!("{service} is not to be had, and in CI nothing may be skipped: {why}");
    }
    let test = running_test();
    // Written to the stream itself, because the harness swallows what a passing test prints with the macros.
    writeln!(std::io::stderr(), "SKIPPED {test}: {service} is not to be had: {why}")
        .context("cannot write to standard error")?;
    let Some(path) = std::env::var_os(SKIPPED_FILE_VARIABLE) else { return Ok(()) };
    let line = format!("{test}: {service}: {}\n", why.replace('\n', " "));
    // One write in append mode: test processes do not tear each other's lines.
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .with_context(|| format!("cannot record the skipped test in {}", path.display()))
}

/// What `start` makes of the program; without a program it is [`unavailable`].
fn started_or_unavailable<T>(
    service: &str,
    program: Result<PathBuf>,
    start: impl FnOnce(PathBuf) -> Result<T>,
) -> Result<Option<T>> {
    match program {
        Ok(program) => start(program).map(Some),
        Err(error) => unavailable(service, &format!("{error:#}")).map(|()| None),
    }
}

/// As [`started_or_unavailable`], but started once a process; each test that misses it is counted.
fn shared_or_unavailable<T>(
    service: &str,
    program: Result<PathBuf>,
    shared: &'static OnceLock<Result<T, String>>,
    start: impl FnOnce(PathBuf) -> Result<T>,
) -> Result<Option<&'static T>> {
    started_or_unavailable(service, program, |program| {
        let started = shared.get_or_init(|| start(program).map_err(|error| format!("{error:#}")));
        started.as_ref().map_err(|error| anyhow!(error.clone()))
    })
}

/// `executable::test`: the test harness names each test's thread after the test.
fn running_test() -> String {
    let executable = std::env::current_exe().unwrap_or_default();
    let stem = executable.file_stem().unwrap_or_default().to_string_lossy();
    let name = stem.rsplit_once('-').map_or(stem.as_ref(), |(name, _hash)| name);
    format!("{name}::{}", std::thread::current().name().unwrap_or("unnamed"))
}

fn is_true(value: Option<&str>) -> bool {
    !matches!(value, None | Some("" | "0" | "false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_true_ci_counts() {
        assert!(is_true(Some("true")));
        assert!(is_true(Some("1")));
        assert!(!is_true(Some("false")));
        assert!(!is_true(Some("")));
        assert!(!is_true(None));
    }
}
