//! Templates and pipelines: what belongs to no index, and makes the next ones.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::OpensearchError;
use super::session::Session;
use crate::http::encoded;

/// By their names, as the server takes them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cluster {
    #[serde(default)]
    component_templates: BTreeMap<String, Value>,
    #[serde(default)]
    index_templates: BTreeMap<String, Value>,
    /// Those of before version 7.8.
    #[serde(default)]
    templates: BTreeMap<String, Value>,
    #[serde(default)]
    pipelines: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct ComponentTemplates {
    component_templates: Vec<ComponentTemplate>,
}

#[derive(Deserialize)]
struct ComponentTemplate {
    name: String,
    component_template: Value,
}

#[derive(Deserialize)]
struct IndexTemplates {
    index_templates: Vec<IndexTemplate>,
}

#[derive(Deserialize)]
struct IndexTemplate {
    name: String,
    index_template: Value,
}

impl Cluster {
    /// # Errors
    /// As [`Session::get`].
    pub(super) fn of(session: &Session<'_>) -> Result<Self, OpensearchError> {
        let component: Option<ComponentTemplates> = session.find("/_component_template")?;
        let index: Option<IndexTemplates> = session.find("/_index_template")?;
        let component = component.map(|found| found.component_templates).unwrap_or_default();
        let index = index.map(|found| found.index_templates).unwrap_or_default();
        let mut all = Self {
            component_templates: component
                .into_iter()
                .map(|one| (one.name, one.component_template))
                .collect(),
            index_templates: index.into_iter().map(|one| (one.name, one.index_template)).collect(),
            templates: session.find("/_template")?.unwrap_or_default(),
            pipelines: session.find("/_ingest/pipeline")?.unwrap_or_default(),
        };
        // What the server makes for itself.
        for kind in
            [&mut all.component_templates, &mut all.index_templates, &mut all.templates, &mut all.pipelines]
        {
            kind.retain(|name, _| !name.starts_with('.'));
        }
        Ok(all)
    }

    /// What each is, in the order in which they need each other: where it is put, its name, and itself.
    fn parts(&self) -> impl Iterator<Item = (&'static str, &str, &Value)> {
        let kinds = [
            ("/_ingest/pipeline", &self.pipelines),
            ("/_component_template", &self.component_templates),
            ("/_index_template", &self.index_templates),
            ("/_template", &self.templates),
        ];
        kinds
            .into_iter()
            .flat_map(|(path, parts)| parts.iter().map(move |(name, part)| (path, name.as_str(), part)))
    }

    /// What the server has of the same name and otherwise.
    pub(super) fn in_the_way_of(&self, there: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for ((path, name, part), kind) in self.parts().map(|part| (part, there.kind(part.0))) {
            if kind.get(name).is_some_and(|other| other != part) {
                found.push(format!("{} {name}", path.trim_start_matches("/_").replace(['_', '/'], " ")));
            }
        }
        found
    }

    fn kind(&self, path: &str) -> &BTreeMap<String, Value> {
        match path {
            "/_ingest/pipeline" => &self.pipelines,
            "/_component_template" => &self.component_templates,
            "/_index_template" => &self.index_templates,
            _ => &self.templates,
        }
    }

    /// Puts all of it there that is not there as it is. Gives how many.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub(super) fn put(&self, session: &Session<'_>, there: &Self) -> Result<u64, OpensearchError> {
        let mut put = 0;
        for (path, name, part) in self.parts() {
            if there.kind(path).get(name) != Some(part) {
                let _: Value = session.ask("PUT", &format!("{path}/{}", encoded(name)), Some(part))?;
                put += 1;
            }
        }
        Ok(put)
    }
}
