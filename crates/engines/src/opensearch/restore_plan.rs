//! What a restore will do: whatever can be in the way is found before anything is changed.

use std::collections::{BTreeMap, BTreeSet};

use super::aliases::{self, Wanted};
use super::catalog::Selection;
use super::cluster::Cluster;
use super::error::{OpensearchError, listed};
use super::facts::IndexFacts;
use super::layout;
use super::make::{There, try_out};
use super::restore::{IndexSwitches, Indices};
use super::session::Session;
use crate::engine::EngineError;

/// What is done, in this order.
pub(super) struct Plan<'p> {
    pub(super) tasks: Vec<Task<'p>>,
    /// What belongs to no index: as it should be, and as it is.
    pub(super) cluster: Option<(Cluster, Cluster)>,
    pub(super) aliases: Vec<Wanted>,
}

/// An index that is to be restored.
pub(super) struct Task<'i> {
    pub(super) facts: &'i IndexFacts,
    /// As which; of a data stream, that.
    pub(super) target: String,
    /// The documents of all that become this one.
    pub(super) of: u64,
    /// Whether it is the first of those, and the last.
    pub(super) is_first: bool,
    pub(super) is_last: bool,
    /// Whether something is deleted first, and whether that is a data stream.
    pub(super) replaces: Option<bool>,
}

impl Task<'_> {
    /// Of a data stream.
    pub(super) fn is_part(&self) -> bool {
        self.facts.data_stream.is_some()
    }
}

impl Indices<'_> {
    /// # Errors
    /// `NoIndex`, `Rename`, `Older`, `InTheWay`, `NoTemplate`, `NotMade`; as [`Session::get`].
    pub(super) fn plan(
        &self,
        session: &Session<'_>,
        switches: &IndexSwitches,
    ) -> Result<Plan<'_>, EngineError> {
        let mut tasks = self.tasks(switches)?;
        self.require_fitting(session)?;
        let (mut in_the_way, mut cluster) = (Vec::new(), None);
        if switches.selection.include.is_empty() && switches.selection.exclude.is_empty() {
            let wanted: Cluster = self.json(layout::CLUSTER)?;
            let there = wanted.there(session)?;
            if !switches.drop_existing {
                in_the_way = wanted.in_the_way_of(&there);
            }
            cluster = Some((wanted, there));
        }
        for task in tasks.iter_mut().filter(|task| task.is_first) {
            match There::of(session, &task.target)? {
                There::Nothing => {}
                There::Index if switches.drop_existing => task.replaces = Some(false),
                There::DataStream if switches.drop_existing => task.replaces = Some(true),
                There::Index => in_the_way.push(format!("index {}", task.target)),
                There::DataStream => in_the_way.push(format!("data stream {}", task.target)),
                // Dropping would hit an index of another name.
                There::Alias(indices) => in_the_way.push(format!(
                    "alias {} (of {})",
                    task.target,
                    listed(indices.iter().map(String::as_str))
                )),
            }
        }
        let wanted = self.aliases(&tasks, switches.switch_aliases, session)?;
        let targets: BTreeSet<&str> = tasks.iter().map(|task| task.target.as_str()).collect();
        in_the_way.extend(aliases::in_the_way(session, &wanted, &targets, switches.switch_aliases)?);
        if !in_the_way.is_empty() {
            let is = if in_the_way.len() == 1 { "is" } else { "are" };
            let names = listed(in_the_way.iter().map(String::as_str));
            return Err(OpensearchError::InTheWay { there: format!("{names} {is} there") }.into());
        }
        require_templates(session, &tasks, cluster.as_ref().map(|(wanted, _)| wanted))?;
        for task in tasks.iter().filter(|task| task.replaces.is_some() && !task.is_part()) {
            let definition = self.definition(&task.facts.name)?;
            let not_made =
                |source| OpensearchError::NotMade { index: task.target.clone(), source: Box::new(source) };
            try_out(session, &task.target, &definition).map_err(not_made)?;
        }
        if let Some((wanted, there)) = &cluster {
            let others = wanted.left_to(there);
            if !others.is_empty() {
                let names = listed(others.iter().map(String::as_str));
                session.monitor.note(&format!("{names}: the server's own stays as it is"));
            }
        }
        Ok(Plan { tasks, cluster, aliases: wanted })
    }

    /// Which indices, as which: nothing of the server is looked at.
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
            if target.is_empty() {
                return Err(OpensearchError::Rename {
                    why: format!("--rename makes the name of {name} empty"),
                });
            }
            let is_same_stream = |other: &Task<'_>| {
                facts.data_stream.is_some() && other.facts.data_stream == facts.data_stream
            };
            if let Some(other) = tasks.iter().find(|other| other.target == target && !is_same_stream(other)) {
                let other = other.facts.data_stream.as_ref().unwrap_or(&other.facts.name);
                let why = format!("{other} and {name} would both become {target}");
                return Err(OpensearchError::Rename { why });
            }
            tasks.push(Task { facts, target, of: 0, is_first: false, is_last: false, replaces: None });
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
        Ok(grouped(tasks))
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

    /// Those of the indices that keep their names, or all of them.
    fn aliases(
        &self,
        tasks: &[Task<'_>],
        switch: bool,
        session: &Session<'_>,
    ) -> Result<Vec<Wanted>, EngineError> {
        let mut wanted = Vec::new();
        for task in tasks.iter().filter(|task| !task.is_part()) {
            let aliases = self.definition(&task.facts.name)?.aliases;
            if task.target == task.facts.name || switch {
                let index = &task.target;
                wanted.extend(aliases.into_iter().map(|(alias, how)| Wanted {
                    alias,
                    index: index.clone(),
                    how,
                }));
            } else if !aliases.is_empty() {
                let names = listed(aliases.keys().map(String::as_str));
                session.monitor.note(&format!(
                    "{} gets no alias ({names}): --switch-aliases gives it those of {}",
                    task.target, task.facts.name
                ));
            }
        }
        Ok(wanted)
    }
}

/// The parts of a data stream one after the other, with what is known of all of them.
fn grouped(mut tasks: Vec<Task<'_>>) -> Vec<Task<'_>> {
    tasks.sort_by(|one, other| (&one.target, &one.facts.name).cmp(&(&other.target, &other.facts.name)));
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    for task in &tasks {
        *all.entry(task.target.clone()).or_default() += task.facts.documents();
    }
    let targets: Vec<String> = tasks.iter().map(|task| task.target.clone()).collect();
    for (number, task) in tasks.iter_mut().enumerate() {
        task.of = all.get(&task.target).copied().unwrap_or_default();
        let is_other = |at: Option<usize>| at.and_then(|at| targets.get(at)) != Some(&task.target);
        (task.is_first, task.is_last) = (is_other(number.checked_sub(1)), is_other(Some(number + 1)));
    }
    tasks
}

/// Whether each data stream will be one, also with the templates that come with it.
fn require_templates(
    session: &Session<'_>,
    tasks: &[Task<'_>],
    restored: Option<&Cluster>,
) -> Result<(), OpensearchError> {
    if !tasks.iter().any(Task::is_part) {
        return Ok(());
    }
    let templates = Cluster::index_templates(session)?.with_index_templates(restored);
    match tasks.iter().find(|task| task.is_part() && !templates.makes_data_stream(&task.target)) {
        Some(task) => Err(OpensearchError::NoTemplate {
            server: session.name().to_owned(),
            stream: task.target.clone(),
        }),
        None => Ok(()),
    }
}
