//! Something that somebody should know.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::redacted;

/// What it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The last backup of a source failed.
    BackupFailed,
    /// There should be a newer snapshot.
    BackupMissed,
    /// Some of what was to be backed up could not be read.
    BackupPartly,
    /// A backup took longer than it may.
    BackupSlow,
    /// A backup was still running at its next date, which was left out.
    BackupOverrun,
    /// A snapshot is much larger or smaller than those before.
    SizeAnomaly,
    /// What came back was not as it had been, or nothing came back.
    RestoreTestFailed,
    /// A restore test is due.
    RestoreTestMissed,
    /// A restore took longer than it may.
    RestoreSlow,
    /// Nothing was archived of a log for too long.
    WalLate,
    /// Segments of a log are missing.
    WalGap,
    /// The last check found damage, or could not be done.
    CheckFailed,
    /// Forgetting, expiring or pruning failed.
    MaintenanceFailed,
    /// Forgetting, expiring, pruning or checking was due.
    TaskMissed,
    /// Copying to a second repository, or from one, failed.
    SyncFailed,
    /// It was due.
    SyncMissed,
    /// A drill is due.
    DrillMissed,
    /// The last drill of its kind was not passed.
    DrillFailed,
    /// The repository is nearly as large as it may become.
    StorageNearCapacity,
    /// The repository cannot be opened: its keys are not to be had, or the store is not.
    NoAccess,
}

/// How bad it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It should be looked at.
    Warning,
    /// It must be.
    Critical,
}

/// One.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// Of which source, where it is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Of which task or drill, where it is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// In words.
    pub what: String,
}

impl Finding {
    /// Of the repository. What an error quoted in `what` and nobody should read is taken out.
    #[must_use]
    pub fn new(kind: Kind, what: &str) -> Self {
        let what = redacted(what);
        Self { kind, severity: kind.severity(), source: None, subject: None, since: None, what }
    }

    /// Of a source.
    #[must_use]
    pub fn of(self, source: &str) -> Self {
        Self { source: Some(source.to_owned()), ..self }
    }

    /// Of a task or a drill.
    #[must_use]
    pub fn about(self, subject: &str) -> Self {
        Self { subject: Some(subject.to_owned()), ..self }
    }

    /// There since then.
    #[must_use]
    pub fn since(self, since: Timestamp) -> Self {
        Self { since: Some(since), ..self }
    }

    /// What makes two findings one: what is said of it changes from day to day.
    #[must_use]
    pub fn key(&self) -> String {
        match self.source.as_ref().or(self.subject.as_ref()) {
            Some(of) => format!("{of} {}", self.kind.name()),
            None => self.kind.name().to_owned(),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        self.kind.advice().replace("TASK", self.subject.as_deref().unwrap_or("TASK"))
    }
}

impl Kind {
    /// As it is written: `backup-failed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BackupFailed => "backup-failed",
            Self::BackupMissed => "backup-missed",
            Self::BackupPartly => "backup-partly",
            Self::BackupSlow => "backup-slow",
            Self::BackupOverrun => "backup-overrun",
            Self::SizeAnomaly => "size-anomaly",
            Self::RestoreTestFailed => "restore-test-failed",
            Self::RestoreTestMissed => "restore-test-missed",
            Self::RestoreSlow => "restore-slow",
            Self::WalLate => "wal-late",
            Self::WalGap => "wal-gap",
            Self::CheckFailed => "check-failed",
            Self::MaintenanceFailed => "maintenance-failed",
            Self::TaskMissed => "task-missed",
            Self::SyncFailed => "sync-failed",
            Self::SyncMissed => "sync-missed",
            Self::DrillMissed => "drill-missed",
            Self::DrillFailed => "drill-failed",
            Self::StorageNearCapacity => "storage-near-capacity",
            Self::NoAccess => "no-access",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::BackupFailed => "mend what the error names, then `strongroom run SOURCE`",
            Self::BackupMissed => {
                "look whether the schedule runs (`serve`, a timer, a CronJob), then `strongroom run SOURCE`"
            }
            Self::BackupPartly => "see what could not be read in the log of that run, and mend or exclude it",
            Self::BackupSlow => "find out what is slow (`--timings`), or raise `max_duration`",
            Self::BackupOverrun => "back up less often, or find out what is slow (`--timings`)",
            Self::SizeAnomaly => "compare the snapshots: `strongroom diff OLDER NEWER`",
            Self::RestoreTestFailed => {
                "run it again by hand: `strongroom verify --source SOURCE`; `strongroom check --read-data` finds damage"
            }
            Self::RestoreTestMissed => "`strongroom run --only verify SOURCE`",
            Self::RestoreSlow => "restore to faster disks, or raise `rto`",
            Self::WalLate => {
                "look at the server's archiver (pg_stat_archiver) and the log of `wal-push` or `wal receive`"
            }
            Self::WalGap => {
                "take a base backup now: no point behind the gap can be restored from before it; `strongroom wal list` names it"
            }
            Self::CheckFailed => "`strongroom check --read-data` names damage and the snapshots it touches",
            Self::MaintenanceFailed => "run it by hand to see why: `strongroom run --only TASK`",
            Self::TaskMissed => {
                "look whether the schedule runs (`serve`, a timer, a CronJob), then `strongroom run --only TASK`"
            }
            Self::SyncFailed => "mend what the error names, then `strongroom run --only sync`",
            Self::SyncMissed => {
                "look whether the schedule runs (`serve`, a timer, a CronJob), then `strongroom run --only sync`"
            }
            Self::StorageNearCapacity => "shorten the retention and prune, or make room and raise `capacity`",
            Self::DrillMissed => "hold it, then `strongroom drill record --kind NAME --result passed`",
            Self::DrillFailed => "mend what it showed, hold it again, and note it: `strongroom drill record`",
            Self::NoAccess => "look at the store and at the keys (KMS, key file): `strongroom snapshots`",
        }
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::BackupFailed
            | Self::BackupMissed
            | Self::RestoreTestFailed
            | Self::CheckFailed
            | Self::SyncFailed
            | Self::SyncMissed
            | Self::WalLate
            | Self::WalGap
            | Self::NoAccess => Severity::Critical,
            Self::BackupPartly
            | Self::BackupSlow
            | Self::BackupOverrun
            | Self::SizeAnomaly
            | Self::RestoreTestMissed
            | Self::RestoreSlow
            | Self::MaintenanceFailed
            | Self::TaskMissed
            | Self::DrillMissed
            | Self::DrillFailed
            | Self::StorageNearCapacity => Severity::Warning,
        }
    }
}

impl Severity {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}
