//! `wal list`: what there is of write-ahead logs, how old the newest is, and what is missing.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use strongroom_ops::status::Logs;
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::wal::gaps::LogGap;
use strongroom_repository::wal::{LogArchive, LogArchives, LogTimeline};

use super::{wal_expire, wal_queue, wal_receive};
use crate::arguments::{WalAction, WalList};
use crate::context::Context;
use crate::exit::{Outcome, PARTLY};
use crate::{clock, render};

pub(crate) fn run(context: &Context<'_>, action: &WalAction) -> anyhow::Result<Outcome> {
    match action {
        WalAction::List(arguments) => list(context, arguments),
        WalAction::Receive(arguments) => wal_receive::run(context, arguments),
        WalAction::Expire(arguments) => wal_expire::run(context, arguments),
    }
}

fn list(context: &Context<'_>, arguments: &WalList) -> anyhow::Result<Outcome> {
    let found = context.open()?.log_archives(arguments.source.as_deref())?;
    for log in &found.archives {
        for timeline in &log.unread_histories {
            context.terminal.warn(&format!(
                "{timeline:08X}.history of source {}, system {} cannot be read here: whether anything is missing where its timeline branches, this does not tell",
                render::safe(&log.source), log.system
            ));
        }
    }
    if found.unreadable > 0 {
        context.terminal.warn(&format!(
            "{} objects cannot be read, and are in none of these; `strongroom check` names them",
            found.unreadable
        ));
    }
    let is_all_told = tell_dropped(context, arguments.source.as_deref())?;
    let now = clock::now();
    let now_ms = now.as_millisecond();
    let lines = || found.archives.iter().flat_map(|log| log.timelines.iter().map(move |line| (log, line)));
    if context.global.json {
        lines().for_each(|(log, line)| context.json(&to_json(log, line, now_ms)));
    } else {
        let rows: Vec<_> = lines().map(|(log, line)| row(log, line, now_ms)).collect();
        let titles = [
            "SOURCE", "SYSTEM", "TIMELINE", "FIRST", "LAST", "SEGMENTS", "OTHERS", "STORED", "NEWEST", "AGE",
            "MISSING",
        ];
        crate::output::text!("{}", render::table(&titles, &[5, 6, 7, 9], &rows));
    }
    let Some(max_lag) = arguments.max_lag else { return Ok(Outcome::Done) };
    let wrong = behind(&found, arguments.source.as_deref(), max_lag, now);
    for message in &wrong {
        context.terminal.warn(message);
    }
    Ok(if wrong.is_empty() && is_all_told { Outcome::Done } else { Outcome::Code(PARTLY) })
}

/// What this host dropped, and the journal does not say yet. Whether there is nothing of the kind.
fn tell_dropped(context: &Context<'_>, source: Option<&str>) -> anyhow::Result<bool> {
    let mut is_all_told = true;
    for (_, dropped) in wal_queue::dropped(context)?.list()? {
        if dropped.is_noted || source.is_some_and(|source| source != dropped.source) {
            continue;
        }
        is_all_told = false;
        context.terminal.warn(&wal_queue::describe(&dropped));
        if context.global.json {
            context.json(&wal_queue::to_json(&dropped));
        }
    }
    Ok(is_all_told)
}

/// What is wrong with the archives that are written to now, as `monitor` finds it.
fn behind(found: &LogArchives, source: Option<&str>, max_lag: Duration, now: Timestamp) -> Vec<String> {
    let written = Logs::of(found).written;
    if written.is_empty() {
        let of = source.map(|source| format!(" of source {}", render::safe(source))).unwrap_or_default();
        return vec![format!("there is no log archive{of}")];
    }
    let mut wrong = Vec::new();
    for log in written {
        let of = format!("the log of source {}, system {}", render::safe(&log.source), log.system);
        let both = [log.late(max_lag, now), log.missing()];
        wrong.extend(both.into_iter().flatten().map(|what| format!("{of}: {what}")));
    }
    wrong
}

fn age_s(time_ms: u64, now_ms: i64) -> u64 {
    u64::try_from(now_ms).unwrap_or(0).saturating_sub(time_ms) / 1000
}

fn seconds(count: u64) -> String {
    render::span(i64::try_from(count).unwrap_or(i64::MAX))
}

fn row(log: &LogArchive, line: &LogTimeline, now_ms: i64) -> Vec<String> {
    let place = |segment: Option<strongroom_format::wal_file::Segment>| {
        segment.map_or_else(|| "-".to_owned(), |segment| segment.to_string())
    };
    vec![
        render::safe(&log.source),
        log.system.to_string(),
        line.timeline.to_string(),
        place(line.first),
        place(line.last),
        line.segments.to_string(),
        line.others.to_string(),
        render::bytes(line.stored_bytes),
        line.newest.map_or_else(|| "-".into(), |newest| newest.file.to_string()),
        line.newest.map_or_else(|| "-".into(), |newest| seconds(age_s(newest.time_ms, now_ms))),
        missing(&line.gaps),
    ]
}

fn missing(gaps: &[LogGap]) -> String {
    let one = |gap: &LogGap| match gap.segments {
        1 => gap.first.to_string(),
        count => format!("{}..{} ({count})", gap.first, gap.last),
    };
    match gaps {
        [] => "-".into(),
        gaps => gaps.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

fn to_json(log: &LogArchive, line: &LogTimeline, now_ms: i64) -> serde_json::Value {
    let gap = |gap: &LogGap| json!({ "first": gap.first.to_string(), "last": gap.last.to_string(), "segments": gap.segments });
    json!({
        "type": "wal", "source": log.source, "system_identifier": log.system.to_string(), "timeline": line.timeline,
        "first": line.first.map(|segment| segment.to_string()), "last": line.last.map(|segment| segment.to_string()),
        "segments": line.segments, "others": line.others, "stored_bytes": line.stored_bytes,
        "newest": line.newest.map(|newest| newest.file.to_string()),
        "stored_time": line.newest.map(|newest| render::rfc3339_ms(i64::try_from(newest.time_ms).unwrap_or(i64::MAX))),
        "lag_seconds": line.newest.map(|newest| age_s(newest.time_ms, now_ms)), "missing_segments": line.missing_segments(),
        "gaps": line.gaps.iter().map(gap).collect::<Vec<_>>(),
        "is_branch_known": !log.unread_histories.contains(&line.timeline),
    })
}
