//! Aliases: given at the end, in one step; what would refuse them is found before anything is changed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::error::OpensearchError;
use super::make::There;
use super::session::Session;
use crate::http::encoded;

/// An alias of an index that is restored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) alias: String,
    /// As it will be called.
    pub(super) index: String,
    /// Filters, routing, whether it is written through.
    pub(super) how: Value,
}

/// Why the server would refuse them, in words; `restored` is what will be there. `switch`: whoever has them loses them.
///
/// # Errors
/// As [`Session::get`].
pub(super) fn in_the_way(
    session: &Session<'_>,
    wanted: &[Wanted],
    restored: &BTreeSet<&str>,
    switch: bool,
) -> Result<Vec<String>, OpensearchError> {
    let mut found = Vec::new();
    let names: BTreeSet<&str> = wanted.iter().map(|one| one.alias.as_str()).collect();
    for name in names {
        if restored.contains(name) || matches!(There::of(session, name)?, There::Index | There::DataStream) {
            found.push(format!("index {name} (in the snapshot an alias)"));
        } else if !switch && wanted.iter().any(|one| one.alias == name && is_written(&one.how)) {
            let others = holders(session, name)?
                .into_iter()
                .filter(|(index, how)| !restored.contains(index.as_str()) && is_written(how));
            found.extend(others.map(|(index, _)| format!("write index {index} of alias {name}")));
        }
    }
    Ok(found)
}

fn is_written(how: &Value) -> bool {
    how.get("is_write_index") == Some(&Value::Bool(true))
}

/// Which indices an alias names, and how.
fn holders(session: &Session<'_>, alias: &str) -> Result<BTreeMap<String, Value>, OpensearchError> {
    let there: Option<BTreeMap<String, Value>> = session.find(&format!("/_alias/{}", encoded(alias)))?;
    let how = |index: &Value| index.get("aliases").and_then(|aliases| aliases.get(alias)).cloned();
    let there = there.unwrap_or_default().into_iter();
    Ok(there.map(|(index, found)| (index, how(&found).unwrap_or_default())).collect())
}

/// In one step. Gives how many.
///
/// # Errors
/// As [`Session::ask`].
pub(super) fn give(
    session: &Session<'_>,
    wanted: &[Wanted],
    restored: &BTreeSet<&str>,
    switch: bool,
) -> Result<u64, OpensearchError> {
    let mut actions = Vec::new();
    if switch {
        let names: BTreeSet<&str> = wanted.iter().map(|one| one.alias.as_str()).collect();
        for alias in names {
            let others =
                holders(session, alias)?.into_keys().filter(|index| !restored.contains(index.as_str()));
            actions.extend(others.map(|index| json!({ "remove": { "index": index, "alias": alias } })));
        }
    }
    for one in wanted {
        let mut add = one.how.clone();
        add["index"] = one.index.clone().into();
        add["alias"] = one.alias.clone().into();
        actions.push(json!({ "add": add }));
    }
    if !actions.is_empty() {
        let _: Value = session.ask("POST", "/_aliases", Some(&json!({ "actions": actions })))?;
    }
    Ok(wanted.len() as u64)
}
