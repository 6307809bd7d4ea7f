//! `drill`: what people practised.

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::json;
use strongroom_ops::audit::{DRILL, Drill, DrillResult};
use strongroom_ops::config::meant;
use strongroom_ops::status::{DrillStatus, Status};

use crate::arguments::{DrillAction, DrillRecord};
use crate::context::Context;
use crate::exit::{Outcome, Usage};
use crate::output::{line, text};
use crate::{audit, clock, configured, render};

pub(crate) fn run(context: &Context<'_>, action: &DrillAction) -> anyhow::Result<Outcome> {
    match action {
        DrillAction::Record(arguments) => record(context, arguments),
        DrillAction::List => list(context),
    }
}

fn record(context: &Context<'_>, arguments: &DrillRecord) -> anyhow::Result<Outcome> {
    if arguments.kind.trim().is_empty() {
        return Err(
            Usage("which drill? give --kind monthly, or what the configuration calls it".into()).into()
        );
    }
    if arguments.at.is_some_and(|at| at > clock::now()) {
        return Err(Usage("a drill is noted when it has been held: --at is in the future".into()).into());
    }
    let config = configured::config_if_any(context)?;
    let known = || config.drills.iter().map(|(name, _)| name.as_str());
    // A report would take a misspelt one for another.
    if !config.drills.is_empty() && !known().any(|name| name == arguments.kind) {
        let meant = meant(&arguments.kind, known());
        return Err(Usage(format!("the configuration has no drill `{}`; {meant}", arguments.kind)).into());
    }
    let mut repository = context.open()?;
    for source in &arguments.source {
        if !repository.snapshots().iter().any(|snapshot| snapshot.manifest.source == *source) {
            return Err(Usage(format!("the repository has no snapshot of source `{source}`")).into());
        }
    }
    let drill = Drill {
        drill: arguments.kind.clone(),
        result: arguments.result.into(),
        held: arguments.at,
        seconds: arguments.took.map(|took| took.as_secs_f64()),
        sources: arguments.source.clone(),
        text: arguments.note.clone(),
    };
    let mut detail = serde_json::to_value(&drill)?;
    audit::sign(&mut detail);
    // It is all that this command does: that it failed is no warning.
    let entry = repository
        .note(DRILL, None, &detail.to_string())
        .with_context(|| format!("the {} drill could not be noted", arguments.kind))?;
    match context.global.json {
        true => {
            detail["type"] = "drill".into();
            detail["entry"] = entry.into();
            context.json(&detail);
        }
        false => line!("noted the {} drill in entry {entry}", render::safe(&arguments.kind)),
    }
    Ok(Outcome::Done)
}

fn list(context: &Context<'_>) -> anyhow::Result<Outcome> {
    let config = configured::config_if_any(context)?;
    let status = Status::of(&context.open()?, &config, clock::now())?;
    if context.global.json {
        for drill in &status.drills {
            let last = drill.held.last().map(|(time, drill)| json!({ "time": time, "result": drill.result }));
            context.json(&json!({
                "type": "drill", "drill": drill.name, "what": drill.what, "held": drill.held.len(), "last": last,
                "next": next(drill), "late_from": drill.missed(),
            }));
        }
        return Ok(Outcome::Done);
    }
    let time = |time: Option<Timestamp>| {
        time.map_or_else(|| "-".into(), |time| render::time_ms(time.as_millisecond()))
    };
    let row = |drill: &DrillStatus| {
        let last = drill.held.last();
        let result = last.map_or("-", |(_, last)| match last.result {
            DrillResult::Passed => "passed",
            DrillResult::Failed => "FAILED",
        });
        let what = render::safe(drill.what.as_deref().unwrap_or_default());
        vec![
            render::safe(&drill.name),
            time(last.map(|(held, _)| *held)),
            result.into(),
            time(next(drill)),
            drill.held.len().to_string(),
            what,
        ]
    };
    let rows: Vec<_> = status.drills.iter().map(row).collect();
    text!("{}", render::table(&["DRILL", "LAST", "RESULT", "NEXT", "HELD", "WHAT"], &[4], &rows));
    Ok(Outcome::Done)
}

fn next(drill: &DrillStatus) -> Option<Timestamp> {
    let last = drill.held.last().map(|(held, _)| *held).or(drill.expected_since)?;
    drill.when.as_ref()?.next(last)
}
