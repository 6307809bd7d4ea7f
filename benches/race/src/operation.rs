//! What is measured.

use std::fmt;

use serde::Serialize;

/// One thing that every tool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    /// Into an empty repository.
    FirstBackup,
    /// Nothing changed.
    SameAgain,
    /// A day's changes.
    NextDay,
    /// The latest snapshot, to a pipe or a new folder, as it was backed up.
    Restore,
    /// Reading all data.
    Check,
    /// 1% of everything changed, wherever it lies.
    UniformDay,
    /// After it.
    RestoreUniform,
    /// After it.
    CheckUniform,
    /// All snapshots but the latest; what they alone needed is gone afterwards.
    ForgetAndPrune,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::FirstBackup => "first backup",
            Self::SameAgain => "same again",
            Self::NextDay => "next day",
            Self::Restore => "restore",
            Self::Check => "check, reading all data",
            Self::UniformDay => "a day of 1% everywhere",
            Self::RestoreUniform => "restore after it",
            Self::CheckUniform => "check after it",
            Self::ForgetAndPrune => "forget and prune",
        })
    }
}

/// What of it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// From start to end.
    Seconds,
    /// What the repository grew by, in MB of a million.
    AddedMb,
    /// The largest resident set of any one process, in MiB.
    PeakMib,
}

impl Metric {
    /// As the row's label says it.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::AddedMb => "MB stored",
            Self::PeakMib => "peak MiB",
        }
    }
}
