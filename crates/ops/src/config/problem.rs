//! What is wrong with a configuration.

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// In which line, from 1.
    pub line: usize,
    /// What.
    pub what: String,
}

/// All of it, as people read it.
pub(super) fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|Problem { line, what }| format!("\n  line {line}: {what}")).collect()
}
