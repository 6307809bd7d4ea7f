//! Which indices there are.

use std::collections::BTreeMap;

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{OpensearchError, listed};
use super::session::Session;
use crate::http::encoded;

/// Which indices of all.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Patterns with `*` and `?`; none is all.
    pub include: Vec<String>,
    /// Not what matches one of these.
    pub exclude: Vec<String>,
    /// Also those that are hidden, or begin with a dot, without being named.
    pub hidden: bool,
}

/// An index, as it is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Definition {
    #[serde(default)]
    pub(super) aliases: BTreeMap<String, Value>,
    #[serde(default)]
    pub(super) mappings: Value,
    #[serde(default)]
    pub(super) settings: Value,
    /// Of which data stream it is a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) data_stream: Option<String>,
}

impl Definition {
    /// A setting, which may be text or not.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.pointer(&format!("/index/{}", name.replace('.', "/")))?.as_str()
    }

    pub(super) fn uuid(&self) -> &str {
        self.setting("uuid").unwrap_or_default()
    }

    pub(super) fn shards(&self) -> u32 {
        self.setting("number_of_shards").and_then(|number| number.parse().ok()).unwrap_or(1)
    }

    /// How many documents a search gives at most.
    pub(super) fn max_result_window(&self) -> usize {
        self.setting("max_result_window").and_then(|number| number.parse().ok()).unwrap_or(10_000)
    }

    /// Without what says on which nodes it may be.
    pub(super) fn anywhere(mut self) -> Self {
        if let Some(settings) = self.settings.pointer_mut("/index").and_then(Value::as_object_mut) {
            settings.remove("routing");
        }
        self
    }

    /// Whether parts of a document may count as documents of the server's.
    pub(super) fn has_nested(&self) -> bool {
        fn is_in(value: &Value) -> bool {
            match value {
                Value::Object(parts) => {
                    parts.get("type").is_some_and(|kind| kind == "nested") || parts.values().any(is_in)
                }
                Value::Array(parts) => parts.iter().any(is_in),
                _ => false,
            }
        }
        is_in(&self.mappings)
    }

    /// Whether replicas get files, a little later, and not the changes themselves.
    fn replicates_files(&self) -> bool {
        self.setting("replication.type").is_some_and(|kind| kind.eq_ignore_ascii_case("segment"))
    }

    fn is_hidden(&self, name: &str) -> bool {
        name.starts_with('.') || self.setting("hidden") == Some("true")
    }

    /// Why its documents are not there as they were given.
    pub(super) fn without_source(&self) -> Option<&'static str> {
        let is_stored = |mode: &str| mode.eq_ignore_ascii_case("stored");
        let source = self.mappings.get("_source").unwrap_or(&Value::Null);
        let mode = source.get("mode").and_then(Value::as_str).or_else(|| self.setting("mapping.source.mode"));
        let is_limited = |list: &str| source.get(list).is_some_and(|list| list != &Value::Array(Vec::new()));
        if source.get("enabled").is_some_and(|enabled| enabled == false || enabled == "false") {
            Some("_source.enabled is false")
        } else if is_limited("excludes") || is_limited("includes") {
            Some("_source leaves fields out")
        } else if self.setting("derived_source.enabled") == Some("true") {
            Some("_source is derived from the index")
        } else if mode.is_some_and(|mode| !is_stored(mode)) {
            Some("_source.mode is not stored")
        } else {
            None
        }
    }
}

/// What an index is, found by its name.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) open: BTreeMap<String, Definition>,
    pub(super) closed: Vec<String>,
}

#[derive(Deserialize)]
struct Listed {
    index: String,
    status: String,
}

/// The indices of each data stream; the last takes what is written to it.
///
/// # Errors
/// As [`Session::get`].
pub(super) fn data_streams(session: &Session<'_>) -> Result<BTreeMap<String, Vec<String>>, OpensearchError> {
    let found: Option<DataStreams> = session.find("/_data_stream")?;
    let streams = found.map(|found| found.data_streams).unwrap_or_default();
    let names = |stream: DataStream| stream.indices.into_iter().map(|backing| backing.index_name).collect();
    Ok(streams.into_iter().map(|stream| (stream.name.clone(), names(stream))).collect())
}

