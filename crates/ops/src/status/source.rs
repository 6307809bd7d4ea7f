//! How things stand with one source.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Held;
use super::finding::{Finding, Kind};
use crate::config::{Config, Expectations};
use crate::history::{Attempt, History, RestoreTest, Running};
use crate::run::{RunResult, Work};

/// How late a backup may be that its schedule alone announces: a run takes its time.
pub(super) const SLACK: SignedDuration = SignedDuration::from_mins(15);
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
    pub(super) fn new(name: &str, history: &History, held: Held, config: &Config, now: Timestamp) -> Self {
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
        let due = status.last_success().and_then(|last| schedule.as_ref()?.next(last.time));
        status.look_at_backups(due, now);
        let test_due = config.verify(name).filter(|_| status.engine.is_some()).and_then(|task| {
            let last =
                status.tests.last().map(|test| test.time).or(status.backups.first().map(|first| first.time));
            task.when(&config.zone)?.next(last?)
        });
        status.look_at_tests(test_due, now);
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

    fn add(&mut self, kind: Kind, since: Option<Timestamp>, what: String) {
        let source = Some(self.name.clone());
        self.findings.push(Finding { kind, severity: kind.severity(), source, since, what });
    }

    fn look_at_backups(&mut self, due: Option<Timestamp>, now: Timestamp) {
        let failures = self.backups.iter().rev().take_while(|attempt| !attempt.is_success()).count();
        if failures > 0 {
            let first = &self.backups[self.backups.len() - failures];
            let error = self.last().and_then(|last| last.error.as_deref()).unwrap_or_default();
            let times = if failures == 1 { "failed".into() } else { format!("failed {failures} times") };
            let what = format!("the backup {times}: {error}");
            self.add(Kind::BackupFailed, Some(first.time), what);
        }
        self.look_at_age(due, now);
        // Until one has been begun since.
        let last_begun = self.last().map(|last| last.time);
        if let Some(date) =
            self.left_out.last().copied().filter(|date| last_begun.is_none_or(|last| last <= *date))
        {
            let what = "the last backup was still running at its next date, which was left out".into();
            self.add(Kind::BackupOverrun, Some(date), what);
        }
        let Some(last) = self.last_success().cloned() else { return };
        if last.result == RunResult::Partly {
            self.add(Kind::BackupPartly, Some(last.time), "some of it could not be read".into());
        }
        if let (Some(limit), Some(seconds)) = (self.expected.max_duration, last.seconds)
            && seconds > limit.as_secs_f64()
        {
            let what = format!("the backup took {seconds:.0} s, and may take {} s", limit.as_secs());
            self.add(Kind::BackupSlow, Some(last.time), what);
        }
        self.look_at_size(&last);
    }

    fn look_at_age(&mut self, due: Option<Timestamp>, now: Timestamp) {
        let last = self.last_success().map(|last| last.time);
        let longest = self.expected.expect_every.or(self.expected.rpo);
        let (since, may_be) = match (last, longest) {
            (Some(last), Some(longest)) => (last.checked_add(longest).ok(), seconds(longest)),
            (Some(_), None) => match due.and_then(|due| due.checked_add(SLACK).ok()) {
                Some(due) => (Some(due), "of its last date".into()),
                None => return,
            },
            (None, None) if self.next.is_none() => return,
            (None, _) => {
                if self.engine.is_some() && self.backups.is_empty() {
                    self.add(Kind::BackupMissed, None, "it has never been backed up".into());
                }
                return;
            }
        };
        if since.is_some_and(|since| since < now) {
            let age = last.map(|last| age(now, last)).unwrap_or_default();
            let what = format!("the newest snapshot is {age} old, and should be {may_be}");
            self.add(Kind::BackupMissed, since, what);
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
            self.add(Kind::SizeAnomaly, Some(last.time), what);
        }
    }

    fn look_at_tests(&mut self, due: Option<Timestamp>, now: Timestamp) {
        if let Some(test) = self.last_test().cloned() {
            if !test.is_good {
                let error = test.error.as_deref().unwrap_or_default();
                self.add(
                    Kind::RestoreTestFailed,
                    Some(test.time),
                    format!("the restore test failed: {error}"),
                );
            }
            if let (Some(limit), Some(seconds)) = (self.expected.rto, test.restore_seconds)
                && seconds > limit.as_secs_f64()
            {
                let what =
                    format!("the restore took {seconds:.0} s, and may take {} s (RTO)", limit.as_secs());
                self.add(Kind::RestoreSlow, Some(test.time), what);
            }
        }
        if let Some(due) = due.and_then(|due| due.checked_add(SLACK).ok()).filter(|due| *due < now) {
            self.add(Kind::RestoreTestMissed, Some(due), "a restore test is due".into());
        }
    }
}

/// `26 h`, for people.
fn age(now: Timestamp, then: Timestamp) -> String {
    let since = now.duration_since(then);
    match since.as_hours() {
        0 => format!("{} min", since.as_mins().max(0)),
        hours @ 1..72 => format!("{hours} h"),
        hours => format!("{} days", hours / 24),
    }
}

fn seconds(longest: Duration) -> String {
    match longest.as_secs() / 3600 {
        0 => format!("at most {} min", longest.as_secs() / 60),
        hours => format!("at most {hours} h"),
    }
}
