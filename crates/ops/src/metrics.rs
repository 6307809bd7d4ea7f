//! How things stand, for Prometheus: the text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).
//!
//! Everything is counted from the journal, so that commands that run once and end count on, on whatever host.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::history::Attempt;
use crate::run::RunResult;
use crate::status::{LogStatus, SourceStatus, Status};

/// Upper bounds of the histogram of durations, s.
const BUCKETS: [f64; 12] =
    [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0];

/// The metrics. `bucket` is where the repository is, as its owner calls it.
#[must_use]
pub fn exposition(status: &Status, bucket: &str) -> String {
    let mut page = Page::default();
    page.up(true);
    page.says_success = true;
    page.all(status, bucket);
    page.text
}

/// What was known when the repository could be read last, for somebody who is asked again and again and cannot read it now. It
/// does not say of anything that it is well: neither `backup_success`, nor that of restore tests and checks.
#[must_use]
pub fn last_known(status: &Status, bucket: &str) -> String {
    let mut page = Page::default();
    page.up(false);
    page.all(status, bucket);
    page.text
}

/// The metrics of a repository that cannot be read: nothing of what was known before is said once more.
#[must_use]
pub fn without_access() -> String {
    let mut page = Page::default();
    page.up(false);
    page.text
}

fn of_backups(page: &mut Page, status: &Status) {
    let says_success = page.says_success;
    if says_success {
        page.begin("backup_success", "gauge", "Whether the last backup of a source made a whole snapshot.");
    }
    for source in status.sources.iter().filter(|source| says_success && source.is_watched()) {
        let is_done = source.last().is_some_and(|last| last.result == RunResult::Done);
        page.sample("backup_success", &[("component", &source.name)], u8::from(is_done).into());
    }
    page.begin("backup_jobs_total", "counter", "Backups of a source, by how they ended.");
    for source in &status.sources {
        for (result, name) in
            [(RunResult::Done, "success"), (RunResult::Partly, "partial"), (RunResult::Failed, "failure")]
        {
            let labels = [("component", source.name.as_str()), ("status", name)];
            page.sample("backup_jobs_total", &labels, count(source.count(result)));
        }
    }
    page.begin("backup_duration_seconds", "histogram", "How long backups of a source took.");
    for source in &status.sources {
        let seconds: Vec<f64> = source.backups.iter().filter_map(|attempt| attempt.seconds).collect();
        page.histogram("backup_duration_seconds", ("component", &source.name), &seconds);
    }
    page.of_sources(
        "strongroom_last_success_timestamp_seconds",
        "When a source was last backed up.",
        status,
        |source| source.last_success().map(|last| seconds_of(last.time)),
    );
    page.of_sources(
        "strongroom_last_attempt_timestamp_seconds",
        "When a backup of a source was last tried.",
        status,
        |source| source.last().map(|last| seconds_of(last.time)),
    );
    page.of_sources("strongroom_backup_running", "Whether a backup of a source runs.", status, |source| {
        Some(f64::from(u8::from(source.running.is_some())))
    });
    page.begin(
        "strongroom_backup_left_out_total",
        "counter",
        "Dates of a source that came while a backup still ran.",
    );
    for source in &status.sources {
        let dates = count(source.left_out.len() as u64);
        page.sample("strongroom_backup_left_out_total", &[("component", &source.name)], dates);
    }
    page.of_sources(
        "strongroom_next_backup_timestamp_seconds",
        "When a source is backed up next by its schedule.",
        status,
        |source| source.next.map(seconds_of),
    );
    page.of_sources(
        "strongroom_rpo_objective_seconds",
        "How much of a source may be lost.",
        status,
        |source| source.expected.rpo.map(|rpo| rpo.as_secs_f64()),
    );
    page.of_sources(
        "strongroom_expected_interval_seconds",
        "How old the newest snapshot may become.",
        status,
        |source| source.expected.expect_every.map(|every| every.as_secs_f64()),
    );
}

