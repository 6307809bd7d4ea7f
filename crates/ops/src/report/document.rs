//! A report in words: headings, paragraphs and tables, whatever they are written in.

use jiff::tz::TimeZone;

use super::source::{Measure, Rate};
use super::trail::Event;
use super::{DrillReport, Report, SourceReport, words};
use crate::audit::DrillResult;

/// A report in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// What it is.
    pub title: String,
    /// One after the other.
    pub sections: Vec<Section>,
}

/// A part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// Its heading; the first has none.
    pub heading: String,
    /// What is said.
    pub paragraphs: Vec<String>,
    /// Points.
    pub list: Vec<Cell>,
    /// A table.
    pub table: Option<Table>,
}

/// Rows under names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Names of its columns.
    pub header: Vec<&'static str>,
    /// As many cells each.
    pub rows: Vec<Vec<Cell>>,
}

/// A text, and how good that is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    /// The text.
    pub text: String,
    /// Whether it is as agreed; `None` where nobody can say.
    pub is_good: Option<bool>,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, is_good: None }
    }
}

impl Cell {
    fn judged(text: String, is_good: Option<bool>) -> Self {
        Self { text, is_good }
    }
}

impl Document {
    /// Of a report; times are in that zone.
    #[must_use]
    pub fn new(report: &Report, zone: &TimeZone) -> Self {
        let mut sections = vec![summary(report, zone)];
        sections.push(objectives(report));
        sections.push(restore_tests(report, zone));
        sections.push(drills(report, zone));
        sections.push(retention(report, zone));
        sections.extend(audit(report, zone));
        sections.push(findings(report, zone));
        Self { title: format!("Backup compliance report, {}", report.period.label), sections }
    }
}

fn summary(report: &Report, zone: &TimeZone) -> Section {
    let time = |time| words::time(Some(time), zone);
    let period = &report.period;
    let mut paragraphs = vec![
        format!("Repository {} (fingerprint {})", report.repository, report.fingerprint),
        format!("From {} up to {}, made {}", time(period.from), time(period.until), time(report.generated)),
    ];
    if report.generated < period.until {
        paragraphs.push("The period is not over: what is said holds up to the moment of the report.".into());
    }
    paragraphs.push(match (report.missed.len(), report.unknown.len()) {
        (0, 0) => "All that is agreed was reached.".into(),
        (0, unknown) => {
            format!("Nothing that could be measured was missed; {unknown} point(s) could not be judged.")
        }
        (missed, 0) => format!("{missed} point(s) were missed."),
        (missed, unknown) => {
            format!("{missed} point(s) were missed, and {unknown} could not be judged.")
        }
    });
    let missed = report.missed.iter().map(|what| Cell::judged(what.clone(), Some(false)));
    let unknown = report.unknown.iter().map(|what| Cell::from(format!("No data: {what}")));
    Section { paragraphs, list: missed.chain(unknown).collect(), ..Section::default() }
}

fn of_measure(measure: &Measure) -> Cell {
    let text = match (measure.seconds, measure.objective_seconds) {
        (Some(seconds), Some(objective)) => {
            format!("{} (agreed: {})", crate::words::took(seconds), crate::words::took(objective))
        }
        (Some(seconds), None) => format!("{} (nothing agreed)", crate::words::took(seconds)),
        (None, Some(objective)) => format!("no data (agreed: {})", crate::words::took(objective)),
        (None, None) => "no data".into(),
    };
    Cell::judged(text, measure.met)
}

fn of_rate(rate: &Rate) -> Cell {
    let text = match (rate.tried, rate.objective_percent) {
        (0, None) => "none".into(),
        (0, Some(objective)) => format!("none (agreed: {objective}%)"),
        (tried, objective) => {
            let agreed = objective.map(|objective| format!(", agreed: {objective}%")).unwrap_or_default();
            format!("{} ({} of {tried}{agreed})", words::percent(rate.percent), tried - rate.failed)
        }
    };
    Cell::judged(text, rate.met.or((rate.failed > 0).then_some(false)))
}

