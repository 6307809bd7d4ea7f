//! `config show`: what is in force, and where each value comes from.

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde_json::json;
use strongroom_ops::config::{Config, FromEnvironment, OptionValue};

use crate::arguments::BUCKET_VARIABLES;
use crate::audit::place;
use crate::configured;
use crate::context::Context;
use crate::exit::Outcome;
use crate::render;

/// A value, and where it comes from.
struct InForce {
    field: String,
    value: String,
    from: String,
}

pub(super) fn run(context: &Context<'_>) -> anyhow::Result<Outcome> {
    let path = configured::path(context.global.config.as_ref());
    let (config, taken) = configured::read(&path)?;
    let file = path.display().to_string();
    let mut all = repository(&config, &file)?;
    if all.iter().all(|one| one.field != "repository.url")
        && let Some(url) = &context.global.repo
    {
        let variable =
            BUCKET_VARIABLES.iter().find(|name| std::env::var_os(name).is_some_and(|set| !set.is_empty()));
        let from = variable.map_or_else(|| "the default".into(), |name| format!("the environment, {name}"));
        all.push(InForce { field: "repository.url".into(), value: place_or_path(url), from });
    }
    all.extend(taken.iter().map(of_variable));
    all.extend(sources(&config, &taken, &file));
    for InForce { field, value, from } in &all {
        if context.global.json {
            context.json(&json!({ "type": "setting", "field": field, "value": value, "from": from }));
        }
    }
    if !context.global.json {
        let rows: Vec<_> = all
            .iter()
            .map(|one| vec![render::safe(&one.field), render::safe(&one.value), render::safe(&one.from)])
            .collect();
        crate::output::text!("{}", render::table(&["FIELD", "VALUE", "FROM"], &[], &rows));
    }
    Ok(Outcome::Done)
}

fn place_or_path(url: &str) -> String {
    if url.contains("://") { place(url) } else { url.to_owned() }
}

fn of_variable(FromEnvironment { variable, field, value, replaces }: &FromEnvironment) -> InForce {
    let replaces = if *replaces { ", in place of the file's" } else { "" };
    InForce {
        field: (*field).into(),
        value: value.clone(),
        from: format!("the environment, {variable}{replaces}"),
    }
}

/// Options of every command: what the command line or the environment sets of them, else the file.
fn repository(config: &Config, file: &str) -> anyhow::Result<Vec<InForce>> {
    let command = configured::command();
    let options = configured::repository_options(&command);
    // As it was typed: what the file sets is in the words that were parsed.
    let matches: ArgMatches = command.try_get_matches_from(std::env::args_os())?;
    let mut all = Vec::new();
    for (name, option) in configured::known(&options, &[]) {
        let id = option.get_id().as_str();
        let given = matches.get_raw(id).into_iter().flatten().next().filter(|value| !value.is_empty());
        let setting = config.repository.iter().find(|setting| setting.name == name);
        let (value, from) = match (matches.value_source(id), given, setting) {
            (Some(ValueSource::CommandLine), Some(value), _) => {
                (value.to_string_lossy().into_owned(), "the command line".into())
            }
            (Some(ValueSource::EnvVariable), Some(value), _) => {
                let variable = option.get_env().map(|name| name.to_string_lossy()).unwrap_or_default();
                (value.to_string_lossy().into_owned(), format!("the environment, {variable}"))
            }
            (_, _, Some(setting)) => (of_option(&setting.value), format!("{file}:{}", setting.line)),
            _ => continue,
        };
        let value = place_or_path(&value);
        all.push(InForce { field: format!("repository.{name}"), value, from });
    }
    Ok(all)
}

/// As it is written: what stands elsewhere is not looked up.
fn of_option(value: &OptionValue) -> String {
    match value {
        OptionValue::Flag(is) => is.to_string(),
        OptionValue::One(text) => text.to_string(),
        OptionValue::Many(all) => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn sources(config: &Config, taken: &[FromEnvironment], file: &str) -> Vec<InForce> {
    let mut all = Vec::new();
    let of_variable = |fields: &[&str], is_own: bool| {
        let variables = taken.iter().filter(|one| !is_own && fields.contains(&one.field));
        let names: Vec<&str> = variables.map(|one| one.variable).collect();
        match names.is_empty() {
            true => file.to_owned(),
            false => format!("the environment, {}", names.join(", ")),
        }
    };
    for (name, source) in &config.sources {
        let mut add = |what: &str, value: Option<String>, from: String| {
            let field = format!("sources.{name}.{what}");
            all.extend(value.map(|value| InForce { field, value, from }));
        };
        add("engine", source.engine.clone(), format!("{file}:{}", source.line));
        let schedule = config.schedule_text(name).map(str::to_owned);
        add("schedule", schedule, of_variable(&["schedule"], config.says_itself(name, "schedule")));
        let keep = config.keep(name);
        let days = |of: std::time::Duration| format!("{} days", of.as_secs() / 86_400);
        let is_own = config.says_itself(name, "retention");
        let within = keep.as_ref().and_then(|keep| keep.within).map(days);
        add("retention.days", within, of_variable(&["retention.days"], is_own));
        let compliance =
            keep.iter().flat_map(|keep| &keep.tags_within).next().map(|(_, within)| days(*within));
        add("retention.compliance_days", compliance, of_variable(&["retention.compliance_days"], is_own));
        for setting in &source.options {
            let written = of_option(&setting.value);
            let is_server = ["url", "dbname"].contains(&setting.name.as_str()) && written.contains('=');
            let value = if is_server { place(&written) } else { place_or_path(&written) };
            add(&setting.name, Some(value), format!("{file}:{}", setting.line));
        }
    }
    all
}
