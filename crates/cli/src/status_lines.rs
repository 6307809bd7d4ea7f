//! Progress for machines: one JSON object a line on standard output, each second while something is done, and at its end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde_json::json;

use crate::output::line;

/// Between two lines.
const EVERY_MS: u64 = 1000;

/// What is under way.
#[derive(Debug)]
struct Work {
    what: String,
    total_bytes: Option<u64>,
}

/// Tells how it goes; counted by many threads.
#[derive(Debug)]
pub(crate) struct StatusLines {
    since: Instant,
    /// `None` before anything began, and when it has ended.
    work: Mutex<Option<Work>>,
    bytes: AtomicU64,
    stored: AtomicU64,
    /// When the next line is due, ms after `since`.
    next_ms: AtomicU64,
}

impl StatusLines {
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            work: Mutex::default(),
            bytes: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            next_ms: AtomicU64::new(EVERY_MS),
        }
    }

    /// What was counted is of what was done before.
    pub(crate) fn begin(&self, what: &str, total_bytes: Option<u64>) {
        let work = Work { what: what.to_owned(), total_bytes };
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
        self.bytes.store(0, Ordering::Relaxed);
    }

    pub(crate) fn advance(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tell_if_due();
    }

    pub(crate) fn stored(&self, bytes: u64) {
        self.stored.fetch_add(bytes, Ordering::Relaxed);
        self.tell_if_due();
    }

    /// Tells the end of what was begun.
    pub(crate) fn finish(&self) {
        self.tell();
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn tell_if_due(&self) {
        let now_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let next_ms = self.next_ms.load(Ordering::Relaxed);
        // One of those who find it due tells it.
        let is_own = || {
            let next = now_ms.saturating_add(EVERY_MS);
            self.next_ms.compare_exchange(next_ms, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if now_ms >= next_ms && is_own() {
            self.tell();
        }
    }

    fn tell(&self) {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Work { what, total_bytes }) = &*work else { return };
        let object = json!({
            "type": "status", "what": what, "bytes": self.bytes.load(Ordering::Relaxed), "total_bytes": total_bytes,
            "stored_bytes": self.stored.load(Ordering::Relaxed), "seconds": self.since.elapsed().as_secs_f64(),
        });
        line!("{object}");
    }
}
