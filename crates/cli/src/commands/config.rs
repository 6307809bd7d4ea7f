//! `config check`: what is wrong with a configuration, before a schedule finds out.

mod schema;
mod settings;
mod show;

use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use strongroom_engines::postgres::managed::Service;
use strongroom_engines::postgres::{Programs, Target};
use strongroom_ops::config::{Config, OptionValue, Problem, Source, Text, Variable};
use strongroom_ops::run::Work;
use strongroom_repository::monitor::Monitor as _;

use crate::arguments::{ConfigAction, ConfigCheck};
use crate::configured::{self, Words};
use crate::context::Context;
use crate::exit::{FAILED, Outcome, Usage};
use crate::output::line;
use crate::{recipients, render};

/// What a managed service leaves to do.
const WITHOUT_FILES: &str = "physical backups and WAL archiving are impossible there; hourly logical snapshots (`backup postgres`) give the RPO";

pub(crate) fn run(context: &Context<'_>, action: &ConfigAction) -> anyhow::Result<Outcome> {
    match action {
        ConfigAction::Check(arguments) => check(context, arguments),
        ConfigAction::Show => show::run(context),
        ConfigAction::Schema => schema::run(),
        ConfigAction::Import { file } => import(context, file),
    }
}

fn import(context: &Context<'_>, file: &Path) -> anyhow::Result<Outcome> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let imported = strongroom_ops::config::import(&text)
        .map_err(|why| Usage(format!("{} cannot be imported: {why}", file.display())))?;
    if context.global.json {
        context.json(&json!({ "type": "import", "toml": imported.toml, "notes": imported.notes }));
        return Ok(Outcome::Done);
    }
    for note in &imported.notes {
        context.terminal.warn(note);
    }
    crate::output::text!("{}", imported.toml);
    Ok(Outcome::Done)
}

fn check(context: &Context<'_>, arguments: &ConfigCheck) -> anyhow::Result<Outcome> {
    let path = configured::path(context.global.config.as_ref());
    let (mut config, mut problems) = Config::look(&path)?;
    problems.extend(config.adopt(|name| std::env::var(name).ok()).1);
    // Where a field could not be read, the command line would miss it.
    let is_read = problems.is_empty();
    problems.extend(wrong_options(&config, is_read));
    problems.extend(settings::wrong(&config));
    let mut services = Vec::new();
    for (name, source) in &config.sources {
        match server(source) {
            None => {}
            Some(Ok(target)) => {
                services.extend(service_of(context, name, &target, arguments).map(|of| (name.as_str(), of)));
            }
            Some(Err(what)) => {
                problems.push(Problem { line: source.line, what: format!("sources.{name}: {what}") });
            }
        }
    }
    if problems.is_empty() {
        problems.extend(against_repository(context, &config, arguments)?);
    }
    problems.sort();
    problems.dedup();
    let doubts = if problems.is_empty() { config.doubts() } else { Vec::new() };
    tell(context, &path, (&problems, &doubts), &services);
    Ok(if problems.is_empty() { Outcome::Done } else { Outcome::Code(FAILED) })
}

/// What the command line would say of what the configuration sets; where not all could be read, of names and values alone.
fn wrong_options(config: &Config, is_read: bool) -> Vec<Problem> {
    let command = configured::command();
    let mut problems = Vec::new();
    problems.extend(missing(&config.environment, "environment"));
    problems.extend(configured::wrong_repository(&command, config, is_read));
    for (name, source) in &config.sources {
        problems.extend(missing(&source.environment, &format!("sources.{name}.environment")));
        match configured::backup_words(&command, config, name, &Text::resolve) {
            None => {}
            Some(Err(wrong)) => problems.extend(wrong),
            Some(Ok(_)) if !is_read => {}
            Some(Ok(words)) => {
                if let Err(Usage(what)) = configured::judge(&command, &words.into_arguments().0) {
                    problems.push(Problem { line: source.line, what: format!("sources.{name}: {what}") });
                }
            }
        }
    }
    let tasks =
        config.sources.iter().filter_map(|(name, _)| config.verify(name)).map(|task| (Work::Verify, task));
    let own = Work::OF_REPOSITORY.into_iter().filter_map(|work| Some((work, config.task(work)?)));
    for (work, task) in tasks.chain(own) {
        match configured::task_words(&command, work, Words::new(work.command().iter().copied()), Some(task)) {
            Err(wrong) => problems.extend(wrong),
            // What a restore test is of stands elsewhere.
            Ok(_) if work == Work::Verify || !is_read => {}
            Ok(words) => {
                if let Err(Usage(what)) = configured::judge(&command, &words.into_arguments().0) {
                    let name = work.name().replace('-', "_");
                    problems.push(Problem { line: task.line.max(1), what: format!("{name}: {what}") });
                }
            }
        }
    }
    problems
}

