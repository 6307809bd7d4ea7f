//! How things stand: what the configuration expects, beside what happened. A pure function of both and of the time, from which metrics,
//! alerts and reports are made, so that all of them say the same.

mod drill;
mod finding;
mod late;
mod log;
mod source;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use strongroom_repository::Repository;

pub use self::drill::DrillStatus;
pub use self::finding::{Finding, Kind, Severity};
use self::late::Moment;
pub use self::log::{LogStatus, Logs};
pub use self::source::SourceStatus;
use crate::Cause;
use crate::config::Config;
use crate::history::{Attempt, History};
use crate::notify::Sent;
use crate::run::{Job, RunResult, Work};
use crate::words::{bytes as size, moment};

/// How things stand with a repository.
#[derive(Debug, Clone)]
pub struct Status {
    /// As of when.
    pub now: Timestamp,
    /// Of the configuration's sources in its order, then of those that only the repository knows.
    pub sources: Vec<SourceStatus>,
    /// What people practise, in the order of the configuration, then what only notes tell of.
    pub drills: Vec<DrillStatus>,
    /// Bytes of packs that count, and of log archives.
    pub bytes: u64,
    /// How large it may become.
    pub capacity: Option<u64>,
    /// The logs that are archived, or should be.
    pub logs: Vec<LogStatus>,
    /// All checks, oldest first.
    pub checks: Vec<Attempt>,
    /// The last check.
    pub check: Option<Attempt>,
    /// The last of each that is done of the repository by the configuration, but for checks.
    pub maintenance: Vec<(Work, Attempt)>,
    /// Attempts of any kind that ended because the key management service was not to be had.
    pub kms_errors: u64,
    /// What of it was told to whom.
    pub sent: Sent,
    /// What somebody should know, the worst first.
    pub findings: Vec<Finding>,
}

/// What a repository holds of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Whose.
    pub source: String,
    /// Snapshots that can be restored.
    pub snapshots: u64,
    /// The oldest of them.
    pub oldest: Option<Timestamp>,
    /// The newest.
    pub newest: Option<Timestamp>,
}

/// The exit code of a command that had no key.
const ACCESS: i32 = 5;

impl Status {
    /// Of a repository that has been read just now.
    ///
    /// # Errors
    /// As [`Repository::history`] and [`Repository::log_archives`].
    pub fn of(
        repository: &Repository,
        config: &Config,
        now: Timestamp,
    ) -> Result<Self, strongroom_repository::RepositoryError> {
        let logs = Logs::of(&repository.log_archives(None)?);
        Ok(Self::with_history(repository, &History::of(repository)?, logs, config, now))
    }

    /// As [`Status::of`], where the journal has been read already, and the logs were listed.
    #[must_use]
    pub fn with_history(
        repository: &Repository,
        history: &History,
        logs: Logs,
        config: &Config,
        now: Timestamp,
    ) -> Self {
        let mut held: Vec<Held> = Vec::new();
        for snapshot in repository.snapshots() {
            let source = &snapshot.manifest.source;
            let at = held.iter().position(|held| held.source == *source).unwrap_or_else(|| {
                held.push(Held { source: source.clone(), ..Held::default() });
                held.len() - 1
            });
            let time = Timestamp::from_millisecond(snapshot.time_ms()).ok();
            let of = &mut held[at];
            of.snapshots += 1;
            of.oldest = of.oldest.map_or(time, |oldest| time.map(|time| time.min(oldest)));
            of.newest = of.newest.max(time);
        }
        let bytes = repository.state().packs.values().map(|pack| pack.length).sum();
        Self::new(history, &held, bytes, logs, config, now)
    }

