//! `backup opensearch`: indices, a stream a shard.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use strongroom_chunker::ChunkerParams;
use strongroom_format::node::TreeRef;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::TreeEntry;
use strongroom_repository::backup::Sink;
use strongroom_repository::reader::Reader;
use strongroom_repository::tree::EntryCursor;

use super::catalog::{Catalog, Definition, Position, Selection, positions};
use super::cluster::Cluster;
use super::documents;
use super::error::OpensearchError;
use super::facts::{ENGINE, Facts, IndexFacts, ShardFacts};
use super::layout;
use super::moment::Moment;
use super::session::Session;
use crate::engine::{Engine, EngineError, stream_entry};
use crate::http::{HttpTarget, encoded};
use crate::side_by_side;

/// Reads a cluster.
#[derive(Debug, Clone)]
pub struct Opensearch {
    /// Which.
    pub target: HttpTarget,
    /// What of it.
    pub selection: Selection,
    /// By scroll, also where the server could keep a point in time.
    pub by_scroll: bool,
    /// Shards that are read side by side, at least 1.
    pub jobs: usize,
}

impl Engine for Opensearch {
    fn name(&self) -> &'static str {
        ENGINE
    }

    fn backup(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        self.back_up(sink)
    }
}

/// A shard that is to be read.
struct Task<'t> {
    index: &'t str,
    definition: &'t Definition,
    shard: u32,
    /// Where its changes had come to before they were made visible.
    before: Option<Position>,
    /// What the last snapshot has of it, if nothing changed since.
    unchanged: Option<(TreeEntry, ShardFacts)>,
}

impl Opensearch {
    fn back_up(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        let session = Session::open(&self.target, sink.monitor())?;
        let catalog = Catalog::of(&session, &self.selection)?;
        for (name, definition) in &catalog.open {
            if let Some(why) = definition.without_source() {
                return Err(OpensearchError::NoSource { index: name.clone(), why: why.into() }.into());
            }
        }
        for name in &catalog.closed {
            sink.monitor()
                .warn(&format!("index {name} is closed: it cannot be read and is not in the snapshot"));
            sink.count_unreadable();
        }
        let cluster = Cluster::of(&session)?;
        put_json(sink, layout::CLUSTER, &cluster)?;
        let mut tasks = VecDeque::new();
        let parent = Parent::of(sink);
        for (name, definition) in &catalog.open {
            put_json(sink, &layout::definition(name), definition)?;
            let mut positions = positions(&session, name, definition)?;
            let mut is_read = false;
            for shard in 0..definition.shards() {
                let before = positions.remove(&shard).map(|still| still.position);
                let unchanged = parent.unchanged(name, definition.uuid(), shard, before.as_ref());
                is_read |= unchanged.is_none();
                tasks.push_back(Task { index: name, definition, shard, before, unchanged });
            }
            if is_read {
                // What was written up to here is seen by what reads now.
                let _: serde_json::Value =
                    session.ask("POST", &format!("/{}/_refresh", encoded(name)), None)?;
            }
        }
        let mut read = self.read_all(sink, tasks)?;
        let mut indices = Vec::new();
        for (name, definition) in &catalog.open {
            indices.push(IndexFacts {
                name: name.clone(),
                uuid: definition.uuid().to_owned(),
                data_stream: definition.data_stream.clone(),
                shards: read.remove(name.as_str()).unwrap_or_default().into_values().collect(),
            });
        }
        let facts = Facts { engine: ENGINE.into(), server: session.server, indices, closed: catalog.closed };
        sink.facts(json_of(&facts)?);
        Ok(())
    }

