use std::path::Path;

use super::*;
use crate::metrics;

fn at(text: &str) -> Timestamp {
    format!("2026-11-{text}:00Z").parse().unwrap()
}

fn config(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, text).unwrap();
    Config::read(Path::new(&file)).unwrap()
}

fn status(history: &History, config: &Config, now: &str) -> Status {
    Status::new(history, &[], 0, Logs::default(), config, at(now))
}

fn found(history: &History, config: &Config, now: &str) -> Vec<String> {
    status(history, config, now).findings.iter().map(Finding::key).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn a_backup_that_runs_is_not_missed_and_one_that_runs_too_long_is() {
    let text = "schedule = \"0 2 * * *\"\njitter = \"10m\"\nmax_duration = \"2h\"\n[sources.db]\nengine = \"files\"\n";
    let config = config(text);
    let mut history = History::default();
    history.backed_up("db", at("21T02:05"));
    assert_eq!(found(&history, &config, "22T02:20"), NONE, "it may begin ten minutes later");
    let missed = status(&history, &config, "22T02:30").findings.remove(0);
    assert_eq!((missed.kind, missed.since), (Kind::BackupMissed, Some(at("22T02:00"))));
    assert_eq!(missed.what, "the snapshot of 2026-11-22 02:00 UTC has not come, and the newest is 1 d old");

    let mut runs = history.clone();
    runs.goes_on(Work::Backup, Some("db"), at("22T02:04"), at("22T03:50"));
    assert_eq!(found(&runs, &config, "22T04:00"), NONE);
    assert_eq!(found(&runs, &config, "22T04:30"), ["db backup-missed", "db backup-slow"]);
    // What was killed says nothing any more.
    assert_eq!(found(&runs, &config, "22T05:00"), ["db backup-missed"]);

    // What comes later in the same run waits for its turn, up to its next date.
    let mut waits = history.clone();
    waits.goes_on(Work::Backup, Some("other"), at("22T02:01"), at("22T02:59"));
    assert_eq!(found(&waits, &config, "22T03:00"), NONE);
    waits.goes_on(Work::Backup, Some("other"), at("22T02:01"), at("23T02:00"));
    assert_eq!(found(&waits, &config, "23T02:01"), ["db backup-missed"]);
    // Something else that ran before has nothing to do with it.
    history.goes_on(Work::Backup, Some("other"), at("22T01:30"), at("22T02:29"));
    assert_eq!(found(&history, &config, "22T02:30"), ["db backup-missed"]);
}

#[test]
fn what_is_expected_of_a_snapshot_holds_while_one_is_made() {
    let config = config("rpo = \"1h\"\n[sources.db]\nengine = \"files\"\n");
    let mut history = History::default();
    history.backed_up("db", at("22T02:00"));
    history.goes_on(Work::Backup, Some("db"), at("22T02:50"), at("22T02:50"));
    assert_eq!(found(&history, &config, "22T03:01"), ["db backup-missed"]);
}

#[test]
fn what_was_never_backed_up_is_told_unless_it_is_its_turn() {
    let config = config("schedule = \"@daily\"\n[sources.db]\nengine = \"files\"\n");
    let mut history = History::default();
    assert_eq!(found(&history, &config, "22T02:00"), ["db backup-missed"]);
    history.goes_on(Work::Backup, Some("other"), at("22T01:59"), at("22T01:59"));
    assert_eq!(found(&history, &config, "22T02:00"), NONE);
}

#[test]
fn tasks_and_tests_that_nobody_does_are_told_each_by_itself() {
    let text = "[verify]\nevery = \"7d\"\n[forget]\nevery = \"1d\"\n[check]\nschedule = \"0 4 * * *\"\n\
                [wal_expire]\nkeep_within = \"7d\"\n[sources.db]\nengine = \"files\"\n";
    let config = config(text);
    let mut history = History::default();
    history.backed_up("db", at("01T04:30"));
    assert_eq!(found(&history, &config, "02T03:00"), NONE);
    assert_eq!(found(&history, &config, "02T04:30"), ["check task-missed"]);
    let all = ["db restore-test-missed", "check task-missed", "forget task-missed"];
    let mut is = found(&history, &config, "22T04:30");
    is.sort_by_key(|key| all.iter().position(|known| known == key));
    assert_eq!(is, all);
    let forget = status(&history, &config, "22T04:30").findings;
    let forget = forget.iter().find(|finding| finding.subject.as_deref() == Some("forget")).unwrap();
    assert!(forget.advice().contains("`strongroom run --only forget`"), "{}", forget.advice());
    assert_eq!(forget.what, "the forget that was due 2026-11-02 04:30 UTC was not done");
    history.goes_on(Work::Check, None, at("02T04:01"), at("02T04:30"));
    assert_eq!(found(&history, &config, "02T04:31"), NONE);
}

#[test]
fn no_two_series_of_findings_are_the_same() {
    let text = "[drills.monthly]\nevery = \"30d\"\n[drills.quarterly]\nevery = \"92d\"\n[sources.db]\nengine = \"files\"\n";
    let mut history = History::default();
    history.backed_up("db", "2026-01-01T00:00:00Z".parse().unwrap());
    let page = metrics::exposition(&status(&history, &config(text), "22T00:00"), "b");
    let series: Vec<&str> = page.lines().filter(|line| line.starts_with("strongroom_findings{")).collect();
    assert_eq!(
        series,
        [
            r#"strongroom_findings{component="",kind="drill-missed",subject="monthly",severity="warning"} 1"#,
            r#"strongroom_findings{component="",kind="drill-missed",subject="quarterly",severity="warning"} 1"#,
        ]
    );
}

#[test]
fn a_log_that_never_came_is_late_and_logs_take_room() {
    let text = "max_wal_lag = \"1h\"\n[storage]\ncapacity = \"100\"\n[sources.db]\nengine = \"postgres\"\nphysical = true\n\
                [sources.dumps]\nengine = \"postgres\"\n[sources.own]\nengine = \"files\"\nmax_wal_lag = \"1d\"\n[sources.new]\nmax_wal_lag = \"1h\"\n";
    let config = config(text);
    let mut history = History::default();
    for source in ["db", "dumps", "own"] {
        history.backed_up(source, at("22T02:00"));
    }
    let logs = Logs { stored_bytes: 90, ..Logs::default() };
    let status = Status::new(&history, &[], 5, logs, &config, at("22T04:00"));
    let found: Vec<_> =
        status.findings.iter().map(|finding| (finding.key(), finding.what.as_str())).collect();
    let late = "its log: nothing was ever archived, and the first snapshot is 2 h old (limit: 1 h)";
    let full = "packs and log archives have 95 B of 100 B: 95%";
    assert_eq!(found, [("db wal-late".to_owned(), late), ("storage-near-capacity".to_owned(), full)]);
    let page = metrics::exposition(&status, "b");
    for line in [
        "strongroom_wal_lag_seconds{component=\"db\"} 7200\n",
        "strongroom_wal_lag_seconds{component=\"own\"} 7200\n",
        "s3_bucket_size_bytes{bucket=\"b\"} 95\n",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    assert!(
        !page.contains("lag_seconds{component=\"dumps\"}")
            && !page.contains("last_archived_timestamp_seconds{")
    );
}

#[test]
fn what_an_error_quoted_is_in_no_finding() {
    let what = "PGPASSWORD=pl4nted pg_dump postgres://ann:pl4nted@db failed";
    let finding = Finding::new(Kind::BackupFailed, what).of("db");
    assert_eq!(finding.what, "PGPASSWORD=*** pg_dump postgres://ann:***@db failed");
}
