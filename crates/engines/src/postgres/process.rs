//! Running PostgreSQL's programs.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use strongroom_repository::monitor::Monitor;

use super::error::PostgresError;
use crate::patient_reader::{GiveUp, PatientReader};
use crate::patient_writer::PatientWriter;
use crate::stdin::widen_pipe;

/// Lines of standard error that an error repeats.
const LINES_KEPT: usize = 8;
/// How long it may take until somebody who gives up is heard.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// How long a program may take to tell the server that nobody waits for its answer any more.
const GRACE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// A program that runs; dropped, it is ended.
pub(super) struct Process {
    /// What it is, for errors.
    name: String,
    child: Child,
    said: Option<JoinHandle<Vec<String>>>,
}

impl Process {
    /// Starts it, with nothing on standard input.
    ///
    /// # Errors
    /// `Start`.
    pub(super) fn start(name: String, command: &mut Command) -> Result<(Self, ChildStdout), PostgresError> {
        let mut started = Self::spawn(name, command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let stdout = started.stdout()?;
        Ok((started, stdout))
    }

    /// Starts it, to be fed through standard input; what it prints goes nowhere.
    ///
    /// # Errors
    /// `Start`.
    pub(super) fn fed(name: String, command: &mut Command) -> Result<(Self, ChildStdin), PostgresError> {
        let mut started = Self::spawn(name, command.stdin(Stdio::piped()).stdout(Stdio::null()))?;
        let stdin = started.stdin()?;
        Ok((started, stdin))
    }

    /// Starts it, to work by itself.
    ///
    /// # Errors
    /// `Start`.
    pub(super) fn alone(name: String, command: &mut Command) -> Result<Self, PostgresError> {
        Self::spawn(name, command.stdin(Stdio::null()).stdout(Stdio::null()))
    }

    /// Starts it, to be talked with.
    ///
    /// # Errors
    /// `Start`.
    pub(super) fn talking(
        name: String,
        command: &mut Command,
    ) -> Result<(Self, ChildStdin, ChildStdout), PostgresError> {
        let mut started = Self::spawn(name, command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let (stdin, stdout) = (started.stdin()?, started.stdout()?);
        Ok((started, stdin, stdout))
    }

    fn spawn(name: String, command: &mut Command) -> Result<Self, PostgresError> {
        let start = |source| PostgresError::Start { program: name.clone(), source };
        let mut child = command.stderr(Stdio::piped()).spawn().map_err(start)?;
        let stderr = child.stderr.take().ok_or_else(|| start(ErrorKind::BrokenPipe.into()))?;
        let said = Some(std::thread::spawn(move || last_lines(stderr)));
        Ok(Self { name, child, said })
    }

    fn stdin(&mut self) -> Result<ChildStdin, PostgresError> {
        let stdin = self.child.stdin.take().ok_or_else(|| self.without_pipe())?;
        widen_pipe(&stdin);
        Ok(stdin)
    }

    fn stdout(&mut self) -> Result<ChildStdout, PostgresError> {
        let stdout = self.child.stdout.take().ok_or_else(|| self.without_pipe())?;
        widen_pipe(&stdout);
        Ok(stdout)
    }

    fn without_pipe(&self) -> PostgresError {
        PostgresError::Start { program: self.name.clone(), source: ErrorKind::BrokenPipe.into() }
    }

    /// Its process ID.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs no more.
    pub(super) fn is_over(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to stop, as a terminal does.
    pub(super) fn interrupt(&self) {
        // One that has ended needs no asking.
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
    }

    /// Waits for its end, or ends it when the run is cancelled.
    ///
    /// # Errors
    /// `Failed` with what it said, unless it ended well; `Start` when that cannot be known.
    pub(super) fn finish(self, monitor: &dyn Monitor) -> Result<(), PostgresError> {
        self.finish_saying(monitor).map(drop)
    }

    /// Waits for its end, and gives the last of what it said.
    ///
    /// # Errors
    /// As [`Process::finish`].
    pub(super) fn finish_saying(mut self, monitor: &dyn Monitor) -> Result<Vec<String>, PostgresError> {
        while !self.has_ended(PATIENCE) {
            if monitor.is_cancelled() {
                self.end();
            }
        }
        let status = self.child.wait();
        let stderr = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        let status = status.map_err(|source| PostgresError::Start { program: self.name.clone(), source })?;
        match status.success() {
            true => Ok(stderr),
            false => {
                let program = std::mem::take(&mut self.name);
                Err(PostgresError::Failed { program, status: status.to_string(), stderr })
            }
        }
    }
}

impl Process {
    /// Whether it did, by then.
    fn has_ended(&mut self, patience: Timespec) -> bool {
        if self.is_over() {
            return true;
        }
        // Where the system cannot tell, whoever waits for the process itself learns it.
        let Ok(process) = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()) else { return true };
        poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience)).is_ok_and(|ended| ended > 0)
    }

    /// Asks it to end first: `pg_dump` and `pg_restore` then have the server stop what they asked it for, which would else
    /// be done when a lock is free at last.
    fn end(&mut self) {
        // One that has ended, and was waited for, is no longer there to be asked.
        if !self.is_over() {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            if !self.has_ended(GRACE) {
                let _ = self.child.kill();
            }
            let _ = self.child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// What it reads, until the run is cancelled.
///
/// # Errors
/// `Start` when it cannot be written to without waiting.
pub(super) fn input_of<'m>(
    stdin: ChildStdin,
    monitor: &'m dyn Monitor,
) -> Result<impl Write + use<'m>, PostgresError> {
    let writer = PatientWriter::new(stdin, move || monitor.is_cancelled());
    writer.map_err(|source| PostgresError::Start { program: "a program of PostgreSQL's".into(), source })
}

/// What it writes, until the run is cancelled. That is no `Interrupted`: readers try again after one.
pub(super) fn output_of<'m>(stdout: ChildStdout, monitor: &'m dyn Monitor) -> impl Read + use<'m> {
    PatientReader::new(stdout, move || {
        monitor.is_cancelled().then_some(GiveUp::Fail(ErrorKind::ConnectionAborted))
    })
}

fn last_lines(stderr: impl Read) -> Vec<String> {
    let mut kept = VecDeque::new();
    let (mut lines, mut line) = (BufReader::new(stderr), Vec::new());
    while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        if kept.len() == LINES_KEPT {
            kept.pop_front();
        }
        kept.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
    kept.into()
}
