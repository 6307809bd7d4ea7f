//! The compliance report of a period: what was agreed, beside what was reached. A pure function of how things stand, of what the
//! audit trail tells, and of the time; [`Document`] is it in words, for HTML and Markdown.
//!
//! Where nothing was measured, nothing is said to be well: `met` is then `None`.

mod document;
mod html;
mod markdown;
mod period;
mod recovery;
mod source;
mod trail;
mod words;

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

pub use self::document::Document;
pub use self::html::html;
pub use self::markdown::markdown;
pub use self::period::Period;
pub use self::source::{Measure, Rate, Retention, SourceReport, Stored};
pub use self::trail::{AuditSummary, Event};
use crate::audit::{Drill, DrillResult};
use crate::config::{Config, When};
use crate::run::RunResult;
use crate::status::{DrillStatus, Finding, SourceStatus, Status};

/// Of the shape of its JSON.
const VERSION: u32 = 1;

/// What a report is made of.
#[derive(Debug)]
pub struct Facts<'f> {
    /// How things stand.
    pub status: &'f Status,
    /// What is expected.
    pub config: &'f Config,
    /// What the repository holds.
    pub stored: &'f [Stored],
    /// What the audit trail tells.
    pub audit: AuditSummary,
    /// Where the repository is.
    pub repository: String,
    /// Which one it is.
    pub fingerprint: String,
}

/// What was agreed, and what was reached.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Of its shape: grows when something is not where it was.
    pub version: u32,
    /// When it was made.
    pub generated: Timestamp,
    /// Where the repository is.
    pub repository: String,
    /// Which one it is.
    pub fingerprint: String,
    /// What it is about.
    pub period: Period,
    /// What was not reached, in words; empty where all that could be measured was.
    pub missed: Vec<String>,
    /// What could not be judged, in words.
    pub unknown: Vec<String>,
    /// In the order of the configuration.
    pub sources: Vec<SourceReport>,
    /// Drills.
    pub drills: Vec<DrillReport>,
    /// Checks of the repository in the period.
    pub checks: Rate,
    /// The audit trail.
    pub audit: AuditSummary,
    /// What is open at the time of the report.
    pub findings: Vec<Finding>,
}

/// How drills were held.
#[derive(Debug, Clone, Serialize)]
pub struct DrillReport {
    /// Its name.
    pub name: String,
    /// What is practised.
    pub what: Option<String>,
    /// Those of the period.
    pub held: Vec<Held>,
    /// The last one before the period.
    pub before: Option<Timestamp>,
    /// How often it was left out, or late, in the period; `None` where nothing says when it is due.
    pub missed: Option<u64>,
}

/// A drill that was held.
#[derive(Debug, Clone, Serialize)]
pub struct Held {
    /// When.
    pub time: Timestamp,
    /// How it went, and what was noted.
    #[serde(flatten)]
    pub drill: Drill,
}

impl Report {
    /// Of a period, as of now.
    #[must_use]
    pub fn new(facts: Facts<'_>, period: Period) -> Self {
        let Facts { status, config, stored, audit, repository, fingerprint } = facts;
        let now = status.now;
        let watched = status.sources.iter().filter(|source| source.is_watched());
        let of = |source: &SourceStatus| {
            let log = status.logs.iter().find(|log| log.source == source.name);
            SourceReport::new((source, log), config, stored, &period, now)
        };
        let sources: Vec<SourceReport> = watched.map(of).collect();
        let drills: Vec<_> =
            status.drills.iter().map(|drill| DrillReport::new(drill, &period, now)).collect();
        let in_period = status.checks.iter().filter(|check| period.contains(check.time));
        let checks = Rate::of(in_period.map(|check| check.result == RunResult::Done), None);
        let mut report = Self {
            version: VERSION,
            generated: now,
            repository,
            fingerprint,
            period,
            missed: Vec::new(),
            unknown: Vec::new(),
            sources,
            drills,
            checks,
            audit,
            findings: status.findings.clone(),
        };
        report.judge();
        report
    }

    fn judge(&mut self) {
        let (mut missed, mut unknown) = (Vec::new(), Vec::new());
        for source in &self.sources {
            source.judge(&mut missed, &mut unknown);
        }
        for drill in &self.drills {
            drill.judge(&mut missed, &mut unknown);
        }
        if self.checks.failed > 0 {
            missed.push(format!("{} checks of the repository found damage, or failed", self.checks.failed));
        }
        if self.checks.tried == 0 {
            unknown.push("the repository was not checked in this period".into());
        }
        self.audit.judge(&mut missed);
        (self.missed, self.unknown) = (missed, unknown);
    }
}

