//! How long tests wait for what will come: long enough for any machine, and not for ever.

use std::time::{Duration, Instant};

/// A test that waits longer fails. It costs nothing where what is waited for comes.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Polls until it is so.
///
/// # Panics
/// When it is not in [`PATIENCE`].
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what} in vain");
        std::thread::sleep(Duration::from_millis(50));
    }
}
