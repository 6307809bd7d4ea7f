//! Running PostgreSQL's programs.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use strongroom_repository::monitor::Monitor;

use super::error::PostgresError;
use super::{Programs, Target};
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
        let start = |source| PostgresError::Start { program: name.clone(), source };
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = started.map_err(start)?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(start(ErrorKind::BrokenPipe.into()));
        };
        widen_pipe(&stdout);
        let said = Some(std::thread::spawn(move || last_lines(stderr)));
        Ok((Self { name, child, said }, stdout))
    }

    /// Starts it, to be fed through standard input; what it prints goes nowhere.
    ///
    /// # Errors
    /// `Start`.
    pub(super) fn fed(name: String, command: &mut Command) -> Result<(Self, ChildStdin), PostgresError> {
        let start = |source| PostgresError::Start { program: name.clone(), source };
        let started = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = started.map_err(start)?;
        let (Some(stdin), Some(stderr)) = (child.stdin.take(), child.stderr.take()) else {
            return Err(start(ErrorKind::BrokenPipe.into()));
        };
        widen_pipe(&stdin);
        let said = Some(std::thread::spawn(move || last_lines(stderr)));
        Ok((Self { name, child, said }, stdin))
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

/// All that a program prints, which is little.
///
/// # Errors
/// `Start`, `Failed`.
fn text_of(name: String, command: &mut Command, monitor: &dyn Monitor) -> Result<String, PostgresError> {
    let (process, stdout) = Process::start(name.clone(), command)?;
    let mut text = Vec::new();
    // Dropped, a program that nobody waits for any more is killed.
    let read = output_of(stdout, monitor).read_to_end(&mut text);
    read.map_err(|source| PostgresError::Start { program: name, source })?;
    process.finish()?;
    String::from_utf8(text).map_err(|_| PostgresError::Answer { what: "it is not UTF-8".into() })
}

/// The lines that a query gives.
///
/// # Errors
/// `NoProgram`, `Start`, `Failed`.
pub(super) fn query(
    programs: &Programs,
    target: &Target,
    sql: &str,
    monitor: &dyn Monitor,
) -> Result<Vec<String>, PostgresError> {
    let mut command = Command::new(programs.find("psql", None)?);
    target.connect(&mut command, None);
    command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
    command.arg(format!("--command={sql}"));
    Ok(text_of("psql".into(), &mut command, monitor)?.lines().map(str::to_owned).collect())
}

/// # Errors
/// As [`query`]; `Answer`.
pub(super) fn server_major(
    programs: &Programs,
    target: &Target,
    monitor: &dyn Monitor,
) -> Result<u32, PostgresError> {
    let said = query(programs, target, "SHOW server_version_num", monitor)?;
    let number: Option<u32> = said.first().and_then(|line| line.trim().parse().ok());
    number
        .map(|number| number / 10_000)
        .ok_or_else(|| PostgresError::Answer { what: format!("its version is {said:?}") })
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
