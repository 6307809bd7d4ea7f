//! Threads that stop together.

use std::sync::atomic::{AtomicBool, Ordering};

use strongroom_repository::monitor::Monitor;

/// Cancelled when the run is, or when one of them fails.
pub(crate) struct Stop<'m> {
    run: &'m dyn Monitor,
    is_stopped: AtomicBool,
}

impl<'m> Stop<'m> {
    pub(crate) fn new(run: &'m dyn Monitor) -> Self {
        Self { run, is_stopped: AtomicBool::new(false) }
    }

    /// Tells the others.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

impl Monitor for Stop<'_> {
    fn begin(&self, what: &str, total_bytes: Option<u64>) {
        self.run.begin(what, total_bytes);
    }

    fn advance(&self, bytes: u64) {
        self.run.advance(bytes);
    }

    fn stored(&self, bytes: u64) {
        self.run.stored(bytes);
    }

    fn note(&self, message: &str) {
        self.run.note(message);
    }

    fn warn(&self, message: &str) {
        self.run.warn(message);
    }

    fn is_cancelled(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed) || self.run.is_cancelled()
    }
}