    /// Of what is known; `bytes` are those of packs.
    #[must_use]
    pub fn new(
        history: &History,
        held: &[Held],
        bytes: u64,
        logs: Logs,
        config: &Config,
        now: Timestamp,
    ) -> Self {
        let known = Moment { history, config, now };
        let configured = config.sources.iter().map(|(name, _)| name.as_str());
        let mut names: Vec<&str> = configured.collect();
        for name in held.iter().map(|held| held.source.as_str()).chain(history.sources()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let of = |name: &&str| {
            let held = held.iter().find(|held| held.source == *name).cloned().unwrap_or_default();
            SourceStatus::new(name, held, known)
        };
        let sources: Vec<SourceStatus> = names.iter().map(of).collect();
        let check = history.tasks(Work::Check).last().cloned();
        let last = |work: Work| history.tasks(work).last().map(|last| (work, last.clone()));
        let but_checks = Work::OF_REPOSITORY.into_iter().filter(|work| *work != Work::Check);
        let maintenance: Vec<_> = but_checks.filter_map(last).collect();
        // Notes of runs that did not say what kind of cause there was had only their exit code.
        let failed_for_kms = |attempt: &&Attempt| match attempt.cause {
            Some(cause) => cause == Cause::Kms,
            None => attempt.exit_code == Some(ACCESS),
        };
        let backups = names.iter().flat_map(|name| history.backups(name));
        let tasks = Work::OF_REPOSITORY.into_iter().flat_map(|work| history.tasks(work));
        let kms_errors = history.kms_errors() + backups.chain(tasks).filter(failed_for_kms).count() as u64;
        let capacity = config.storage.capacity;
        let mut status = Self {
            now,
            drills: DrillStatus::all(history, config, &sources),
            sources,
            bytes: bytes.saturating_add(logs.stored_bytes),
            capacity,
            logs: with_awaited(logs.written, known),
            checks: history.tasks(Work::Check).to_vec(),
            check,
            maintenance,
            kms_errors,
            sent: history.sent().clone(),
            findings: Vec::new(),
        };
        status.find(known);
        status
    }

    fn find(&mut self, known: Moment<'_>) {
        let config = known.config;
        let mut findings: Vec<Finding> =
            self.sources.iter().flat_map(|source| source.findings.clone()).collect();
        for log in &self.logs {
            findings.extend(log.findings(config.expectations(&log.source).max_wal_lag, self.now));
        }
        findings.extend(self.drills.iter().flat_map(|drill| drill.findings(self.now)));
        if let Some(check) = self.check.as_ref().filter(|check| check.result == RunResult::Failed) {
            let error = check.error.as_deref().unwrap_or_default();
            let what = format!("the last check of the repository failed: {error}");
            findings.push(Finding::new(Kind::CheckFailed, &what).since(check.time));
        }
        for (work, attempt) in self.maintenance.iter().filter(|(_, last)| last.result == RunResult::Failed) {
            let error = attempt.error.as_deref().unwrap_or_default();
            let what = format!("the last {} failed: {error}", work.name());
            let finding = match work {
                Work::Sync => Finding::new(Kind::SyncFailed, &what),
                work => Finding::new(Kind::MaintenanceFailed, &what).about(work.name()),
            };
            findings.push(finding.since(attempt.time));
        }
        findings.extend(Work::OF_REPOSITORY.into_iter().filter_map(|work| missed(work, known)));
        if let Some(capacity) = self.capacity {
            let percent = u128::from(self.bytes) * 100 / u128::from(capacity.max(1));
            if percent >= u128::from(config.storage.warn_percent()) {
                let (has, may_have) = (size(self.bytes), size(capacity));
                let what = format!("packs and log archives have {has} of {may_have}: {percent}%");
                findings.push(Finding::new(Kind::StorageNearCapacity, &what));
            }
        }
        findings.sort_by(|one, other| {
            (other.severity, &one.source, one.kind, &one.subject).cmp(&(
                one.severity,
                &other.source,
                other.kind,
                &other.subject,
            ))
        });
        self.findings = findings;
    }

    /// Whether anything must be looked at.
    #[must_use]
    pub fn is_critical(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Critical)
    }
}

/// That something was not done of the repository which was due; what was never done, since there is something to do it with.
fn missed(work: Work, known: Moment<'_>) -> Option<Finding> {
    let last = known.history.last(work, None).or(known.history.first_backup())?;
    let due = known.late(&Job { work, source: None }, last)?;
    let date = moment(due);
    let finding = match work {
        Work::Sync => {
            let what = format!("what is new was not copied to the other repository, which was due {date}");
            Finding::new(Kind::SyncMissed, &what)
        }
        work => {
            let what = format!("the {} that was due {date} was not done", work.name());
            Finding::new(Kind::TaskMissed, &what).about(work.name())
        }
    };
    Some(finding.since(due))
}

/// The logs, with those of which nothing was ever archived though the configuration expects it: since their source's first snapshot,
/// for before there is nothing that a log would lead on from.
fn with_awaited(mut logs: Vec<LogStatus>, known: Moment<'_>) -> Vec<LogStatus> {
    for (name, _) in &known.config.sources {
        let first = known.history.backups(name).iter().find(|attempt| attempt.is_success());
        let is_there = logs.iter().any(|log| log.source == *name);
        if let Some(first) = first.filter(|_| known.config.expects_log(name) && !is_there) {
            logs.push(LogStatus::awaited(name, first.time));
        }
    }
    logs
}
