//! `verify`: a restore that is made to be looked at, and then dropped.

use std::io::Write;
use std::time::Instant;

use serde_json::{Value, json};
use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;

use super::bulk::{Load, documents_of};
use super::catalog::{Definition, Selection};
use super::documents;
use super::error::{OpensearchError, listed};
use super::facts::{IndexFacts, ShardFacts};
use super::layout;
use super::make::{count, drop_index, make};
use super::moment::Moment;
use super::restore::Indices;
use super::session::Session;
use crate::engine::EngineError;
use crate::http::{HttpTarget, encoded};
use crate::verdict::Verdict;

/// Documents that are compared at once, and differing ones that are named.
const COMPARED: usize = 200;
const NAMED: usize = 5;

/// An index that is dropped with this.
struct Made<'s, 'm> {
    session: &'s Session<'m>,
    name: String,
}

impl Drop for Made<'_, '_> {
    fn drop(&mut self) {
        if let Err(error) = drop_index(self.session, &self.name, false) {
            self.session
                .monitor
                .warn(&format!("index {} of the restore test is still there: {error}", self.name));
        }
    }
}

impl Indices<'_> {
    /// Restores each index under a name of its own into a cluster, reads it again, compares, and drops it.
    ///
    /// # Errors
    /// `NoIndex`; what reaching the server or reading the snapshot fails with. A restore that fails is a difference.
    pub fn verify(
        &self,
        scratch: &HttpTarget,
        names: &[String],
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Vec<Verdict>, EngineError> {
        let patterns = Selection::patterns(names)?;
        let is_wanted = |facts: &&IndexFacts| names.is_empty() || patterns.is_match(&facts.name);
        let wanted: Vec<&IndexFacts> = self.facts.indices.iter().filter(is_wanted).collect();
        if wanted.is_empty() && !names.is_empty() {
            let there = listed(self.facts.indices.iter().map(|facts| facts.name.as_str()));
            let patterns = listed(names.iter().map(String::as_str));
            return Err(
                OpensearchError::NoIndex { patterns, there: format!("the snapshot has {there}") }.into()
            );
        }
        let session = Session::open(scratch, monitor)?;
        let mut verdicts = Vec::new();
        for facts in wanted {
            if monitor.is_cancelled() {
                return Err(RepositoryError::Interrupted.into());
            }
            match self.verify_index(&session, scratch, facts, workers) {
                Err(_) if monitor.is_cancelled() => return Err(RepositoryError::Interrupted.into()),
                verdict => verdicts.push(verdict?),
            }
        }
        Ok(verdicts)
    }

    fn verify_index(
        &self,
        session: &Session<'_>,
        scratch: &HttpTarget,
        facts: &IndexFacts,
        workers: usize,
    ) -> Result<Verdict, EngineError> {
        let began = Instant::now();
        let mut verdict = Verdict {
            name: facts.name.clone(),
            bytes: facts.bytes(),
            counts: vec![("documents", facts.documents())],
            seconds: 0.0,
            differences: Vec::new(),
        };
        // The scratch cluster has not the same nodes.
        let mut definition = self.definition(&facts.name)?.anywhere();
        // A part of a data stream is an index like others.
        definition.data_stream = None;
        let name = format!(
            "strongroom-verify-{}-{}",
            std::process::id(),
            facts.name.trim_start_matches(['.', '_', '-', '+'])
        );
        make(session, &name, &definition)?;
        let made = Made { session, name };
        let load = Load { target: scratch, index: &made.name, is_data_stream: false, jobs: workers };
        let (_, loaded) = self.load(&load, facts, session.monitor, workers);
        match loaded {
            Ok(()) => {}
            Err(EngineError::Opensearch(error @ OpensearchError::Document { .. })) => {
                verdict.differences.push(error.to_string());
                return Ok(verdict);
            }
            Err(error) => return Err(error),
        }
        let counted = count(session, &made.name)?;
        verdict.seconds = began.elapsed().as_secs_f64();
        if counted != facts.documents() {
            verdict.differences.push(format!("it has {counted} documents, and had {}", facts.documents()));
        }
        let restored = Definition::of(session, &made.name)?;
        if restored.as_ref().is_none_or(|restored| restored.mappings != definition.mappings) {
            verdict.differences.push("its mappings are others".into());
        }
        if self.read_again(session, &made.name, &definition, facts)?.fingerprint() != facts.fingerprint() {
            verdict.differences.extend(self.differing(session, &made.name, facts, workers)?);
        }
        Ok(verdict)
    }

    /// What the restored index has.
    fn read_again(
        &self,
        session: &Session<'_>,
        name: &str,
        definition: &Definition,
        facts: &IndexFacts,
    ) -> Result<IndexFacts, EngineError> {
        let mut shards = Vec::new();
        for shard in 0..definition.shards() {
            let moment = Moment::new(session, (name, definition), shard, false)?;
            let read = documents::read(moment, name, shard, |stream| {
                let read = std::io::copy(stream, &mut std::io::sink());
                read.map_err(|source| {
                    EngineError::from(RepositoryError::Read { path: name.to_owned(), source })
                })
            })?;
            shards.push(ShardFacts {
                documents: read.documents,
                bytes: read.bytes,
                fingerprint: read.fingerprint,
                position: None,
            });
        }
        Ok(IndexFacts { shards, ..facts.clone() })
    }

    /// The first documents that are not as they were, in words.
    fn differing(
        &self,
        session: &Session<'_>,
        name: &str,
        facts: &IndexFacts,
        workers: usize,
    ) -> Result<Vec<String>, EngineError> {
        let mut search = Search { session, name, lines: Vec::new(), found: Vec::new(), failure: None };
        for shard in 0..facts.shards.len() {
            let shard = u32::try_from(shard).unwrap_or(u32::MAX);
            let searched =
                self.write(&layout::documents(&facts.name, shard), &mut search, session.monitor, workers);
            if let Some(error) = search.failure.take() {
                return Err(error.into());
            }
            // Enough were found.
            if search.found.len() < NAMED {
                searched?;
            }
        }
        search.compare(true)?;
        if search.found.is_empty() {
            search.found.push("it has documents that were not in the snapshot".into());
        }
        search.found.truncate(NAMED);
        Ok(search.found)
    }
}