/// Variables whose values are not to be had.
fn missing(variables: &[Variable], of: &str) -> Vec<Problem> {
    let problem = |Variable { line, name, value }: &Variable| {
        let error = value.resolve().err()?;
        Some(Problem { line: *line, what: format!("{of}.{name}: {error}") })
    };
    variables.iter().filter_map(problem).collect()
}

/// The server of a source of PostgreSQL, where the configuration names it.
fn server(source: &Source) -> Option<Result<Target, String>> {
    let named = source.options.iter().find(|option| ["dbname", "url"].contains(&option.name.as_str()))?;
    match &named.value {
        OptionValue::One(text) if source.engine.as_deref() == Some("postgres") => {
            let conninfo = text.resolve().ok()?;
            Some(Target::parse(&conninfo).map_err(|error| error.to_string()))
        }
        _ => None,
    }
}

/// By its name, or else by what the server says of itself.
fn service_of(
    context: &Context<'_>,
    source: &str,
    target: &Target,
    arguments: &ConfigCheck,
) -> Option<Service> {
    let by_name = target.hosts().iter().find_map(|host| Service::of_host(host));
    if by_name.is_some() || arguments.offline {
        return by_name;
    }
    let programs = Programs { folder: arguments.pg_bin.clone() };
    Service::of_server(&programs, target, &context.terminal).unwrap_or_else(|error| {
        context.terminal.warn(&format!("the server of {} was not asked: {error}", render::safe(source)));
        None
    })
}

/// Recipients that cannot open it; and sources that nothing was backed up as and that the configuration does not back up, where a repository is named: misspelt ones.
fn against_repository(
    context: &Context<'_>,
    config: &Config,
    arguments: &ConfigCheck,
) -> anyhow::Result<Vec<Problem>> {
    if context.global.repo.is_none() {
        context.terminal.say("no repository was named: whether it knows these sources was not looked at");
        return Ok(Vec::new());
    }
    let repository = context.open()?;
    let is_known =
        |source: &str| repository.snapshots().iter().any(|snapshot| snapshot.manifest.source == source);
    let missing = |text: &String| {
        // The name of a key is looked up where keys are.
        let is_elsewhere = text.starts_with("aws-kms:") && arguments.offline;
        match text.as_str() {
            // Nobody sees in a policy which passphrase or file it is.
            "passphrase" | "key-file" => None,
            _ if is_elsewhere => None,
            text => recipients::find(context.global, &repository.state().policy, text).err().map(|error| {
                let what = format!("recipients: the repository does not open for {text}: {error:#} (`key add-recipient` adds it)");
                Problem { line: config.recipients_line, what }
            }),
        }
    };
    let mut problems: Vec<Problem> = config.recipients.iter().filter_map(missing).collect();
    let unknown = config.sources.iter().filter(|(name, source)| source.engine.is_none() && !is_known(name));
    problems.extend(unknown.map(|(name, source)| Problem {
        line: source.line,
        what: format!(
            "sources.{name}: the repository has no snapshot of such a source, and no `engine` backs it up"
        ),
    }));
    Ok(problems)
}

fn tell(
    context: &Context<'_>,
    path: &Path,
    (problems, doubts): (&[Problem], &[Problem]),
    services: &[(&str, Service)],
) {
    let file = path.display().to_string();
    if context.global.json {
        for problem in problems {
            context.json(
                &json!({ "type": "problem", "file": file, "line": problem.line, "what": problem.what }),
            );
        }
        for Problem { line, what } in doubts {
            context.json(&json!({ "type": "warning", "file": file, "line": line, "message": what }));
        }
        for (source, service) in services {
            let service = service.to_string();
            context.json(
                &json!({ "type": "managed", "source": source, "service": service, "what": WITHOUT_FILES }),
            );
        }
        context.json(&json!({ "type": "config", "file": file, "problems": problems.len() }));
        return;
    }
    for problem in problems {
        line!("{file}:{}: {}", problem.line, render::safe(&problem.what));
    }
    for doubt in doubts {
        let line = if doubt.line > 0 { format!("{}: ", doubt.line) } else { " ".into() };
        line!("{file}:{line}warning: {}", render::safe(&doubt.what));
    }
    for (source, service) in services {
        line!("{} is on {service}: {WITHOUT_FILES}", render::safe(source));
    }
    match problems.len() {
        0 => line!("{file} is in order"),
        1 => line!("1 problem"),
        several => line!("{several} problems"),
    }
}
