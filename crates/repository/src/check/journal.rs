//! The journal, folded from its first entry, and what claims to agree with it: checkpoints, and the state that this
//! client opened.

use std::collections::{BTreeMap, BTreeSet};

use strongroom_format::ContentHash;
use strongroom_format::SnapshotId;
use strongroom_format::checkpoint::{CHECKPOINT_LIMIT_BYTES, Checkpoint};
use strongroom_format::config::CONFIG_LIMIT_BYTES;
use strongroom_format::entry::ENTRY_LIMIT_BYTES;
use strongroom_format::registry::ObjectKind;
use strongroom_keys::derive::content_hash;
use strongroom_store::ObjectName;

use super::finding::{Paths, classify};
use super::{Checker, FindingKind, Severity, told};
use crate::error::RepositoryError;
use crate::names;
use crate::open::read_checkpoint;
use crate::state::{State, describe};

/// So many entries may be appended while the journal is listed twice.
const APPENDED_MEANWHILE: u64 = 1024;

impl Checker<'_> {
    pub(super) fn config(&mut self) -> Result<(), RepositoryError> {
        let name = names::config()?;
        match self.fetch(&name, CONFIG_LIMIT_BYTES)? {
            Ok(bytes) if content_hash(&bytes) == self.repository.config_hash => {}
            Ok(_) => {
                self.damage(
                    FindingKind::Contradiction,
                    name.as_str(),
                    "it is not what it was when it was opened",
                );
            }
            Err((kind, detail)) => {
                self.damage(kind, name.as_str(), detail);
            }
        }
        Ok(())
    }

    /// Folds the journal; the state that everything else is checked by is that of the fold, unless entries are
    /// damaged: then the opened one may know more, out of a checkpoint.
    pub(super) fn journal(&mut self) -> Result<(), RepositoryError> {
        let Some(state) = self.fold_journal()? else { return Ok(()) };
        let opened = &self.repository.state;
        if opened.number <= state.number && (state.damaged.is_empty() || state.damaged == opened.damaged) {
            self.state = state;
        }
        Ok(())
    }

    /// Folds the journal from its first entry, and compares what claims to agree with it; `None` when there is no first
    /// entry to begin with.
    pub(super) fn fold_journal(&mut self) -> Result<Option<State>, RepositoryError> {
        let head = self.list_journal()?;
        let mut checkpoints = self.list_checkpoints()?;
        let Some(mut state) = self.genesis()? else {
            return self.entries_one_by_one(head, &checkpoints).map(|()| None);
        };
        let mut missing = BTreeSet::new();
        self.checked.entries = 1;
        self.compare(&state, &mut checkpoints)?;
        loop {
            let number = state.number + 1;
            let name = names::entry(number)?;
            match self.fetch(&name, ENTRY_LIMIT_BYTES)? {
                Ok(bytes) => {
                    self.checked.entries += 1;
                    self.chain.push(content_hash(&bytes));
                    let metadata = self.repository.metadata.in_force(&state)?;
                    state.fold(name.as_str(), &bytes, metadata, &self.repository.identity)?;
                }
                Err((FindingKind::Missing, _)) if number > head => break,
                Err((kind, detail)) => {
                    missing.insert((number, kind));
                    // What is too large to be an entry is garbage that its followers may have seen.
                    let hash = match kind {
                        FindingKind::WrongLength => self.repository.hash_of(&name)?,
                        _ => ContentHash([0; 32]),
                    };
                    self.chain.push(hash);
                    state.fold_damaged(hash, detail);
                }
            }
            self.compare(&state, &mut checkpoints)?;
        }
        for name in checkpoints.into_values() {
            self.behind_the_end(&state, &name)?;
        }
        self.report_entries(&state, &missing)?;
        if self.repository.state.number > state.number {
            let detail = format!("this client has seen entries up to {}", self.repository.state.number);
            self.damage(FindingKind::Missing, names::entry(state.number + 1)?.as_str(), detail);
        }
        Ok(Some(state))
    }

    /// A checkpoint of an entry that is not there: of a journal that was longer once, or of none.
    fn behind_the_end(&mut self, state: &State, name: &ObjectName) -> Result<(), RepositoryError> {
        let mut detail = format!("the journal ends at entry {}, before it", state.number);
        if let Ok(bytes) = self.fetch(name, CHECKPOINT_LIMIT_BYTES)?
            && let Ok(found) = self.read_checkpoint(name, &bytes)
        {
            self.tell_of_damage(state, &found);
            let said = told::behind_the_end(state, &found);
            if !said.is_empty() {
                detail = format!("{detail}; it has what no entry that is there says: {}", said.join("; "));
            }
        }
        self.damage(FindingKind::Contradiction, name.as_str(), detail);
        Ok(())
    }

    /// The head, and names that are no entry's.
    fn list_journal(&mut self) -> Result<u64, RepositoryError> {
        let head = self.repository.listed_head()?.unwrap_or(0);
        let mut strays = Vec::new();
        self.repository.origin.list("journal/", &mut |name, _| {
            if names::entry_number(&name).is_none_or(|number| number > head) {
                strays.push(name);
            }
            Ok(())
        })?;
        for stray in strays {
            // An entry that was appended meanwhile is none.
            if names::entry_number(&stray)
                .is_none_or(|number| number.saturating_sub(head) > APPENDED_MEANWHILE)
            {
                self.suspicious(FindingKind::Stray, stray.as_str(), "it is no entry of the journal");
            }
        }
        Ok(head)
    }

    fn list_checkpoints(&mut self) -> Result<BTreeMap<u64, ObjectName>, RepositoryError> {
        let (mut found, mut strays) = (BTreeMap::new(), Vec::new());
        self.repository.origin.list("checkpoints/", &mut |name, _| {
            match names::checkpoint_number(&name) {
                Some(number) => drop(found.insert(number, name)),
                None => strays.push(name),
            }
            Ok(())
        })?;
        for stray in strays {
            self.suspicious(FindingKind::Stray, stray.as_str(), "it is no checkpoint");
        }
        Ok(found)
    }

    fn genesis(&mut self) -> Result<Option<State>, RepositoryError> {
        let name = names::entry(0)?;
        let bytes = match self.fetch(&name, ENTRY_LIMIT_BYTES)? {
            Ok(bytes) => {
                self.chain.push(content_hash(&bytes));
                bytes
            }
            Err((kind, detail)) => {
                self.chain.push(ContentHash([0; 32]));
                self.damage(kind, name.as_str(), detail);
                return Ok(None);
            }
        };
        let repository = self.repository;
        let config = &repository.config;
        let state = repository
            .metadata
            .of_object(&bytes)
            .and_then(|metadata| metadata.open(ObjectKind::Entry, name.as_str(), &bytes))
            .map_err(RepositoryError::damaged(&name))
            .and_then(|opened| {
                State::genesis(
                    name.as_str(),
                    &bytes,
                    &opened,
                    config.repository,
                    &config.root,
                    repository.config_hash,
                )
            });
        match state {
            Ok(state) => Ok(Some(state)),
            Err(error) => {
                let (kind, detail) = classify(&error);
                self.damage(kind, name.as_str(), detail);
                Ok(None)
            }
        }
    }

    /// Compares what claims to be the state after this entry.
    fn compare(
        &mut self,
        state: &State,
        checkpoints: &mut BTreeMap<u64, ObjectName>,
    ) -> Result<(), RepositoryError> {
        // Over damage, a checkpoint knows more than the journal.
        let comparable = state.damaged.is_empty() && !state.has_settled_damage;
        let opened = &self.repository.state;
        if opened.number == state.number
            && comparable
            && opened.damaged.is_empty()
            && said(opened) != said(state)
        {
            let object = names::entry(state.number)?;
            self.damage(
                FindingKind::Contradiction,
                object.as_str(),
                "the state that this client opened is not the one that the journal gives: a checkpoint was wrong",
            );
        }
        let Some(name) = checkpoints.remove(&state.number) else { return Ok(()) };
        self.checked.checkpoints += 1;
        let bytes = match self.fetch(&name, CHECKPOINT_LIMIT_BYTES)? {
            Ok(bytes) => bytes,
            Err((kind, detail)) => {
                self.damage(kind, name.as_str(), detail);
                return Ok(());
            }
        };
        match self.read_checkpoint(&name, &bytes) {
            Ok(found) if comparable && said(&found) != said(state) => {
                let detail = "it is not the state that the journal gives at its entry";
                self.damage(FindingKind::Contradiction, name.as_str(), detail);
            }
            Ok(found) => self.tell_of_damage(state, &found),
            Err(error) => {
                let (kind, detail) = classify(&error);
                self.damage(kind, name.as_str(), detail);
            }
        }
        Ok(())
    }

    /// The first state behind a damaged entry that somebody kept tells the most of it.
    fn tell_of_damage(&mut self, state: &State, found: &State) {
        for (number, _) in &state.damaged {
            let tell = || told::by_checkpoint(*number, state, found);
            self.told.entry(*number).or_insert_with(tell);
        }
    }

    fn read_checkpoint(&self, name: &ObjectName, bytes: &[u8]) -> Result<State, RepositoryError> {
        let metadata = self.repository.metadata.of_object(bytes).map_err(RepositoryError::damaged(name))?;
        read_checkpoint(name, bytes, metadata, &self.repository.config)
    }

    fn report_entries(
        &mut self,
        state: &State,
        missing: &BTreeSet<(u64, FindingKind)>,
    ) -> Result<(), RepositoryError> {
        for (number, reason) in &state.damaged {
            let kind = missing.iter().find(|(missing, _)| missing == number).map(|(_, kind)| *kind);
            let told = self.told.remove(number);
            let told = told.unwrap_or_else(|| "what it said cannot be known: no checkpoint tells".into());
            let detail = format!("{reason}; {told}");
            self.damaged_entry(*number, kind.unwrap_or(FindingKind::Undecodable), &detail)?;
        }
        for void in &state.voids {
            let severity =
                if void.number <= state.policy.settled { Severity::Info } else { Severity::Suspicious };
            let object = names::entry(void.number)?;
            let mut detail = void.reason.clone();
            if let Some(told) = self.tell_of_void(&object, state)? {
                detail = format!("{detail}; {told}");
            }
            self.findings.add(severity, FindingKind::Void, object.as_str(), detail);
        }
        Ok(())
    }

    /// What a void entry would have changed, if it opens.
    fn tell_of_void(&self, name: &ObjectName, state: &State) -> Result<Option<String>, RepositoryError> {
        let Ok(bytes) = self.fetch(name, ENTRY_LIMIT_BYTES)? else { return Ok(None) };
        let read = self.repository.open_entry(name, &bytes, state);
        Ok(read.map(|read| told::would_have(&read, &self.repository.identity)))
    }

    /// A damaged entry; a snapshot that it brought may still be known, out of a checkpoint.
    fn damaged_entry(&mut self, number: u64, kind: FindingKind, detail: &str) -> Result<(), RepositoryError> {
        let cause = self.damage(kind, names::entry(number)?.as_str(), detail);
        let known: Option<SnapshotId> =
            self.repository.state.snapshots.iter().find(|s| s.state.number == number).map(|s| s.id());
        if let Some(snapshot) = known {
            self.findings.touch(cause, snapshot, &Paths::default());
        }
        Ok(())
    }

    /// Without its first entry the journal cannot be folded: entries are opened, each for itself.
    fn entries_one_by_one(
        &mut self,
        head: u64,
        checkpoints: &BTreeMap<u64, ObjectName>,
    ) -> Result<(), RepositoryError> {
        for number in 1..=head {
            let name = names::entry(number)?;
            match self.fetch(&name, ENTRY_LIMIT_BYTES)? {
                Ok(bytes) => {
                    self.checked.entries += 1;
                    self.chain.push(content_hash(&bytes));
                    let key = self.repository.metadata.of_object(&bytes);
                    if let Err(error) = key.and_then(|key| key.open(ObjectKind::Entry, name.as_str(), &bytes))
                    {
                        self.damaged_entry(number, FindingKind::Undecodable, &describe(&error))?;
                    }
                }
                Err((kind, detail)) => {
                    self.chain.push(ContentHash([0; 32]));
                    self.damaged_entry(number, kind, &detail)?;
                }
            }
        }
        for name in checkpoints.values() {
            self.checked.checkpoints += 1;
            let found = match self.fetch(name, CHECKPOINT_LIMIT_BYTES)? {
                Ok(bytes) => self.read_checkpoint(name, &bytes).err().map(|error| classify(&error)),
                Err(found) => Some(found),
            };
            if let Some((kind, detail)) = found {
                self.damage(kind, name.as_str(), detail);
            }
        }
        Ok(())
    }
}

/// What a state says, without the words in which it says why entries are void.
fn said(state: &State) -> Checkpoint {
    let mut said = state.to_checkpoint();
    said.voids.iter_mut().for_each(|void| void.reason.clear());
    said
}
