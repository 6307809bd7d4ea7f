//! `policy`: how writers are to store what they back up.

use serde_json::json;
use strongroom_format::registry::{LockMode, Trust};
use strongroom_repository::Repository;
use strongroom_repository::administration::StorageRules;

use crate::arguments::{PolicyAction, Switch};
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::line;

pub(crate) fn run(context: &Context<'_>, action: &PolicyAction) -> anyhow::Result<Outcome> {
    let mut repository = context.open()?;
    if let PolicyAction::Set { deltas, keep_base_keys, parity } = action {
        let rules = StorageRules {
            deltas: deltas.map(|switch| switch == Switch::On),
            base_keys: *keep_base_keys,
            parity: *parity,
        };
        let entry = context.performed(&mut repository, ("policy", Some("set")), json!({}), |repository| {
            Ok(repository.set_storage_rules(rules)?)
        })?;
        context.terminal.say(match entry {
            Some(_) => "in force for runs that begin from now on",
            None => "nothing to change",
        });
    }
    show(context, &repository);
    Ok(Outcome::Done)
}

fn show(context: &Context<'_>, repository: &Repository) {
    let policy = &repository.state().policy;
    let trust = trust(policy.trust);
    if context.global.json {
        let lock = policy.object_lock.map(|lock| {
            json!({ "mode": mode(lock.mode), "data_days": lock.data_days, "keys_days": lock.keys_days })
        });
        context.json(&json!({
            "type": "policy", "sequence": policy.sequence, "fingerprint": repository.fingerprint(), "deltas": policy.deltas,
            "keep_base_keys": policy.base_keys, "parity_percent": policy.parity, "trust": trust, "object_lock": lock,
        }));
        return;
    }
    line!("policy          {}", policy.sequence);
    line!("deltas          {}", if policy.deltas { "on" } else { "off" });
    match policy.base_keys {
        0 => line!("keep-base-keys  0"),
        1 => line!("keep-base-keys  1 run"),
        runs => line!("keep-base-keys  {runs} runs"),
    }
    match policy.parity {
        0 => line!("parity          off"),
        percent => line!("parity          {percent}%"),
    }
    line!("trust           {trust}");
    match policy.object_lock {
        None => line!("object lock     none"),
        Some(lock) => line!(
            "object lock     {}: {} days, keys and journal {} days",
            mode(lock.mode),
            lock.data_days,
            lock.keys_days
        ),
    }
}

fn trust(trust: Trust) -> &'static str {
    match trust {
        Trust::Own => "own",
        Trust::Attested => "attested",
        Trust::All => "all",
    }
}

fn mode(mode: LockMode) -> &'static str {
    match mode {
        LockMode::Governance => "governance",
        LockMode::Compliance => "compliance",
    }
}
