//! `config check`: what is wrong with a configuration, before a schedule finds out.

use serde_json::json;
use strongroom_engines::postgres::managed::Service;
use strongroom_engines::postgres::{Programs, Target};
use strongroom_ops::config::{self, Checked, Problem};
use strongroom_repository::monitor::Monitor as _;

use crate::arguments::{ConfigAction, ConfigCheck};
use crate::context::Context;
use crate::exit::{FAILED, Outcome};
use crate::output::line;
use crate::render;

/// What a managed service leaves to do.
const WITHOUT_FILES: &str = "physical backups and WAL archiving are impossible there; hourly logical snapshots (`backup postgres`) give the RPO";

pub(crate) fn run(context: &Context<'_>, action: &ConfigAction) -> anyhow::Result<Outcome> {
    let ConfigAction::Check(arguments) = action;
    let Checked { config, mut problems, lines } = config::check(&arguments.config)?;
    let line_of = |source: &str| lines.get(source).copied().unwrap_or(1);
    let mut services = Vec::new();
    for (source, server) in config.postgres_sources() {
        match Target::parse(server) {
            Ok(target) => {
                services.extend(service_of(context, source, &target, arguments).map(|of| (source, of)))
            }
            Err(error) => {
                problems.push(Problem { line: line_of(source), what: format!("sources.{source}: {error}") });
            }
        }
    }
    let unknown = unknown_sources(context, &config)?;
    problems.extend(unknown.into_iter().map(|source| Problem {
        line: line_of(&source),
        what: format!("sources.{source}: the repository has no snapshot of such a source"),
    }));
    problems.sort();
    tell(context, arguments, &problems, &services);
    Ok(if problems.is_empty() { Outcome::Done } else { Outcome::Code(FAILED) })
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

/// Sources that nothing was backed up as, where a repository is named.
fn unknown_sources(context: &Context<'_>, config: &config::Config) -> anyhow::Result<Vec<String>> {
    if context.global.repo.is_none() {
        context.terminal.say("no repository was named: whether it knows these sources was not looked at");
        return Ok(Vec::new());
    }
    let repository = context.open()?;
    let is_known =
        |source: &str| repository.snapshots().iter().any(|snapshot| snapshot.manifest.source == source);
    Ok(config.sources().filter(|source| !is_known(source)).map(str::to_owned).collect())
}

fn tell(context: &Context<'_>, arguments: &ConfigCheck, problems: &[Problem], services: &[(&str, Service)]) {
    let file = arguments.config.display().to_string();
    if context.global.json {
        for problem in problems {
            context.json(
                &json!({ "type": "problem", "file": file, "line": problem.line, "what": problem.what }),
            );
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
    for (source, service) in services {
        line!("{} is on {service}: {WITHOUT_FILES}", render::safe(source));
    }
    match problems.len() {
        0 => line!("{file} is in order"),
        1 => line!("1 problem"),
        several => line!("{several} problems"),
    }
}
