//! SIGINT and SIGTERM: the run is asked to stop; whoever does not stop in time is ended. Nothing has to be tidied
//! up: what no journal entry names does not count.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long a run may take to stop, and to say so.
const GRACE: Duration = Duration::from_secs(5);

/// A second signal came: nothing is waited for any more.
static AT_ONCE: AtomicBool = AtomicBool::new(false);
/// Whether whoever is asked to stop sees to its end itself.
static PATIENT: AtomicBool = AtomicBool::new(false);
/// What is there of the run when it is interrupted, and what to do then.
static LEFT: OnceLock<&'static str> = OnceLock::new();
static RELOAD: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static RECEIVED: OnceLock<Arc<AtomicI32>> = OnceLock::new();

fn received() -> &'static Arc<AtomicI32> {
    RECEIVED.get_or_init(Arc::default)
}

/// Begins to listen. A second signal ends the process at once, with all that it runs.
pub(crate) fn listen() -> std::io::Result<()> {
    let received = Arc::clone(received());
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if received.swap(signal, Ordering::SeqCst) != 0 {
                AT_ONCE.store(true, Ordering::SeqCst);
                crate::commands::kill_children();
                crate::hooks::wait_for_end();
                std::process::exit(128 + signal);
            }
            eprintln!("\ninterrupted, stopping ...");
            if PATIENT.load(Ordering::SeqCst) {
                continue;
            }
            std::thread::spawn(move || {
                std::thread::sleep(GRACE);
                crate::hooks::finish_interrupted();
                // Who would say it does not come to it.
                if let Some(left) = left() {
                    eprintln!("error: interrupted\nhint: {left}");
                }
                std::process::exit(128 + signal);
            });
        }
    });
    Ok(())
}

/// From now on an interrupted run leaves something behind: what, and what to do about it.
pub(crate) fn leaves(what: &'static str) {
    LEFT.get_or_init(|| what);
}

/// What an interrupted run leaves behind, if it does.
pub(crate) fn left() -> Option<&'static str> {
    LEFT.get().copied()
}

/// From now on whoever is asked to stop sees to its end itself, in whatever time; a second signal still ends it. SIGHUP asks to read
/// the configuration again.
pub(crate) fn be_patient() -> std::io::Result<()> {
    PATIENT.store(true, Ordering::SeqCst);
    let reload = Arc::clone(RELOAD.get_or_init(Arc::default));
    signal_hook::flag::register(SIGHUP, reload).map(drop)
}

/// Whether SIGHUP came since this was asked last.
pub(crate) fn take_reload() -> bool {
    RELOAD.get().is_some_and(|reload| reload.swap(false, Ordering::SeqCst))
}

/// It stopped as it was asked to, and that is no failure; but for a second signal.
pub(crate) fn settle() {
    if !is_at_once() {
        received().store(0, Ordering::SeqCst);
    }
}

/// Whether a signal came.
pub(crate) fn is_interrupted() -> bool {
    received().load(Ordering::Relaxed) != 0
}

/// Whether a second one came: what the first did not end is to end now.
pub(crate) fn is_at_once() -> bool {
    AT_ONCE.load(Ordering::Relaxed)
}

/// Ends with the code of the signal that came, if one did.
pub(crate) fn exit_if_killed() {
    let signal = received().load(Ordering::Relaxed);
    if signal != 0 {
        std::process::exit(128 + signal);
    }
}