fn of_snapshots(page: &mut Page, status: &Status) {
    page.of_sources(
        "strongroom_snapshots",
        "Snapshots of a source that can be restored.",
        status,
        |source| Some(count(source.held.snapshots)),
    );
    page.of_sources(
        "strongroom_oldest_recovery_point_timestamp_seconds",
        "When the oldest snapshot of a source was taken.",
        status,
        |source| source.held.oldest.map(seconds_of),
    );
    let last =
        |source: &SourceStatus, of: fn(&Attempt) -> u64| source.last_success().map(|last| count(of(last)));
    page.of_sources(
        "strongroom_snapshot_logical_bytes",
        "Size of the newest snapshot, as it is restored.",
        status,
        |source| last(source, |last| last.sizes.logical),
    );
    page.of_sources(
        "strongroom_snapshot_new_bytes",
        "What of the newest snapshot was not there before.",
        status,
        |source| last(source, |last| last.sizes.new),
    );
    page.of_sources(
        "strongroom_snapshot_stored_bytes",
        "What was stored for the newest snapshot.",
        status,
        |source| last(source, |last| last.sizes.stored),
    );
}

fn of_tests(page: &mut Page, status: &Status) {
    let says_success = page.says_success;
    page.of_sources(
        "strongroom_restore_test_success",
        "Whether the last restore test was good.",
        status,
        |source| source.last_test().filter(|_| says_success).map(|test| f64::from(u8::from(test.is_good))),
    );
    page.of_sources(
        "strongroom_restore_test_timestamp_seconds",
        "When a restore was last tested.",
        status,
        |source| source.last_test().map(|test| seconds_of(test.time)),
    );
    page.of_sources(
        "strongroom_restore_test_rto_seconds",
        "How long the restore of the last test took.",
        status,
        |source| source.last_test().and_then(|test| test.restore_seconds),
    );
    page.of_sources(
        "strongroom_rto_objective_seconds",
        "How long a restore of a source may take.",
        status,
        |source| source.expected.rto.map(|rto| rto.as_secs_f64()),
    );
}

fn of_logs(page: &mut Page, status: &Status) {
    type Gauge = (&'static str, &'static str, fn(&LogStatus, Timestamp) -> Option<f64>);
    let gauges: [Gauge; 4] = [
        (
            "strongroom_wal_last_archived_timestamp_seconds",
            "When anything of a log was archived last.",
            |log, _| log.newest.map(seconds_of),
        ),
        (
            "strongroom_wal_lag_seconds",
            "For how long nothing of a log was archived; where nothing ever was, since the first snapshot of its source.",
            |log, now| log.lag(now).map(|lag| lag.as_secs_f64()),
        ),
        ("strongroom_wal_missing_segments", "Segments of a log that are missing.", |log, _| {
            Some(count(log.missing_segments))
        }),
        ("strongroom_wal_stored_bytes", "What the store holds of a log.", |log, _| {
            Some(count(log.stored_bytes))
        }),
    ];
    for (name, help, of) in gauges {
        if status.logs.is_empty() {
            continue;
        }
        page.begin(name, "gauge", help);
        for log in &status.logs {
            if let Some(value) = of(log, status.now) {
                page.sample(name, &[("component", &log.source)], value);
            }
        }
    }
}

