//! `run`: what the configuration wants done now, each by a command of its own, so that one that fails, hangs or dies takes no other
//! along.

mod child;
mod lock;
mod progress;
mod step;

use serde_json::json;
use strongroom_ops::config::{Config, meant};
use strongroom_ops::history::History;
use strongroom_ops::run::{Chosen, Ended, Plan, RunResult, Work};
use strongroom_repository::monitor::Monitor as _;

pub(crate) use self::child::kill_all as kill_children;
pub(super) use self::lock::domain as lock_domain;
pub(super) use self::step::Step;
use crate::arguments::Run;
use crate::configured;
use crate::context::Context;
use crate::exit::{FAILED, Outcome, PARTLY, Usage};
use crate::output::line;
use crate::{clock, render, signals};

pub(crate) fn run(context: &Context<'_>, arguments: &Run) -> anyhow::Result<Outcome> {
    let path = configured::path(context.global.config.as_ref());
    let (config, _) = configured::read(&path)?;
    if config.is_off {
        context.terminal.warn("nothing is done: BACKUP_ENABLED says that backups are off");
        return Ok(Outcome::Done);
    }
    check_names(&config, &arguments.sources)?;
    check_tasks(&config, arguments.only.iter().map(|only| (*only).into()))?;
    let mut repository = context.open()?;
    let chosen = Chosen {
        sources: arguments.sources.clone(),
        only: arguments.only.iter().map(|only| (*only).into()).collect(),
        due: arguments.due,
    };
    let mut history = History::of(&repository)?;
    let plan = Plan::new(&config, &history, &chosen, clock::now());
    if plan.steps.is_empty() {
        context.terminal.say("nothing is due");
    }
    let mut ended = Vec::new();
    for (work, source) in &plan.steps {
        let step =
            Step { context, config: &config, path: &path, work: *work, source: source.as_deref(), due: None };
        if arguments.dry_run {
            tell_command(context, &step);
            continue;
        }
        if signals::is_interrupted() {
            break;
        }
        let end = step.run(&mut repository, &mut history)?;
        tell(context, &end);
        ended.push(end);
    }
    Ok(outcome(&ended))
}

/// A source that the configuration does not back up is misspelt.
fn check_names(config: &Config, names: &[String]) -> anyhow::Result<()> {
    let known =
        || config.sources.iter().filter(|(_, source)| source.engine.is_some()).map(|(name, _)| name.as_str());
    let Some(name) = names.iter().find(|name| !known().any(|known| known == *name)) else { return Ok(()) };
    Err(Usage(format!("the configuration backs up no source `{name}`; {}", meant(name, known()))).into())
}

/// What is asked for by hand and has no table: what is to be done is not known.
fn check_tasks(config: &Config, only: impl IntoIterator<Item = Work>) -> Result<(), Usage> {
    let is_known = |work: &Work| !Work::OF_REPOSITORY.contains(work) || config.task(*work).is_some();
    match only.into_iter().find(|work| !is_known(work)) {
        None => Ok(()),
        Some(work) => Err(Usage(format!(
            "the configuration has no [{}]: it does not say how that is done",
            work.name().replace('-', "_")
        ))),
    }
}

fn tell_command(context: &Context<'_>, step: &Step<'_, '_>) {
    match step.words() {
        Ok(words) => {
            let (arguments, variables) = words.into_arguments();
            let names: Vec<&str> = variables.iter().map(|(name, _)| name.as_str()).collect();
            if context.global.json {
                let source = step.source;
                context.json(&json!({ "type": "would_run", "work": step.work, "source": source, "arguments": arguments, "variables": names }));
            } else {
                let set: String = names.iter().map(|name| format!("{name}=... ")).collect();
                let words: Vec<String> = arguments.iter().map(|word| render::shell_word(word)).collect();
                line!("{set}strongroom {}", words.join(" "));
            }
        }
        Err(why) => context.terminal.warn(&why),
    }
}

/// Says how a run ended.
pub(super) fn tell(context: &Context<'_>, ended: &Ended) {
    if context.global.json {
        let mut told = serde_json::to_value(ended).unwrap_or_default();
        told["type"] = "run".into();
        context.json(&told);
        return;
    }
    let of = ended.source.as_ref().map(|source| format!(" of {}", render::safe(source))).unwrap_or_default();
    let snapshot = ended
        .snapshot
        .as_ref()
        .map(|id| format!(", snapshot {}", &id[..id.len().min(8)]))
        .unwrap_or_default();
    let error = ended.error.as_ref().map(|error| format!(": {}", render::safe(error))).unwrap_or_default();
    line!("{}{of} {} in {:.1} s{snapshot}{error}", ended.work.name(), ended.result.name(), ended.seconds);
}

fn outcome(ended: &[Ended]) -> Outcome {
    let any = |result| ended.iter().any(|ended| ended.result == result);
    let found_damage = |end: &Ended| {
        matches!(end.work, Work::Verify | Work::Check | Work::Sync)
            && end.exit_code == Some(crate::exit::DAMAGE.into())
    };
    if ended.iter().any(found_damage) {
        Outcome::Code(crate::exit::DAMAGE)
    } else if any(RunResult::Failed) {
        Outcome::Code(FAILED)
    } else if any(RunResult::Partly) || any(RunResult::Skipped) {
        Outcome::Code(PARTLY)
    } else {
        Outcome::Done
    }
}
