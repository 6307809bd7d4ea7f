//! Templates, pipelines and scripts: what belongs to no index, and makes the next ones.

use std::collections::BTreeMap;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::OpensearchError;
use super::session::Session;
use crate::http::encoded;

/// By their names, as the server takes them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Cluster {
    component_templates: BTreeMap<String, Value>,
    index_templates: BTreeMap<String, Value>,
    /// Those of before version 7.8.
    templates: BTreeMap<String, Value>,
    pipelines: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    search_pipelines: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    scripts: BTreeMap<String, Value>,
}

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Script,
    Pipeline,
    SearchPipeline,
    ComponentTemplate,
    IndexTemplate,
    Template,
}

impl Kind {
    /// In the order in which they need each other: what indices need when they are written to, and what makes the next ones.
    pub(super) const FIRST: [Self; 3] = [Self::Script, Self::Pipeline, Self::SearchPipeline];
    pub(super) const LAST: [Self; 3] = [Self::ComponentTemplate, Self::IndexTemplate, Self::Template];

    fn all() -> impl Iterator<Item = Self> {
        Self::FIRST.into_iter().chain(Self::LAST)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Script => "stored script",
            Self::Pipeline => "ingest pipeline",
            Self::SearchPipeline => "search pipeline",
            Self::ComponentTemplate => "component template",
            Self::IndexTemplate => "index template",
            Self::Template => "template",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Script => "/_scripts",
            Self::Pipeline => "/_ingest/pipeline",
            Self::SearchPipeline => "/_search/pipeline",
            Self::ComponentTemplate => "/_component_template",
            Self::IndexTemplate => "/_index_template",
            Self::Template => "/_template",
        }
    }

    /// All of them that the server has.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub(super) fn read(self, session: &Session<'_>) -> Result<BTreeMap<String, Value>, OpensearchError> {
        let path = match self {
            // The only way to see all of them.
            Self::Script => "/_cluster/state/metadata?filter_path=metadata.stored_scripts",
            Self::SearchPipeline if !session.server.is_opensearch_from((2, 9)) => return Ok(BTreeMap::new()),
            _ => self.path(),
        };
        let found: Value = session.find(path)?.unwrap_or_default();
        let by_name = |found: Option<&Value>| {
            let named = found.and_then(Value::as_object).into_iter().flatten();
            named.map(|(name, part)| (name.clone(), part.clone())).collect()
        };
        let listed = |list: &str, part: &str| {
            let all = found.get(list).and_then(Value::as_array).into_iter().flatten();
            all.filter_map(|one| Some((one.get("name")?.as_str()?.to_owned(), one.get(part)?.clone())))
                .collect()
        };
        Ok(match self {
            Self::Script => by_name(found.pointer("/metadata/stored_scripts")),
            Self::ComponentTemplate => listed("component_templates", "component_template"),
            Self::IndexTemplate => listed("index_templates", "index_template"),
            Self::Pipeline | Self::SearchPipeline | Self::Template => by_name(Some(&found)),
        })
    }
}

