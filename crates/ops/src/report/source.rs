//! What was reached of one source.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use strongroom_format::SnapshotId;
use strongroom_repository::Repository;

use super::period::Period;
use super::{missed_in, recovery};
use crate::config::Config;
use crate::run::RunResult;
use crate::status::{LogStatus, SourceStatus};

/// How late a restore test may be that is due so long after the last: it is done by the next run.
const SLACK: Duration = Duration::from_secs(24 * 60 * 60);
/// The tag of snapshots that are kept for compliance.
const COMPLIANCE: &str = "compliance";

/// A snapshot that can be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Which.
    pub id: SnapshotId,
    /// Of what.
    pub source: String,
    /// By the store's clock.
    pub time: Timestamp,
    /// What it is tagged with.
    pub tags: Vec<String>,
    /// The holds that it is under.
    pub holds: Vec<String>,
}

/// What was reached of a source.
#[derive(Debug, Clone, Serialize)]
pub struct SourceReport {
    /// Its name.
    pub name: String,
    /// What backs it up.
    pub engine: Option<String>,
    /// Backups: those that read all.
    pub backups: Rate,
    /// Backups that could not read some of it.
    pub partly: u64,
    /// The longest time between two snapshots, or segments of a log that is replayed from one, seconds: what could have been lost.
    pub rpo: Measure,
    /// The longest restore of a test, seconds.
    pub rto: Measure,
    /// Restore tests.
    pub restore_tests: Rate,
    /// The last restore test up to the end of the period.
    pub last_restore_test: Option<Timestamp>,
    /// How often a restore test was left out in the period; `None` where none is expected.
    pub restore_tests_missed: Option<u64>,
    /// What is kept.
    pub retention: Retention,
}

/// How much of what was tried succeeded.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Rate {
    /// How often it was tried.
    pub tried: u64,
    /// How often it did not succeed.
    pub failed: u64,
    /// Percent; `None` where nothing was tried.
    pub percent: Option<f64>,
    /// What is agreed.
    pub objective_percent: Option<f64>,
    /// Whether it was reached; `None` where nothing is agreed, or nothing was tried.
    pub met: Option<bool>,
}

/// The worst that was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Measure {
    /// Seconds; `None` where nothing was measured.
    pub seconds: Option<f64>,
    /// When the worst began.
    pub since: Option<Timestamp>,
    /// What is agreed, seconds.
    pub objective_seconds: Option<f64>,
    /// Whether it was reached; `None` where nothing is agreed, or nothing was measured.
    pub met: Option<bool>,
}

/// What is kept, at the time of the report.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Retention {
    /// Days that every snapshot is kept; `None` where nothing says it.
    pub days: Option<u64>,
    /// Days that those tagged `compliance` are kept.
    pub compliance_days: Option<u64>,
    /// Snapshots there are.
    pub snapshots: u64,
    /// The oldest recovery point.
    pub oldest: Option<Timestamp>,
    /// The newest.
    pub newest: Option<Timestamp>,
    /// Those tagged `compliance`.
    pub compliance_snapshots: u64,
    /// The oldest of those.
    pub oldest_compliance: Option<Timestamp>,
    /// Those under a hold.
    pub held_snapshots: u64,
    /// Snapshots that are gone before their days were over.
    pub gone_too_early: u64,
    /// Whether all are there that must be; `None` where nothing says what must.
    pub met: Option<bool>,
}

impl Stored {
    /// All of a repository.
    #[must_use]
    pub fn all(repository: &Repository) -> Vec<Self> {
        let of = |snapshot: &strongroom_repository::state::Snapshot| {
            Some(Self {
                id: snapshot.id(),
                source: snapshot.manifest.source.clone(),
                time: Timestamp::from_millisecond(snapshot.time_ms()).ok()?,
                tags: snapshot.state.tags.clone(),
                holds: snapshot.state.holds.iter().map(|hold| hold.name.clone()).collect(),
            })
        };
        repository.snapshots().iter().filter_map(of).collect()
    }
}

impl Rate {
    pub(super) fn of(results: impl Iterator<Item = bool>, objective_percent: Option<f64>) -> Self {
        let (mut tried, mut failed) = (0_u32, 0_u32);
        for is_good in results {
            tried += 1;
            failed += u32::from(!is_good);
        }
        let percent = (tried > 0).then(|| f64::from(tried - failed) * 100.0 / f64::from(tried));
        let met = percent.zip(objective_percent).map(|(percent, objective)| percent >= objective);
        Self { tried: tried.into(), failed: failed.into(), percent, objective_percent, met }
    }
}

impl Measure {
    fn of(worst: Option<(f64, Option<Timestamp>)>, objective: Option<Duration>) -> Self {
        let objective_seconds = objective.map(|objective| objective.as_secs_f64());
        let seconds = worst.map(|(seconds, _)| seconds);
        let met = seconds.zip(objective_seconds).map(|(seconds, objective)| seconds <= objective);
        Self { seconds, since: worst.and_then(|(_, since)| since), objective_seconds, met }
    }
}