fn objectives(report: &Report) -> Section {
    let row = |source: &SourceReport| {
        vec![
            Cell::from(source.name.clone()),
            Cell::from(words::or_dash(source.engine.as_ref())),
            of_rate(&source.backups),
            of_measure(&source.rpo),
            of_measure(&source.rto),
        ]
    };
    let table = Table {
        header: vec!["Source", "Engine", "Backups", "RPO reached", "RTO reached"],
        rows: report.sources.iter().map(row).collect(),
    };
    Section {
        heading: "Objectives".into(),
        paragraphs: vec![
            "RPO: the longest time between two snapshots, or segments of a log that leads on from one, or since the last of them. RTO: the longest restore of a good restore test. A backup that could not read everything counts as a snapshot, and not as a success."
                .into(),
        ],
        table: Some(table),
        ..Section::default()
    }
}

fn restore_tests(report: &Report, zone: &TimeZone) -> Section {
    let row = |source: &SourceReport| {
        let schedule = match source.restore_tests_missed {
            None => Cell::from("no schedule".to_owned()),
            Some(0) => Cell::judged("on schedule".into(), Some(true)),
            Some(times) => Cell::judged(format!("left out or late {times} time(s)"), Some(false)),
        };
        let tests = match source.restore_tests.tried {
            0 => Cell::from("no restore test in this period".to_owned()),
            _ => of_rate(&source.restore_tests),
        };
        let last = words::time(source.last_restore_test, zone);
        vec![Cell::from(source.name.clone()), tests, Cell::from(last), schedule]
    };
    let table = Table {
        header: vec!["Source", "Restore tests", "Last", "Schedule"],
        rows: report.sources.iter().map(row).collect(),
    };
    let checks = match report.checks.tried {
        0 => "The repository was not checked in this period.".into(),
        tried => format!(
            "The repository was checked {tried} time(s), {} found damage or failed.",
            report.checks.failed
        ),
    };
    Section {
        heading: "Restore tests and checks".into(),
        paragraphs: vec![checks],
        table: Some(table),
        ..Section::default()
    }
}

fn drills(report: &Report, zone: &TimeZone) -> Section {
    let mut rows = Vec::new();
    for drill in &report.drills {
        rows.extend(rows_of_drill(drill, zone));
    }
    let table = Table { header: vec!["Drill", "Held", "Result", "Took", "Schedule", "Remarks"], rows };
    let mut section = Section { heading: "Drills".into(), ..Section::default() };
    match table.rows.is_empty() {
        true => section.paragraphs.push(
            "No drill was noted, and the configuration asks for none ([drills.NAME], `drill record`).".into(),
        ),
        false => section.table = Some(table),
    }
    section
}

fn rows_of_drill(drill: &DrillReport, zone: &TimeZone) -> Vec<Vec<Cell>> {
    let schedule = match drill.missed {
        None => Cell::from("no schedule".to_owned()),
        Some(0) => Cell::judged("on schedule".into(), Some(true)),
        Some(times) => Cell::judged(format!("left out or late {times} time(s)"), Some(false)),
    };
    if drill.held.is_empty() {
        let before =
            drill.before.map(|before| format!("the last one was {}", words::time(Some(before), zone)));
        return vec![vec![
            Cell::from(drill.name.clone()),
            Cell::from("not in this period".to_owned()),
            Cell::from("-".to_owned()),
            Cell::from("-".to_owned()),
            schedule,
            Cell::from(before.unwrap_or_else(|| "never held before".into())),
        ]];
    }
    let row = |held: &super::Held| {
        let passed = held.drill.result == DrillResult::Passed;
        vec![
            Cell::from(drill.name.clone()),
            Cell::from(words::time(Some(held.time), zone)),
            Cell::judged(if passed { "passed" } else { "failed" }.into(), Some(passed)),
            Cell::from(words::or_dash(held.drill.seconds.map(crate::words::took))),
            schedule.clone(),
            Cell::from(held.drill.text.clone().unwrap_or_default()),
        ]
    };
    drill.held.iter().map(row).collect()
}