    /// What is known of each shard, by its index.
    fn read_all<'t>(
        &self,
        sink: &Sink<'_, '_>,
        tasks: VecDeque<Task<'t>>,
    ) -> Result<BTreeMap<&'t str, BTreeMap<u32, ShardFacts>>, EngineError> {
        let read = side_by_side::run(tasks, self.jobs, sink.monitor(), |tasks| {
            let session = Session::open(&self.target, &tasks.stop)?;
            let mut read = Vec::new();
            while let Some(mut task) = tasks.next() {
                let facts = match task.unchanged.take() {
                    Some((entry, facts)) => {
                        take_over(sink, entry)?;
                        facts
                    }
                    None => self.read(sink, &session, &task)?,
                };
                read.push((task.index, task.shard, facts));
            }
            Ok::<_, EngineError>(read)
        })?;
        let mut by_index: BTreeMap<&str, BTreeMap<u32, ShardFacts>> = BTreeMap::new();
        for (index, shard, facts) in read {
            by_index.entry(index).or_default().insert(shard, facts);
        }
        Ok(by_index)
    }

    fn read(
        &self,
        sink: &Sink<'_, '_>,
        session: &Session<'_>,
        task: &Task<'_>,
    ) -> Result<ShardFacts, EngineError> {
        let path = layout::documents(task.index, task.shard);
        let parameters = ChunkerParams::default();
        let entry = stream_entry(&path)?;
        let moment = Moment::new(session, (task.index, task.definition), task.shard, self.by_scroll)?;
        let mut lane = sink.stream_lane(parameters)?;
        lane.against(sink.base(&entry.path))?;
        let read = documents::read(moment, task.index, task.shard, |stream| {
            Ok::<u64, EngineError>(lane.content(&path, stream)?)
        })?;
        sink.cut(path.into_bytes(), parameters, read.bytes);
        lane.end(entry)?;
        lane.finish()?;
        // Nobody wrote while it was read: the same position means the same documents.
        let after = positions(session, task.index, task.definition)?.remove(&task.shard);
        let mut still = after.filter(|after| task.before.as_ref() == Some(&after.position));
        let counted = still.as_ref().and_then(|still| still.documents);
        if let Some(why) = unseen(read.documents, counted, task.definition.has_nested()) {
            sink.monitor().warn(&format!("shard {} of index {}: {why}", task.shard, task.index));
            sink.count_unreadable();
            // Else it would be taken over the next time, as if it were whole.
            still = None;
        }
        let position = still.map(|still| still.position);
        Ok(ShardFacts {
            documents: read.documents,
            bytes: read.bytes,
            fingerprint: read.fingerprint,
            position,
        })
    }
}

/// What of a shard in which nothing changed was not given: documents that the role may not see are left out without a word.
fn unseen(read: u64, counted: Option<u64>, has_nested: bool) -> Option<String> {
    let counted = counted.filter(|counted| !has_nested && *counted != read)?;
    Some(format!(
        "{read} documents came, and the server counts {counted}: is the role limited by document-level security?"
    ))
}

/// What the last snapshot of the source has.
struct Parent<'p>(Option<(Facts, &'p Reader<'p>, &'p TreeRef)>);

impl<'p> Parent<'p> {
    fn of(sink: &Sink<'_, 'p>) -> Self {
        let Some(parent) = sink.parent() else { return Self(None) };
        match Facts::of(sink.reader(), parent) {
            Ok(facts) => Self(Some((facts, sink.reader(), &parent.manifest.tree))),
            Err(error) => {
                sink.monitor()
                    .warn(&format!("the last snapshot cannot be read ({error}): all is read again"));
                Self(None)
            }
        }
    }

    /// A shard's documents, if nothing changed since: same index, same history, same last change.
    fn unchanged(
        &self,
        index: &str,
        uuid: &str,
        shard: u32,
        position: Option<&Position>,
    ) -> Option<(TreeEntry, ShardFacts)> {
        let (facts, reader, tree) = self.0.as_ref()?;
        let index_facts = facts.index(index).filter(|facts| facts.uuid == uuid)?;
        let facts = index_facts.shards.get(usize::try_from(shard).ok()?)?;
        if position.is_none() || facts.position.as_ref() != position {
            return None;
        }
        // What cannot be read of the repository is read from the server.
        let path = EntryPath::new(layout::documents(index, shard)).ok()?;
        let entry = EntryCursor::new(*reader, tree).ok()?.seek(&path).ok()??;
        (entry.bytes() == facts.bytes).then(|| (entry, facts.clone()))
    }
}

fn take_over(sink: &Sink<'_, '_>, entry: TreeEntry) -> Result<(), EngineError> {
    sink.monitor().advance(entry.bytes());
    sink.cut(entry.path.as_bytes().to_vec(), ChunkerParams::default(), entry.bytes());
    let mut lane = sink.stream_lane(ChunkerParams::default())?;
    lane.entry(entry)?;
    Ok(lane.finish()?)
}

fn json_of(value: &impl Serialize) -> Result<Vec<u8>, EngineError> {
    let json = serde_json::to_vec_pretty(value);
    let wrong = |error: serde_json::Error| OpensearchError::Answer {
        server: "the server".into(),
        what: "what it has".into(),
        why: error.to_string(),
    };
    Ok(json.map_err(wrong)?)
}

fn put_json(sink: &Sink<'_, '_>, path: &str, value: &impl Serialize) -> Result<(), EngineError> {
    let json = json_of(value)?;
    crate::engine::read_stream(sink, path, &mut &json[..], |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_that_were_left_out_are_told() {
        assert_eq!(unseen(5, Some(5), false), None);
        assert_eq!(unseen(5, None, false), None);
        assert_eq!(unseen(5, Some(15), true), None);
        assert!(unseen(5, Some(6), false).unwrap().contains("counts 6"));
    }
}
