//! Where random bytes come from: injected, so that vectors and tests are repeatable.

use std::sync::Mutex;

use crate::KeysError;

/// A source of random bytes.
pub trait Random: Send + Sync {
    /// Fills `out`.
    ///
    /// # Errors
    /// `Random` when the system has none to give.
    fn fill(&self, out: &mut [u8]) -> Result<(), KeysError>;
}

/// An array of random bytes.
///
/// # Errors
/// As [`Random::fill`].
pub fn array<const N: usize>(random: &dyn Random) -> Result<[u8; N], KeysError> {
    let mut out = [0; N];
    random.fill(&mut out)?;
    Ok(out)
}

/// The operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), KeysError> {
        getrandom::fill(out).map_err(|_| KeysError::Random)
    }
}

/// The same bytes for the same seed: for vectors and tests, never for secrets.
pub struct SeededRandom(Mutex<blake3::OutputReader>);

impl SeededRandom {
    /// A stream of bytes from `seed`.
    #[must_use]
    pub fn new(seed: &[u8]) -> Self {
        Self(Mutex::new(
            blake3::Hasher::new_derive_key("strongroom 2026 v1 test randomness").update(seed).finalize_xof(),
        ))
    }
}

impl Random for SeededRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), KeysError> {
        self.0.lock().map_err(|_| KeysError::Random)?.fill(out);
        Ok(())
    }
}
