//! Entries that are statements about what is there: tags, attestations and notes.

use strongroom_format::SnapshotId;
use strongroom_format::entry::{Attestation, ForgetBody, NoteBody, Statement, TagBody};
use strongroom_format::registry::Roles;

use crate::error::RepositoryError;
use crate::repository::Repository;
use crate::state::{Snapshot, State};

impl Repository {
    /// Adds tags to a snapshot and takes others off.
    ///
    /// # Errors
    /// `NoSuchSnapshot` when it was forgotten meanwhile; `Store`, `Contention`, `NoSigner`.
    pub fn tag(
        &mut self,
        snapshot: SnapshotId,
        add: &[String],
        remove: &[String],
    ) -> Result<u64, RepositoryError> {
        self.append(|state| {
            if state.snapshots.iter().any(|known| known.id() == snapshot) {
                Ok(Statement::Tag(TagBody { snapshot, add: add.to_vec(), remove: remove.to_vec() }))
            } else {
                Err(RepositoryError::NoSuchSnapshot { query: snapshot.to_hex(), candidates: Vec::new() })
            }
        })
    }

    /// Forgets snapshots, for good. Gives how many were there; what only they needed stays until [`Repository::prune`].
    ///
    /// # Errors
    /// `NoSuchSnapshot` when none of them is there; `NoSigner` without the role maintain; `Store`, `Contention`.
    pub fn forget(&mut self, snapshots: &[SnapshotId], reason: &str) -> Result<usize, RepositoryError> {
        self.require_role(Roles::MAINTAIN, "maintain")?;
        let mut forgotten = 0;
        self.append(|state| {
            let known = state.snapshots.iter().map(Snapshot::id).filter(|id| snapshots.contains(id));
            let body = ForgetBody { snapshots: known.collect(), reason: reason.to_owned() };
            forgotten = body.snapshots.len();
            if forgotten == 0 {
                let query = snapshots.iter().map(SnapshotId::to_hex).collect::<Vec<_>>().join(", ");
                return Err(RepositoryError::NoSuchSnapshot { query, candidates: Vec::new() });
            }
            Ok(Statement::Forget(body))
        })?;
        Ok(forgotten)
    }

    /// Attests packs of which a check opened every frame, so that other writers may rely on them. Gives how many were
    /// not attested before; with none, or only one writer in the policy, nothing is said.
    ///
    /// # Errors
    /// `NoSigner` without the role verify; `Store`, `Contention`.
    pub fn attest(&mut self, opened: &[Attestation]) -> Result<usize, RepositoryError> {
        let policy = &self.state.policy;
        if policy.signers.iter().filter(|signer| signer.roles.holds(Roles::WRITE)).count() < 2 {
            return Ok(0);
        }
        let is_new = |state: &State, said: &Attestation| {
            state.packs.contains_key(&said.pack) && !state.attested.contains_key(&said.pack)
        };
        let count = opened.iter().filter(|said| is_new(&self.state, said)).count();
        if count == 0 {
            return Ok(0);
        }
        let signer = self.signer()?.id();
        if !policy.signer(signer).is_some_and(|signer| signer.roles.holds(Roles::VERIFY)) {
            return Err(RepositoryError::NoSigner { role: "verify" });
        }
        self.append(|state| {
            let said: Vec<_> = opened.iter().filter(|said| is_new(state, said)).copied().collect();
            Ok(Statement::Attested(said))
        })?;
        Ok(count)
    }

    /// Leaves a note for the audit trail: what happened, to which snapshot, with details in JSON.
    ///
    /// # Errors
    /// `Store`, `Contention`, `NoSigner`.
    pub fn note(
        &mut self,
        event: &str,
        snapshot: Option<SnapshotId>,
        detail: &str,
    ) -> Result<u64, RepositoryError> {
        let time_ns = self.clock.now_ns();
        self.append(|_| {
            Ok(Statement::Note(NoteBody {
                event: event.to_owned(),
                snapshot,
                time_ns,
                detail: detail.to_owned(),
            }))
        })
    }
}
