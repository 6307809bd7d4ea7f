//! Something that was tried, and how it went.

use jiff::Timestamp;
use serde::Deserialize;
use strongroom_format::SnapshotId;
use strongroom_format::manifest::{Manifest, Totals};

use crate::run::{Ended, RunResult};
use crate::{Cause, redacted};

/// A backup, or a task of the repository.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// When it was in the journal, by the store's clock; of a run, when that began.
    pub time: Timestamp,
    /// How long it took; `None` where nobody noted it.
    pub seconds: Option<f64>,
    /// How it went.
    pub result: RunResult,
    /// Where.
    pub host: String,
    /// What went wrong.
    pub error: Option<String>,
    /// Of what kind that was; `None` where nothing went wrong, or nobody said it.
    pub cause: Option<Cause>,
    /// The exit code of the command, where one was run.
    pub exit_code: Option<i32>,
    /// What it made.
    pub snapshot: Option<SnapshotId>,
    /// Of what it made.
    pub sizes: Sizes,
}

/// Of a snapshot, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// As it is restored.
    pub logical: u64,
    /// Of chunks that nothing had before.
    pub new: u64,
    /// As stored.
    pub stored: u64,
}

/// A restore test.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreTest {
    /// When it ended.
    pub time: Timestamp,
    /// Of what.
    pub snapshot: Option<SnapshotId>,
    /// Whether all was as it had been.
    pub is_good: bool,
    /// How long the restore took; `None` where there was none.
    pub restore_seconds: Option<f64>,
    /// How old the snapshot was.
    pub age_seconds: Option<f64>,
    /// What went wrong.
    pub error: Option<String>,
}

/// What `verify` notes.
#[derive(Deserialize)]
pub(super) struct VerifyNote {
    result: String,
    restore_seconds: Option<f64>,
    age_seconds: Option<f64>,
}

/// What `verify` notes when it comes to nothing.
#[derive(Deserialize)]
pub(super) struct FailedVerifyNote {
    pub(super) error: String,
    pub(super) cause: Cause,
    #[serde(default)]
    pub(super) host: String,
}

/// What `check` notes.
#[derive(Deserialize)]
pub(super) struct CheckNote {
    clean: bool,
    #[serde(default)]
    host: String,
    #[serde(default)]
    findings: u64,
}

impl Attempt {
    pub(super) fn of_snapshot(id: SnapshotId, manifest: &Manifest, time: Timestamp) -> Self {
        let Totals { bytes, new_bytes, stored_bytes, unreadable, .. } = manifest.totals;
        let nanoseconds = manifest.finished_ns.saturating_sub(manifest.started_ns).max(0);
        Self {
            time,
            #[allow(clippy::cast_precision_loss, reason = "of a time that is shown")]
            seconds: Some(nanoseconds as f64 / 1e9),
            result: if unreadable > 0 { RunResult::Partly } else { RunResult::Done },
            host: manifest.host.clone(),
            error: None,
            cause: None,
            exit_code: None,
            snapshot: Some(id),
            sizes: Sizes { logical: bytes, new: new_bytes, stored: stored_bytes },
        }
    }

    pub(super) fn failed(time: Timestamp, host: String, error: &str) -> Self {
        Self {
            time,
            seconds: None,
            result: RunResult::Failed,
            host,
            // Notes of before may hold what an error quoted.
            error: Some(redacted(error)),
            cause: None,
            exit_code: None,
            snapshot: None,
            sizes: Sizes::default(),
        }
    }

    pub(super) fn of_run(ended: &Ended, since: Timestamp) -> Self {
        Self {
            time: since,
            seconds: Some(ended.seconds),
            result: ended.result,
            host: ended.host.clone(),
            error: ended.error.as_deref().map(redacted),
            cause: ended.cause,
            exit_code: ended.exit_code,
            snapshot: ended.snapshot.as_ref().and_then(|id| SnapshotId::from_hex(id)),
            sizes: Sizes::default(),
        }
    }

    pub(super) fn of_check(note: &CheckNote, time: Timestamp) -> Self {
        let findings = || format!("{} findings", note.findings);
        Self {
            error: (!note.clean).then(findings),
            result: if note.clean { RunResult::Done } else { RunResult::Failed },
            ..Self::failed(time, note.host.clone(), "")
        }
    }

    /// What the run around it knows beside.
    pub(super) fn with_run(&mut self, run: &Self) {
        self.seconds = run.seconds;
        self.exit_code = run.exit_code;
        if run.result == RunResult::Failed {
            self.result = RunResult::Failed;
            self.error = self.error.take().or_else(|| run.error.clone());
            self.cause = self.cause.or(run.cause);
        }
    }

    /// Whether there is a snapshot to restore from.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.result != RunResult::Failed
    }
}

impl RestoreTest {
    pub(super) fn of_note(snapshot: Option<SnapshotId>, note: &VerifyNote, time: Timestamp) -> Self {
        let is_good = note.result == "good";
        let VerifyNote { restore_seconds, age_seconds, .. } = *note;
        let error = (!is_good).then(|| "what came back is not as it was".to_owned());
        Self { time, snapshot, is_good, restore_seconds, age_seconds, error }
    }

    pub(super) fn failed(attempt: Attempt) -> Self {
        Self {
            time: attempt.time,
            snapshot: None,
            is_good: false,
            restore_seconds: None,
            age_seconds: None,
            error: attempt.error,
        }
    }
}
