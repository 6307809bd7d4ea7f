//! Time as decorators need it: how much of it passed, and waiting.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A clock that only measures, and that can be waited on. Injected, so that tests neither wait nor depend on luck.
pub trait Timer: Send + Sync {
    /// Time passed since some moment before the first call. Never runs backwards.
    fn elapsed(&self) -> Duration;

    /// Returns when that much time has passed.
    fn sleep(&self, duration: Duration);
}

/// The system's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemTimer {
    start: Instant,
}

impl SystemTimer {
    /// Begins to measure.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for SystemTimer {
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        thread::sleep(duration);
    }
}

/// For tests: nobody waits, sleeping moves the time on.
#[derive(Debug, Default)]
pub struct ManualTimer {
    elapsed: Mutex<Duration>,
}

impl ManualTimer {
    /// A timer that stands at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Timer for ManualTimer {
    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self, duration: Duration) {
        let mut elapsed = self.elapsed.lock().unwrap_or_else(PoisonError::into_inner);
        *elapsed = elapsed.saturating_add(duration);
    }
}
