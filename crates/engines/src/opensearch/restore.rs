//! `restore --to`: indices made again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde_json::{Value, json};
use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::restore::write_in_order;
use strongroom_repository::state::Snapshot;

use super::bulk::Load;
use super::catalog::{Definition, Selection};
use super::cluster::Cluster;
use super::error::{OpensearchError, listed};
use super::facts::{Facts, IndexFacts};
use super::layout;
use super::rename::Rename;
use super::session::Session;
use super::settings::Settings;
use crate::engine::EngineError;
use crate::http::{HttpTarget, encoded};
use crate::stored;

/// What is restored, and how.
#[derive(Debug, Clone, Default)]
pub struct IndexSwitches {
    /// Which of the snapshot's indices.
    pub selection: Selection,
    /// As which: the first that fits.
    pub renames: Vec<Rename>,
    /// What is there of the same name is deleted first.
    pub drop_existing: bool,
    /// At the end, in one step, aliases name what was restored, and nothing else any more.
    pub switch_aliases: bool,
    /// No documents.
    pub schema_only: bool,
    /// Connections.
    pub jobs: usize,
}

/// What was restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexReport {
    /// As which.
    pub indices: Vec<String>,
    /// In all of them.
    pub documents: u64,
    /// As they are stored.
    pub bytes: u64,
    /// Templates and pipelines.
    pub parts: u64,
    /// That name them now.
    pub aliases: u64,
}

/// A snapshot of OpenSearch.
pub struct Indices<'r> {
    pub(super) reader: &'r Reader<'r>,
    pub(super) snapshot: &'r Snapshot,
    pub(super) facts: Facts,
}

/// An index that is to be restored.
struct Task<'i> {
    facts: &'i IndexFacts,
    /// As which; of a data stream, that.
    target: String,
}

impl<'r> Indices<'r> {
    /// Reads what the snapshot says of itself.
    ///
    /// # Errors
    /// `NotOpensearch`; what reading the facts fails with.
    pub fn open(reader: &'r Reader<'r>, snapshot: &'r Snapshot) -> Result<Self, EngineError> {
        Ok(Self { reader, snapshot, facts: Facts::of(reader, snapshot)? })
    }

