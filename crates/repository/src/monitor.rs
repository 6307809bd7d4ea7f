//! Progress and warnings of a run, told to whoever shows them.

/// Told how a run goes; called from many threads.
pub trait Monitor: Send + Sync {
    /// What is about to be done, and how many bytes it is where that is known.
    fn begin(&self, _what: &str, _total_bytes: Option<u64>) {}
    /// Plain bytes handled since the last call.
    fn advance(&self, _bytes: u64) {}
    /// Bytes stored since the last call, durably.
    fn stored(&self, _bytes: u64) {}
    /// Something to know that is as it should be.
    fn note(&self, _message: &str) {}
    /// Something that went wrong and did not stop the run.
    fn warn(&self, _message: &str) {}
    /// Whether the run is to stop as soon as it can.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Monitor for Silent {}
