//! Notes of runs, as they stand in the journal.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Cause;

/// The event of the first note of a run, and of those by which it goes on.
pub(crate) const BEGAN: &str = "run-began";
/// The event of its last.
pub(crate) const ENDED: &str = "run-ended";

/// For how long a run counts as running after a note of it, at least and at most.
const LEASES: (Duration, Duration) = (Duration::from_secs(10 * 60), Duration::from_secs(30 * 60));
/// The same of notes that do not say it: runs left one each half an hour.
const LEASE_OF_OLD_NOTES: Duration = Duration::from_secs(60 * 60);

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
    /// Within which bounds a lock keeps a second from beginning: random, made once for a folder of state; `None` in old notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// For how long after this note it counts as running.
    #[serde(default = "lease_of_old_notes")]
    pub lease_seconds: u64,
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
    /// The lease that a note gives which is left so long after the run began. It grows, so that what takes hours leaves few notes (34
    /// in six hours), and what was killed soon is not waited for long.
    #[must_use]
    pub fn lease_after(elapsed: Duration) -> Duration {
        (elapsed / 4).clamp(LEASES.0, LEASES.1)
    }

    /// For how long after this note it counts as running; however much it asks for, not longer than any ever did.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds).min(LEASE_OF_OLD_NOTES)
    }

    /// Whether it began where a lock of this host and domain would tell that it still runs. Hosts may be copies of each other, and
    /// pods all have the same name: only both together say it.
    #[must_use]
    pub fn is_of(&self, host: &str, domain: Option<&str>) -> bool {
        domain.is_some() && self.domain.as_deref() == domain && self.host == host
    }

    /// The event and details of the note.
    #[must_use]
    pub fn to_note(&self) -> (&'static str, serde_json::Value) {
        (BEGAN, serde_json::to_value(self).unwrap_or_default())
    }
}

fn lease_of_old_notes() -> u64 {
    LEASE_OF_OLD_NOTES.as_secs()
}

impl Ended {
    /// The event and details of the note.
    #[must_use]
    pub fn to_note(&self) -> (&'static str, serde_json::Value) {
        (ENDED, serde_json::to_value(self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_notes_are_read_and_belong_to_no_domain() {
        let old = r#"{"run":"a","work":"backup","source":"db","host":"kubernetes","pid":1}"#;
        let old: Began = serde_json::from_str(old).unwrap();
        assert_eq!(old.lease(), LEASE_OF_OLD_NOTES);
        assert!(!old.is_of("kubernetes", None) && !old.is_of("kubernetes", Some("")));
        let new = Began { domain: Some("d".into()), lease_seconds: u64::MAX, ..old };
        assert!(new.is_of("kubernetes", Some("d")) && !new.is_of("db1", Some("d")));
        assert!(!new.is_of("kubernetes", Some("e")) && !new.is_of("kubernetes", None));
        assert_eq!(new.lease(), LEASE_OF_OLD_NOTES);
        assert_eq!(serde_json::from_value::<Began>(new.to_note().1).unwrap(), new);
    }

    #[test]
    fn what_takes_long_leaves_few_notes() {
        // Each when half of the lease is over.
        let notes_of = |hours: u64| {
            let (mut elapsed, mut notes) = (Duration::ZERO, 0);
            while elapsed < Duration::from_secs(hours * 60 * 60) {
                elapsed += Began::lease_after(elapsed) / 2;
                notes += 1;
            }
            notes
        };
        assert_eq!((notes_of(1), notes_of(6), notes_of(24)), (12, 34, 106));
    }
}
