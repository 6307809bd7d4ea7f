//! One worker: a backup that ends in a part.

use strongroom_format::SnapshotId;
use strongroom_format::manifest::Totals;
use strongroom_format::part::{Part, ReliedPack, check_group};

use super::super::{BackupOptions, Resumed, Sink, require_source};
use super::part::StoredPart;
use super::{GroupError, PartOf, of_group, snapshot_of};
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::repository::Repository;
use crate::state::Snapshot;

/// What a worker did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Worked {
    /// Its part is stored.
    Stored {
        /// The snapshot that it was made against.
        parent: Option<SnapshotId>,
        /// Counts and sizes.
        totals: Totals,
    },
    /// It was stored before: by an earlier run, or by another process meanwhile.
    Already {
        /// Its counts and sizes.
        totals: Totals,
    },
    /// The whole group was committed before.
    Committed {
        /// The snapshot.
        snapshot: SnapshotId,
    },
}

impl Repository {
    /// Backs up what `engine` writes into the sink as a part of a group. Nothing counts before the
    /// [group is committed](Repository::commit_group).
    ///
    /// The part exists, durably, exactly when this returns `Ok`. If `engine` fails, no part is stored; what was is
    /// taken over by the next run.
    ///
    /// # Errors
    /// What `engine` fails with; `Group` when a part of this number is stored that is none of this backup; as
    /// [`Repository::backup`].
    pub fn backup_part<E: From<RepositoryError>>(
        &mut self,
        options: &BackupOptions,
        of: &PartOf,
        monitor: &dyn Monitor,
        engine: impl FnOnce(&Sink<'_, '_>) -> Result<(), E>,
    ) -> Result<Worked, E> {
        require_source(&self.state, self.signer()?.id(), &options.source)?;
        check_group(&of.group).map_err(|source| RepositoryError::Unstorable {
            what: format!("the group `{}`", of.group.escape_debug()),
            source,
        })?;
        self.load_index()?;
        if let Some(snapshot) = snapshot_of(&self.state, self.identity.group_nonce(&of.group)) {
            return Ok(Worked::Committed { snapshot: snapshot.id() });
        }
        if let Some(stored) = self.stored_part(of)? {
            return Ok(already(&stored, options, of)?);
        }
        let base = self.state.number;
        let started_ns = self.clock.now_ns();
        // Workers run where there is room: the source's last snapshot is theirs, whichever host it names.
        let parent = self.state.snapshots.iter().rfind(|one| one.manifest.source == options.source).cloned();
        let keys = self.base_keys(options.keep_base_keys, monitor)?;
        let resumed = Resumed { leftovers: self.leftovers(&options.source)? };
        if let Some(leftovers) = &resumed.leftovers {
            let packs = leftovers.packs();
            monitor.note(&format!("{packs} packs of earlier runs that did not finish are taken over"));
        }
        let written = self.write(options, monitor, &keys, parent.as_ref(), Some(&resumed), engine)?;
        self.require_unbroken(written.broken)?;
        let manifest = self.manifest(options, started_ns, parent.as_ref(), &written)?;
        let part = Part {
            group: of.group.clone(),
            number: of.number,
            count: of.count,
            base,
            manifest: manifest.encode(),
            packs: written.footing.packs,
            indexes: written.footing.indexes,
            keys: written.footing.keys,
            relied: written
                .footing
                .relied
                .frames()
                .map(|(pack, frames)| ReliedPack::new(pack, frames))
                .collect(),
            reuses_parent: written.footing.reuses_parent,
        };
        if monitor.is_cancelled() {
            return Err(RepositoryError::Interrupted.into());
        }
        if self.store_part(&part)? {
            return Ok(Worked::Stored { parent: parent.as_ref().map(Snapshot::id), totals: manifest.totals });
        }
        match self.stored_part(of)? {
            Some(stored) => Ok(already(&stored, options, of)?),
            None => {
                Err(RepositoryError::Group { group: of.group.clone(), reason: GroupError::NoParts }.into())
            }
        }
    }
}

/// A part that is stored, if it is one of this backup.
fn already(stored: &StoredPart, options: &BackupOptions, of: &PartOf) -> Result<Worked, RepositoryError> {
    let manifest = &stored.manifest;
    let same = [
        ("number of parts", stored.part.count.to_string(), of.count.to_string()),
        ("source", format!("`{}`", manifest.source), format!("`{}`", options.source)),
        ("engine", manifest.engine.clone(), options.engine.clone()),
    ];
    for (what, found, expected) in same {
        if found != expected {
            let reason = GroupError::Other { number: of.number, what, found, expected };
            return Err(of_group(&of.group)(reason));
        }
    }
    Ok(Worked::Already { totals: manifest.totals })
}
