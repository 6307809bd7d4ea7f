//! The test programs of the workspace, some side by side: most of them wait for servers for most of their time.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use crate::checkout::{cargo, root};

/// One that cargo built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TestBinary {
    pub(super) program: PathBuf,
    /// `tests/opensearch.rs`, below the folder of its package.
    source: PathBuf,
    /// The folder of its package, in which it runs.
    folder: PathBuf,
}

/// What cargo says of something that it built.
#[derive(Deserialize)]
struct Artifact {
    #[serde(default)]
    executable: Option<PathBuf>,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    profile: Profile,
    #[serde(default)]
    target: Target,
}

#[derive(Deserialize, Default)]
struct Profile {
    test: bool,
}

#[derive(Deserialize, Default)]
struct Target {
    src_path: PathBuf,
}

/// Builds all of them, and the programs that they drive, at once: by themselves those would be built with fewer features, and all
/// that they are made of twice. `None` when they do not build, which cargo has said then.
pub(super) fn build() -> Result<Option<Vec<TestBinary>>> {
    let mut build = cargo()?;
    build.args(["build", "--workspace", "--locked", "--bins", "--tests", "--examples"]);
    build.arg("--message-format=json-render-diagnostics");
    let mut child =
        build.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run cargo build")?;
    let stdout = child.stdout.take().context("cargo has no standard output")?;
    let mut built = Vec::new();
    for line in BufReader::new(stdout).lines() {
        built.extend(binary_of(&line.context("cannot read what cargo prints")?));
    }
    let status = child.wait().context("cannot wait for cargo")?;
    Ok(status.success().then_some(built))
}

fn binary_of(line: &str) -> Option<TestBinary> {
    let artifact: Artifact = serde_json::from_str(line).ok()?;
    let program = artifact.executable.filter(|_| artifact.profile.test)?;
    let folder = artifact.manifest_path.parent()?.to_owned();
    let source =
        artifact.target.src_path.strip_prefix(&folder).unwrap_or(&artifact.target.src_path).to_owned();
    Some(TestBinary { program, source, folder })
}

/// Runs them, so many at once; `print` gets what each printed when it has ended, one after the other. Whether all were good.
///
/// # Errors
/// When one cannot be run, or `print` fails.
pub(super) fn run(
    binaries: Vec<TestBinary>,
    jobs: usize,
    prepare: impl Fn(&mut Command) + Sync,
    print: impl FnMut(&[u8]) -> Result<()> + Send,
) -> Result<bool> {
    let (left, print) = (Mutex::new(VecDeque::from(binaries)), Mutex::new((print, true)));
    let root = root()?;
    let work = || -> Result<()> {
        loop {
            let next = left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(binary) = next else { return Ok(()) };
            let (printed, is_good) = binary.run(&root, &prepare)?;
            let mut print = print.lock().unwrap_or_else(PoisonError::into_inner);
            print.1 &= is_good;
            (print.0)(&printed)?;
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..jobs).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others = others
            .into_iter()
            .map(|other| other.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked"))));
        others.chain([own]).collect::<Result<Vec<()>>>()
    })?;
    Ok(print.into_inner().unwrap_or_else(PoisonError::into_inner).1)
}

impl TestBinary {
    /// What it printed, as cargo shows it, and whether it ended well.
    fn run(&self, root: &Path, prepare: &impl Fn(&mut Command)) -> Result<(Vec<u8>, bool)> {
        let name = || format!("cannot run {}", self.program.display());
        let mut output = tempfile::tempfile().context("no temporary file")?;
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
        prepare(&mut command);
        let status = command.status().with_context(name)?;
        let shown = self.program.strip_prefix(root).unwrap_or(&self.program);
        let mut printed =
            format!("     Running {} ({})\n", self.source.display(), shown.display()).into_bytes();
        output.rewind()?;
        output.read_to_end(&mut printed)?;
        // One that was killed has no closing line of its own.
        if !status.success() {
            printed.extend_from_slice(
                format!("error: {} ended with {status}\n", self.source.display()).as_bytes(),
            );
        }
        Ok((printed, status.success()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_built_for_tests_is_run() {
        let line = r#"{"reason":"compiler-artifact","manifest_path":"/x/tests/Cargo.toml","target":{"src_path":"/x/tests/tests/a.rs"},
            "profile":{"test":true},"executable":"/x/target/debug/deps/a-1"}"#;
        let expected = TestBinary {
            program: "/x/target/debug/deps/a-1".into(),
            source: "tests/a.rs".into(),
            folder: "/x/tests".into(),
        };
        assert_eq!(binary_of(line), Some(expected));
        assert_eq!(binary_of(&line.replace("\"test\":true", "\"test\":false")), None);
        assert_eq!(binary_of(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(binary_of("no JSON"), None);
    }

    #[test]
    fn all_run_and_a_bad_one_is_told() {
        let of =
            |program: &str| TestBinary { program: program.into(), source: "a.rs".into(), folder: "/".into() };
        let mut printed = Vec::new();
        let print = |bytes: &[u8]| {
            printed.push(String::from_utf8_lossy(bytes).into_owned());
            Ok(())
        };
        let binaries = vec![of("/bin/true"), of("/bin/false"), of("/bin/true")];
        assert!(!run(binaries, 2, |_| {}, print).unwrap());
        assert_eq!(printed.len(), 3);
        assert!(
            printed.iter().any(|text| text.contains("error: a.rs ended with exit status: 1")),
            "{printed:?}"
        );
        assert!(run(vec![of("/bin/true")], 2, |_| {}, |_| Ok(())).unwrap());
    }
}