#[derive(Deserialize)]
struct DataStreams {
    data_streams: Vec<DataStream>,
}

#[derive(Deserialize)]
struct DataStream {
    name: String,
    indices: Vec<Backing>,
}

#[derive(Deserialize)]
struct Backing {
    index_name: String,
}

impl Selection {
    /// # Errors
    /// The pattern that is none.
    pub(super) fn patterns(patterns: &[String]) -> Result<GlobSet, OpensearchError> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let none = |error: globset::Error| OpensearchError::Rename { why: error.to_string() };
            set.add(Glob::new(pattern).map_err(none)?);
        }
        set.build().map_err(|error| OpensearchError::Rename { why: error.to_string() })
    }
}

impl Catalog {
    /// What is selected of the server's indices. What was named by a pattern that nothing matches is an error.
    ///
    /// # Errors
    /// `NoIndex`; as [`Session::get`].
    pub(super) fn of(session: &Session<'_>, selection: &Selection) -> Result<Self, OpensearchError> {
        let (include, exclude) =
            (Selection::patterns(&selection.include)?, Selection::patterns(&selection.exclude)?);
        let listed_there: Vec<Listed> =
            session.get("/_cat/indices?format=json&expand_wildcards=all&h=index,status")?;
        let mut streams = BTreeMap::new();
        for (stream, indices) in data_streams(session)? {
            streams.extend(indices.into_iter().map(|index| (index, stream.clone())));
        }
        let mut catalog = Self { open: BTreeMap::new(), closed: Vec::new() };
        for one in &listed_there {
            // The indices of a data stream go by its name.
            let name = streams.get(&one.index).unwrap_or(&one.index);
            let is_named = !selection.include.is_empty() && include.is_match(name);
            if exclude.is_match(name) || !(is_named || selection.include.is_empty()) {
                continue;
            }
            if one.status == "close" {
                if is_named || selection.hidden || !name.starts_with('.') {
                    catalog.closed.push(one.index.clone());
                }
                continue;
            }
            let Some(mut definition) = Definition::of(session, &one.index)? else {
                return Err(OpensearchError::Shard {
                    index: one.index.clone(),
                    shard: 0,
                    why: "the index was deleted meanwhile".into(),
                });
            };
            definition.data_stream = streams.get(&one.index).cloned();
            let is_plain = definition.data_stream.is_some() && !name.starts_with('.');
            if is_named || selection.hidden || is_plain || !definition.is_hidden(&one.index) {
                catalog.open.insert(one.index.clone(), definition);
            }
        }
        catalog.closed.sort();
        let is_there = |pattern: &&String| {
            let glob = Selection::patterns(std::slice::from_ref(*pattern));
            let names = listed_there.iter().map(|one| streams.get(&one.index).unwrap_or(&one.index));
            glob.is_ok_and(|glob| names.into_iter().any(|name| glob.is_match(name)))
        };
        if let Some(missing) = selection.include.iter().find(|pattern| !is_there(pattern)) {
            let names: Vec<&str> = listed_there.iter().map(|one| one.index.as_str()).collect();
            let there = match names.is_empty() {
                true => "there is none".to_owned(),
                false => format!("there are {}", listed(names)),
            };
            return Err(OpensearchError::NoIndex { patterns: missing.clone(), there });
        }
        Ok(catalog)
    }
}

impl Definition {
    /// That of an index, if there is one of this name.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub(super) fn of(session: &Session<'_>, name: &str) -> Result<Option<Self>, OpensearchError> {
        let found: Option<BTreeMap<String, Self>> = session.find(&format!("/{}", encoded(name)))?;
        Ok(found.and_then(|mut found| found.remove(name)))
    }
}

/// How far the changes of a shard have come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Of which history: another one begins when a copy that missed changes had to be taken.
    pub(super) history: String,
    /// The number of the last one; all up to it are done.
    pub(super) last: i64,
}

/// A shard in which no change is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Still {
    pub(super) position: Position,
    /// The documents that were visible at that position or before, whatever the role may see.
    pub(super) documents: Option<u64>,
}

