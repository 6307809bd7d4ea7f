//! Commands that run before and after an operation: to pause a service, to look after its health, to go on.

use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How long one that is ended may take to tidy up.
const GRACE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// A command of the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// When it runs: `pre`, `post`, `on-failure`.
    pub when: &'static str,
    /// What `sh` runs.
    pub command: String,
    /// How long it may take.
    pub timeout: Duration,
}

/// Why it is no success.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// It could not be started.
    #[error("the {when} hook cannot be started: {command}")]
    Start {
        /// When it runs.
        when: &'static str,
        /// It.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// It said no.
    #[error("the {when} hook failed ({status}): {command}")]
    Failed {
        /// When it runs.
        when: &'static str,
        /// It.
        command: String,
        /// Its exit status or signal.
        status: ExitStatus,
    },
    /// It took too long, and was ended.
    #[error("the {when} hook was ended after {seconds} s (--hook-timeout): {command}")]
    TimedOut {
        /// When it runs.
        when: &'static str,
        /// It.
        command: String,
        /// How long it had.
        seconds: u64,
    },
    /// The operation was interrupted, and so was it.
    #[error("the {when} hook was interrupted: {command}")]
    Interrupted {
        /// When it runs.
        when: &'static str,
        /// It.
        command: String,
    },
}

impl Hook {
    /// Runs it to its end, with what it prints on standard error, and with these variables beside those of the process.
    ///
    /// # Errors
    /// All of [`HookError`]; then nothing of it runs any more.
    pub fn run(
        &self,
        variables: &[(&str, String)],
        is_interrupted: impl Fn() -> bool,
    ) -> Result<(), HookError> {
        let (when, command) = (self.when, || self.command.clone());
        let mut shell = Command::new("sh");
        shell.args(["-c", &self.command]).env("STRONGROOM_HOOK", when).stdin(Stdio::null());
        for (name, value) in variables {
            shell.env(name, value);
        }
        // Standard output is the operation's; and the terminal's interrupts are for the operation to pass on.
        let start = |source| HookError::Start { when, command: command(), source };
        let stderr = std::io::stderr().as_fd().try_clone_to_owned().map_err(start)?;
        let mut child = shell.stdout(stderr).process_group(0).spawn().map_err(start)?;
        let began = Instant::now();
        loop {
            match child.try_wait().map_err(start)? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(HookError::Failed { when, command: command(), status }),
                None if is_interrupted() => {
                    end(&mut child);
                    return Err(HookError::Interrupted { when, command: command() });
                }
                None if began.elapsed() >= self.timeout => {
                    end(&mut child);
                    return Err(HookError::TimedOut {
                        when,
                        command: command(),
                        seconds: self.timeout.as_secs(),
                    });
                }
                None => std::thread::sleep(POLL),
            }
        }
    }
}

/// It, and what it started.
fn end(child: &mut Child) {
    let group = Pid::from_child(child);
    // One that has ended is no longer there.
    let _ = kill_process_group(group, Signal::TERM);
    let began = Instant::now();
    while began.elapsed() < GRACE && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(POLL);
    }
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(command: &str, timeout: Duration) -> Hook {
        Hook { when: "pre", command: command.into(), timeout }
    }

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn variables_are_given_and_statuses_are_looked_at() {
        let variables = [("STRONGROOM_SOURCE", "a b".to_owned())];
        let good = hook("test \"$STRONGROOM_SOURCE\" = 'a b' && test $STRONGROOM_HOOK = pre", LONG);
        good.run(&variables, || false).unwrap();
        let failed = hook("exit 3", LONG).run(&[], || false).unwrap_err().to_string();
        assert_eq!(failed, "the pre hook failed (exit status: 3): exit 3");
    }

    #[test]
    fn one_that_takes_too_long_is_ended_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let (started, open) = (folder.path().join("started"), folder.path().join("open"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &open, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .unwrap();
        // What it started holds a pipe open as long as it lives, and only a signal ends it.
        let command = format!(
            "(exec 3> {}; trap exit TERM; echo > {}; while :; do sleep 0.05; done) & wait",
            open.display(),
            started.display()
        );
        let held = std::thread::spawn(move || std::fs::read(open).unwrap());
        // It is interrupted when all of it runs, however long that takes.
        let error = hook(&command, LONG).run(&[], || started.exists()).unwrap_err();
        assert!(matches!(error, HookError::Interrupted { .. }), "{error}");
        assert_eq!(held.join().unwrap(), b"");
        let error = hook("sleep 600", Duration::from_millis(1)).run(&[], || false).unwrap_err();
        assert!(matches!(error, HookError::TimedOut { .. }), "{error}");
    }
}
