//! `wal list`: what there is of write-ahead logs, and what is missing.

use serde_json::json;
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::wal::gaps::LogGap;
use strongroom_repository::wal::{LogArchive, LogTimeline};

use super::wal_expire;
use crate::arguments::WalAction;
use crate::context::Context;
use crate::exit::Outcome;
use crate::render;

pub(crate) fn run(context: &Context<'_>, action: &WalAction) -> anyhow::Result<Outcome> {
    match action {
        WalAction::List { source } => list(context, source.as_deref()),
        WalAction::Expire(arguments) => wal_expire::run(context, arguments),
    }
}

fn list(context: &Context<'_>, source: Option<&str>) -> anyhow::Result<Outcome> {
    let found = context.open()?.log_archives(source)?;
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
    if context.global.json {
        let timelines =
            found.archives.iter().flat_map(|log| log.timelines.iter().map(move |line| (log, line)));
        timelines.for_each(|(log, line)| context.json(&to_json(log, line)));
        return Ok(Outcome::Done);
    }
    let rows: Vec<_> =
        found.archives.iter().flat_map(|log| log.timelines.iter().map(move |line| row(log, line))).collect();
    let titles = ["SOURCE", "SYSTEM", "TIMELINE", "FIRST", "LAST", "SEGMENTS", "OTHERS", "STORED", "MISSING"];
    crate::output::text!("{}", render::table(&titles, &[5, 6, 7], &rows));
    Ok(Outcome::Done)
}

fn row(log: &LogArchive, line: &LogTimeline) -> Vec<String> {
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

fn to_json(log: &LogArchive, line: &LogTimeline) -> serde_json::Value {
    let gap = |gap: &LogGap| json!({ "first": gap.first.to_string(), "last": gap.last.to_string(), "segments": gap.segments });
    json!({
        "type": "wal", "source": log.source, "system_identifier": log.system.to_string(), "timeline": line.timeline,
        "first": line.first.map(|segment| segment.to_string()), "last": line.last.map(|segment| segment.to_string()),
        "segments": line.segments, "others": line.others, "stored_bytes": line.stored_bytes,
        "gaps": line.gaps.iter().map(gap).collect::<Vec<_>>(),
        "is_branch_known": !log.unread_histories.contains(&line.timeline),
    })
}