/// Compares documents with those of an index while they come.
struct Search<'s, 'm> {
    session: &'s Session<'m>,
    name: &'s str,
    lines: Vec<u8>,
    found: Vec<String>,
    failure: Option<OpensearchError>,
}

impl Search<'_, '_> {
    fn compare(&mut self, is_end: bool) -> Result<(), OpensearchError> {
        let documents: Vec<(Value, Vec<u8>)> = documents_of(&self.lines).filter_map(parsed).collect();
        if documents.is_empty() || (documents.len() < COMPARED && !is_end) {
            return Ok(());
        }
        let used: usize = documents_of(&self.lines).map(<[u8]>::len).sum();
        self.lines.drain(..used);
        for some in documents.chunks(COMPARED) {
            let ask: Vec<&Value> = some.iter().map(|(document, _)| document).collect();
            let path = format!("/{}/_mget", encoded(self.name));
            let said: Value = self.session.ask("POST", &path, Some(&json!({ "docs": ask })))?;
            let there = said.get("docs").and_then(Value::as_array).cloned().unwrap_or_default();
            for (number, (document, source)) in some.iter().enumerate() {
                let id = document.get("_id").and_then(Value::as_str).unwrap_or_default();
                let wanted: Option<Value> = serde_json::from_slice(source).ok();
                match there.get(number).and_then(|one| one.get("_source")) {
                    None => self.found.push(format!("document {id} is missing")),
                    own if own != wanted.as_ref() => {
                        self.found.push(format!("document {id} is not as it was"))
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }
}

/// What `_mget` is asked, and what it should answer.
fn parsed(document: &[u8]) -> Option<(Value, Vec<u8>)> {
    let at = memchr::memchr(b'\n', document)?;
    let (action, source) = document.split_at(at);
    let action: Value = serde_json::from_slice(action).ok()?;
    Some((action.get("index")?.clone(), source.to_vec()))
}

impl Write for Search<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.lines.extend_from_slice(bytes);
        if let Err(error) = self.compare(false) {
            self.failure = Some(error);
            return Err(std::io::Error::other("the server does not answer"));
        }
        match self.found.len() < NAMED {
            true => Ok(bytes.len()),
            false => Err(std::io::Error::other("enough are found")),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
