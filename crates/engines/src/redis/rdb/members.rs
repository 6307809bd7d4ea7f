//! What members of a hash table are sorted in.

use super::error::RdbError;

/// Takes a member, what belongs to it, and how much of that stands before it.
pub type Give<'g> = dyn FnMut(&[u8], &[u8], usize) -> Result<(), RdbError> + 'g;

/// Takes members in any order and gives them in theirs.
pub trait Members {
    /// One more: its bytes, and what belongs to it, of which `split` bytes stand before it.
    ///
    /// # Errors
    /// `Write` when there is no room for it.
    fn add(&mut self, member: &[u8], body: &[u8], split: usize) -> Result<(), RdbError>;

    /// Gives all of them, sorted, and has none then.
    ///
    /// # Errors
    /// As `give` does, and when they cannot be read again.
    fn drain(&mut self, give: &mut Give<'_>) -> Result<(), RdbError>;
}