    /// Restores. Everything that can be in the way is looked at before anything is changed.
    ///
    /// # Errors
    /// `NoIndex`, `Rename`, `Older`, `InTheWay` before anything is changed; then `Partial`.
    pub fn restore(
        &self,
        to: &HttpTarget,
        switches: &IndexSwitches,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<IndexReport, EngineError> {
        match self.restore_all(to, switches, monitor, workers) {
            // Whatever it looked like to those who were writing; but what is there now in part is told.
            Err(error)
                if monitor.is_cancelled()
                    && !matches!(error, EngineError::Opensearch(OpensearchError::Partial { .. })) =>
            {
                Err(RepositoryError::Interrupted.into())
            }
            done => done,
        }
    }

    fn restore_all(
        &self,
        to: &HttpTarget,
        switches: &IndexSwitches,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<IndexReport, EngineError> {
        let tasks = self.tasks(switches)?;
        let session = Session::open(to, monitor)?;
        self.require_fitting(&session)?;
        let is_whole = switches.selection.include.is_empty() && switches.selection.exclude.is_empty();
        let cluster = is_whole.then(|| self.cluster()).transpose()?;
        let there = cluster.as_ref().map(|_| Cluster::of(&session)).transpose()?;
        let mut in_the_way = Vec::new();
        if let (Some(cluster), Some(there), false) = (&cluster, &there, switches.drop_existing) {
            in_the_way = cluster.in_the_way_of(there);
        }
        let targets: BTreeSet<&str> = tasks.iter().map(|task| task.target.as_str()).collect();
        for target in &targets {
            in_the_way.extend(in_the_way_of(&session, target, switches.drop_existing)?);
        }
        if !in_the_way.is_empty() {
            let (names, is) = (
                listed(in_the_way.iter().map(String::as_str)),
                if in_the_way.len() == 1 { "is" } else { "are" },
            );
            return Err(OpensearchError::InTheWay { there: format!("{names} {is} there") }.into());
        }
        let mut report = IndexReport::default();
        if let (Some(cluster), Some(there)) = (&cluster, &there) {
            report.parts = cluster.put(&session, there)?;
        }
        let mut actions = Vec::new();
        for task in &tasks {
            if monitor.is_cancelled() {
                return Err(RepositoryError::Interrupted.into());
            }
            let definition = self.definition(&task.facts.name)?;
            if !report.indices.contains(&task.target) {
                if switches.drop_existing {
                    drop_index(&session, &task.target, task.facts.data_stream.is_some())?;
                }
                make(&session, &task.target, &definition)?;
            }
            if !switches.schema_only {
                let load = Load {
                    target: to,
                    index: &task.target,
                    is_data_stream: task.facts.data_stream.is_some(),
                    jobs: switches.jobs,
                };
                let (taken, loaded) = self.load(&load, task.facts, monitor, workers);
                loaded.map_err(|source| partial(task, taken, &report, source))?;
                report.documents += taken;
                report.bytes += task.facts.bytes();
            }
            if task.facts.data_stream.is_none() {
                let counted = finish(&session, &task.target, &definition)?;
                let should = if switches.schema_only { 0 } else { task.facts.documents() };
                if counted != should {
                    let error = OpensearchError::Count { index: task.target.clone(), there: counted, should };
                    return Err(partial(task, counted, &report, error.into()).into());
                }
                let keeps_name = task.target == task.facts.name;
                if keeps_name || switches.switch_aliases {
                    actions.extend(
                        definition
                            .aliases
                            .iter()
                            .map(|(alias, how)| (alias.clone(), task.target.clone(), how.clone())),
                    );
                } else if !definition.aliases.is_empty() {
                    let names = listed(definition.aliases.keys().map(String::as_str));
                    monitor.note(&format!(
                        "{} gets no alias ({names}): --switch-aliases gives it those of {}",
                        task.target, task.facts.name
                    ));
                }
            }
            if !report.indices.contains(&task.target) {
                report.indices.push(task.target.clone());
            }
        }
        // A data stream is counted when all of its parts are in.
        for target in &targets {
            let parts =
                tasks.iter().filter(|task| task.target == *target && task.facts.data_stream.is_some());
            let should: u64 = parts.map(|task| task.facts.documents()).sum();
            if should > 0 && !switches.schema_only {
                let there = count(&session, target)?;
                if there != should {
                    return Err(OpensearchError::Count { index: (*target).to_owned(), there, should }.into());
                }
            }
        }
        report.aliases = give_aliases(&session, &actions, &targets, switches.switch_aliases)?;
        Ok(report)
    }

    fn tasks(&self, switches: &IndexSwitches) -> Result<Vec<Task<'_>>, OpensearchError> {
        let (include, exclude) = (
            Selection::patterns(&switches.selection.include)?,
            Selection::patterns(&switches.selection.exclude)?,
        );
        let mut tasks: Vec<Task<'_>> = Vec::new();
        for facts in &self.facts.indices {
            let name = facts.data_stream.as_ref().unwrap_or(&facts.name);
            if exclude.is_match(name) || !(switches.selection.include.is_empty() || include.is_match(name)) {
                continue;
            }
            let renamed = switches.renames.iter().find_map(|rename| rename.of(name));
            let target = renamed.unwrap_or_else(|| name.clone());
            let is_same_stream = |other: &Task<'_>| {
                facts.data_stream.is_some() && other.facts.data_stream == facts.data_stream
            };
            if let Some(other) = tasks.iter().find(|other| other.target == target && !is_same_stream(other)) {
                let why = format!("{} and {name} would both become {target}", other.facts.name);
                return Err(OpensearchError::Rename { why });
            }
            tasks.push(Task { facts, target });
        }
        if tasks.is_empty() && !(switches.selection.include.is_empty()) {
            let names =
                self.facts.indices.iter().map(|facts| facts.data_stream.as_ref().unwrap_or(&facts.name));
            let there = format!("the snapshot has {}", listed(names.map(String::as_str)));
            return Err(OpensearchError::NoIndex {
                patterns: listed(switches.selection.include.iter().map(String::as_str)),
                there,
            });
        }
        Ok(tasks)
    }

    /// What an older server makes of a newer one's settings and mappings nobody knows.
    fn require_fitting(&self, session: &Session<'_>) -> Result<(), OpensearchError> {
        let (then, now) = (&self.facts.server, &session.server);
        if then.distribution != now.distribution {
            session.monitor.warn(&format!(
                "the snapshot is of {then}, and {} is {now}: not all settings may be known there",
                session.name()
            ));
        } else if then.number().0 > now.number().0 {
            return Err(OpensearchError::Older {
                snapshot: then.to_string(),
                server: session.name().to_owned(),
                version: now.to_string(),
            });
        }
        Ok(())
    }

