//! `monitor`: how things stand, for people, for programs and for Prometheus.

mod alerts;
mod deliver;

use jiff::Timestamp;
use serde_json::{Value, json};
use strongroom_ops::config::Config;
use strongroom_ops::metrics;
use strongroom_ops::status::{SourceStatus, Status};
use strongroom_repository::Repository;

use crate::arguments::Monitor;
use crate::configured;
use crate::context::Context;
use crate::exit::{FAILED, Outcome};
use crate::output::{line, text};
use crate::render;

pub(crate) fn run(context: &Context<'_>, arguments: &Monitor) -> anyhow::Result<Outcome> {
    let config = configured::config_if_any(context)?;
    let (status, mut repository) = match look(context, &config) {
        Ok(looked) => looked,
        Err(error) => {
            // What was written before must not say any longer that all is well.
            deliver::all(arguments, &metrics::without_access())?;
            if arguments.alerts {
                alerts::tell_no_access(context, &config, &error)?;
            }
            return Err(error);
        }
    };
    let page = metrics::exposition(&status, &context.url()?.bucket());
    deliver::all(arguments, &page)?;
    if arguments.metrics {
        text!("{page}");
        return Ok(Outcome::Done);
    }
    if arguments.report {
        report(context, &status);
    }
    let does_else =
        arguments.report || arguments.alerts || arguments.textfile.is_some() || arguments.push.is_some();
    let is_check = arguments.check || !does_else;
    if is_check {
        check(context, &status);
    }
    let all_told = !arguments.alerts || alerts::tell(context, &config, &status, &mut repository)?;
    let is_bad = is_check && status.is_critical();
    Ok(if is_bad || !all_told { Outcome::Code(FAILED) } else { Outcome::Done })
}

fn look(context: &Context<'_>, config: &Config) -> anyhow::Result<(Status, Repository)> {
    let repository = context.open()?;
    Ok((Status::of(&repository, config, crate::clock::now())?, repository))
}

fn check(context: &Context<'_>, status: &Status) {
    for finding in &status.findings {
        if context.global.json {
            let mut told = serde_json::to_value(finding).unwrap_or_default();
            told["type"] = "finding".into();
            context.json(&told);
        } else {
            let of = finding
                .source
                .as_deref()
                .map(|source| format!("{}: ", render::safe(source)))
                .unwrap_or_default();
            let since =
                finding.since.map(|since| format!(" (since {})", render::time_ms(since.as_millisecond())));
            let what = render::safe(&finding.what);
            line!("{:<8} {of}{what}{}", finding.severity.name(), since.unwrap_or_default());
        }
    }
    if context.global.json {
        context.json(&json!({
            "type": "monitor", "findings": status.findings.len(), "critical": status.is_critical(), "time": status.now,
        }));
    } else if status.findings.is_empty() {
        line!("all is as expected: {} sources", status.sources.len());
    }
}

fn report(context: &Context<'_>, status: &Status) {
    if context.global.json {
        status.sources.iter().for_each(|source| context.json(&to_json(source)));
        return;
    }
    let rows: Vec<_> = status.sources.iter().map(|source| row(source, status.now)).collect();
    let header = ["SOURCE", "LAST BACKUP", "RESULT", "TOOK", "SIZE", "STORED", "SNAPSHOTS", "RESTORE TEST"];
    text!("{}", render::table(&header, &[3, 4, 5, 6], &rows));
    line!("{} stored", render::bytes(status.bytes));
}

fn row(source: &SourceStatus, now: Timestamp) -> Vec<String> {
    let ago = |time: Timestamp| format!("{} ago", render::span(now.duration_since(time).as_secs().max(0)));
    let nothing = || "-".to_owned();
    let success = source.last_success();
    let size = |of: fn(&strongroom_ops::history::Sizes) -> u64| {
        success.map_or_else(nothing, |last| render::bytes(of(&last.sizes)))
    };
    let test = source.last_test().map(|test| {
        let result = if test.is_good { "good" } else { "FAILED" };
        let took = test.restore_seconds.map(|seconds| format!(" in {seconds:.1} s")).unwrap_or_default();
        format!("{result}{took}, {}", ago(test.time))
    });
    vec![
        render::safe(&source.name),
        source.last_success().map_or_else(|| "never".into(), |last| ago(last.time)),
        source.last().map_or_else(nothing, |last| last.result.name().to_owned()),
        success.and_then(|last| last.seconds).map_or_else(nothing, |seconds| format!("{seconds:.1} s")),
        size(|sizes| sizes.logical),
        size(|sizes| sizes.stored),
        source.held.snapshots.to_string(),
        test.unwrap_or_else(nothing),
    ]
}

fn to_json(source: &SourceStatus) -> Value {
    let last = source.last();
    let success = source.last_success();
    let test = source.last_test().map(|test| {
        json!({
            "time": test.time, "good": test.is_good, "restore_seconds": test.restore_seconds, "age_seconds": test.age_seconds,
            "error": test.error,
        })
    });
    json!({
        "type": "source", "source": source.name, "engine": source.engine, "snapshots": source.held.snapshots,
        "oldest": source.held.oldest, "newest": source.held.newest, "last_success": success.map(|last| last.time),
        "last_attempt": last.map(|last| last.time), "last_result": last.map(|last| last.result),
        "error": last.and_then(|last| last.error.clone()), "seconds": success.and_then(|last| last.seconds),
        "bytes": success.map(|last| last.sizes.logical), "new_bytes": success.map(|last| last.sizes.new),
        "stored_bytes": success.map(|last| last.sizes.stored), "restore_test": test, "next": source.next,
        "running_on": source.running.as_ref().map(|running| running.began.host.clone()),
    })
}
