//! SIGINT and SIGTERM: the run is asked to stop; whoever does not stop in time is ended. Nothing has to be tidied
//! up: what no journal entry names does not count.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long a run may take to stop, and to say so.
const GRACE: Duration = Duration::from_secs(5);

static RECEIVED: OnceLock<Arc<AtomicI32>> = OnceLock::new();

fn received() -> &'static Arc<AtomicI32> {
    RECEIVED.get_or_init(Arc::default)
}

/// Begins to listen. A second signal ends the process at once.
pub(crate) fn listen() -> std::io::Result<()> {
    let received = Arc::clone(received());
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if received.swap(signal, Ordering::SeqCst) != 0 {
                std::process::exit(128 + signal);
            }
            eprintln!("\ninterrupted, stopping ...");
            std::thread::spawn(move || {
                std::thread::sleep(GRACE);
                crate::hooks::finish_interrupted();
                std::process::exit(128 + signal);
            });
        }
    });
    Ok(())
}

/// Whether a signal came.
pub(crate) fn is_interrupted() -> bool {
    received().load(Ordering::Relaxed) != 0
}

/// Ends with the code of the signal that came, if one did.
pub(crate) fn exit_if_killed() {
    let signal = received().load(Ordering::Relaxed);
    if signal != 0 {
        std::process::exit(128 + signal);
    }
}
