//! `restore --to`: indices made again.

use std::collections::BTreeSet;
use std::io::Write;

use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::restore::write_in_order;
use strongroom_repository::state::Snapshot;

use super::aliases;
use super::bulk::Load;
use super::catalog::{Definition, Selection};
use super::cluster::Kind;
use super::error::OpensearchError;
use super::facts::{Facts, IndexFacts};
use super::layout;
use super::make::{drop_index, finish, make, make_part};
use super::progress::Progress;
use super::rename::Rename;
use super::restore_plan::{Plan, Task};
use super::session::Session;
use crate::engine::EngineError;
use crate::http::HttpTarget;
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
    /// Templates, pipelines and scripts.
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
    /// `NoIndex`, `Rename`, `Older`, `InTheWay`, `NoTemplate`, `NotMade` before anything is changed; then `Partial`.
    pub fn restore(
        &self,
        to: &HttpTarget,
        switches: &IndexSwitches,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<IndexReport, EngineError> {
        let mut progress = Progress::default();
        let restored = Session::open(to, monitor).map_err(EngineError::from).and_then(|session| {
            let plan = self.plan(&session, switches)?;
            let restoring =
                Restoring { indices: self, plan: &plan, session: &session, to, switches, workers };
            restoring.run(&mut progress)
        });
        match restored {
            Ok(()) => Ok(progress.report),
            // Whatever it looked like to those who were writing.
            Err(_) if monitor.is_cancelled() => Err(progress.broken_off(RepositoryError::Interrupted.into())),
            Err(error) => Err(progress.broken_off(error)),
        }
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

    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        let mut bytes = Vec::new();
        self.write(path, &mut bytes, &strongroom_repository::monitor::Silent, 1)?;
        let wrong = |_| OpensearchError::NotOpensearch { snapshot: self.snapshot.id() };
        Ok(serde_json::from_slice(&bytes).map_err(wrong)?)
    }

    pub(super) fn definition(&self, index: &str) -> Result<Definition, EngineError> {
        self.json(&layout::definition(index))
    }
}

/// A plan that is carried out.
struct Restoring<'p> {
    indices: &'p Indices<'p>,
    plan: &'p Plan<'p>,
    session: &'p Session<'p>,
    to: &'p HttpTarget,
    switches: &'p IndexSwitches,
    workers: usize,
}

impl Restoring<'_> {
    /// Indices before templates: those of the server, perhaps newer ones of the same names, make indices otherwise than they were. Data
    /// streams after them, which need them.
    fn run(&self, progress: &mut Progress) -> Result<(), EngineError> {
        self.put(&Kind::FIRST, progress)?;
        for task in self.plan.tasks.iter().filter(|task| !task.is_part()) {
            self.restore_one(task, progress)?;
        }
        self.put(&Kind::LAST, progress)?;
        for task in self.plan.tasks.iter().filter(|task| task.is_part()) {
            self.restore_one(task, progress)?;
        }
        let targets: BTreeSet<&str> = self.plan.tasks.iter().map(|task| task.target.as_str()).collect();
        let (wanted, switch) = (&self.plan.aliases, self.switches.switch_aliases);
        progress.report.aliases = aliases::give(self.session, wanted, &targets, switch)?;
        Ok(())
    }

    fn put(&self, kinds: &[Kind], progress: &mut Progress) -> Result<(), EngineError> {
        let Some((cluster, there)) = &self.plan.cluster else { return Ok(()) };
        for kind in kinds {
            cluster.put(self.session, there, *kind, &mut progress.report.parts)?;
        }
        Ok(())
    }

    fn restore_one(&self, task: &Task<'_>, progress: &mut Progress) -> Result<(), EngineError> {
        let session = self.session;
        if session.monitor.is_cancelled() {
            return Err(RepositoryError::Interrupted.into());
        }
        let definition = self.indices.definition(&task.facts.name)?;
        if let Some(is_data_stream) = task.replaces {
            progress.dropping(&task.target);
            if let Err(error) = drop_index(session, &task.target, is_data_stream) {
                progress.not_dropped(&error);
                return Err(error.into());
            }
            progress.dropped(&task.target);
        }
        let index = match task.is_part() {
            true => make_part(session, &task.target, &definition, task.is_first)?,
            false => make(session, &task.target, &definition).map(|()| task.target.clone())?,
        };
        progress.made(&task.target, task.of);
        let mut should = 0;
        if !self.switches.schema_only {
            let load = Load {
                target: self.to,
                index: &task.target,
                is_data_stream: task.is_part(),
                jobs: self.switches.jobs,
            };
            let (taken, loaded) = self.indices.load(&load, task.facts, session.monitor, self.workers);
            progress.loaded(taken);
            loaded?;
            should = task.facts.documents();
            progress.report.bytes += task.facts.bytes();
        }
        let there = finish(session, &index, &definition)?;
        if there != should {
            return Err(OpensearchError::Count { index, there, should }.into());
        }
        if task.is_last {
            progress.whole();
        }
        Ok(())
    }
}
