//! What every restore ends with.

use serde_json::Value;
use strongroom_repository::Repository;
use strongroom_repository::state::Snapshot;

use crate::context::{Context, host_name, user_name};
use crate::output::line;

/// Notes in the journal what was restored, by whom, and tells it: `text` to people, `detail` to programs.
pub(super) fn tell(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    (mut detail, healed_packs): (Value, usize),
    text: &str,
) {
    let mut note = detail.clone();
    note["host"] = host_name().into();
    note["user"] = user_name().into();
    context.note(repository, "restore", Some(snapshot.id()), &note);
    if context.global.json {
        detail["type"] = "restore".into();
        detail["snapshot"] = snapshot.id().to_hex().into();
        detail["healed_packs"] = healed_packs.into();
        context.json(&detail);
    } else {
        line!("{text}");
    }
}
