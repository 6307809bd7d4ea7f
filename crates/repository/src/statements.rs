//! Entries that are statements about what is there: tags, what is forgotten, attestations and notes. For holds see
//! [`crate::holds`].

use std::sync::Arc;

use strongroom_format::SnapshotId;
use strongroom_format::entry::{Attestation, ForgetBody, NoteBody, Statement, TagBody};
use strongroom_format::registry::Roles;
use strongroom_store::Store;

use crate::entries::stored_ms;
use crate::error::RepositoryError;
use crate::repository::Repository;
use crate::retention::{self, Candidate, Judged, Rules};
use crate::state::State;

/// Attestations of one entry: some 7 MB.
const ATTESTED_AT_ONCE: usize = 100_000;

fn judge(store: &dyn Store, state: &State, rules: &Rules) -> Result<Vec<Judged>, RepositoryError> {
    let mut candidates = Vec::new();
    for snapshot in state.snapshots.iter().filter(|snapshot| rules.filter.passes(snapshot)) {
        // The next entry records the time of the one before it; of the last only the store itself knows it.
        let time_ms = match snapshot.state.time_ms {
            0 => stored_ms(store, snapshot.state.number)?,
            recorded => recorded,
        };
        let appended_ms = i64::try_from(time_ms).unwrap_or(i64::MAX);
        candidates.push(Candidate { snapshot, time_ms: snapshot.taken_ms(appended_ms) });
    }
    let reasons = retention::decide(&candidates, rules.group_by, &rules.keep);
    let judged = candidates.iter().zip(reasons).map(|(candidate, reasons)| Judged {
        id: candidate.snapshot.id(),
        source: candidate.snapshot.manifest.source.clone(),
        host: candidate.snapshot.manifest.host.clone(),
        time_ms: candidate.time_ms,
        reasons,
    });
    Ok(judged.collect())
}

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
    /// `NoSuchSnapshot` when none of them is there; `Held` when one is under a hold, perhaps since a moment ago: then none
    /// is forgotten; `NotForgettable` while an entry is damaged; `NoSigner` without the role maintain; `Store`, `Contention`.
    pub fn forget(&mut self, snapshots: &[SnapshotId], reason: &str) -> Result<usize, RepositoryError> {
        self.require_role(Roles::MAINTAIN, "maintain")?;
        let mut forgotten = 0;
        self.append(|state| {
            state.require_holds_known()?;
            let mut known = Vec::new();
            for snapshot in state.snapshots.iter().filter(|snapshot| snapshots.contains(&snapshot.id())) {
                snapshot.require_not_held()?;
                known.push(snapshot.id());
            }
            let body = ForgetBody { snapshots: known, reason: reason.to_owned() };
            forgotten = body.snapshots.len();
            if forgotten == 0 {
                let query = snapshots.iter().map(SnapshotId::to_hex).collect::<Vec<_>>().join(", ");
                return Err(RepositoryError::NoSuchSnapshot { query, candidates: Vec::new() });
            }
            Ok(Statement::Forget(body))
        })?;
        Ok(forgotten)
    }

    /// What rules say of the snapshots that pass their filter, in the order of the journal.
    ///
    /// # Errors
    /// `Store` when the store does not say when the newest entry was written.
    pub fn judge(&self, rules: &Rules) -> Result<Vec<Judged>, RepositoryError> {
        judge(&*self.store, &self.state, rules)
    }

    /// Forgets what rules do not keep, as [`Repository::judge`] tells at the moment of the entry. Gives what it said.
    ///
    /// # Errors
    /// `NotForgettable` while an entry is damaged, if there is something to forget; `NoSigner` without the role maintain; `Store`, `Contention`.
    pub fn forget_all_but(&mut self, rules: &Rules, reason: &str) -> Result<Vec<Judged>, RepositoryError> {
        self.require_role(Roles::MAINTAIN, "maintain")?;
        let store = Arc::clone(&self.store);
        let mut judged = self.judge(rules)?;
        while judged.iter().any(|one| !one.stays()) {
            let mut nothing_left = false;
            let appended = self.append(|state| {
                state.require_holds_known()?;
                judged = judge(&*store, state, rules)?;
                let going = judged.iter().filter(|one| !one.stays()).map(|one| one.id);
                let body = ForgetBody { snapshots: going.collect(), reason: reason.to_owned() };
                nothing_left = body.snapshots.is_empty();
                if nothing_left { Err(RepositoryError::Cancelled) } else { Ok(Statement::Forget(body)) }
            });
            match appended {
                Err(_) if nothing_left => {}
                appended => return appended.map(|_| judged),
            }
        }
        Ok(judged)
    }

    /// Attests packs of which a check opened every frame: other writers may rely on them, and the next check of a
    /// sample opens others first. Gives how many there were that count, and are not attested as something else.
    ///
    /// # Errors
    /// `NoSigner` without the role verify; `Store`, `Contention`.
    pub fn attest(&mut self, opened: &[Attestation]) -> Result<usize, RepositoryError> {
        let holds_true = |state: &State, said: &Attestation| {
            let known = state.attested.get(&said.pack);
            state.packs.contains_key(&said.pack) && known.is_none_or(|by| by.description == said.description)
        };
        let said: Vec<_> = opened.iter().filter(|said| holds_true(&self.state, said)).copied().collect();
        if said.is_empty() {
            return Ok(0);
        }
        let signer = self.signer()?.id();
        if !self.state.policy.signer(signer).is_some_and(|signer| signer.roles.holds(Roles::VERIFY)) {
            return Err(RepositoryError::NoSigner { role: "verify" });
        }
        for said in said.chunks(ATTESTED_AT_ONCE) {
            self.append(|state| {
                Ok(Statement::Attested(said.iter().filter(|said| holds_true(state, said)).copied().collect()))
            })?;
        }
        Ok(said.len())
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
