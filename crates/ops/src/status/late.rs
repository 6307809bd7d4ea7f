//! From when on something is late that is due: some time behind its date, unless it is under way.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::{Config, When};
use crate::history::{History, Running};
use crate::run::{Job, Work};

/// How late something may be that its schedule alone announces: a run takes its time.
const SLACK: Duration = Duration::from_secs(15 * 60);
/// What is due so long after the last time is done by the next run, which comes once a day at least.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// By how much the store's clock, which tells when runs began, may be behind.
const SKEW: SignedDuration = SignedDuration::from_mins(1);

/// What is known of a moment.
#[derive(Clone, Copy)]
pub(super) struct Moment<'m> {
    pub(super) history: &'m History,
    pub(super) config: &'m Config,
    pub(super) now: Timestamp,
}

impl Moment<'_> {
    /// The date of something that is late, when it was last done then.
    pub(super) fn late(&self, job: &Job, last: Timestamp) -> Option<Timestamp> {
        let when = job.when(self.config)?;
        let due = when.next(last)?;
        let jitter = self.config.jitter(job.source.as_deref()).unwrap_or_default();
        let until_next_run = match &when {
            When::At(_) => Duration::ZERO,
            When::Every(every) => (*every).min(DAY),
        };
        let late = due.checked_add(SLACK + jitter).ok()?.checked_add(until_next_run).ok()?;
        let waits = || when.next(due).is_none_or(|next| self.now < next) && self.waits(job, due);
        (late < self.now && !self.runs(job) && !waits()).then_some(due)
    }

    /// Whether it runs, and for no longer than it may: where nothing says that, up to its next date.
    pub(super) fn runs(&self, job: &Job) -> bool {
        let running = self.history.running(job.work, job.source.as_deref(), self.now);
        running.is_some_and(|running| self.may_run(job, running))
    }

    fn may_run(&self, job: &Job, running: &Running) -> bool {
        let source = job.source.as_deref();
        let expected = self.config.expectations(source.unwrap_or_default());
        let max_duration = expected.max_duration.filter(|_| job.work == Work::Backup);
        let until = match max_duration.or_else(|| self.config.timeout(job.work, source)) {
            Some(limit) => running.since.checked_add(limit).ok(),
            None => job.when(self.config).and_then(|when| when.next(running.since)),
        };
        until.is_none_or(|until| self.now <= until)
    }

    /// Whether something else runs that began since: a run does one thing after the other, and what comes later waits.
    pub(super) fn waits(&self, job: &Job, since: Timestamp) -> bool {
        let is_it = |running: &Running| {
            let began = &running.began;
            let is_else = began.work != job.work || began.source != job.source;
            is_else && since.duration_since(running.since) <= SKEW
        };
        self.history.running_now(self.now).any(is_it)
    }
}
