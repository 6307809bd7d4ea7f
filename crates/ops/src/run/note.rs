//! Notes of runs, as they stand in the journal.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Cause;

/// The event of the first note of a run, and of those by which it goes on.
pub(crate) const BEGAN: &str = "run-began";
/// The event of its last.
pub(crate) const ENDED: &str = "run-ended";

/// For how long a run counts as running after its last note: what takes longer leaves another one.
pub const LEASE: Duration = Duration::from_secs(60 * 60);

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// A snapshot of a source.
    Backup,
    /// A restore test of a source.
    Verify,
    /// Taking snapshots out by the configuration's retention.
    Forget,
    /// Giving up what of log archives no base backup needs.
    WalExpire,
    /// Copying what is new to another repository, or from there.
    Sync,
    /// Freeing what no snapshot needs.
    Prune,
    /// Checking the repository.
    Check,
}

impl Work {
    /// What is done of the repository and of no single source, in the order in which it is done: what is given up is then freed.
    pub const OF_REPOSITORY: [Self; 5] =
        [Self::Forget, Self::WalExpire, Self::Sync, Self::Prune, Self::Check];

    /// The words of its command.
    #[must_use]
    pub fn command(self) -> &'static [&'static str] {
        match self {
            Self::Backup => &["backup"],
            Self::Verify => &["verify"],
            Self::Forget => &["forget"],
            Self::WalExpire => &["wal", "expire"],
            Self::Sync => &["sync"],
            Self::Prune => &["prune"],
            Self::Check => &["check"],
        }
    }

    /// As it is called: its command in one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Verify => "verify",
            Self::Forget => "forget",
            Self::WalExpire => "wal-expire",
            Self::Sync => "sync",
            Self::Prune => "prune",
            Self::Check => "check",
        }
    }
}

/// A run begins, or goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began {
    /// Which: random.
    pub run: String,
    /// What.
    pub work: Work,
    /// Of which source, where it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where.
    pub host: String,
    /// By which process there.
    pub pid: u32,
    /// The date that it is done for, where a schedule asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Timestamp>,
}

/// A run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Which.
    pub run: String,
    /// What.
    pub work: Work,
    /// Of which source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where.
    pub host: String,
    /// How.
    pub result: RunResult,
    /// The command's exit code; none where it was ended by a signal or never began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// How long it took.
    pub seconds: f64,
    /// The snapshot that it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its next date, which came before it ended and is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<Timestamp>,
    /// Of what kind that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunResult {
    /// All well.
    Done,
    /// Partly: some of what was to be read could not be.
    Partly,
    /// It did not do what it was to do.
    Failed,
    /// It was running already, elsewhere, or was done there meanwhile.
    Skipped,
    /// It was told to stop before it was done: it is due as before.
    Interrupted,
}

impl RunResult {
    /// As people read it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partly => "partly done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Interrupted => "interrupted",
        }
    }
}

impl Began {
    /// The event and details of the note.
    #[must_use]
    pub fn to_note(&self) -> (&'static str, serde_json::Value) {
        (BEGAN, serde_json::to_value(self).unwrap_or_default())
    }
}

impl Ended {
    /// The event and details of the note.
    #[must_use]
    pub fn to_note(&self) -> (&'static str, serde_json::Value) {
        (ENDED, serde_json::to_value(self).unwrap_or_default())
    }
}
