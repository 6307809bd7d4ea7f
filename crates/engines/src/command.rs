//! Streams from commands, side by side in one snapshot. A command counts as good only when it wrote something
//! and exited with 0.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use strongroom_repository::RepositoryError;
use strongroom_repository::backup::Sink;
use strongroom_repository::monitor::Monitor;

use crate::engine::{Engine, EngineError, read_stream, stream_entry};
use crate::patient_reader::{GiveUp, PatientReader};
use crate::stdin::widen_pipe;

/// Lines of standard error that an error repeats.
const LINES_KEPT: usize = 8;
const POLL: Duration = Duration::from_millis(50);

/// One command.
#[derive(Debug, Clone)]
pub struct CommandStream {
    /// The stream's name in the snapshot.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
}

/// Runs commands.
#[derive(Debug, Clone)]
pub struct Command {
    /// At least one.
    pub streams: Vec<CommandStream>,
    /// Keep streams without a byte.
    pub allow_empty: bool,
}

impl Engine for Command {
    fn name(&self) -> &'static str {
        "command"
    }

    fn backup(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        // Names are checked before anything runs.
        for stream in &self.streams {
            stream_entry(&stream.name)?;
        }
        let children = Mutex::new(Vec::new());
        let (done, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        let results: Vec<Result<(), EngineError>> = std::thread::scope(|scope| {
            scope.spawn(|| reap(&children, &done, &stop, sink.monitor()));
            let running: Vec<_> = self
                .streams
                .iter()
                .map(|stream| scope.spawn(|| self.run(stream, sink, &children, &stop)))
                .collect();
            let results = running
                .into_iter()
                .map(|thread| thread.join().unwrap_or(Err(RepositoryError::Cancelled.into())))
                .collect();
            done.store(true, Ordering::Relaxed);
            results
        });
        first_cause(results)
    }
}

impl Command {
    fn run(
        &self,
        stream: &CommandStream,
        sink: &Sink<'_, '_>,
        children: &Mutex<Vec<(String, Child)>>,
        stop: &AtomicBool,
    ) -> Result<(), EngineError> {
        let name = &stream.name;
        let result = self.read(stream, sink, children, stop);
        if result.is_err() {
            // The others' output will not be kept either.
            stop.store(true, Ordering::Relaxed);
            kill(children, Some(name));
        }
        result
    }

    fn read(
        &self,
        stream: &CommandStream,
        sink: &Sink<'_, '_>,
        children: &Mutex<Vec<(String, Child)>>,
        stop: &AtomicBool,
    ) -> Result<(), EngineError> {
        let name = &stream.name;
        let program = stream.command.first().map_or("", String::as_str);
        let start = |source| EngineError::Start { name: name.clone(), command: program.to_owned(), source };
        let mut child = std::process::Command::new(program)
            .args(stream.command.iter().skip(1))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(start)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        children.lock().unwrap_or_else(PoisonError::into_inner).push((name.clone(), child));
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
            return Err(start(ErrorKind::BrokenPipe.into()));
        };
        widen_pipe(&stdout);
        let monitor = sink.monitor();
        let mut stdout = PatientReader::new(stdout, || {
            // The first is what a lane takes for the end of the run.
            let kind = if monitor.is_cancelled() {
                Some(ErrorKind::Interrupted)
            } else {
                stop.load(Ordering::Relaxed).then_some(ErrorKind::ConnectionAborted)
            };
            kind.map(GiveUp::Fail)
        });
        // Its own children may hold the pipes when it is gone: nobody waits for them.
        let exited = AtomicBool::new(false);
        let result = std::thread::scope(|scope| {
            let stderr =
                PatientReader::new(stderr, || exited.load(Ordering::Relaxed).then_some(GiveUp::Drain));
            let said = scope.spawn(move || forward(name, stderr, monitor));
            let mut said = Some(said);
            let mut said = || said.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
            let result = read_stream(sink, name, &mut stdout, |bytes| {
                let status = wait(children, name)?;
                exited.store(true, Ordering::Relaxed);
                if !status.success() {
                    return Err(EngineError::CommandFailed {
                        name: name.clone(),
                        status: status.to_string(),
                        stderr: said().into(),
                    });
                }
                if bytes == 0 && !self.allow_empty {
                    Err(EngineError::EmptyStream { name: name.clone() })
                } else {
                    Ok(())
                }
            });
            exited.store(true, Ordering::Relaxed);
            result
        });
        match result {
            // Reading was given up because another stream failed: that one has the cause.
            Err(EngineError::Repository(RepositoryError::Read { .. })) if stop.load(Ordering::Relaxed) => {
                Err(RepositoryError::Cancelled.into())
            }
            result => result,
        }
    }
}

/// Shows a command's standard error as it comes; gives the last lines.
fn forward(name: &str, stderr: impl std::io::Read, monitor: &dyn Monitor) -> VecDeque<String> {
    let mut kept = VecDeque::new();
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        let _ = lines.read_until(b'\n', &mut line);
        if line.is_empty() {
            return kept;
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        monitor.warn(&format!("{name}: {text}"));
        if kept.len() == LINES_KEPT {
            kept.pop_front();
        }
        kept.push_back(text);
    }
}

fn wait(children: &Mutex<Vec<(String, Child)>>, name: &str) -> Result<ExitStatus, EngineError> {
    loop {
        let mut running = children.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, child)) = running.iter_mut().find(|(running, _)| running == name) else {
            return Err(RepositoryError::Cancelled.into());
        };
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => {}
            Err(source) => {
                return Err(EngineError::Start {
                    name: name.to_owned(),
                    command: "waiting for it".into(),
                    source,
                });
            }
        }
        drop(running);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ends the commands when the run is interrupted or one of them failed, so that nobody waits for their output.
fn reap(children: &Mutex<Vec<(String, Child)>>, done: &AtomicBool, stop: &AtomicBool, monitor: &dyn Monitor) {
    while !done.load(Ordering::Relaxed) {
        if stop.load(Ordering::Relaxed) || monitor.is_cancelled() {
            kill(children, None);
        }
        std::thread::sleep(POLL);
    }
    for (_, mut child) in std::mem::take(&mut *children.lock().unwrap_or_else(PoisonError::into_inner)) {
        let _ = child.wait();
    }
}

fn kill(children: &Mutex<Vec<(String, Child)>>, only: Option<&str>) {
    for (name, child) in children.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
        if only.is_none_or(|only| only == name) {
            let _ = child.kill();
        }
    }
}

/// Of several errors the one that is a cause: not a command that was killed because of another.
fn first_cause(results: Vec<Result<(), EngineError>>) -> Result<(), EngineError> {
    let mut errors: Vec<EngineError> = results.into_iter().filter_map(Result::err).collect();
    let is_cause = |error: &EngineError| {
        !matches!(error, EngineError::CommandFailed { status, .. } if status.contains("SIGKILL"))
            && !matches!(error, EngineError::Repository(RepositoryError::Cancelled))
    };
    let at = errors.iter().position(is_cause).unwrap_or(0);
    if errors.is_empty() { Ok(()) } else { Err(errors.swap_remove(at)) }
}