fn of_repository(page: &mut Page, status: &Status, bucket: &str) {
    page.begin(
        "s3_bucket_size_bytes",
        "gauge",
        "Bytes of packs that count, and of log archives; index, journal and parity come on top.",
    );
    page.sample("s3_bucket_size_bytes", &[("bucket", bucket)], count(status.bytes));
    if let Some(capacity) = status.capacity {
        page.begin("strongroom_capacity_bytes", "gauge", "How large the repository may become.");
        page.sample("strongroom_capacity_bytes", &[], count(capacity));
    }
    if let Some(check) = &status.check {
        if page.says_success {
            page.begin("strongroom_check_success", "gauge", "Whether the last check found nothing.");
            page.sample("strongroom_check_success", &[], u8::from(check.result == RunResult::Done).into());
        }
        page.begin("strongroom_check_timestamp_seconds", "gauge", "When the repository was last checked.");
        page.sample("strongroom_check_timestamp_seconds", &[], seconds_of(check.time));
    }
    of_tasks(page, status);
    page.begin(
        "strongroom_kms_errors_total",
        "counter",
        "Commands that ended because keys were not to be had.",
    );
    page.sample("strongroom_kms_errors_total", &[], count(status.kms_errors));
    page.begin("strongroom_findings", "gauge", "What somebody should know, by kind.");
    for finding in &status.findings {
        let source = finding.source.as_deref().unwrap_or_default();
        let own = finding.subject.as_deref().map(|subject| ("subject", subject));
        let labels = [("component", source), ("kind", finding.kind.name())].into_iter().chain(own);
        let labels: Vec<_> = labels.chain([("severity", finding.severity.name())]).collect();
        page.sample("strongroom_findings", &labels, 1.0);
    }
    page.begin("strongroom_collected_timestamp_seconds", "gauge", "As of when all this is.");
    page.sample("strongroom_collected_timestamp_seconds", &[], seconds_of(status.now));
}

/// What is done of the repository, but for checks.
fn of_tasks(page: &mut Page, status: &Status) {
    if status.maintenance.is_empty() {
        return;
    }
    if page.says_success {
        let help =
            "Whether the last forgetting, expiring, copying or pruning by the configuration went well.";
        page.begin("strongroom_task_success", "gauge", help);
        for (work, last) in &status.maintenance {
            let is_done = u8::from(last.result == RunResult::Done).into();
            page.sample("strongroom_task_success", &[("task", work.name())], is_done);
        }
    }
    page.begin("strongroom_task_timestamp_seconds", "gauge", "When that was begun.");
    for (work, last) in &status.maintenance {
        page.sample("strongroom_task_timestamp_seconds", &[("task", work.name())], seconds_of(last.time));
    }
}

#[allow(clippy::cast_precision_loss, reason = "the format has no other numbers")]
fn count(number: u64) -> f64 {
    number as f64
}

fn seconds_of(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

#[derive(Default)]
struct Page {
    text: String,
    /// Whether it is known now what was well.
    says_success: bool,
}

impl Page {
    fn all(&mut self, status: &Status, bucket: &str) {
        of_backups(self, status);
        of_snapshots(self, status);
        of_tests(self, status);
        of_logs(self, status);
        of_repository(self, status, bucket);
    }

    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        // A string takes all that is written.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn up(&mut self, is_up: bool) {
        self.begin("strongroom_up", "gauge", "Whether the repository can be read.");
        self.sample("strongroom_up", &[], u8::from(is_up).into());
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }

    /// A gauge of each source that has one.
    fn of_sources(
        &mut self,
        name: &str,
        help: &str,
        status: &Status,
        of: impl Fn(&SourceStatus) -> Option<f64>,
    ) {
        let known: Vec<_> =
            status.sources.iter().filter_map(|source| Some((&source.name, of(source)?))).collect();
        if known.is_empty() {
            return;
        }
        self.begin(name, "gauge", help);
        for (source, value) in known {
            self.sample(name, &[("component", source)], value);
        }
    }

    fn histogram(&mut self, name: &str, (label, of): (&str, &str), values: &[f64]) {
        let bucket = format!("{name}_bucket");
        for bound in BUCKETS {
            let below = values.iter().filter(|value| **value <= bound).count() as u64;
            self.sample(&bucket, &[(label, of), ("le", &bound.to_string())], count(below));
        }
        self.sample(&bucket, &[(label, of), ("le", "+Inf")], count(values.len() as u64));
        self.sample(&format!("{name}_sum"), &[(label, of)], values.iter().sum());
        self.sample(&format!("{name}_count"), &[(label, of)], count(values.len() as u64));
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
