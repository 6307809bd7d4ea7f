//! `cargo xtask test`: installs what the tests need, runs them all, and counts.
//!
//! A test that finds its server missing returns early, and cargo counts it as passed; it leaves a line in a file,
//! though ([`SKIPPED_FILE_VARIABLE`]), and the last line printed here tells the skipped from the passed.

mod binaries;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, anyhow};
use strongroom_tests::binary::BINARY_VARIABLE;
use strongroom_tests::services::{
    SKIPPED_FILE_VARIABLE, azurite, chromium, clickhouse, deployment, gcs, in_ci, json_schema, ledger, minio,
    moto, opensearch, postgres, redis,
};

use crate::checkout::{cargo, root};
use crate::services::{
    AZURITE, CHDB, CHROMIUM, CLICKHOUSE, GCS, HELM, JSON_SCHEMA, KUBECONFORM, KUBERNETES_SCHEMAS, KUSTOMIZE,
    LEDGER, MINIO, MOTO, NEWER_OPENSEARCH, NEWER_POSTGRES, NEWER_REDIS, OPENSEARCH, POSTGRES, PROMTOOL,
    PYTHON, REDIS, SYSTEMD, Service, VALKEY,
};

/// Names the Python that has the libraries of the reader in `format-spec/reader/`.
const PYTHON_VARIABLE: &str = "STRONGROOM_TEST_PYTHON";

/// What the tests need, and the variable that tells them where it is.
const NEEDED: [(&Service, &str); 23] = [
    (&POSTGRES, postgres::BINARIES_VARIABLE),
    (&NEWER_POSTGRES, postgres::NEWER_BINARIES_VARIABLE),
    (&REDIS, redis::BINARY_VARIABLE),
    (&NEWER_REDIS, redis::NEWER_BINARIES_VARIABLE),
    (&VALKEY, redis::VALKEY_BINARIES_VARIABLE),
    (&MINIO, minio::BINARY_VARIABLE),
    (&MOTO, moto::BINARY_VARIABLE),
    (&AZURITE, azurite::BINARY_VARIABLE),
    (&GCS, gcs::BINARY_VARIABLE),
    (&OPENSEARCH, opensearch::OLDER.variable),
    (&NEWER_OPENSEARCH, opensearch::NEWER.variable),
    (&PYTHON, PYTHON_VARIABLE),
    (&CLICKHOUSE, clickhouse::BINARY_VARIABLE),
    (&CHDB, clickhouse::PYTHON_VARIABLE),
    (&LEDGER, ledger::PYTHON_VARIABLE),
    (&CHROMIUM, chromium::BINARY_VARIABLE),
    (&HELM, deployment::HELM.variable),
    (&KUSTOMIZE, deployment::KUSTOMIZE.variable),
    (&KUBECONFORM, deployment::KUBECONFORM.variable),
    (&KUBERNETES_SCHEMAS, deployment::SCHEMAS.variable),
    (&PROMTOOL, deployment::PROMTOOL.variable),
    (&SYSTEMD, deployment::SYSTEMD_ANALYZE.variable),
    (&JSON_SCHEMA, json_schema::PYTHON_VARIABLE),
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only tests whose names contain one of these
    filters: Vec<String>,
    /// Test programs that run at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// What cargo's `test result:` lines add up to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    fn add_line(&mut self, line: &[u8]) {
        let of_line = counts_of(&String::from_utf8_lossy(line)).unwrap_or_default();
        self.passed += of_line.passed;
        self.failed += of_line.failed;
        self.ignored += of_line.ignored;
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let scratch = tempfile::tempdir().context("no temporary folder")?;
    let skipped_file = scratch.path().join("skipped");
    let Some(built) = binaries::build()? else { return Ok(ExitCode::FAILURE) };
    let binary = binary()?;
    let mut variables = vec![(SKIPPED_FILE_VARIABLE, skipped_file.clone()), (BINARY_VARIABLE, binary)];
    for (variable, ensured) in ensure_all() {
        match ensured {
            Ok(path) => variables.push((variable, path)),
            Err(error) if in_ci() => return Err(error),
            Err(error) => eprintln!("SKIPPING what needs it: {error:#}"),
        }
    }
    let mut counts = Counts::default();
    let prepare = |command: &mut Command| {
        command.args(&arguments.filters).envs(variables.iter().cloned());
    };
    let of_binaries = binaries::run(built, arguments.jobs, prepare, |printed| {
        printed.split(|byte| *byte == b'\n').for_each(|line| counts.add_line(line));
        std::io::stdout().lock().write_all(printed).context("cannot write to standard output")
    })?;
    let mut examples = cargo()?;
    examples
        .args(["test", "--workspace", "--locked", "--no-fail-fast", "--doc", "--"])
        .args(&arguments.filters);
    let of_examples = run_and_count(&mut examples, &mut counts)?;
    let success = of_binaries && of_examples;
    let skipped = skipped_tests(&skipped_file)?;
    for line in &skipped {
        println!("SKIPPED {line}");
    }
    println!("{}", closing_line(counts, skipped.len() as u64));
    if counts == Counts::default() {
        eprintln!("error: no test ran");
        return Ok(ExitCode::FAILURE);
    }
    Ok(if success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Each variable of [`NEEDED`] with where its service is. Those that are missing are installed at once: most of the
/// time they wait for somebody else's disk.
fn ensure_all() -> Vec<(&'static str, Result<PathBuf>)> {
    std::thread::scope(|scope| {
        let running = NEEDED.map(|(service, variable)| (variable, scope.spawn(|| service.ensure())));
        let ended = running.map(|(variable, thread)| {
            let ensured = thread.join().unwrap_or_else(|_| Err(anyhow!("an install panicked")));
            (variable, ensured)
        });
        ended.into()
    })
}

fn binary() -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Ok(root()?.join(target).join("debug/strongroom"))
}

/// Passes on what the command prints, line by line, and adds up the results in it. Whether it ended well.
fn run_and_count(test: &mut Command, counts: &mut Counts) -> Result<bool> {
    let mut child =
        test.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no standard output")?;
    let mut ours = std::io::stdout().lock();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("cannot read what cargo test prints")?;
        ours.write_all(&line)
            .and_then(|()| ours.write_all(b"\n"))
            .context("cannot write to standard output")?;
        counts.add_line(&line);
    }
    Ok(child.wait().context("cannot wait for cargo test")?.success())
}

