//! A command of this program, in a process of its own.

use std::collections::{BTreeSet, VecDeque};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use strongroom_ops::notify::{Figures, figures_of};

use crate::signals;

const POLL: Duration = Duration::from_millis(50);
/// How long one that is told to stop may take, before it is killed: hooks have their time.
const GRACE: Duration = Duration::from_secs(60);

/// How long those may take that are told to end at once, and end their hooks.
const LAST: Duration = Duration::from_secs(3);

/// Those that run now.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Ends all that run now, with all that they started: nobody waits for them any more.
pub(crate) fn kill_all() {
    let all: Vec<Pid> = running().iter().filter_map(|pid| Pid::from_raw(*pid)).collect();
    // Hooks are in no group of theirs: a second signal has them end these. Two of two kinds, for one that had none yet.
    for signal in [Signal::TERM, Signal::INT] {
        for pid in &all {
            // One that has just ended is no longer there.
            let _ = kill_process(*pid, signal);
        }
    }
    let began = Instant::now();
    while !running().is_empty() && began.elapsed() < LAST {
        std::thread::sleep(POLL);
    }
    for pid in all {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

fn running() -> MutexGuard<'static, BTreeSet<i32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How it ended, and what it said on standard output.
pub(super) struct Said {
    pub(super) status: ExitStatus,
    /// JSON objects, a line each.
    pub(super) lines: Vec<Value>,
    /// It took too long, and was told to stop.
    pub(super) timed_out: bool,
    /// How far it came, by what it said last.
    pub(super) figures: Option<Figures>,
}

impl Said {
    /// The last object of a type.
    pub(super) fn last(&self, kind: &str) -> Option<&Value> {
        self.lines.iter().rev().find(|line| line["type"] == kind)
    }

    /// How it was ended, in words, where it did not say so itself.
    pub(super) fn how(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("it ended with exit code {code}"),
            (None, Some(signal)) => format!("it was ended by signal {signal}"),
            (None, None) => "it ended".into(),
        }
    }
}

/// How many lines of what it says are kept.
const KEPT_LINES: usize = 1000;

/// Runs it to its end; what it says on standard error is seen at once. `now_and_then` is called several times a second, with what it
/// said last of how far it is.
pub(super) fn run(
    arguments: &[String],
    variables: &[(String, String)],
    timeout: Option<Duration>,
    mut now_and_then: impl FnMut(Option<Figures>),
) -> anyhow::Result<Said> {
    let program = std::env::current_exe().context("this program cannot be found")?;
    let mut command = Command::new(program);
    command.args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
    // Interrupts of the terminal are for this process to pass on.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn().context("the command cannot be started")?;
    let pid = Pid::from_child(&child).as_raw_nonzero().get();
    running().insert(pid);
    let output = child.stdout.take();
    let figures = Arc::new(Mutex::new(None));
    let told = Arc::clone(&figures);
    let reader = std::thread::spawn(move || read(output, &told));
    let far = || figures.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let began = Instant::now();
    let mut told: Option<Instant> = None;
    let mut timed_out = false;
    let status = loop {
        if let Some(status) = child.try_wait().context("the command cannot be waited for")? {
            break status;
        }
        now_and_then(far());
        match told {
            Some(told) if told.elapsed() > GRACE => child.kill().context("the command cannot be ended")?,
            Some(_) => {}
            None => {
                timed_out = timeout.is_some_and(|timeout| began.elapsed() >= timeout);
                if timed_out || signals::is_interrupted() {
                    stop(&child);
                    told = Some(Instant::now());
                }
            }
        }
        std::thread::sleep(POLL);
    };
    running().remove(&pid);
    if told.is_some()
        && let Some(group) = Pid::from_raw(pid)
    {
        // What it started and did not end: nobody waits for that. Mostly there is nothing.
        let _ = kill_process_group(group, Signal::TERM);
    }
    let lines = reader.join().map_err(|_| anyhow::anyhow!("what the command said was not read"))?;
    Ok(Said { status, lines: lines.into(), timed_out, figures: far() })
}

/// The last of what it says, and at once how far it is.
fn read(output: Option<ChildStdout>, figures: &Mutex<Option<Figures>>) -> VecDeque<Value> {
    let mut kept = VecDeque::new();
    let lines = output.into_iter().flat_map(|output| BufReader::new(output).lines()).map_while(Result::ok);
    for line in lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok()) {
        if let Some(new) = figures_of(&line) {
            *figures.lock().unwrap_or_else(PoisonError::into_inner) = Some(new);
            continue;
        }
        kept.push_back(line);
        if kept.len() > KEPT_LINES {
            kept.pop_front();
        }
    }
    kept
}

fn stop(child: &Child) {
    // One that has just ended is no longer there.
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
}
