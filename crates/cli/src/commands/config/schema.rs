//! `config schema`: what a configuration may hold, options of engines too.

use clap::{ArgAction, Command};
use serde_json::{Map, Value, json};
use strongroom_ops::config::{Known, schema};

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
    let tasks = ["verify", "forget", "prune", "check"];
    let tasks = tasks.iter().filter_map(|name| Some((*name, command.find_subcommand(name)?)));
    let repository = configured::repository_options(command);
    schema(&Known {
        repository: options(&repository, &[]),
        engines: engines
            .into_iter()
            .map(|engine| (engine.get_name().to_owned(), options(engine, &configured::NOT_THE_SOURCES)))
            .collect(),
        tasks: tasks
            .map(|(name, task)| (name.to_owned(), options(task, &configured::NOT_THE_TASKS)))
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
