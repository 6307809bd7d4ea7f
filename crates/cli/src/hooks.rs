//! Hooks around an operation. What runs afterwards runs whatever happens: also when the run is interrupted and does not stop by
//! itself.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use strongroom_ops::hook::Hook;

use crate::arguments::HookArguments;
use crate::exit::{Outcome, PARTLY};
use crate::signals;

/// What is still to be run when the process ends before the operation does.
static PENDING: Mutex<Pending> = Mutex::new(Pending::Nothing);
const POLL: Duration = Duration::from_millis(20);
/// How long one may take to end that is told to end at once: it is killed by then.
const LAST: Duration = Duration::from_secs(3);

enum Pending {
    Nothing,
    After(After),
    /// Somebody is at it.
    Running,
}

/// What runs afterwards.
struct After {
    on_failure: Option<Hook>,
    post: Option<Hook>,
    variables: Vec<(&'static str, String)>,
}

/// How the operation ended.
enum End<'e> {
    Good,
    Failed(&'e str),
}

fn pending() -> std::sync::MutexGuard<'static, Pending> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `operation` between its hooks. When the first hook fails, it is not run; what runs afterwards is.
///
/// # Errors
/// What the first hook or the operation fails with.
pub(crate) fn around(
    hooks: &HookArguments,
    variables: &[(&'static str, String)],
    failed: impl FnOnce(&anyhow::Error),
    operation: impl FnOnce() -> anyhow::Result<Outcome>,
) -> anyhow::Result<Outcome> {
    let hook = |when, command: &Option<String>| {
        let command = command.clone()?;
        Some(Hook { when, command, timeout: hooks.hook_timeout })
    };
    let after = After {
        on_failure: hook("on-failure", &hooks.on_failure),
        post: hook("post", &hooks.post),
        variables: variables.to_vec(),
    };
    *pending() = Pending::After(after);
    let _guard = Guard;
    let prepared = match hook("pre", &hooks.pre) {
        Some(pre) => pre.run(variables, signals::is_interrupted).map_err(anyhow::Error::from),
        None => Ok(()),
    };
    let done = match prepared {
        Ok(()) => operation(),
        Err(error) => {
            failed(&error);
            Err(error)
        }
    };
    let is_good = match &done {
        Ok(Outcome::Done | Outcome::Code(PARTLY)) => finish(&End::Good),
        Ok(Outcome::Code(code)) => finish(&End::Failed(&format!("exit code {code}"))),
        Err(error) => finish(&End::Failed(&format!("{error:#}"))),
    };
    match done {
        Ok(Outcome::Done) if !is_good => Ok(Outcome::Code(PARTLY)),
        done => done,
    }
}

/// Has what runs afterwards run also when the operation panics.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        finish(&End::Failed("it broke down"));
    }
}

/// Before the process ends: what is to run afterwards, if the operation did not come to it.
pub(crate) fn finish_interrupted() {
    while matches!(*pending(), Pending::Running) {
        std::thread::sleep(POLL);
    }
    finish(&End::Failed("interrupted"));
}

/// After a second signal: one that runs is ended, with all that it started, and none begins.
pub(crate) fn wait_for_end() {
    let began = Instant::now();
    while matches!(*pending(), Pending::Running) && began.elapsed() < LAST {
        std::thread::sleep(POLL);
    }
}

/// Once only. Whether all of it succeeded.
fn finish(end: &End<'_>) -> bool {
    let after = {
        let mut pending = pending();
        match std::mem::replace(&mut *pending, Pending::Running) {
            Pending::After(after) => after,
            other => {
                *pending = other;
                return true;
            }
        }
    };
    let mut variables = after.variables;
    let result = match end {
        End::Good => "done",
        End::Failed(_) => "failed",
    };
    variables.push(("STRONGROOM_RESULT", result.to_owned()));
    let mut hooks = Vec::new();
    if let End::Failed(error) = end {
        variables.push(("STRONGROOM_ERROR", (*error).to_owned()));
        hooks.extend(after.on_failure);
    }
    hooks.extend(after.post);
    let mut is_good = true;
    for hook in hooks {
        if signals::is_at_once() {
            break;
        }
        // Whatever was interrupted: this is what is left to do.
        if let Err(error) = hook.run(&variables, signals::is_at_once) {
            eprintln!("error: {error}");
            is_good = false;
        }
    }
    *pending() = Pending::Nothing;
    is_good
}
