//! The repository, and processes of the binary that may be killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// What takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(2);
/// What failures say that another run mends. Nothing else may fail.
const RUN_AGAIN: [&str; 3] = [
    "by another host; nothing was lost",
    "being appended; run again",
    "being checked, so nothing can be said of it",
];

/// Where the repository is, and who may open it.
#[derive(Debug)]
pub(super) struct Place {
    program: PathBuf,
    folder: PathBuf,
    repository: String,
    environment: Vec<(&'static str, String)>,
}

/// How a process ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With exit code 0, after printing these.
    Well(Vec<Value>),
    Killed,
    /// Others were quicker, and it says that it should run again.
    Again,
}

impl Place {
    /// A repository in a folder below `folder`.
    pub(super) fn new(program: PathBuf, folder: &Path) -> Result<Self> {
        let place = Self {
            program,
            folder: folder.to_owned(),
            repository: folder.join("repository").display().to_string(),
            environment: Vec::new(),
        };
        fs::create_dir_all(place.path("home")).context("no home")?;
        Ok(place)
    }

    /// A repository in a bucket.
    pub(super) fn on_s3(&mut self, url: &str, endpoint: &str, mut environment: Vec<(&'static str, String)>) {
        url.clone_into(&mut self.repository);
        environment.push(("STRONGROOM_ENDPOINT", endpoint.to_owned()));
        self.environment = environment;
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn init(&self) -> Result<()> {
        self.finish("init", "init", &["init", "--host", "thrash"]).map(drop)
    }

    /// Runs it to its end, which must be a good one.
    pub(super) fn finish(&self, actor: &str, cache: &str, arguments: &[&str]) -> Result<Vec<Value>> {
        match self.run(actor, cache, arguments, None, None)? {
            Ended::Well(said) => Ok(said),
            ended => bail!("{}: {ended:?}", arguments.join(" ")),
        }
    }

    /// Runs it with `input`, and kills it when that time has passed.
    ///
    /// # Errors
    /// When it ends in another way than a process may that is not alone.
    pub(super) fn run(
        &self,
        actor: &str,
        cache: &str,
        arguments: &[&str],
        input: Option<&Path>,
        kill_after: Option<Duration>,
    ) -> Result<Ended> {
        let [out, err] = ["out", "err"].map(|kind| self.path(&format!("{actor}.{kind}")));
        let create = |path: &Path| File::create(path).context("cannot make a file for the output");
        let mut command = Command::new(&self.program);
        command.arg("--json").args(arguments).current_dir(&self.folder);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (*name, value)));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.path("home"));
        command.env("STRONGROOM_REPO", &self.repository).env("STRONGROOM_HOST", actor);
        command.env("STRONGROOM_CACHE_DIR", self.path("caches").join(cache));
        command.stdin(match input {
            Some(path) => Stdio::from(File::open(path).context("cannot open the input")?),
            None => Stdio::null(),
        });
        let started = Instant::now();
        let mut child =
            command.stdout(create(&out)?).stderr(create(&err)?).spawn().context("cannot run strongroom")?;
        let status = loop {
            if let Some(status) = child.try_wait().context("cannot wait for strongroom")? {
                break status;
            }
            let hangs = started.elapsed() > PATIENCE;
            if hangs || kill_after.is_some_and(|time| started.elapsed() > time) {
                // SIGKILL; it may have ended meanwhile, which its status tells.
                let _sent = child.kill();
                let status = child.wait().context("cannot wait for strongroom")?;
                ensure!(!hangs, "`{}` hangs\n{}", arguments.join(" "), read(&err));
                break status;
            }
            std::thread::sleep(POLL);
        };
        judge(status, arguments, &read(&out), &read(&err))
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn judge(status: ExitStatus, arguments: &[&str], said: &str, warned: &str) -> Result<Ended> {
    match status.code() {
        None if !warned.contains("panicked") => Ok(Ended::Killed),
        Some(0) if arguments[0] == "cat" => Ok(Ended::Well(Vec::new())),
        Some(0) => {
            let lines = said.lines().map(serde_json::from_str).collect::<Result<_, _>>();
            Ok(Ended::Well(lines.with_context(|| format!("it printed no JSON: {said}"))?))
        }
        Some(1) if RUN_AGAIN.iter().any(|words| warned.contains(words)) => Ok(Ended::Again),
        _ => bail!("`{}` ended with {status}\nstdout:\n{said}\nstderr:\n{warned}", arguments.join(" ")),
    }
}