/// Of an index's shards, by their numbers; none of those in which changes are under way, or that are read from a copy that may lag.
///
/// # Errors
/// As [`Session::get`].
pub(super) fn positions(
    session: &Session<'_>,
    index: &str,
    definition: &Definition,
) -> Result<BTreeMap<u32, Still>, OpensearchError> {
    // The primary of such an index cannot be asked for.
    if definition.replicates_files() && !session.server.is_opensearch_from((2, 8)) {
        return Ok(BTreeMap::new());
    }
    let stats: Value = session.get(&format!("/{}/_stats/docs?level=shards", encoded(index)))?;
    Ok(positions_of(&stats, index))
}

fn positions_of(stats: &Value, index: &str) -> BTreeMap<u32, Still> {
    let shards = stats.get("indices").and_then(|indices| indices.get(index)?.get("shards")?.as_object());
    let mut positions = BTreeMap::new();
    for (number, copies) in shards.into_iter().flatten() {
        let is_primary =
            |copy: &&Value| copy.pointer("/routing/primary").and_then(Value::as_bool) == Some(true);
        let Some(primary) = copies.as_array().into_iter().flatten().find(is_primary) else { continue };
        let number_of = |name: &str| primary.pointer(&format!("/seq_no/{name}"))?.as_i64();
        let history = primary.pointer("/commit/user_data/history_uuid").and_then(Value::as_str);
        // What another copy has not yet could be lost with the primary, and its number used again.
        let is_everywhere = |last: &i64| {
            ["local_checkpoint", "global_checkpoint"].iter().all(|name| number_of(name) == Some(*last))
        };
        let last = number_of("max_seq_no").filter(is_everywhere);
        if let (Ok(number), Some(history), Some(last)) = (number.parse(), history, last) {
            let documents = primary.pointer("/docs/count").and_then(Value::as_u64);
            positions.insert(
                number,
                Still { position: Position { history: history.to_owned(), last }, documents },
            );
        }
    }
    positions
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_position_is_one_that_every_copy_has() {
        let shard = |last: i64, local: i64, global: i64| {
            json!([
                { "routing": { "primary": false }, "seq_no": { "max_seq_no": 9, "local_checkpoint": 9, "global_checkpoint": 9 },
                  "commit": { "user_data": { "history_uuid": "other" } } },
                { "routing": { "primary": true }, "seq_no": { "max_seq_no": last, "local_checkpoint": local, "global_checkpoint": global },
                  "commit": { "user_data": { "history_uuid": "h" } } },
            ])
        };
        let shards = json!({ "0": shard(7, 7, 7), "1": shard(7, 6, 6), "2": shard(7, 7, 6) });
        let stats = json!({ "indices": { "a": { "shards": shards } } });
        let found: BTreeMap<u32, Position> =
            positions_of(&stats, "a").into_iter().map(|(number, still)| (number, still.position)).collect();
        assert_eq!(found, BTreeMap::from([(0, Position { history: "h".into(), last: 7 })]));
    }

    #[test]
    fn documents_that_are_not_as_they_were_given_are_known() {
        let of = |text: Value| serde_json::from_value::<Definition>(text).unwrap();
        let mode = |mode: &str| of(json!({ "mappings": { "_source": { "mode": mode } } })).without_source();
        assert_eq!(
            (mode("stored"), mode("synthetic").is_some(), mode("disabled").is_some()),
            (None, true, true)
        );
        let set = json!({ "settings": { "index": { "mapping": { "source": { "mode": "SYNTHETIC" } } } } });
        assert!(of(set).without_source().is_some());
        assert_eq!(of(json!({ "mappings": {} })).without_source(), None);
        let nested =
            json!({ "mappings": { "properties": { "a": { "properties": { "b": { "type": "nested" } } } } } });
        assert!(of(nested).has_nested() && !of(json!({ "mappings": {} })).has_nested());
        assert_eq!(
            of(json!({ "settings": { "index": { "max_result_window": "500" } } })).max_result_window(),
            500
        );
    }
}
