//! Indices that are made again: as they were, also where a template of the server says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::catalog::{Definition, data_streams};
use super::error::{OpensearchError, listed};
use super::session::Session;
use super::settings::{Settings, own};
use crate::http::encoded;

/// How often it is looked whether a new index has found its nodes, and how long is waited in between.
const LOOKS: u32 = 120;
const PAUSE: Duration = Duration::from_secs(1);
/// The longest name of an index, bytes.
const NAME_BYTES: usize = 255;

/// What has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum There {
    Nothing,
    Index,
    DataStream,
    /// One of these.
    Alias(Vec<String>),
}

impl There {
    /// # Errors
    /// As [`Session::get`].
    pub(super) fn of(session: &Session<'_>, name: &str) -> Result<Self, OpensearchError> {
        let found: Option<BTreeMap<String, Value>> = session.find(&format!("/{}", encoded(name)))?;
        Ok(match found {
            None => Self::Nothing,
            Some(found) if found.contains_key(name) => Self::Index,
            Some(_) if data_streams(session)?.contains_key(name) => Self::DataStream,
            Some(found) => Self::Alias(found.into_keys().collect()),
        })
    }
}

/// What is not there is dropped.
pub(super) fn drop_index(
    session: &Session<'_>,
    target: &str,
    is_data_stream: bool,
) -> Result<(), OpensearchError> {
    let kind = if is_data_stream { "/_data_stream" } else { "" };
    match session.ask::<Value>("DELETE", &format!("{kind}/{}", encoded(target)), None) {
        Err(error) if error.status() == Some(404) => Ok(()),
        dropped => dropped.map(drop),
    }
}

/// Makes it, ready to be loaded.
///
/// # Errors
/// `Unassigned`; as [`Session::ask`]. Then it is gone again.
pub(super) fn make(
    session: &Session<'_>,
    target: &str,
    definition: &Definition,
) -> Result<(), OpensearchError> {
    create(session, target, definition)?;
    let made = without_aliases(session, target).and_then(|there| settle(session, target, definition, &there));
    made.inspect_err(|_| take_back(session, target, false))
}

/// What was made, without the aliases of a template; its own come when all is loaded.
fn without_aliases(session: &Session<'_>, index: &str) -> Result<Definition, OpensearchError> {
    let there = found(session, index)?;
    let remove = |alias: &String| json!({ "remove": { "index": index, "alias": alias } });
    let actions: Vec<Value> = there.aliases.keys().map(remove).collect();
    if !actions.is_empty() {
        let _: Value = session.ask("POST", "/_aliases", Some(&json!({ "actions": actions })))?;
    }
    Ok(there)
}

/// What was made just now and has no documents is dropped again.
fn take_back(session: &Session<'_>, target: &str, is_data_stream: bool) {
    if let Err(error) = drop_index(session, target, is_data_stream) {
        session.monitor.warn(&format!("{target} is there without documents: {error}"));
    }
}

/// Makes a data stream, or the next index of one. Gives the index, ready to be loaded through the stream.
///
/// # Errors
/// As [`Session::ask`].
pub(super) fn make_part(
    session: &Session<'_>,
    stream: &str,
    definition: &Definition,
    is_first: bool,
) -> Result<String, OpensearchError> {
    let name = encoded(stream);
    let _: Value = match is_first {
        true => session.ask("PUT", &format!("/_data_stream/{name}"), None)?,
        false => session.ask("POST", &format!("/{name}/_rollover"), None)?,
    };
    fill_part(session, stream, definition).inspect_err(|_| {
        if is_first {
            take_back(session, stream, true);
        }
    })
}