impl Cluster {
    /// All that is the user's. What the role may not see is told.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub(super) fn of(session: &Session<'_>) -> Result<Self, OpensearchError> {
        let mut all = Self::default();
        for kind in Kind::all() {
            match kind.read(session) {
                // Roles of before these were read may see all that is needed to read indices.
                Err(error)
                    if matches!(kind, Kind::Script | Kind::SearchPipeline)
                        && matches!(error.status(), Some(401 | 403)) =>
                {
                    session.monitor.warn(&format!(
                        "no {} is in the snapshot: the role has no right to see them (docs/engines/opensearch.md)",
                        kind.name()
                    ));
                }
                found => {
                    let own = all.kind_mut(kind);
                    *own = found?;
                    // What the server makes for itself.
                    own.retain(|name, _| !name.starts_with('.'));
                }
            }
        }
        Ok(all)
    }

    /// What the server has of the kinds that there are here.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub(super) fn there(&self, session: &Session<'_>) -> Result<Self, OpensearchError> {
        let mut there = Self::default();
        for kind in Kind::all().filter(|kind| !self.kind(*kind).is_empty()) {
            *there.kind_mut(kind) = kind.read(session)?;
        }
        Ok(there)
    }

    fn kind(&self, kind: Kind) -> &BTreeMap<String, Value> {
        match kind {
            Kind::Script => &self.scripts,
            Kind::Pipeline => &self.pipelines,
            Kind::SearchPipeline => &self.search_pipelines,
            Kind::ComponentTemplate => &self.component_templates,
            Kind::IndexTemplate => &self.index_templates,
            Kind::Template => &self.templates,
        }
    }

    fn kind_mut(&mut self, kind: Kind) -> &mut BTreeMap<String, Value> {
        match kind {
            Kind::Script => &mut self.scripts,
            Kind::Pipeline => &mut self.pipelines,
            Kind::SearchPipeline => &mut self.search_pipelines,
            Kind::ComponentTemplate => &mut self.component_templates,
            Kind::IndexTemplate => &mut self.index_templates,
            Kind::Template => &mut self.templates,
        }
    }

    /// What of a kind is to be put there: what is there as it is need not be, and what the server made for itself stays.
    fn missing<'c>(&'c self, there: &'c Self, kind: Kind) -> impl Iterator<Item = (&'c str, &'c Value)> {
        let stays = move |name: &str, part: &Value| {
            there.kind(kind).get(name).is_some_and(|other| other == part || is_of_server(other))
        };
        self.kind(kind)
            .iter()
            .filter(move |(name, part)| !stays(name, part))
            .map(|(name, part)| (name.as_str(), part))
    }

    /// What the server has of the same name and otherwise.
    pub(super) fn in_the_way_of(&self, there: &Self) -> Vec<String> {
        let of_kind = |kind: Kind| {
            let names =
                self.missing(there, kind).filter(move |(name, _)| there.kind(kind).contains_key(*name));
            names.map(move |(name, _)| format!("{} {name}", kind.name()))
        };
        Kind::all().flat_map(of_kind).collect()
    }

    /// What the server came with and the snapshot has otherwise: it stays as it is.
    pub(super) fn left_to(&self, there: &Self) -> Vec<String> {
        let of_kind = |kind: Kind| {
            let others = self.kind(kind).iter().filter(move |(name, part)| {
                there.kind(kind).get(*name).is_some_and(|other| other != *part && is_of_server(other))
            });
            others.map(move |(name, _)| format!("{} {name}", kind.name()))
        };
        Kind::all().flat_map(of_kind).collect()
    }

    /// Puts all of a kind there that is not there as it is. Counts what it put.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub(super) fn put(
        &self,
        session: &Session<'_>,
        there: &Self,
        kind: Kind,
        put: &mut u64,
    ) -> Result<(), OpensearchError> {
        for (name, part) in self.missing(there, kind) {
            let script = (kind == Kind::Script).then(|| json!({ "script": part }));
            let path = format!("{}/{}", kind.path(), encoded(name));
            let _: Value = session.ask("PUT", &path, Some(script.as_ref().unwrap_or(part)))?;
            *put += 1;
        }
        Ok(())
    }

    /// Whether an index template makes what is put under that name a data stream.
    pub(super) fn makes_data_stream(&self, name: &str) -> bool {
        let priority =
            |template: &Value| template.get("priority").and_then(Value::as_u64).unwrap_or_default();
        let matching = self.index_templates.values().filter(|template| {
            let patterns = template.get("index_patterns").and_then(Value::as_array).into_iter().flatten();
            patterns.filter_map(Value::as_str).any(|pattern| matches(pattern, name))
        });
        matching
            .max_by_key(|template| priority(template))
            .is_some_and(|template| template.get("data_stream").is_some())
    }

    /// With the index templates of another one, in place of its own where both have one.
    pub(super) fn with_index_templates(mut self, others: Option<&Self>) -> Self {
        self.index_templates.extend(others.into_iter().flat_map(|others| others.index_templates.clone()));
        self
    }

    /// Only the index templates that the server has, its own among them.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub(super) fn index_templates(session: &Session<'_>) -> Result<Self, OpensearchError> {
        Ok(Self { index_templates: Kind::IndexTemplate.read(session)?, ..Self::default() })
    }
}

/// Whether a server came with it: another version has it otherwise.
fn is_of_server(part: &Value) -> bool {
    part.pointer("/_meta/managed") == Some(&Value::Bool(true))
}

/// As servers do it: `*` is anything.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern = regex::escape(pattern).replace(r"\*", ".*");
    Regex::new(&format!("^{pattern}$")).is_ok_and(|pattern| pattern.is_match(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: Value) -> Cluster {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_template_of_the_highest_priority_says_whether_it_is_a_stream() {
        let all = of(json!({ "index_templates": {
            "all": { "index_patterns": ["*"], "priority": 1 },
            "logs": { "index_patterns": ["x", "logs.*-a"], "priority": 5, "data_stream": {} },
        } }));
        assert!(all.makes_data_stream("logs.1-a"));
        assert!(!all.makes_data_stream("logs-1-a"));
        assert!(!Cluster::default().makes_data_stream("logs.1-a"));
        let higher =
            of(json!({ "index_templates": { "plain": { "index_patterns": ["logs.*"], "priority": 9 } } }));
        assert!(!all.with_index_templates(Some(&higher)).makes_data_stream("logs.1-a"));
    }

    #[test]
    fn what_a_server_came_with_is_not_in_the_way() {
        let ours =
            of(json!({ "templates": { "logs": { "version": 1 }, "own": { "order": 1 }, "same": {} } }));
        let there = of(json!({ "templates": {
            "logs": { "version": 2, "_meta": { "managed": true } }, "own": { "order": 2 }, "same": {},
        } }));
        assert_eq!(ours.in_the_way_of(&there), ["template own"]);
        assert_eq!(ours.left_to(&there), ["template logs"]);
        assert_eq!(ours.missing(&Cluster::default(), Kind::Template).count(), 3);
        // One of before there were search pipelines and scripts.
        assert_eq!(serde_json::to_value(&ours).unwrap().as_object().unwrap().len(), 4);
    }
}
