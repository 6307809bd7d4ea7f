//! Buffers that are used again: fresh memory has to be cleared, page by page.

use std::sync::{Mutex, PoisonError};

/// Most bytes that wait to be used again.
const KEPT_BYTES: usize = 32 << 20;

/// Buffers of about a frame's length.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Buffers {
    /// An empty one, with room for so many bytes.
    pub(crate) fn take(&self, length: usize) -> Vec<u8> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = kept.buffers.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= length);
        let Some((at, _)) = fits.min_by_key(|(_, buffer)| buffer.capacity()) else {
            return Vec::with_capacity(length);
        };
        let buffer = kept.buffers.swap_remove(at);
        kept.bytes -= buffer.capacity();
        buffer
    }

    /// Gives one back.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.capacity() > 0 && kept.bytes + buffer.capacity() <= KEPT_BYTES {
            kept.bytes += buffer.capacity();
            kept.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_the_smallest_that_fits_is_taken() {
        let buffers = Buffers::default();
        for length in [8 << 20, 1 << 20, 2 << 20, 0].into_iter().chain([8 << 20; 9]) {
            buffers.give(Vec::with_capacity(length));
        }
        let kept = |buffers: &Buffers| buffers.0.lock().unwrap().bytes;
        assert!(kept(&buffers) <= KEPT_BYTES && kept(&buffers) >= 27 << 20);
        let (before, taken) = (kept(&buffers), buffers.take((1 << 20) + 1));
        assert!(taken.is_empty() && taken.capacity() < 4 << 20);
        assert_eq!(kept(&buffers), before - taken.capacity());
        assert!(buffers.take(9 << 20).capacity() >= 9 << 20);
    }
}
