//! `config schema`: what a configuration may hold, options of engines too.

use clap::{ArgAction, Command};
use serde_json::{Map, Value, json};
use strongroom_ops::config::{Known, schema};
use strongroom_ops::run::Work;

use crate::configured;
use crate::exit::Outcome;

pub(super) fn run() -> anyhow::Result<Outcome> {
    crate::output::text!("{}\n", serde_json::to_string_pretty(&of(&configured::command()))?);
    Ok(Outcome::Done)
}

fn of(command: &Command) -> Value {
    let options = |command: &Command, reserved: &[&str]| {
        let mut options = Map::new();
        for (name, option) in configured::known(command, reserved) {
            options.insert(name, values(&option));
        }
        options
    };
    let engines = command.find_subcommand("backup").map(configured::engines).unwrap_or_default();
    let tasks = Work::OF_REPOSITORY.into_iter().chain([Work::Verify]);
    let tasks = tasks.filter_map(|work| Some((work, configured::task_command(command, work)?)));
    let repository = configured::repository_options(command);
    schema(&Known {
        repository: options(&repository, &[]),
        engines: engines
            .into_iter()
            .map(|engine| (engine.get_name().to_owned(), options(engine, &configured::NOT_THE_SOURCES)))
            .collect(),
        tasks: tasks
            .map(|(work, task)| {
                (work.name().replace('-', "_"), options(task, configured::not_the_tasks(work)))
            })
            .collect(),
    })
}

/// What an option may be set to.
fn values(option: &clap::Arg) -> Value {
    let one = json!({ "type": ["string", "number", "boolean", "null"] });
    let mut values = match option.get_action() {
        ArgAction::SetTrue | ArgAction::SetFalse | ArgAction::Count => json!({ "type": ["boolean", "null"] }),
        _ if configured::is_repeated(option) => json!({
            "anyOf": [one, { "type": "array", "items": { "type": ["string", "number"] } }],
        }),
        _ => one,
    };
    if let Some(help) = option.get_help() {
        values["description"] = help.to_string().into();
    }
    values
}
