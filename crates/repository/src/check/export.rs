//! The journal, told entry by entry: for those who keep a record of it elsewhere.

use strongroom_format::entry::{ENTRY_LIMIT_BYTES, Statement};
use strongroom_format::{ContentHash, SnapshotId, WriterId};
use strongroom_keys::derive::{chain, content_hash};
use strongroom_store::StoreError;

use super::{CheckOptions, Checker, Fetched, FindingKind};
use crate::entries::ReadEntry;
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::names;
use crate::repository::Repository;
use crate::state::State;

/// What an entry is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is part of the state.
    Counts,
    /// It changes nothing, and why.
    Void(String),
    /// It is missing or not what it was, and how: what it said cannot be known.
    Damaged(String),
}

/// An entry, and what it says.
#[derive(Debug, Clone)]
pub struct ExportedEntry {
    /// Its place in the journal.
    pub number: u64,
    /// The store's time of it as the first entry behind it that counts tells it, else the store's own, ms since 1970;
    /// `None` where neither does.
    pub time_ms: Option<u64>,
    /// BLAKE3-256 of its stored bytes, where there are any.
    pub hash: Option<ContentHash>,
    /// The chain over all that is stored up to it.
    pub chain: ContentHash,
    /// What it is worth.
    pub verdict: Verdict,
    /// Who signed it, by what it says itself; `None` if it does not open.
    pub signer: Option<WriterId>,
    /// The name that a policy gave the signer.
    pub signer_name: Option<String>,
    /// Whether the signature holds, of somebody whom a policy listed.
    pub is_signed: bool,
    /// What it says, where it can be read, whatever that is worth.
    pub statement: Option<Statement>,
    /// The ID of the snapshot that it would bring.
    pub snapshot: Option<SnapshotId>,
}

impl Repository {
    /// Calls `visit` with every entry from `from` on, oldest first. The journal is folded from its first entry before, so
    /// that each comes with what it is worth; in memory are two entries at a time.
    ///
    /// # Errors
    /// As [`Repository::verify_journal`].
    pub fn export_journal(
        &self,
        from: u64,
        monitor: &dyn Monitor,
        visit: &mut dyn FnMut(&ExportedEntry),
    ) -> Result<(), RepositoryError> {
        let mut checker = Checker::new(self, &CheckOptions::default(), monitor);
        let before = from.checked_sub(1);
        if let Some(before) = before {
            checker.chain.mark(before);
        }
        let state = checker.fold_journal()?;
        let start = match before {
            None => self.config_hash,
            Some(before) => match checker.chain.marked(before) {
                Some(mark) => mark.chain,
                // It is not so long.
                None => return Ok(()),
            },
        };
        let last = checker.chain.head().number;
        let mut exporter = Exporter { checker: &checker, state, chain: start, ahead: None, told: (0, 0) };
        for number in from..=last {
            visit(&exporter.entry(number)?);
        }
        Ok(())
    }
}

/// The second way through a journal that was folded.
struct Exporter<'a> {
    checker: &'a Checker<'a>,
    /// The state at its end; `None` when there was no first entry to begin with.
    state: Option<State>,
    chain: ContentHash,
    /// The next entry, where it had to be read to tell the time of the one before.
    ahead: Option<(u64, Fetched)>,
    /// An entry that counts, and the time that it tells of those that come before it and were not told yet: 0 if it tells
    /// none. `u64::MAX` when none behind counts.
    told: (u64, u64),
}

impl Exporter<'_> {
    fn entry(&mut self, number: u64) -> Result<ExportedEntry, RepositoryError> {
        let fetched = match self.ahead.take() {
            Some((ahead, fetched)) if ahead == number => fetched,
            _ => self.fetch(number)?,
        };
        let repository = self.checker.repository;
        let hash = match &fetched {
            Ok(bytes) => Some(content_hash(bytes)),
            Err((FindingKind::WrongLength, _)) => Some(repository.hash_of(&names::entry(number)?)?),
            Err(_) => None,
        };
        self.chain = chain(self.chain, hash.unwrap_or(ContentHash([0; 32])));
        let read = match &fetched {
            Ok(bytes) => self.open(number, bytes)?,
            Err(_) => None,
        };
        let why = fetched.err().map(|(_, detail)| detail);
        let (signer, signer_name, is_signed, statement) = match read {
            Some(read) => {
                let statement = read.entry.map(|entry| entry.statement);
                (Some(read.signer), read.signer_name, read.is_signed, statement)
            }
            None => (None, None, false, None),
        };
        let snapshot = match &statement {
            Some(Statement::Snapshot(body)) => Some(repository.identity.snapshot_id(&body.manifest)),
            _ => None,
        };
        Ok(ExportedEntry {
            number,
            time_ms: self.time_of(number)?,
            hash,
            chain: self.chain,
            verdict: self.verdict(number, why),
            signer,
            signer_name,
            is_signed,
            statement,
            snapshot,
        })
    }

    fn fetch(&self, number: u64) -> Result<Fetched, RepositoryError> {
        self.checker.fetch(&names::entry(number)?, ENTRY_LIMIT_BYTES)
    }

    fn open(&self, number: u64, bytes: &[u8]) -> Result<Option<ReadEntry>, RepositoryError> {
        let repository = self.checker.repository;
        let state = self.state.as_ref().unwrap_or(&repository.state);
        Ok(repository.open_entry(&names::entry(number)?, bytes, state))
    }

    fn verdict(&self, number: u64, why: Option<String>) -> Verdict {
        let Some(state) = &self.state else {
            return Verdict::Damaged(
                why.unwrap_or_else(|| "without the first entry nothing tells what it is worth".into()),
            );
        };
        if let Ok(at) = state.damaged.binary_search_by_key(&number, |(damaged, _)| *damaged) {
            return Verdict::Damaged(state.damaged[at].1.clone());
        }
        match state.voids.binary_search_by_key(&number, |void| void.number) {
            Ok(at) => Verdict::Void(state.voids[at].reason.clone()),
            Err(_) => Verdict::Counts,
        }
    }

    fn time_of(&mut self, number: u64) -> Result<Option<u64>, RepositoryError> {
        if self.told.0 <= number {
            self.told = self.ask_behind(number)?;
        }
        if self.told.1 > 0 {
            return Ok(Some(self.told.1));
        }
        match self.checker.repository.origin.stat(&names::entry(number)?) {
            Ok(info) => Ok(Some(info.modified_ms)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The first entry behind that counts, and the time that it tells.
    fn ask_behind(&mut self, number: u64) -> Result<(u64, u64), RepositoryError> {
        let later = self.state.as_ref().and_then(|state| state.next_that_counts(number));
        let Some(later) = later else { return Ok((u64::MAX, 0)) };
        let fetched = self.fetch(later)?;
        let read = match &fetched {
            Ok(bytes) => self.open(later, bytes)?,
            Err(_) => None,
        };
        if later == number.saturating_add(1) {
            self.ahead = Some((later, fetched));
        }
        let time_ms = read.and_then(|read| read.entry).map_or(0, |entry| entry.previous_time_ms);
        Ok((later, time_ms))
    }
}