/// Gives the last index of a data stream its mappings and settings. Gives its name.
fn fill_part(
    session: &Session<'_>,
    stream: &str,
    definition: &Definition,
) -> Result<String, OpensearchError> {
    let last = data_streams(session)?.remove(stream).and_then(|mut indices| indices.pop());
    let none = || session.nonsense("GET", "/_data_stream", &format!("{stream} has no index"));
    let index = last.ok_or_else(none)?;
    let mut mappings = definition.mappings.clone();
    if let Some(mappings) = mappings.as_object_mut() {
        mappings.remove("_data_stream_timestamp");
    }
    match session.ask::<Value>("PUT", &format!("/{}/_mapping", encoded(&index)), Some(&mappings)) {
        // What the template says otherwise is told below.
        Err(error) if error.status() != Some(400) => return Err(error),
        _ => {}
    }
    let there = found(session, &index)?;
    settle(session, &index, definition, &there)?;
    Ok(index)
}

/// Makes an index like this one and drops it again: whether it can be made is known before another one makes room for it.
///
/// # Errors
/// As [`make`].
pub(super) fn try_out(
    session: &Session<'_>,
    target: &str,
    definition: &Definition,
) -> Result<(), OpensearchError> {
    let mut name = format!(
        "strongroom-restore-{}-{}",
        std::process::id(),
        target.trim_start_matches(['.', '_', '-', '+'])
    );
    while name.len() > NAME_BYTES {
        name.pop();
    }
    create(session, &name, definition)?;
    drop_index(session, &name, false)
}

/// Makes what was loaded visible, and the index as it was. Gives how many documents it has.
pub(super) fn finish(
    session: &Session<'_>,
    index: &str,
    definition: &Definition,
) -> Result<u64, OpensearchError> {
    let counted = count(session, index)?;
    let path = format!("/{}/_settings", encoded(index));
    let _: Value = session.ask("PUT", &path, Some(&Settings::of(definition, &session.server).last))?;
    Ok(counted)
}

/// How many documents it has.
pub(super) fn count(session: &Session<'_>, index: &str) -> Result<u64, OpensearchError> {
    let _: Value = session.ask("POST", &format!("/{}/_refresh", encoded(index)), None)?;
    let path = format!("/{}/_count", encoded(index));
    let counted: Value = session.get(&path)?;
    let none = || session.nonsense("GET", &path, "it has no count");
    counted.get("count").and_then(Value::as_u64).ok_or_else(none)
}

fn found(session: &Session<'_>, index: &str) -> Result<Definition, OpensearchError> {
    let none = || session.nonsense("GET", &format!("/{index}"), "the index is gone again");
    Definition::of(session, index)?.ok_or_else(none)
}

fn create(session: &Session<'_>, target: &str, definition: &Definition) -> Result<(), OpensearchError> {
    let first = Settings::of(definition, &session.server).first;
    let body = json!({ "settings": first, "mappings": definition.mappings });
    // For so long the server waits until the index has its nodes.
    let made: Value = session.ask("PUT", &format!("/{}?timeout=10s", encoded(target)), Some(&body))?;
    if made.get("shards_acknowledged") != Some(&Value::Bool(false)) {
        return Ok(());
    }
    wait_for_nodes(session, target, definition.shards()).inspect_err(|_| take_back(session, target, false))
}

