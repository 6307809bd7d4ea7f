//! Buffers that are used again: fresh memory has to be cleared, page by page.

use std::sync::{Mutex, PoisonError};

/// Most that wait to be used again.
const KEPT: usize = 64;

/// Buffers of about a frame's length.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// An empty one, with room for so many bytes.
    pub(crate) fn take(&self, length: usize) -> Vec<u8> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = kept.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= length);
        match fits.min_by_key(|(_, buffer)| buffer.capacity()) {
            Some((at, _)) => kept.swap_remove(at),
            None => Vec::with_capacity(length),
        }
    }

    /// Gives one back.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        if buffer.capacity() == 0 {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(buffer);
        }
    }
}