    /// All documents of an index. Gives how many the server took.
    pub(super) fn load(
        &self,
        load: &Load<'_>,
        facts: &IndexFacts,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> (u64, Result<(), EngineError>) {
        load.run(monitor, |out, monitor| {
            for shard in 0..facts.shards.len() {
                let shard = u32::try_from(shard).unwrap_or(u32::MAX);
                self.write(&layout::documents(&facts.name, shard), out, monitor, workers)?;
            }
            Ok(())
        })
    }

    /// An entry of the snapshot.
    pub(super) fn write(
        &self,
        path: &str,
        out: &mut dyn Write,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<(), EngineError> {
        let content = stored::content(self.reader, self.snapshot, path)?;
        Ok(write_in_order(self.reader, &content, out, monitor, workers)?)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        let mut bytes = Vec::new();
        self.write(path, &mut bytes, &strongroom_repository::monitor::Silent, 1)?;
        let wrong = |_| OpensearchError::NotOpensearch { snapshot: self.snapshot.id() };
        Ok(serde_json::from_slice(&bytes).map_err(wrong)?)
    }

    pub(super) fn definition(&self, index: &str) -> Result<Definition, EngineError> {
        self.json(&layout::definition(index))
    }

    fn cluster(&self) -> Result<Cluster, EngineError> {
        self.json(layout::CLUSTER)
    }
}

fn partial(task: &Task<'_>, taken: u64, report: &IndexReport, source: EngineError) -> OpensearchError {
    let whole = listed(report.indices.iter().map(String::as_str));
    let done = if whole.is_empty() { String::new() } else { format!("; whole are: {whole}") };
    OpensearchError::Partial {
        index: task.target.clone(),
        documents: taken,
        of: task.facts.documents(),
        done,
        source: Box::new(source),
    }
}

/// What has the name already, in words.
fn in_the_way_of(
    session: &Session<'_>,
    target: &str,
    may_drop: bool,
) -> Result<Option<String>, OpensearchError> {
    let found: Option<BTreeMap<String, Value>> = session.find(&format!("/{}", encoded(target)))?;
    let Some(found) = found else { return Ok(None) };
    let is_stream = |name: &String| name.starts_with(".ds-");
    if found.contains_key(target) || found.keys().all(is_stream) {
        return Ok(Some(format!("index {target}")).filter(|_| !may_drop));
    }
    // Dropping would hit an index of another name.
    Ok(Some(format!("alias {target} (of {})", listed(found.keys().map(String::as_str)))))
}

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
pub(super) fn make(
    session: &Session<'_>,
    target: &str,
    definition: &Definition,
) -> Result<(), OpensearchError> {
    if definition.data_stream.is_some() {
        let _: Value = session.ask("PUT", &format!("/_data_stream/{}", encoded(target)), None)?;
        return Ok(());
    }
    let body = json!({ "settings": Settings::of(definition).first, "mappings": definition.mappings });
    let _: Value = session.ask("PUT", &format!("/{}", encoded(target)), Some(&body))?;
    Ok(())
}

/// Makes what was loaded visible, and the index as it was. Gives how many documents it has.
fn finish(session: &Session<'_>, target: &str, definition: &Definition) -> Result<u64, OpensearchError> {
    let counted = count(session, target)?;
    let path = format!("/{}/_settings", encoded(target));
    let _: Value = session.ask("PUT", &path, Some(&Settings::of(definition).last))?;
    Ok(counted)
}

/// How many documents it has.
pub(super) fn count(session: &Session<'_>, target: &str) -> Result<u64, OpensearchError> {
    let _: Value = session.ask("POST", &format!("/{}/_refresh", encoded(target)), None)?;
    let path = format!("/{}/_count", encoded(target));
    let counted: Value = session.get(&path)?;
    let none = || session.nonsense("GET", &path, "it has no count");
    counted.get("count").and_then(Value::as_u64).ok_or_else(none)
}

/// In one step: each alias with its index and what more there is to it.
fn give_aliases(
    session: &Session<'_>,
    wanted: &[(String, String, Value)],
    restored: &BTreeSet<&str>,
    switch: bool,
) -> Result<u64, OpensearchError> {
    let mut actions = Vec::new();
    if switch {
        let names: BTreeSet<&String> = wanted.iter().map(|(alias, _, _)| alias).collect();
        for alias in names {
            let there: Option<BTreeMap<String, Value>> =
                session.find(&format!("/_alias/{}", encoded(alias)))?;
            for index in
                there.unwrap_or_default().into_keys().filter(|index| !restored.contains(index.as_str()))
            {
                actions.push(json!({ "remove": { "index": index, "alias": alias } }));
            }
        }
    }
    for (alias, index, how) in wanted {
        let mut add = how.clone();
        add["index"] = index.clone().into();
        add["alias"] = alias.clone().into();
        actions.push(json!({ "add": add }));
    }
    if !actions.is_empty() {
        let _: Value = session.ask("POST", "/_aliases", Some(&json!({ "actions": actions })))?;
    }
    Ok(wanted.len() as u64)
}
