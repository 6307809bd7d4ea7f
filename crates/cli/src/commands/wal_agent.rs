//! The agent of `wal-push`: how it is found and started, and what it does.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use strongroom_ops::wal_agent::{AgentError, FileKey, Job, Queue, Refusal, Reply, Request, ask};
use strongroom_repository::wal::WalWriter;

use super::wal_push::identify;
use crate::arguments::{WalAgent, WalPush};
use crate::context::{Context, TOOL};
use crate::exit::{self, Outcome};
use crate::{again, signals};

/// How long an agent may take until it listens.
const STARTING: Duration = Duration::from_secs(5);
/// How often that is tried.
const TRYING: Duration = Duration::from_millis(2);
/// Threads that push: each compresses, encrypts and stores.
const WORKERS: usize = 4;

/// Has the agent push the file; `None` where there is none, and none can be had.
pub(super) fn push(
    context: &Context<'_>,
    arguments: &WalPush,
    idle: Duration,
) -> anyhow::Result<Option<Outcome>> {
    let words = again::words(context.global, None)?;
    // Another version, another repository, another key: another agent.
    let configuration = format!("{TOOL} {}", words.join(" "));
    let Some(folder) = folder() else { return Ok(None) };
    let mut hasher = DefaultHasher::new();
    configuration.hash(&mut hasher);
    let socket = folder.join(format!("wal-{:016x}", hasher.finish()));
    let request = Request {
        configuration: configuration.clone(),
        path: std::path::absolute(&arguments.path)?,
        source: arguments.archive.source.clone(),
        system: arguments.archive.system_identifier,
    };
    let reply = match ask(&socket, &request) {
        Ok(reply) => reply,
        Err(_) => match start(&socket, &words, &configuration, idle)
            .and_then(|agent| ask_new(agent, &socket, &request))
        {
            Some(reply) => reply,
            None => return Ok(None),
        },
    };
    Ok(match reply {
        Reply::Done => Some(Outcome::Done),
        Reply::Failed { message, code } => {
            eprintln!("error: {message}");
            Some(Outcome::Code(code))
        }
        Reply::NotMine => None,
    })
}

/// A folder that nobody else can write to.
fn folder() -> Option<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_dir());
    let folder = match runtime {
        Some(runtime) => runtime.join("strongroom"),
        None => std::env::temp_dir().join(format!("strongroom-{user}")),
    };
    // It may be there.
    let _ = std::fs::DirBuilder::new().mode(0o700).create(&folder);
    let status = folder.symlink_metadata().ok()?;
    (status.is_dir() && status.uid() == user && status.mode() & 0o077 == 0).then_some(folder)
}

/// In a group of its own: what ends whoever started it does not end it.
fn start(socket: &Path, words: &[String], configuration: &str, idle: Duration) -> Option<Child> {
    let mut command = Command::new(std::env::current_exe().ok()?);
    command.arg("wal-agent").args(words).arg("--socket").arg(socket);
    command.args(["--configuration", configuration, "--idle-seconds", &idle.as_secs().to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.current_dir("/").process_group(0).spawn().ok()
}

/// Asks it as soon as it listens; or another one that was faster.
fn ask_new(mut agent: Child, socket: &Path, request: &Request) -> Option<Reply> {
    let began = Instant::now();
    while began.elapsed() < STARTING {
        if let Ok(reply) = ask(socket, request) {
            return Some(reply);
        }
        if agent.try_wait().is_ok_and(|ended| ended.is_some()) {
            // Why it ended, whoever pushes by himself finds out; another one may be about to listen.
            return ask(socket, request).ok();
        }
        std::thread::sleep(TRYING);
    }
    None
}

/// The agent.
pub(crate) fn run(context: &Context<'_>, arguments: &WalAgent) -> anyhow::Result<Outcome> {
    let identify = |request: &Request| {
        let job = || {
            let (file, open) = identify(&request.path, &request.source, request.system)?;
            let key = FileKey::of(&request.path, &file, &open).context("cannot look at it")?;
            anyhow::Ok(Job { key, path: request.path.clone(), file })
        };
        job().map_err(|error| refusal(&error))
    };
    let agent = strongroom_ops::wal_agent::Agent {
        socket: &arguments.socket,
        configuration: &arguments.configuration,
        workers: WORKERS.min(std::thread::available_parallelism().map_or(1, usize::from)),
        idle: Duration::from_secs(arguments.idle_seconds),
        is_stopped: &signals::is_interrupted,
        identify: &identify,
        push: &|queue| work(context, queue),
    };
    match agent.serve() {
        Ok(()) | Err(AgentError::Another { .. }) => Ok(Outcome::Done),
        Err(error) => Err(error.into()),
    }
}

/// Pushes what there is, with the repository open for as long as nothing goes wrong.
fn work(context: &Context<'_>, queue: &Queue) {
    while let Some(first) = queue.take() {
        let mut repository = match context.open() {
            Ok(repository) => repository,
            Err(error) => {
                queue.finish(&first, Err(refusal(&error)));
                continue;
            }
        };
        let mut writer = WalWriter::new(&mut repository);
        let mut job = Some(first);
        while let Some(next) = job {
            let result = push_one(&mut writer, &next);
            let is_good = result.is_ok();
            queue.finish(&next, result.map_err(|error| refusal(&error)));
            if !is_good {
                break;
            }
            job = queue.take();
        }
    }
}

/// The file must be the one that was asked for until it is stored.
fn push_one(writer: &mut WalWriter<'_>, job: &Job) -> anyhow::Result<()> {
    let mut content = File::open(&job.path).with_context(|| format!("cannot open {}", job.path.display()))?;
    let is_it = || anyhow::Ok(FileKey::of(&job.path, &job.file, &content)? == job.key);
    if !is_it()? {
        anyhow::bail!("{} is another file than it was", job.path.display());
    }
    let _ = writer.push(&job.file, &mut content)?;
    if FileKey::of(&job.path, &job.file, &content)? != job.key {
        anyhow::bail!("{} was changed while it was read", job.path.display());
    }
    Ok(())
}

fn refusal(error: &anyhow::Error) -> Refusal {
    let (message, code) = exit::describe(error);
    Refusal { message, code }
}
