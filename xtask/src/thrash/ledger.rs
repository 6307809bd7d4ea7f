//! What was committed, as the processes themselves said, and how often what happened.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What each writer keeps: `forget --keep-last`.
pub(super) const KEPT: u64 = 3;

/// Of which writer and round a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) writer: u64,
    pub(super) round: u64,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) rounds: u64,
    pub(super) kills: u64,
    pub(super) run_again: u64,
    pub(super) backups: u64,
    pub(super) forgets: u64,
    pub(super) forgotten: u64,
    pub(super) prunes: u64,
    pub(super) copied: u64,
    pub(super) deleted: u64,
    pub(super) checks: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, kills, run_again, backups, forgets, forgotten, prunes, copied, deleted, checks } =
            self;
        write!(
            f,
            "{rounds} rounds, {kills} kills, {run_again} told to run again; to their end came {backups} backups, {forgets} forgets \
             ({forgotten} snapshots), {prunes} prunes ({copied} packs copied from, {deleted} objects deleted), {checks} checks"
        )
    }
}

#[derive(Debug, Default)]
struct Books {
    /// Committed, and not forgotten.
    live: BTreeMap<String, Made>,
    /// Committed, and forgotten perhaps: the process that would have said so was killed.
    doubtful: BTreeMap<String, Made>,
    forgotten: BTreeMap<String, Made>,
    /// The round that each writer is in.
    rounds: Vec<u64>,
    counts: Counts,
}

/// The books of a run.
#[derive(Debug)]
pub(super) struct Ledger(Mutex<Books>);

impl Ledger {
    pub(super) fn new(writers: u64) -> Self {
        Self(Mutex::new(Books { rounds: (0..writers).map(|_| 0).collect(), ..Books::default() }))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.books().counts);
    }

    pub(super) fn counts(&self) -> Counts {
        self.books().counts
    }

    /// A writer begins a round; before anything of it can be committed.
    pub(super) fn begin(&self, made: Made) {
        let mut books = self.books();
        books.counts.rounds += 1;
        if let Some(round) = usize::try_from(made.writer).ok().and_then(|at| books.rounds.get_mut(at)) {
            *round = made.round;
        }
    }

    /// A backup said that it is done. It may be forgotten already: a forget can be quicker to say so.
    pub(super) fn committed(&self, id: &str, made: Made) {
        let mut books = self.books();
        books.counts.backups += 1;
        if !books.forgotten.contains_key(id) {
            books.live.insert(id.to_owned(), made);
        }
    }

    /// A forget said that it is done.
    pub(super) fn forgot(&self, ids: &[String]) {
        let mut books = self.books();
        books.counts.forgets += 1;
        books.counts.forgotten += ids.len() as u64;
        for id in ids {
            let made = books.live.remove(id).or_else(|| books.doubtful.remove(id));
            // Of a backup that was killed after it had committed nothing is known.
            books.forgotten.insert(id.clone(), made.unwrap_or(Made { writer: u64::MAX, round: 0 }));
        }
    }

    /// A forget was killed: what has as many rounds after it as are kept may be gone.
    pub(super) fn may_have_forgotten(&self) {
        let mut books = self.books();
        let Books { live, doubtful, rounds, .. } = &mut *books;
        live.retain(|id, made| {
            let now = usize::try_from(made.writer).ok().and_then(|at| rounds.get(at)).copied();
            let stays = now.unwrap_or_default() - made.round < KEPT;
            if !stays {
                doubtful.insert(id.clone(), *made);
            }
            stays
        });
    }

    /// What must be listed.
    pub(super) fn live(&self) -> BTreeMap<String, Made> {
        self.books().live.clone()
    }

    /// What must not be listed.
    pub(super) fn is_forgotten(&self, id: &str) -> bool {
        self.books().forgotten.contains_key(id)
    }
}
