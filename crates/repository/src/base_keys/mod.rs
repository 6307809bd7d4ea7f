//! Base keys: the data keys of its own last runs, which a host that has no right to read keeps where the policy and the
//! host itself allow it (`format-spec/threat-model.md#base-keys`). With them it reads what it stored itself, and
//! so stores what differs from that; nothing else is read with them.
//!
//! A key is kept when its snapshot's entry is durable, never before. It goes when there are newer ones for as many runs
//! as the policy says, when it is retired, and all go as soon as a run finds that the policy, the writer or the host no
//! longer allows any. The [file] lies in the cache: without it, runs store whole frames until it has filled again.

mod file;
mod own_frames;

use strongroom_format::registry::Roles;
use strongroom_format::{KeyId, WriterId};
use strongroom_keys::Secret;

use self::file::{FileError, KeptKey, KeyFile};
pub(crate) use self::own_frames::OwnFrames;
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::repository::Repository;
use crate::state::describe;

/// The keys that a run begins with, and whether it is to keep its own.
pub(crate) struct BaseKeys {
    file: Option<KeyFile>,
    /// Most runs whose keys are kept; 0 where none may be.
    limit: usize,
    kept: Vec<KeptKey>,
    without: Without,
}

/// Why there are none.
#[derive(Clone, Copy)]
enum Without {
    Policy,
    Host,
    Cache,
    EarlierRuns,
}

impl BaseKeys {
    /// Whether the run's own key is to be kept.
    pub(crate) fn keeps(&self) -> bool {
        self.limit > 0
    }

    /// Said by a run that would store deltas, and has no right to read and no keys.
    pub(crate) fn why_whole(&self) -> String {
        let (more, silence) = match self.without {
            Without::Policy => (
                "an administrator can let it keep the data keys of its last runs (`strongroom policy set --keep-base-keys`)",
                true,
            ),
            Without::Host => (
                "with --keep-base-keys it keeps the data keys of its last runs, as the policy allows, and stores what differs",
                true,
            ),
            Without::Cache => ("there is no cache on disk to keep the data keys of its last runs in", true),
            Without::EarlierRuns => {
                ("it has kept no data key yet, and stores what differs from the next run on", false)
            }
        };
        let silence = if silence { "; --no-delta says that whole is meant" } else { "" };
        format!(
            "this host has no right to read what it stored before, so what changed is stored whole: {more}{silence}"
        )
    }
}

impl Repository {
    /// Removes the keys of writers that may not keep any, whose ever they are.
    pub(crate) fn drop_base_keys(&mut self) {
        let Some(folder) = self.cache.folder() else { return };
        for file in KeyFile::all(&folder) {
            if self.base_keys_limit(file.writer()) == 0
                && let Err(error) = file.remove()
            {
                self.warnings.push(cannot_drop(&file, &error));
            }
        }
    }

    /// For how many runs the policy in force lets a writer keep data keys.
    fn base_keys_limit(&self, writer: WriterId) -> usize {
        let policy = &self.state.policy;
        let writes = policy.signer(writer).is_some_and(|signer| signer.roles.holds(Roles::WRITE));
        if writes && policy.deltas { policy.base_keys.into() } else { 0 }
    }

    /// What a run begins with. Where it may keep none, what was kept is removed; what cannot be read counts as not
    /// there, is said, and is replaced when the run ends.
    pub(crate) fn base_keys(
        &self,
        is_wanted: bool,
        monitor: &dyn Monitor,
    ) -> Result<BaseKeys, RepositoryError> {
        let me = self.signer()?.id();
        let file = self.cache.folder().map(|folder| KeyFile::new(&folder, me));
        let allowed = self.base_keys_limit(me);
        let without = match &file {
            _ if allowed == 0 => Without::Policy,
            _ if !is_wanted => Without::Host,
            None => Without::Cache,
            Some(_) => Without::EarlierRuns,
        };
        let limit = if matches!(without, Without::EarlierRuns) { allowed } else { 0 };
        let mut keys = BaseKeys { file, limit, kept: Vec::new(), without };
        let Some(file) = &keys.file else { return Ok(keys) };
        if limit == 0 {
            if let Err(error) = file.remove() {
                monitor.warn(&cannot_drop(file, &error));
            }
            return Ok(keys);
        }
        match self.update(file, limit, None) {
            Ok(kept) => keys.kept = kept,
            Err(error) => monitor.warn(&format!(
                "the data keys of earlier runs in {} cannot be used ({}); they are replaced",
                file.path().display(),
                describe(&error)
            )),
        }
        Ok(keys)
    }

    /// What the keys open, if there are any.
    pub(crate) fn own_frames(&self, keys: &BaseKeys) -> Result<Option<OwnFrames>, RepositoryError> {
        if keys.kept.is_empty() {
            return Ok(None);
        }
        Ok(Some(OwnFrames::new(self.signer()?.id(), self.config.repository, &keys.kept)))
    }

    /// Keeps the key of a run whose snapshot is committed. A host that may read needs none: what it has kept goes.
    pub(crate) fn keep_base_key(&self, keys: &BaseKeys, id: KeyId, secret: Secret, monitor: &dyn Monitor) {
        let Some(file) = keys.file.as_ref().filter(|_| keys.keeps()) else { return };
        let kept = if self.may_read_bases() {
            file.remove().map_err(FileError::from)
        } else {
            self.update(file, keys.limit, Some(KeptKey { id, secret })).map(drop)
        };
        if let Err(error) = kept {
            monitor.warn(&format!(
                "the snapshot is committed, but its data key is not kept in {}: {}",
                file.path().display(),
                describe(&error)
            ));
        }
    }

    /// Adds a key, and drops those that may not be kept. Gives what the file holds now, newest first. With a key to add,
    /// a file that cannot be read is replaced.
    fn update(
        &self,
        file: &KeyFile,
        limit: usize,
        added: Option<KeptKey>,
    ) -> Result<Vec<KeptKey>, FileError> {
        let _lock = file.lock()?;
        let before = match file.read(&self.metadata) {
            Err(_) if added.is_some() => Vec::new(),
            read => read?,
        };
        let count = before.len();
        let is_added = added.is_some();
        let is_retired = |key: &KeptKey| self.state.retired_keys.contains_key(&key.id);
        let kept: Vec<_> =
            added.into_iter().chain(before).filter(|key| !is_retired(key)).take(limit).collect();
        if is_added || kept.len() < count {
            let metadata = self.metadata.get(self.state.policy.metadata.id)?;
            file.write(&kept, metadata, &*self.random)?;
        }
        Ok(kept)
    }
}

fn cannot_drop(file: &KeyFile, error: &std::io::Error) -> String {
    format!(
        "{} holds data keys that this host may not keep any longer, and cannot be removed: {error}",
        file.path().display()
    )
}
