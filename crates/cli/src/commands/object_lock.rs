//! `object-lock`: keeps what is needed from being deleted for longer.

use serde_json::json;

use crate::arguments::ObjectLockAction;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::line;

pub(crate) fn run(context: &Context<'_>, action: &ObjectLockAction) -> anyhow::Result<Outcome> {
    let ObjectLockAction::Extend = action;
    let mut repository = context.open()?;
    let extended =
        context.performed(&mut repository, ("object-lock", Some("extend")), json!({}), |repository| {
            Ok(repository.extend_object_locks(&context.terminal)?)
        })?;
    context.terminal.finish();
    if context.global.json {
        context.json(&json!({ "type": "object_lock", "extended": extended.extended, "kept": extended.kept }));
    } else {
        line!(
            "extended the lock of {} objects; {} are locked for long enough",
            extended.extended,
            extended.kept
        );
    }
    Ok(Outcome::Done)
}
