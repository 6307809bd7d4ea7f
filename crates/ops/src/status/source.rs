//! How things stand with one source.

use std::time::Duration;

use jiff::Timestamp;

use super::Held;
use super::finding::{Finding, Kind};
use super::late::Moment;
use crate::config::Expectations;
use crate::history::{Attempt, RestoreTest, Running};
use crate::run::{Job, RunResult, Work};
use crate::words::{length, moment, took};

/// For how long what was never backed up may wait for what runs.
const FIRST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// With how many snapshots before the size of the last is compared.
const COMPARED: usize = 5;

/// How things stand with a source.
#[derive(Debug, Clone)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// What backs it up; `None` where the configuration does not.
    pub engine: Option<String>,
    /// What is expected of it.
    pub expected: Expectations,
    /// What the repository has of it.
    pub held: Held,
    /// All backups that are known of, oldest first.
    pub backups: Vec<Attempt>,
    /// All restore tests, oldest first.
    pub tests: Vec<RestoreTest>,
    /// Dates of backups that came while one still ran, and were left out, oldest first.
    pub left_out: Vec<Timestamp>,
    /// The next backup by its schedule.
    pub next: Option<Timestamp>,
    /// The backup that runs now.
    pub running: Option<Running>,
    /// What somebody should know.
    pub findings: Vec<Finding>,
}

impl SourceStatus {
    pub(super) fn new(name: &str, held: Held, known: Moment<'_>) -> Self {
        let Moment { history, config, now } = known;
        let schedule = config.schedule(name);
        let backups = history.backups(name).to_vec();
        let engine = config.source(name).and_then(|source| source.engine.clone());
        let next = schedule.as_ref().filter(|_| engine.is_some()).and_then(|when| when.next(now));
        let mut status = Self {
            name: name.to_owned(),
            engine,
            expected: config.expectations(name),
            held,
            backups,
            tests: history.tests(name).to_vec(),
            left_out: history.left_out(Work::Backup, Some(name)).to_vec(),
            next,
            running: history.running(Work::Backup, Some(name), now).cloned(),
            findings: Vec::new(),
        };
        status.look_at_backups(known);
        status.look_at_tests(known);
        status
    }

