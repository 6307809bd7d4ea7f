//! `forget`: takes snapshots out of the repository, for good: those that are named, or what a policy does not keep.

use std::collections::BTreeSet;

use serde_json::json;
use strongroom_repository::Repository;
use strongroom_repository::retention::{Filter, Judged, Rules};
use strongroom_repository::state::Snapshot;

use crate::arguments::Forget;
use crate::configured;
use crate::context::Context;
use crate::exit::{Outcome, Usage};
use crate::output::line;
use crate::render;

pub(crate) fn run(context: &Context<'_>, arguments: &Forget) -> anyhow::Result<Outcome> {
    let forgot = if arguments.snapshots.is_empty() {
        by_policy(context, arguments)?
    } else {
        named(context, arguments)?
    };
    if forgot && !arguments.dry_run {
        context.terminal.say("what only they needed stays in the store until `strongroom prune`");
    }
    Ok(Outcome::Done)
}

/// Says whether there were any.
fn named(context: &Context<'_>, arguments: &Forget) -> anyhow::Result<bool> {
    let mut repository = context.open()?;
    let mut chosen = Vec::new();
    for text in &arguments.snapshots {
        let snapshot = context.select(&repository, text)?;
        snapshot.require_not_held()?;
        if !chosen.iter().any(|(id, _)| *id == snapshot.id()) {
            chosen.push((snapshot.id(), snapshot.manifest.source.clone()));
        }
    }
    if !arguments.dry_run {
        let ids: Vec<_> = chosen.iter().map(|(id, _)| *id).collect();
        let detail = json!({ "snapshots": ids.len(), "reason": arguments.reason });
        context.performed(&mut repository, ("forget", None), detail, |repository| {
            Ok(repository.forget(&ids, &arguments.reason)?)
        })?;
    }
    for (id, source) in &chosen {
        if context.global.json {
            context.json(
                &json!({ "type": "forget", "snapshot": id.to_hex(), "source": source, "dry_run": arguments.dry_run }),
            );
        } else {
            let done = if arguments.dry_run { "would forget" } else { "forgot" };
            line!("{done} {} of {}", id.short(), render::safe(source));
        }
    }
    Ok(true)
}

fn by_policy(context: &Context<'_>, arguments: &Forget) -> anyhow::Result<bool> {
    let mut repository = context.open()?;
    let rules = arguments.rules();
    check_filter(repository.snapshots(), &rules.filter)?;
    let all = by_source(context, &repository, rules)?;
    let mut judged: Vec<Judged> = Vec::new();
    if arguments.dry_run {
        for rules in &all {
            judged.extend(repository.judge(rules)?);
        }
    } else {
        let detail = json!({ "reason": arguments.reason, "by": "policy" });
        context.performed(&mut repository, ("forget", None), detail, |repository| {
            for rules in &all {
                judged.extend(repository.forget_all_but(rules, &arguments.reason)?);
            }
            Ok(())
        })?;
    }
    judged.sort_by(|one, other| (&one.source, &one.host).cmp(&(&other.source, &other.host)));
    let gone = judged.iter().filter(|one| !one.stays()).count();
    if context.global.json {
        for one in &judged {
            context.json(&to_json(one, arguments.dry_run));
        }
        return Ok(gone > 0);
    }
    let rows: Vec<_> = judged.iter().map(|one| row(one, arguments.dry_run)).collect();
    crate::output::text!("{}", render::table(&["SOURCE", "HOST", "ID", "TIME", "", "WHY"], &[], &rows));
    let would = if arguments.dry_run { "would forget" } else { "forgot" };
    line!("{would} {gone} of {} snapshots", judged.len());
    Ok(gone > 0)
}

/// What the options say; or else, for each source, what the configuration does.
fn by_source(context: &Context<'_>, repository: &Repository, rules: Rules) -> anyhow::Result<Vec<Rules>> {
    if !rules.keep.is_empty() {
        return Ok(vec![rules]);
    }
    let config = match &context.global.config {
        Some(path) => configured::read(path)?.0,
        None => {
            let config = configured::of_environment()?;
            if config.keep("").is_none() {
                let hint = "name snapshots, or say what to keep: --keep-daily 30, BACKUP_RETENTION_DAYS, or --config strongroom.toml";
                return Err(Usage(hint.into()).into());
            }
            config
        }
    };
    let judged = repository.snapshots().iter().filter(|snapshot| rules.filter.passes(snapshot));
    let sources: BTreeSet<&String> = judged.map(|snapshot| &snapshot.manifest.source).collect();
    let mut all = Vec::new();
    for source in sources {
        match config.keep(source) {
            Some(keep) => {
                let filter = Filter { sources: vec![source.clone()], ..rules.filter.clone() };
                all.push(Rules { filter, keep, ..rules.clone() });
            }
            None => context
                .terminal
                .say(&format!("all of {} stays: the configuration says nothing of it", render::safe(source))),
        }
    }
    Ok(all)
}

/// A name that no snapshot has is misspelt.
fn check_filter(snapshots: &[Snapshot], filter: &Filter) -> anyhow::Result<()> {
    let none = |what: &str, name: &str| Usage(format!("there is no snapshot {what} `{name}`"));
    for source in &filter.sources {
        if !snapshots.iter().any(|snapshot| snapshot.manifest.source == *source) {
            return Err(none("of source", source).into());
        }
    }
    for host in &filter.hosts {
        if !snapshots.iter().any(|snapshot| snapshot.manifest.host == *host) {
            return Err(none("of host", host).into());
        }
    }
    for tag in filter.tags.iter().flatten() {
        if !snapshots.iter().any(|snapshot| snapshot.state.tags.contains(tag)) {
            return Err(none("with the tag", tag).into());
        }
    }
    Ok(())
}

fn row(one: &Judged, dry_run: bool) -> Vec<String> {
    let what = match (one.stays(), dry_run) {
        (true, _) => "stays",
        (false, true) => "would go",
        (false, false) => "gone",
    };
    vec![
        render::safe(&one.source),
        render::safe(&one.host),
        one.id.short(),
        render::time_ms(one.time_ms),
        what.to_owned(),
        render::safe(&reasons(one).join(", ")),
    ]
}

fn to_json(one: &Judged, dry_run: bool) -> serde_json::Value {
    json!({
        "type": if one.stays() { "keep" } else { "forget" },
        "snapshot": one.id.to_hex(),
        "source": one.source,
        "host": one.host,
        "time": render::rfc3339_ms(one.time_ms),
        "reasons": reasons(one),
        "dry_run": dry_run,
    })
}

fn reasons(one: &Judged) -> Vec<String> {
    one.reasons.iter().map(ToString::to_string).collect()
}