fn retention(report: &Report, zone: &TimeZone) -> Section {
    let row = |source: &SourceReport| {
        let kept = &source.retention;
        let days = |days: Option<u64>| words::or_dash(days.map(|days| format!("{days} days")));
        let whole = match (kept.met, kept.gone_too_early) {
            (None, _) => Cell::from("nothing agreed".to_owned()),
            (Some(true), _) => Cell::judged("all are there".into(), Some(true)),
            (Some(false), gone) => Cell::judged(format!("{gone} gone too early"), Some(false)),
        };
        vec![
            Cell::from(source.name.clone()),
            Cell::from(days(kept.days)),
            whole,
            Cell::from(kept.snapshots.to_string()),
            Cell::from(words::time(kept.oldest, zone)),
            Cell::from(days(kept.compliance_days)),
            Cell::from(format!(
                "{}, oldest {}",
                kept.compliance_snapshots,
                words::time(kept.oldest_compliance, zone)
            )),
            Cell::from(kept.held_snapshots.to_string()),
        ]
    };
    let table = Table {
        header: vec![
            "Source",
            "Kept",
            "Of that time",
            "Snapshots",
            "Oldest recovery point",
            "Compliance",
            "Compliance snapshots",
            "Under hold",
        ],
        rows: report.sources.iter().map(row).collect(),
    };
    Section {
        heading: "Retention".into(),
        paragraphs: vec!["As it is when the report is made.".into()],
        table: Some(table),
        ..Section::default()
    }
}

fn audit(report: &Report, zone: &TimeZone) -> Vec<Section> {
    let audit = &report.audit;
    let unbroken = match audit.unbroken_since {
        Some(since) => format!("unbroken since {}", words::time(Some(since), zone)),
        None => "NOT unbroken: its last entry cannot be read".into(),
    };
    let mut paragraphs = vec![
        format!(
            "The journal has {} entries, is {unbroken}, and nothing takes entries out of it. Each is signed, and bound to all before it by a chain of hashes.",
            audit.entries
        ),
        format!("Head: {} (for `journal verify --expect-head`)", audit.head),
        match (audit.unreadable, audit.verify_findings, audit.void) {
            (0, 0, 0) => "It was verified for this report: no finding.".into(),
            (unreadable, findings, void) => format!(
                "It was verified for this report: findings: {findings}; {unreadable} entries cannot be read, {void} of the period do not count."
            ),
        },
        format!(
            "Data keys of the period: {} created, {} retired.",
            audit.data_keys_created, audit.data_keys_retired
        ),
    ];
    if audit.reads_without_end > 0 {
        paragraphs.push(format!(
            "{} read(s) of stored data began in the period and never said how they ended.",
            audit.reads_without_end
        ));
    }
    if audit.more > 0 {
        paragraphs.push(format!("{} events are not listed; `strongroom audit` lists all.", audit.more));
    }
    let events = |heading: &str, none: &str, events: &[Event]| {
        let mut section = Section { heading: heading.into(), ..Section::default() };
        match events.is_empty() {
            true => section.paragraphs.push(none.into()),
            false => section.table = Some(of_events(events, zone)),
        }
        section
    };
    vec![
        Section { heading: "Audit trail".into(), paragraphs, ..Section::default() },
        events("Keys, signers and recipients", "Nothing changed in this period.", &audit.keys),
        events("Holds", "None was put on or taken off in this period.", &audit.holds),
        events("Stored data that was read", "No restore was noted in this period.", &audit.reads),
    ]
}

fn of_events(events: &[Event], zone: &TimeZone) -> Table {
    let row = |event: &Event| {
        vec![
            Cell::from(event.entry.to_string()),
            Cell::from(words::time(event.time, zone)),
            Cell::from(event.who.clone()),
            Cell::from(event.what.clone()),
            Cell::from(event.result.to_owned()),
        ]
    };
    Table { header: vec!["Entry", "Time", "Who", "What", "Result"], rows: events.iter().map(row).collect() }
}

fn findings(report: &Report, zone: &TimeZone) -> Section {
    let mut section = Section { heading: "Open findings".into(), ..Section::default() };
    if report.findings.is_empty() {
        section.paragraphs.push("None.".into());
        return section;
    }
    let row = |finding: &crate::status::Finding| {
        vec![
            Cell::judged(finding.severity.name().into(), Some(false)),
            Cell::from(words::or_dash(finding.source.as_ref())),
            Cell::from(finding.kind.name().to_owned()),
            Cell::from(words::time(finding.since, zone)),
            Cell::from(finding.what.clone()),
        ]
    };
    let rows = report.findings.iter().map(row).collect();
    section.table = Some(Table { header: vec!["Severity", "Source", "Kind", "Since", "What"], rows });
    section
}