    /// Whether somebody expects backups of it.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.engine.is_some() || !self.backups.is_empty()
    }

    /// The last backup that made a snapshot.
    #[must_use]
    pub fn last_success(&self) -> Option<&Attempt> {
        self.backups.iter().rev().find(|attempt| attempt.is_success())
    }

    /// The last backup, however it went.
    #[must_use]
    pub fn last(&self) -> Option<&Attempt> {
        self.backups.last()
    }

    /// The last restore test.
    #[must_use]
    pub fn last_test(&self) -> Option<&RestoreTest> {
        self.tests.last()
    }

    /// How many backups ended so.
    #[must_use]
    pub fn count(&self, result: RunResult) -> u64 {
        self.backups.iter().filter(|attempt| attempt.result == result).count() as u64
    }

    fn add(&mut self, kind: Kind, since: Option<Timestamp>, what: &str) {
        self.findings.push(Finding { since, ..Finding::new(kind, what).of(&self.name) });
    }

    fn job(&self, work: Work) -> Job {
        Job { work, source: Some(self.name.clone()) }
    }

    fn look_at_backups(&mut self, known: Moment<'_>) {
        let failures = self.backups.iter().rev().take_while(|attempt| !attempt.is_success()).count();
        if failures > 0 {
            let first = &self.backups[self.backups.len() - failures];
            let error = self.last().and_then(|last| last.error.as_deref()).unwrap_or_default();
            let times = if failures == 1 { "failed".into() } else { format!("failed {failures} times") };
            let what = format!("the backup {times}: {error}");
            self.add(Kind::BackupFailed, Some(first.time), &what);
        }
        self.look_at_age(known);
        self.look_at_duration(known.now);
        // Until one has been begun since.
        let last_begun = self.last().map(|last| last.time);
        if let Some(date) =
            self.left_out.last().copied().filter(|date| last_begun.is_none_or(|last| last <= *date))
        {
            let what = "the last backup was still running at its next date, which was left out";
            self.add(Kind::BackupOverrun, Some(date), what);
        }
        let Some(last) = self.last_success().cloned() else { return };
        if last.result == RunResult::Partly {
            self.add(Kind::BackupPartly, Some(last.time), "some of it could not be read");
        }
        self.look_at_size(&last);
    }

    /// Of the one that runs, or else of the last.
    fn look_at_duration(&mut self, now: Timestamp) {
        let Some(limit) = self.expected.max_duration else { return };
        let is_slow = |seconds: &f64| *seconds > limit.as_secs_f64();
        let runs = self.running.as_ref().map(|running| (running.since, now.duration_since(running.since)));
        if let Some((since, runs)) = runs
            && is_slow(&runs.as_secs_f64())
        {
            let what = format!(
                "the backup has been running for {}, and may take {}",
                took(runs.as_secs_f64()),
                took(limit.as_secs_f64())
            );
            return self.add(Kind::BackupSlow, Some(since), &what);
        }
        let last = self.last_success().and_then(|last| Some((last.time, last.seconds.filter(is_slow)?)));
        if let Some((time, seconds)) = last {
            let what =
                format!("the backup took {}, and may take {}", took(seconds), took(limit.as_secs_f64()));
            self.add(Kind::BackupSlow, Some(time), &what);
        }
    }

    fn look_at_age(&mut self, known: Moment<'_>) {
        let now = known.now;
        let longest = self.expected.expect_every.or(self.expected.rpo);
        let job = self.job(Work::Backup);
        let age = |last: Timestamp| length(now.duration_since(last).unsigned_abs());
        match (self.last_success().map(|last| last.time), longest) {
            (Some(last), Some(longest)) => {
                let since = last.checked_add(longest).ok().filter(|since| *since < now);
                if since.is_some() {
                    let (age, longest) = (age(last), length(longest));
                    let what = format!("the newest snapshot is {age} old, and should be at most {longest}");
                    self.add(Kind::BackupMissed, since, &what);
                }
            }
            (Some(last), None) => {
                if let Some(due) = known.late(&job, last) {
                    let (date, age) = (moment(due), age(last));
                    let what = format!("the snapshot of {date} has not come, and the newest is {age} old");
                    self.add(Kind::BackupMissed, Some(due), &what);
                }
            }
            (None, None) if self.next.is_none() => {}
            (None, _) => {
                let waits = || now.checked_sub(FIRST_WAIT).is_ok_and(|since| known.waits(&job, since));
                let is_new = self.engine.is_some() && self.backups.is_empty();
                if is_new && !known.runs(&job) && !waits() {
                    self.add(Kind::BackupMissed, None, "it has never been backed up");
                }
            }
        }
    }

    fn look_at_size(&mut self, last: &Attempt) {
        let Some(percent) = self.expected.max_size_change_percent else { return };
        let before = self.backups.iter().rev().filter(|attempt| attempt.is_success()).skip(1).take(COMPARED);
        let mut before: Vec<u64> = before.map(|attempt| attempt.sizes.logical).collect();
        before.sort_unstable();
        let Some(usual) = before.get(before.len() / 2).copied().filter(|usual| *usual > 0) else { return };
        let change = u128::from(last.sizes.logical.abs_diff(usual)) * 100 / u128::from(usual);
        if change > u128::from(percent) {
            let how = if last.sizes.logical > usual { "more" } else { "less" };
            let what = format!(
                "the newest snapshot has {change}% {how} than is usual: {} bytes, not {usual}",
                last.sizes.logical
            );
            self.add(Kind::SizeAnomaly, Some(last.time), &what);
        }
    }

    fn look_at_tests(&mut self, known: Moment<'_>) {
        if let Some(test) = self.last_test().cloned() {
            if !test.is_good {
                let error = test.error.as_deref().unwrap_or_default();
                self.add(
                    Kind::RestoreTestFailed,
                    Some(test.time),
                    &format!("the restore test failed: {error}"),
                );
            }
            if let (Some(limit), Some(seconds)) = (self.expected.rto, test.restore_seconds)
                && seconds > limit.as_secs_f64()
            {
                let what = format!(
                    "the restore took {}, and may take {} (RTO)",
                    took(seconds),
                    took(limit.as_secs_f64())
                );
                self.add(Kind::RestoreSlow, Some(test.time), &what);
            }
        }
        let first = || self.backups.first().map(|first| first.time);
        let last = self.tests.last().map(|test| test.time).or_else(first);
        let due = last.filter(|_| self.engine.is_some());
        if let Some(due) = due.and_then(|last| known.late(&self.job(Work::Verify), last)) {
            let what = format!("the restore test of {} was not done", moment(due));
            self.add(Kind::RestoreTestMissed, Some(due), &what);
        }
    }
}
