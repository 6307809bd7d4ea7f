//! `tag`: adds tags, takes tags off.

use serde_json::json;

use crate::arguments::Tag;
use crate::context::Context;
use crate::exit::{Outcome, Usage};
use crate::render;

pub(crate) fn run(context: &Context<'_>, arguments: &Tag) -> anyhow::Result<Outcome> {
    if arguments.add.is_empty() && arguments.remove.is_empty() {
        return Err(Usage("nothing to do: give --add TAG or --remove TAG".into()).into());
    }
    if arguments
        .add
        .iter()
        .chain(&arguments.remove)
        .any(|tag| tag.is_empty() || tag.contains(',') || tag.chars().any(char::is_control))
    {
        return Err(Usage("a tag is not empty and has no comma".into()).into());
    }
    let mut repository = context.open()?;
    let ids = arguments
        .snapshots
        .iter()
        .map(|text| context.select(&repository, text).map(|snapshot| snapshot.id()))
        .collect::<Result<Vec<_>, _>>()?;
    for id in ids {
        let detail = json!({ "snapshot": id.to_hex(), "added": arguments.add, "removed": arguments.remove });
        context.performed(&mut repository, ("tag", None), detail, |repository| {
            Ok(repository.tag(id, &arguments.add, &arguments.remove)?)
        })?;
        let tags = repository
            .snapshots()
            .iter()
            .find(|snapshot| snapshot.id() == id)
            .map(|snapshot| snapshot.state.tags.clone())
            .unwrap_or_default();
        if context.global.json {
            context.json(&json!({ "type": "tag", "snapshot": id.to_hex(), "tags": tags }));
        } else {
            crate::output::line!("{} {}", id.short(), tags.join(","));
        }
    }
    Ok(Outcome::Done)
}

/// Refuses what no listing could show as one tag.
pub(crate) fn check<'a>(mut tags: impl Iterator<Item = &'a String>) -> anyhow::Result<()> {
    match tags.find(|tag| tag.is_empty() || tag.contains(',') || tag.chars().any(char::is_control)) {
        Some(tag) => {
            Err(Usage(format!("`{}` is no tag: it is not empty and has no comma", render::safe(tag))).into())
        }
        None => Ok(()),
    }
}