/// `test result: ok. 9 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.20s`
fn counts_of(line: &str) -> Option<Counts> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = Counts::default();
    for part in numbers.split("; ") {
        let Some((number, what)) = part.split_once(' ') else { continue };
        let Ok(number) = number.parse() else { continue };
        match what {
            "passed" => counts.passed = number,
            "failed" => counts.failed = number,
            "ignored" => counts.ignored = number,
            _ => {}
        }
    }
    Some(counts)
}

/// The lines that skipped tests left; a test that misses two servers is still one test.
fn skipped_tests(path: &Path) -> Result<BTreeSet<String>> {
    if !path.exists() {
        return Ok(BTreeSet::new());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut names = BTreeSet::new();
    let first_of_each = |line: &&str| names.insert(line.split(": ").next().unwrap_or_default().to_owned());
    Ok(text.lines().filter(first_of_each).map(str::to_owned).collect())
}

fn closing_line(counts: Counts, skipped: u64) -> String {
    let passed = counts.passed.saturating_sub(skipped);
    format!("{passed} passed, {} failed, {} skipped", counts.failed, counts.ignored + skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted() {
        let line = "test result: FAILED. 9 passed; 1 failed; 2 ignored; 0 measured; 4 filtered out; finished in 0.20s";
        assert_eq!(counts_of(line), Some(Counts { passed: 9, failed: 1, ignored: 2 }));
        assert_eq!(counts_of("test dump::tests::dates_are_right ... ok"), None);
        assert_eq!(counts_of("test result: "), None);
    }

    #[test]
    fn a_skipped_test_is_not_a_passed_one() {
        let counts = Counts { passed: 9, failed: 1, ignored: 2 };
        assert_eq!(closing_line(counts, 3), "6 passed, 1 failed, 5 skipped");
    }

    #[test]
    fn a_test_that_misses_two_servers_is_skipped_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a::b: PostgreSQL: none\na::b: Redis: none\nc: PostgreSQL: none\n")
            .unwrap();
        let lines: Vec<String> = skipped_tests(file.path()).unwrap().into_iter().collect();
        assert_eq!(lines, ["a::b: PostgreSQL: none", "c: PostgreSQL: none"]);
        assert!(skipped_tests(Path::new("/nonexistent/skipped")).unwrap().is_empty());
    }
}
