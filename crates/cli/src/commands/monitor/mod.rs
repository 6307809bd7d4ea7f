//! `monitor`: how things stand, for people, for programs and for Prometheus.

mod deliver;

use jiff::Timestamp;
use serde_json::{Value, json};
use strongroom_ops::config::Config;
use strongroom_ops::metrics;
use strongroom_ops::notify::SENT;
use strongroom_ops::status::{SourceStatus, Status};
use strongroom_repository::Repository;
use strongroom_repository::monitor::Monitor as _;

use super::alerts::{self, Untold, WithoutAccess};
use crate::arguments::Monitor;
use crate::context::Context;
use crate::exit::{FAILED, Outcome, PARTLY};
use crate::output::{line, text};
use crate::{clock, configured, exit, render};

pub(crate) fn run(context: &Context<'_>, arguments: &Monitor) -> anyhow::Result<Outcome> {
    let config = configured::config_if_any(context)?;
    let (status, mut repository) = match look(context, &config) {
        Ok(looked) => looked,
        Err(error) => {
            if arguments.alerts {
                warn_of(context, tell_no_access(context, &config, &error));
            }
            // What was written before must not say any longer that all is well.
            warn(context, &deliver::all(arguments, &metrics::without_access()));
            return Err(error);
        }
    };
    let page = metrics::exposition(&status, &context.url()?.bucket());
    if arguments.metrics {
        text!("{page}");
    }
    if arguments.report {
        report(context, &status);
    }
    let does_else =
        arguments.report || arguments.alerts || arguments.textfile.is_some() || arguments.push.is_some();
    let is_check = arguments.check || !(does_else || arguments.metrics);
    if is_check {
        check(context, &status);
    }
    // People first: no metrics that cannot be delivered keep them from being told.
    let mut is_passed_on = true;
    if arguments.alerts {
        is_passed_on &= warn_of(context, tell(context, &config, &status, &mut repository));
    }
    is_passed_on &= warn(context, &deliver::all(arguments, &page));
    Ok(match is_check && status.is_critical() {
        // Whoever looks at this code is the only one who learns of it.
        _ if !is_passed_on => Outcome::Code(PARTLY),
        true => Outcome::Code(FAILED),
        false => Outcome::Done,
    })
}

/// Tells all channels what is new; notes in the journal what was told.
fn tell(
    context: &Context<'_>,
    config: &Config,
    status: &Status,
    repository: &mut Repository,
) -> anyhow::Result<Vec<Untold>> {
    if config.notify.is_empty() {
        context.terminal.warn("the configuration names nobody to tell: it has no [notify.NAME]");
    }
    let mut sent = status.sent.clone();
    let mut untold = alerts::tell(context, config, &status.findings, &mut sent, status.now)?;
    if sent != status.sent {
        context.note(repository, SENT, None, &serde_json::to_value(&sent)?);
    }
    // It can be opened again: what was told of that is over.
    untold.extend(WithoutAccess::read(context)?.tell(context, config, &[], status.now)?);
    Ok(untold)
}

fn tell_no_access(
    context: &Context<'_>,
    config: &Config,
    error: &anyhow::Error,
) -> anyhow::Result<Vec<Untold>> {
    let finding = alerts::no_access(&exit::describe(error).0);
    WithoutAccess::read(context)?.tell(context, config, &[finding], clock::now())
}

/// Says who was not told. Whether all were.
fn warn_of(context: &Context<'_>, told: anyhow::Result<Vec<Untold>>) -> bool {
    match told {
        Ok(untold) => {
            untold.iter().for_each(|untold| context.terminal.warn(&untold.to_string()));
            untold.is_empty()
        }
        Err(error) => warn(context, &[error]),
    }
}

/// Says what could not be passed on. Whether there is nothing of the kind.
fn warn(context: &Context<'_>, errors: &[anyhow::Error]) -> bool {
    errors.iter().for_each(|error| context.terminal.warn(&exit::describe(error).0));
    errors.is_empty()
}

fn look(context: &Context<'_>, config: &Config) -> anyhow::Result<(Status, Repository)> {
    let repository = context.open()?;
    Ok((Status::of(&repository, config, clock::now())?, repository))
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