impl DrillReport {
    fn new(status: &DrillStatus, period: &Period, now: Timestamp) -> Self {
        let times: Vec<Timestamp> = status.held.iter().map(|(held, _)| *held).collect();
        let in_period = status.held.iter().filter(|(held, _)| period.contains(*held));
        let missed = |when| missed_in(when, status.expected_since, &times, period, now, Duration::ZERO);
        Self {
            name: status.name.clone(),
            what: status.what.clone(),
            held: in_period.map(|(time, drill)| Held { time: *time, drill: drill.clone() }).collect(),
            before: times.iter().rev().find(|held| **held < period.from).copied(),
            missed: status.when.as_ref().and_then(missed),
        }
    }

    fn judge(&self, missed: &mut Vec<String>, unknown: &mut Vec<String>) {
        match self.missed {
            None | Some(0) => {}
            Some(times) => {
                missed.push(format!("the {} drill was left out, or late, {times} time(s)", self.name));
            }
        }
        let failed = self.held.iter().filter(|held| held.drill.result == DrillResult::Failed).count();
        if failed > 0 {
            missed.push(format!("{failed} {} drill(s) were not passed", self.name));
        }
        if self.held.is_empty() {
            unknown.push(format!("no {} drill in this period", self.name));
        }
    }
}

/// How often something was left out in a period, or done too late, by when it was done. `None` where it was not expected yet.
fn missed_in(
    when: &When,
    expected_since: Option<Timestamp>,
    done: &[Timestamp],
    period: &Period,
    now: Timestamp,
    slack: Duration,
) -> Option<u64> {
    let end = period.end(now);
    let before = done.iter().rev().find(|done| **done < period.from).copied();
    let mut last = before.or(expected_since).filter(|since| *since < end)?;
    let mut missed = 0;
    for next in done.iter().copied().filter(|done| period.contains(*done)).chain([end]) {
        if when.missed(last, slack).is_some_and(|late| late < next) {
            missed += 1;
        }
        last = next;
    }
    Some(missed)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::tz::TimeZone;
    use strongroom_format::SnapshotId;

    use super::*;
    use crate::history::{Attempt, RestoreTest, Sizes};
    use crate::status::{Held as Stock, Logs};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn attempt(time: &str, result: RunResult, snapshot: u8) -> Attempt {
        Attempt {
            time: at(time),
            seconds: Some(5.0),
            result,
            host: "a".into(),
            error: None,
            cause: None,
            exit_code: None,
            snapshot: (result != RunResult::Failed).then_some(SnapshotId([snapshot; 32])),
            sizes: Sizes::default(),
        }
    }

    fn test(time: &str, is_good: bool, restore_seconds: f64) -> RestoreTest {
        RestoreTest {
            time: at(time),
            snapshot: None,
            is_good,
            restore_seconds: Some(restore_seconds),
            age_seconds: None,
            error: None,
        }
    }

    fn config() -> Config {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        let text = r#"
            rpo = "30h"
            rto = "1m"
            slo = { backup_success_percent = 75, restore_test_success_percent = 99 }
            retention = { days = 90, compliance_days = 2555 }
            verify = { every = "7d" }
            drills = { quarterly = { every = "92d" }, monthly = { schedule = "0 0 1 * *" } }
            [sources.shop]
            engine = "postgres"
            [sources.idle]
            engine = "files"
        "#;
        std::fs::write(&file, text).unwrap();
        Config::read(Path::new(&file)).unwrap()
    }

    fn source(name: &str, config: &Config) -> SourceStatus {
        SourceStatus {
            name: name.into(),
            engine: Some("postgres".into()),
            expected: config.expectations(name),
            held: Stock::default(),
            backups: Vec::new(),
            tests: Vec::new(),
            next: None,
            running: None,
            left_out: Vec::new(),
            findings: Vec::new(),
        }
    }

    fn report() -> Report {
        let config = config();
        let now = at("2026-11-22T00:00:00Z");
        let mut status =
            Status::new(&crate::history::History::default(), &[], 0, Logs::default(), &config, now);
        let mut shop = source("shop", &config);
        shop.backups = vec![
            attempt("2026-09-30T02:00:00Z", RunResult::Done, 1),
            attempt("2026-10-02T14:00:00Z", RunResult::Done, 2),
            attempt("2026-10-03T02:00:00Z", RunResult::Failed, 0),
            attempt("2026-10-30T02:00:00Z", RunResult::Partly, 3),
            attempt("2026-11-02T02:00:00Z", RunResult::Done, 4),
        ];
        shop.tests = vec![
            test("2026-10-02T15:00:00Z", true, 61.0),
            test("2026-10-09T15:00:00Z", true, 12.0),
            test("2026-10-30T15:00:00Z", false, 600.0),
        ];
        status.sources = vec![shop, source("idle", &config)];
        let drill = Drill {
            drill: "monthly".into(),
            result: DrillResult::Passed,
            held: None,
            seconds: Some(1800.0),
            sources: Vec::new(),
            text: Some("all <back>".into()),
        };
        let monthly = status.drills.iter_mut().find(|drill| drill.name == "monthly").unwrap();
        monthly.held = vec![(at("2026-10-05T10:00:00Z"), drill)];
        for drill in &mut status.drills {
            drill.expected_since = Some(at("2026-07-01T00:00:00Z"));
        }
        let stored = |snapshot: u8, tags: &[&str]| Stored {
            id: SnapshotId([snapshot; 32]),
            source: "shop".into(),
            time: at("2026-10-02T14:00:00Z"),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            holds: Vec::new(),
        };
        let stored = [stored(2, &["compliance"]), stored(3, &[]), stored(4, &[])];
        let facts = Facts {
            status: &status,
            config: &config,
            stored: &stored,
            audit: AuditSummary::default(),
            repository: "/repo".into(),
            fingerprint: "f".into(),
        };
        Report::new(facts, Period::month("2026-10", &TimeZone::UTC).unwrap())
    }

    #[test]
    fn what_was_reached_stands_beside_what_was_agreed() {
        let report = report();
        let shop = &report.sources[0];
        // From the last before the month on; what came behind it ends no gap of it.
        assert_eq!(shop.rpo.seconds, Some(27.5 * 86_400.0));
        assert_eq!((shop.rpo.since, shop.rpo.met), (Some(at("2026-10-02T14:00:00Z")), Some(false)));
        assert_eq!((shop.backups.tried, shop.backups.failed, shop.partly), (3, 2, 1));
        assert_eq!(shop.backups.met, Some(false));
        // What failed tells no time.
        assert_eq!((shop.rto.seconds, shop.rto.met), (Some(61.0), Some(false)));
        assert_eq!((shop.restore_tests.tried, shop.restore_tests.failed), (3, 1));
        assert_eq!(shop.restore_tests_missed, Some(1));
        // The first was made 52 days ago, and is gone.
        assert_eq!((shop.retention.gone_too_early, shop.retention.met), (1, Some(false)));
        assert_eq!((shop.retention.days, shop.retention.compliance_snapshots), (Some(90), 1));
    }

    #[test]
    fn what_nobody_measured_is_not_said_to_be_well() {
        let report = report();
        let idle = &report.sources[1];
        assert_eq!((idle.rpo.met, idle.rto.met, idle.backups.met), (None, None, None));
        assert_eq!(idle.restore_tests_missed, None);
        for said in
            ["idle: no restore test", "idle: no backup was tried", "no quarterly drill", "not checked"]
        {
            assert!(report.unknown.iter().any(|what| what.contains(said)), "{said}: {:?}", report.unknown);
        }
    }

    #[test]
    fn drills_are_held_to_their_schedule() {
        let report = report();
        let of = |name: &str| report.drills.iter().find(|drill| drill.name == name).unwrap();
        assert_eq!((of("quarterly").missed, of("quarterly").held.len()), (Some(1), 0));
        // The one before was to be held before the first of September.
        assert_eq!((of("monthly").missed, of("monthly").held.len()), (Some(1), 1));
    }

    #[test]
    fn a_report_is_written_in_three_ways() {
        let report = report();
        let document = Document::new(&report, &TimeZone::UTC);
        let (page, text) = (html(&document), markdown(&document));
        for said in ["27 d 12 h (agreed: 1 d 6 h)", "2026-10", "gone too early", "all &lt;back&gt;"] {
            assert!(page.contains(said), "{said}");
        }
        assert!(!page.contains("://") && !page.contains("<back>"), "nothing is loaded");
        assert!(text.contains("## Drills") && text.contains("all \\<back\\>"));
        let value = serde_json::to_value(&report).unwrap();
        assert_eq!(value["version"], 1);
        assert_eq!(value["sources"][0]["rpo"]["met"], false);
        let drills = value["drills"].as_array().unwrap();
        let monthly = drills.iter().find(|drill| drill["name"] == "monthly").unwrap();
        assert_eq!(monthly["held"][0]["result"], "passed");
    }
}
