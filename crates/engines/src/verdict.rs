//! How a part of a snapshot came back in a restore test.

/// Of a database, an index, or what else a snapshot consists of.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// It.
    pub name: String,
    /// What of it was stored, bytes.
    pub bytes: u64,
    /// How much of what it holds: `tables`, `rows`.
    pub counts: Vec<(&'static str, u64)>,
    /// How long the restore took, without what was looked at afterwards.
    pub seconds: f64,
    /// What is otherwise than it was, in words; none if all is well.
    pub differences: Vec<String>,
}
