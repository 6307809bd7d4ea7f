//! Running PostgreSQL's programs.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use strongroom_repository::monitor::Monitor;

use super::error::PostgresError;
use crate::patient_reader::{GiveUp, PatientReader};
use crate::stdin::widen_pipe;

/// Lines of standard error that an error repeats.
const LINES_KEPT: usize = 8;

/// A program that runs; dropped, it is killed.
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
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to stop, as a terminal does.
    pub(super) fn interrupt(&self) {
        // One that has ended needs no asking.
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// `Failed` with what it said, unless it ended well; `Start` when that cannot be known.
    pub(super) fn finish(mut self) -> Result<(), PostgresError> {
        let status = self.child.wait();
        let stderr = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        let status = status.map_err(|source| PostgresError::Start { program: self.name.clone(), source })?;
        match status.success() {
            true => Ok(()),
            false => {
                let program = std::mem::take(&mut self.name);
                Err(PostgresError::Failed { program, status: status.to_string(), stderr })
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Of one that has ended nothing is killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
