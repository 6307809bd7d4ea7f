//! A snapshot of append-only files, tested: a server starts from them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use strongroom_format::path::EntryPath;
use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::restore::write_in_order;
use strongroom_repository::state::Snapshot;
use strongroom_repository::tree::EntryCursor;

use super::{AOF_ENGINE, AofFacts};
use crate::engine::EngineError;
use crate::redis::connection::Connection;
use crate::redis::error::RedisError;
use crate::redis::info::Info;
use crate::redis::scratch::{AppendOnly, Scratch};
use crate::verdict::Verdict;

/// A snapshot of append-only files.
pub struct AofSnapshot<'r> {
    reader: &'r Reader<'r>,
    snapshot: &'r Snapshot,
    facts: AofFacts,
}

impl<'r> AofSnapshot<'r> {
    /// Reads what the snapshot says of itself.
    ///
    /// # Errors
    /// `NotRedis`; what reading the facts fails with.
    pub fn open(reader: &'r Reader<'r>, snapshot: &'r Snapshot) -> Result<Self, EngineError> {
        let not_redis = || RedisError::NotRedis { snapshot: snapshot.id() };
        let facts = snapshot.manifest.facts.as_ref().filter(|_| snapshot.manifest.engine == AOF_ENGINE);
        let json = reader.blob(facts.ok_or_else(not_redis)?.node)?;
        let facts = serde_json::from_slice(&json).map_err(|_| not_redis())?;
        Ok(Self { reader, snapshot, facts })
    }

    /// Has a server of its own read all of it, and refuse what does not end well.
    ///
    /// # Errors
    /// `Scratch`; what reading the snapshot fails with. Files that no server reads are a difference.
    pub fn verify(
        &self,
        parent: &Path,
        programs: Option<&Path>,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Verdict, EngineError> {
        let began = Instant::now();
        let mut scratch = Scratch::prepare(programs, &self.facts.server, parent)?;
        let data = scratch.data();
        if let Some(folder) = &self.facts.folder {
            let path = data.join(folder);
            std::fs::create_dir(&path).map_err(|source| RedisError::WriteFile { path, source })?;
        }
        let mut bytes = 0;
        let mut cursor = EntryCursor::new(self.reader, &self.snapshot.manifest.tree)?;
        while let Some(entry) = cursor.next_entry()? {
            let Some(content) = entry.content() else { continue };
            let path = data.join(part_of(&entry.path));
            let failed = |source| RedisError::WriteFile { path: path.clone(), source };
            let mut file = std::fs::File::create(&path).map_err(failed)?;
            write_in_order(self.reader, content, &mut file, monitor, workers)?;
            file.flush().map_err(failed)?;
            bytes += entry.bytes();
        }
        let mut differences = Vec::new();
        let append_only = AppendOnly { folder: self.facts.folder.as_deref(), name: &self.facts.name };
        let mut keys = 0;
        match scratch.serve(16, Some(append_only), monitor) {
            Ok(()) => {
                let mut connection = Connection::open(&scratch.target(), monitor)?;
                keys = Info::of(&mut connection)?.databases().iter().map(|(_, keys)| keys).sum();
            }
            Err(_) if monitor.is_cancelled() => return Err(RepositoryError::Interrupted.into()),
            Err(RedisError::Scratch { why, .. }) if scratch.has_refused() => {
                differences.push(format!("the server does not start from it: {why}"));
            }
            Err(error) => return Err(error.into()),
        }
        let commands = self.facts.files.iter().map(|file| file.commands).sum();
        let counts = vec![("commands", commands), ("keys", keys)];
        let name = self.facts.name.clone();
        Ok(Verdict { name, bytes, counts, seconds: began.elapsed().as_secs_f64(), differences })
    }
}

/// Entries are two parts at most, and none of them leads elsewhere.
fn part_of(path: &EntryPath) -> PathBuf {
    let text = path.to_string();
    text.split('/').filter(|part| !part.is_empty() && *part != ".." && *part != ".").collect()
}