impl SourceReport {
    pub(super) fn new(
        (status, log): (&SourceStatus, Option<&LogStatus>),
        config: &Config,
        stored: &[Stored],
        period: &Period,
        now: Timestamp,
    ) -> Self {
        let slo = config.slo(&status.name);
        let backups: Vec<_> = status.backups.iter().filter(|one| period.contains(one.time)).collect();
        let tests: Vec<_> = status.tests.iter().filter(|test| period.contains(test.time)).collect();
        let longest = tests.iter().filter(|test| test.is_good);
        let longest = longest.filter_map(|test| Some((test.restore_seconds?, Some(test.time))));
        let test_times: Vec<Timestamp> = status.tests.iter().map(|test| test.time).collect();
        let snapshots: Vec<Timestamp> =
            status.backups.iter().filter(|one| one.is_success()).map(|one| one.time).collect();
        let first_backup = snapshots.first().copied();
        let when = config.verify(&status.name).filter(|_| status.engine.is_some());
        let when = when.and_then(|task| task.when(&config.zone));
        Self {
            name: status.name.clone(),
            engine: status.engine.clone(),
            backups: Rate::of(
                backups.iter().map(|one| one.result == RunResult::Done),
                slo.backup_success_percent,
            ),
            partly: backups.iter().filter(|one| one.result == RunResult::Partly).count() as u64,
            rpo: Measure::of(recovery::longest_gap(&snapshots, log, period, now), status.expected.rpo),
            rto: Measure::of(longest.max_by(|one, other| one.0.total_cmp(&other.0)), status.expected.rto),
            restore_tests: Rate::of(tests.iter().map(|test| test.is_good), slo.restore_test_success_percent),
            last_restore_test: test_times.iter().rev().find(|time| **time < period.until).copied(),
            restore_tests_missed: when
                .and_then(|when| missed_in(&when, first_backup, &test_times, period, now, SLACK)),
            retention: Retention::new(status, config, stored, now),
        }
    }

    pub(super) fn judge(&self, missed: &mut Vec<String>, unknown: &mut Vec<String>) {
        let name = &self.name;
        for (what, measure) in [("RPO", &self.rpo), ("RTO", &self.rto)] {
            match (measure.met, measure.seconds, measure.objective_seconds) {
                (Some(false), Some(seconds), Some(objective)) => missed.push(format!(
                    "{name}: {what} was {}, agreed are {}",
                    crate::words::took(seconds),
                    crate::words::took(objective)
                )),
                (None, None, Some(_)) => {
                    unknown.push(format!("{name}: nothing tells which {what} was reached in this period"));
                }
                _ => {}
            }
        }
        for (what, rate) in [("backups", &self.backups), ("restore tests", &self.restore_tests)] {
            if let (Some(false), Some(percent), Some(objective)) =
                (rate.met, rate.percent, rate.objective_percent)
            {
                missed.push(format!("{name}: {percent:.2}% of {what} succeeded, agreed are {objective}%"));
            }
        }
        if self.backups.tried == 0 {
            unknown.push(format!("{name}: no backup was tried in this period"));
        }
        if self.restore_tests.tried == 0 {
            unknown.push(format!("{name}: no restore test in this period"));
        }
        if let Some(times) = self.restore_tests_missed.filter(|times| *times > 0) {
            missed.push(format!("{name}: a restore test was left out, or late, {times} time(s)"));
        }
        if self.retention.gone_too_early > 0 {
            let gone = self.retention.gone_too_early;
            missed.push(format!("{name}: {gone} snapshot(s) are gone before their days were over"));
        }
    }
}

impl Retention {
    fn new(status: &SourceStatus, config: &Config, stored: &[Stored], now: Timestamp) -> Self {
        const DAY_S: u64 = 24 * 60 * 60;
        let keep = config.keep(&status.name);
        let within = keep.as_ref().and_then(|keep| keep.within);
        let compliance = keep.iter().flat_map(|keep| &keep.tags_within).find(|(tag, _)| tag == COMPLIANCE);
        let own: Vec<&Stored> = stored.iter().filter(|one| one.source == status.name).collect();
        let tagged = || own.iter().filter(|one| one.tags.iter().any(|tag| tag == COMPLIANCE));
        let must_be_there = |time: Timestamp| {
            let kept_until = within.and_then(|within| time.checked_add(within).ok());
            kept_until.is_some_and(|until| now < until)
        };
        let made = status.backups.iter().filter(|one| must_be_there(one.time)).filter_map(|one| one.snapshot);
        let gone_too_early = made.filter(|id| !own.iter().any(|one| one.id == *id)).count() as u64;
        Self {
            days: within.map(|within| within.as_secs() / DAY_S),
            compliance_days: compliance.map(|(_, within)| within.as_secs() / DAY_S),
            snapshots: own.len() as u64,
            oldest: own.iter().map(|one| one.time).min(),
            newest: own.iter().map(|one| one.time).max(),
            compliance_snapshots: tagged().count() as u64,
            oldest_compliance: tagged().map(|one| one.time).min(),
            held_snapshots: own.iter().filter(|one| !one.holds.is_empty()).count() as u64,
            gone_too_early,
            met: within.map(|_| gone_too_early == 0),
        }
    }
}