/// Until the primaries have nodes, unless none may have one.
fn wait_for_nodes(session: &Session<'_>, index: &str, shards: u32) -> Result<(), OpensearchError> {
    for look in 1.. {
        let mut waiting = None;
        for shard in 0..shards {
            let ask = json!({ "index": index, "shard": shard, "primary": true });
            let said: Value = session.ask("POST", "/_cluster/allocation/explain", Some(&ask))?;
            if said.get("current_state").and_then(Value::as_str) != Some("started") {
                waiting = Some((shard, said));
                break;
            }
        }
        let Some((shard, said)) = waiting else { return Ok(()) };
        let is_refused = said.get("can_allocate").and_then(Value::as_str) == Some("no");
        if is_refused || look >= LOOKS || session.monitor.is_cancelled() {
            return Err(OpensearchError::Unassigned { index: index.to_owned(), shard, why: why_not(&said) });
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Why a shard has no node, in the server's words.
fn why_not(said: &Value) -> String {
    let text = |pointer: &str| said.pointer(pointer).and_then(Value::as_str);
    let decider = text("/node_allocation_decisions/0/deciders/0/explanation");
    let why = decider.or_else(|| text("/allocate_explanation")).or_else(|| text("/current_state"));
    why.unwrap_or("the server does not say why").to_owned()
}

/// Gives it the settings that it should have and has otherwise, and names what cannot be changed any more.
fn settle(
    session: &Session<'_>,
    index: &str,
    definition: &Definition,
    there: &Definition,
) -> Result<(), OpensearchError> {
    let mut others = Vec::new();
    let wanted = Settings::of(definition, &session.server).first;
    let wanted = wanted.get("index").unwrap_or(&Value::Null);
    for (name, value) in differences(wanted, &Value::Object(own(there))) {
        let body: Map<String, Value> = [(format!("index.{name}"), value)].into_iter().collect();
        let path = format!("/{}/_settings", encoded(index));
        match session.ask::<Value>("PUT", &path, Some(&body.into())) {
            Err(error) if error.status() == Some(400) => others.push(format!("setting {name}")),
            set => set.map(drop)?,
        }
    }
    let mappings = differences(&definition.mappings, &there.mappings);
    others.extend(mappings.into_keys().map(|name| format!("mapping {name}")));
    if !others.is_empty() {
        session.monitor.warn(&format!(
            "index {index} is not as it was in {}: a template of the server, or its version, makes it otherwise",
            listed(others.iter().map(String::as_str))
        ));
    }
    Ok(())
}

/// What is there otherwise, or not, or besides; with what it should be, null where it should not be.
fn differences(wanted: &Value, there: &Value) -> BTreeMap<String, Value> {
    let (mut left, mut right) = (BTreeMap::new(), BTreeMap::new());
    flatten(wanted, String::new(), &mut left);
    flatten(there, String::new(), &mut right);
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let differs =
        |name: &&&String| left.get(**name).map(|one| text(one)) != right.get(**name).map(|one| text(one));
    let should = |name: &&String| left.get(*name).copied().cloned().unwrap_or(Value::Null);
    names.iter().filter(differs).map(|name| ((*name).clone(), should(name))).collect()
}

/// Each value by the way to it, with dots; what has nothing in it is a value.
fn flatten<'v>(value: &'v Value, way: String, out: &mut BTreeMap<String, &'v Value>) {
    match value {
        Value::Object(parts) if !parts.is_empty() => {
            for (name, part) in parts {
                let way = if way.is_empty() { name.clone() } else { format!("{way}.{name}") };
                flatten(part, way, out);
            }
        }
        Value::Object(_) | Value::Null if way.is_empty() => {}
        value => {
            out.insert(way, value);
        }
    }
}

/// Servers give numbers and truths as text.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_otherwise_is_named_by_its_way() {
        let wanted = json!({ "a": { "b": "1", "c": ["x"] }, "d": "gone", "e": {} });
        let there = json!({ "a": { "b": 1, "c": ["y"], "new": "n" }, "e": {} });
        let found = differences(&wanted, &there);
        let should = [("a.c", json!(["x"])), ("a.new", Value::Null), ("d", json!("gone"))];
        assert_eq!(found, should.map(|(name, value)| (name.to_owned(), value)).into_iter().collect());
        assert!(differences(&json!({}), &Value::Null).is_empty());
    }

    #[test]
    fn a_server_says_why_a_shard_has_no_node() {
        let said = json!({ "allocate_explanation": "not permitted", "node_allocation_decisions": [
            { "deciders": [{ "explanation": "node does not match" }] }] });
        assert_eq!(why_not(&said), "node does not match");
        assert_eq!(why_not(&json!({ "allocate_explanation": "not permitted" })), "not permitted");
    }
}
