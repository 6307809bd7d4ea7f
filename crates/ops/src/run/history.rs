//! What was done, and what runs.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use strongroom_format::SnapshotId;
use strongroom_format::entry::{NoteBody, Statement};
use strongroom_format::manifest::Manifest;
use strongroom_repository::history::PastEntry;
use strongroom_repository::{Repository, RepositoryError};

use super::note::{BEGAN, Began, ENDED, Ended, LEASE, Work};

/// How many entries of the journal are looked at: what was done before counts as never done, and is done again.
const LOOKED_AT: u64 = 20_000;

/// A run that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// What it said when it began.
    pub began: Began,
    /// The place of its first note in the journal: who comes first goes on.
    pub number: u64,
    /// Since when.
    pub since: Timestamp,
    /// Its last note.
    last: Timestamp,
}

/// What was done of what, and when it was last begun.
#[derive(Debug, Clone, Default)]
pub struct History {
    last: BTreeMap<(Work, Option<String>), Timestamp>,
    running: Vec<Running>,
    sources: HashMap<SnapshotId, String>,
}

impl History {
    /// Of what is known of the journal since it was read last.
    ///
    /// # Errors
    /// As [`Repository::history`].
    pub fn of(repository: &Repository) -> Result<Self, RepositoryError> {
        let mut history = Self::default();
        for snapshot in repository.snapshots() {
            history.sources.insert(snapshot.id(), snapshot.manifest.source.clone());
        }
        let from = (repository.last_entry() + 1).saturating_sub(LOOKED_AT);
        repository.history(from, &mut |entry| history.take(&entry))?;
        Ok(history)
    }

    fn take(&mut self, entry: &PastEntry) {
        let Ok(time) = Timestamp::from_millisecond(i64::try_from(entry.time_ms).unwrap_or(i64::MAX)) else {
            return;
        };
        match &entry.statement {
            Statement::Snapshot(body) => {
                if let (Ok(manifest), Some(id)) = (Manifest::decode(&body.manifest), entry.snapshot) {
                    self.done(Work::Backup, Some(manifest.source.clone()), time);
                    self.sources.insert(id, manifest.source);
                }
            }
            Statement::Forget(_) => self.done(Work::Forget, None, time),
            Statement::Note(note) => self.note(entry.number, time, note),
            _ => {}
        }
    }

    fn note(&mut self, number: u64, time: Timestamp, note: &NoteBody) {
        match note.event.as_str() {
            BEGAN => {
                let Ok(began) = serde_json::from_str::<Began>(&note.detail) else { return };
                if let Some(known) = self.running.iter_mut().find(|known| known.began.run == began.run) {
                    known.last = time;
                    return;
                }
                self.running.push(Running { began, number, since: time, last: time });
            }
            ENDED => {
                let Ok(ended) = serde_json::from_str::<Ended>(&note.detail) else { return };
                let at = self.running.iter().position(|known| known.began.run == ended.run);
                // It counts from when it began: what took long is due again no later for that.
                let since = at.map_or(time, |at| self.running.remove(at).since);
                if ended.result != super::Outcome::Skipped {
                    self.done(ended.work, ended.source, since);
                }
            }
            "verify" => {
                if let Some(source) = note.snapshot.and_then(|id| self.sources.get(&id).cloned()) {
                    self.done(Work::Verify, Some(source), time);
                }
            }
            "check" => self.done(Work::Check, None, time),
            "prune" => self.done(Work::Prune, None, time),
            _ => {}
        }
    }

    pub(super) fn done(&mut self, work: Work, source: Option<String>, time: Timestamp) {
        let last = self.last.entry((work, source)).or_insert(time);
        *last = time.max(*last);
    }

    /// When it was last begun, of what has ended since; by hand or not, well or not.
    #[must_use]
    pub fn last(&self, work: Work, source: Option<&str>) -> Option<Timestamp> {
        self.last.get(&(work, source.map(str::to_owned))).copied()
    }

    /// Whether a source has been backed up, as far as is known.
    #[must_use]
    pub fn has_snapshot(&self, source: &str) -> bool {
        self.sources.values().any(|known| known == source)
    }

    /// Who does the same at this moment, and began before `number`.
    #[must_use]
    pub fn running_before(
        &self,
        work: Work,
        source: Option<&str>,
        number: u64,
        now: Timestamp,
    ) -> Option<&Running> {
        let lease = jiff::SignedDuration::try_from(LEASE).unwrap_or_default();
        self.running.iter().find(|known| {
            known.began.work == work
                && known.began.source.as_deref() == source
                && known.number < number
                && now.duration_since(known.last) < lease
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    fn note(number: u64, minute: i64, (event, detail): (&str, serde_json::Value)) -> PastEntry {
        let body = NoteBody { event: event.into(), snapshot: None, time_ns: 0, detail: detail.to_string() };
        PastEntry {
            number,
            time_ms: u64::try_from(at(minute).as_millisecond()).unwrap(),
            signer_name: "me".into(),
            statement: Statement::Note(body),
            snapshot: None,
        }
    }

    fn began(run: &str) -> Began {
        Began { run: run.into(), work: Work::Backup, source: Some("db".into()), host: "a".into(), pid: 1 }
    }

    fn ended(run: &str, result: Outcome) -> Ended {
        Ended {
            run: run.into(),
            work: Work::Backup,
            source: Some("db".into()),
            host: "a".into(),
            result,
            exit_code: Some(0),
            seconds: 1.0,
            snapshot: None,
            error: None,
        }
    }

    #[test]
    fn who_came_first_goes_on_and_who_was_killed_is_not_waited_for_long() {
        let mut history = History::default();
        history.take(&note(4, 0, began("one").to_note()));
        history.take(&note(5, 1, began("two").to_note()));
        let before = |history: &History, number, minute| {
            let running = history.running_before(Work::Backup, Some("db"), number, at(minute));
            running.map(|running| running.began.run.clone())
        };
        assert_eq!(before(&history, 5, 1).as_deref(), Some("one"));
        assert_eq!(before(&history, 4, 1), None);
        assert!(history.running_before(Work::Verify, Some("db"), 9, at(1)).is_none());
        // It says once more that it goes on.
        history.take(&note(6, 50, began("one").to_note()));
        history.take(&note(7, 51, ended("two", Outcome::Skipped).to_note()));
        assert_eq!(before(&history, 9, 109).as_deref(), Some("one"));
        assert_eq!(before(&history, 9, 111), None);
        assert_eq!(history.last(Work::Backup, Some("db")), None);
        history.take(&note(8, 112, ended("one", Outcome::Failed).to_note()));
        assert_eq!(history.last(Work::Backup, Some("db")), Some(at(0)));
        assert_eq!(before(&history, 9, 60), None);
    }

    #[test]
    fn what_is_no_note_of_a_run_says_nothing() {
        let mut history = History::default();
        history.take(&note(4, 0, (BEGAN, serde_json::json!({ "run": 5 }))));
        history.take(&note(5, 0, ("check", serde_json::json!({}))));
        assert!(history.running.is_empty());
        assert_eq!(history.last(Work::Check, None), Some(at(0)));
    }
}
