//! What was done, how it went, and what runs: the journal read as a diary. A pure fold over its entries.

mod attempt;

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use strongroom_format::SnapshotId;
use strongroom_format::entry::{NoteBody, Statement};
use strongroom_format::manifest::Manifest;
use strongroom_repository::history::PastEntry;
use strongroom_repository::{Repository, RepositoryError};

use self::attempt::FailedVerifyNote;
pub use self::attempt::{Attempt, RestoreTest, Sizes};
use crate::Cause;
use crate::audit::{DRILL, Drill};
use crate::backup::{FAILED_EVENT, FailedNote};
use crate::notify::{SENT, Sent};
use crate::run::{BEGAN, Began, ENDED, Ended, RunResult, Work};

/// By how much a host's clock may be ahead of the store's before its dates are not believed.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

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

impl Running {
    fn is_alive(&self, now: Timestamp) -> bool {
        now < self.until()
    }

    /// Until when it counts as running, unless it says once more that it does.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.last
            .saturating_add(SignedDuration::try_from(self.began.lease()).unwrap_or_default())
            .unwrap_or(Timestamp::MAX)
    }
}

/// What was done of what, in the order of the journal.
#[derive(Debug, Clone, Default)]
pub struct History {
    backups: BTreeMap<String, Vec<Attempt>>,
    tests: BTreeMap<String, Vec<RestoreTest>>,
    tasks: BTreeMap<Work, Vec<Attempt>>,
    last: BTreeMap<(Work, Option<String>), Timestamp>,
    drills: Vec<(Timestamp, Drill)>,
    /// Reading stored data ended for it; backups and tasks are counted by their attempts.
    kms_errors: u64,
    running: Vec<Running>,
    left_out: BTreeMap<(Work, Option<String>), Vec<Timestamp>>,
    sent: Sent,
    sources: HashMap<SnapshotId, String>,
    /// The first entry that was not read.
    next: u64,
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
        history.read_on(repository)?;
        Ok(history)
    }

    /// What has come since.
    ///
    /// # Errors
    /// As [`Repository::history`].
    pub fn read_on(&mut self, repository: &Repository) -> Result<(), RepositoryError> {
        repository.history(self.next, &mut |entry| self.take(&entry))?;
        self.next = repository.last_entry() + 1;
        Ok(())
    }

    fn take(&mut self, entry: &PastEntry) {
        let time = i64::try_from(entry.time_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let Some(time) = time else { return };
        match &entry.statement {
            Statement::Snapshot(body) => {
                if let (Ok(manifest), Some(id)) = (Manifest::decode(&body.manifest), entry.snapshot) {
                    self.snapshot(id, manifest, time);
                }
            }
            Statement::Forget(_) => self.done(Work::Forget, None, time),
            Statement::Note(note) => self.note(entry.number, time, note),
            _ => {}
        }
    }

    fn snapshot(&mut self, id: SnapshotId, manifest: Manifest, time: Timestamp) {
        self.sources.insert(id, manifest.source.clone());
        // A copy is nothing that was backed up here.
        if manifest.origin.is_some() {
            return;
        }
        let attempt = Attempt::of_snapshot(id, &manifest, time);
        self.done(Work::Backup, Some(manifest.source.clone()), attempt.time);
        self.backups.entry(manifest.source).or_default().push(attempt);
    }

    fn note(&mut self, number: u64, time: Timestamp, note: &NoteBody) {
        match note.event.as_str() {
            BEGAN => {
                if let Ok(began) = serde_json::from_str::<Began>(&note.detail) {
                    self.began(number, time, began);
                }
            }
            ENDED => {
                if let Ok(ended) = serde_json::from_str::<Ended>(&note.detail) {
                    self.ended(time, ended);
                }
            }
            FAILED_EVENT => {
                if let Ok(failed) = serde_json::from_str::<FailedNote>(&note.detail) {
                    let cause = failed.cause;
                    let attempt = Attempt { cause, ..Attempt::failed(time, failed.host, &failed.error) };
                    self.backups.entry(failed.source).or_default().push(attempt);
                }
            }
            "verify" => {
                let source = note.snapshot.and_then(|id| self.sources.get(&id).cloned());
                if let (Some(source), Ok(detail)) = (source, serde_json::from_str(&note.detail)) {
                    self.done(Work::Verify, Some(source.clone()), time);
                    let test = RestoreTest::of_note(note.snapshot, &detail, time);
                    self.tests.entry(source).or_default().push(test);
                }
            }
            "check" => {
                if let Ok(detail) = serde_json::from_str(&note.detail) {
                    self.done(Work::Check, None, time);
                    self.tasks.entry(Work::Check).or_default().push(Attempt::of_check(&detail, time));
                }
            }
            "verify-failed" => self.verify_failed(time, note),
            "restore-failed" | "copy-out-failed" => {
                let failed = serde_json::from_str::<FailedVerifyNote>(&note.detail);
                self.kms_errors += u64::from(failed.is_ok_and(|failed| failed.cause == Cause::Kms));
            }
            DRILL => {
                if let Ok(drill) = serde_json::from_str::<Drill>(&note.detail) {
                    self.drills.push((drill.held.unwrap_or(time), drill));
                    self.drills.sort_by_key(|(held, _)| *held);
                }
            }
            SENT => self.sent = serde_json::from_str(&note.detail).unwrap_or_default(),
            "prune" => self.done(Work::Prune, None, time),
            _ => {}
        }
    }

    /// A restore test that came to nothing; one that somebody ended, or asked for wrongly, tested nothing.
    fn verify_failed(&mut self, time: Timestamp, note: &NoteBody) {
        let source = note.snapshot.and_then(|id| self.sources.get(&id).cloned());
        let (Some(source), Ok(failed)) = (source, serde_json::from_str::<FailedVerifyNote>(&note.detail))
        else {
            return;
        };
        self.kms_errors += u64::from(failed.cause == Cause::Kms);
        if failed.cause.is_of_people() {
            return;
        }
        self.done(Work::Verify, Some(source.clone()), time);
        let attempt = Attempt::failed(time, failed.host, &failed.error);
        let test = RestoreTest { snapshot: note.snapshot, ..RestoreTest::failed(attempt) };
        self.tests.entry(source).or_default().push(test);
    }

    fn began(&mut self, number: u64, time: Timestamp, began: Began) {
        match self.running.iter_mut().find(|known| known.began.run == began.run) {
            Some(known) => {
                known.last = time;
                known.began.lease_seconds = began.lease_seconds;
            }
            None => self.running.push(Running { began, number, since: time, last: time }),
        }
    }

    fn ended(&mut self, time: Timestamp, ended: Ended) {
        let at = self.running.iter().position(|known| known.began.run == ended.run);
        let running = at.map(|at| self.running.remove(at));
        // It counts from when it began: what took long is due again no later for that.
        let since = running.as_ref().map_or(time, |running| running.since);
        if matches!(ended.result, RunResult::Skipped | RunResult::Interrupted) {
            return;
        }
        self.done(ended.work, ended.source.clone(), since);
        // The host that asked for it may be ahead of the store: the date is done all the same. Not by a clock that is quite wrong.
        let date = running.and_then(|running| running.began.date);
        if let Some(date) = date.filter(|date| date.duration_since(since) <= SKEW) {
            self.done(ended.work, ended.source.clone(), date);
        }
        if let Some(date) = ended.left_out {
            self.done(ended.work, ended.source.clone(), time);
            self.left_out.entry((ended.work, ended.source.clone())).or_default().push(date);
        }
        // What the command itself left in the journal is not counted twice.
        let attempt = Attempt::of_run(&ended, since);
        match (ended.work, ended.source) {
            (Work::Backup, Some(source)) => {
                let known = self.backups.entry(source).or_default();
                let is_it = |last: &&mut Attempt| {
                    last.time >= since || (attempt.snapshot.is_some() && last.snapshot == attempt.snapshot)
                };
                match known.last_mut().filter(is_it) {
                    Some(last) => last.with_run(&attempt),
                    None => known.push(attempt),
                }
            }
            (Work::Verify, Some(source)) => {
                let known = self.tests.entry(source).or_default();
                if ended.result != RunResult::Done && known.last().is_none_or(|last| last.time < since) {
                    self.kms_errors += u64::from(attempt.cause == Some(Cause::Kms));
                    known.push(RestoreTest::failed(attempt));
                }
            }
            (Work::Check, _) if attempt.result == RunResult::Done => {}
            (work, _) => self.tasks.entry(work).or_default().push(attempt),
        }
    }

    pub(crate) fn done(&mut self, work: Work, source: Option<String>, time: Timestamp) {
        let last = self.last.entry((work, source)).or_insert(time);
        *last = time.max(*last);
    }

    /// A backup that made a snapshot, for tests.
    #[cfg(test)]
    pub(crate) fn backed_up(&mut self, source: &str, time: Timestamp) {
        self.done(Work::Backup, Some(source.into()), time);
        let attempt = Attempt { result: RunResult::Done, ..Attempt::failed(time, String::new(), "") };
        self.backups.entry(source.into()).or_default().push(attempt);
    }

    /// A run that goes on, for tests: begun then, with a note just now.
    #[cfg(test)]
    pub(crate) fn goes_on(&mut self, work: Work, source: Option<&str>, since: Timestamp, now: Timestamp) {
        let run = format!("{} {source:?}", work.name());
        let source = source.map(str::to_owned);
        let began = Began {
            run,
            work,
            source,
            host: "a".into(),
            pid: 1,
            date: None,
            domain: None,
            lease_seconds: 3600,
        };
        self.began(1, since, began.clone());
        self.began(1, now, began);
    }

    /// When it was last begun, of what has ended since; by hand or not, well or not.
    #[must_use]
    pub fn last(&self, work: Work, source: Option<&str>) -> Option<Timestamp> {
        self.last.get(&(work, source.map(str::to_owned))).copied()
    }

    /// Backups of a source, oldest first.
    #[must_use]
    pub fn backups(&self, source: &str) -> &[Attempt] {
        self.backups.get(source).map(Vec::as_slice).unwrap_or_default()
    }

    /// Restore tests of a source, oldest first.
    #[must_use]
    pub fn tests(&self, source: &str) -> &[RestoreTest] {
        self.tests.get(source).map(Vec::as_slice).unwrap_or_default()
    }

    /// Checks, prunes and the like, oldest first.
    #[must_use]
    pub fn tasks(&self, work: Work) -> &[Attempt] {
        self.tasks.get(&work).map(Vec::as_slice).unwrap_or_default()
    }

    /// Drills, oldest first: when they were held, and what was noted of them.
    #[must_use]
    pub fn drills(&self) -> &[(Timestamp, Drill)] {
        &self.drills
    }

    /// How often a restore, or a restore test, ended because the key management service was not to be had.
    #[must_use]
    pub fn kms_errors(&self) -> u64 {
        self.kms_errors
    }

    /// What of what was found was told to whom.
    #[must_use]
    pub fn sent(&self) -> &Sent {
        &self.sent
    }

    /// Dates of it that came while it still ran, and were left out, oldest first.
    #[must_use]
    pub fn left_out(&self, work: Work, source: Option<&str>) -> &[Timestamp] {
        self.left_out.get(&(work, source.map(str::to_owned))).map(Vec::as_slice).unwrap_or_default()
    }

    /// When anything was first backed up, or tried to be.
    #[must_use]
    pub(crate) fn first_backup(&self) -> Option<Timestamp> {
        self.backups.values().filter_map(|attempts| Some(attempts.first()?.time)).min()
    }

    /// Something that began, for tests.
    #[cfg(test)]
    pub(crate) fn runs(&mut self, began: Began, since: Timestamp) {
        self.began(0, since, began);
    }

    /// Sources that anything is known of.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.backups.keys().map(String::as_str)
    }

    /// Who did the same when `own` was noted under this number, and came first: by the store's clock, as of all notes. What began
    /// before in its own lock domain and did not end was killed: `own` holds the lock of that.
    #[must_use]
    pub fn running_before(&self, own: &Began, number: u64) -> Option<&Running> {
        let now = self.running.iter().find(|known| known.began.run == own.run)?.last;
        let is_own = |known: &Running| known.began.is_of(&own.host, own.domain.as_deref());
        self.running_of(own.work, own.source.as_deref())
            .find(|known| known.number < number && !is_own(known) && known.is_alive(now))
    }

    /// Who does it at this moment.
    #[must_use]
    pub fn running(&self, work: Work, source: Option<&str>, now: Timestamp) -> Option<&Running> {
        self.running_of(work, source).find(|known| known.is_alive(now))
    }

    /// All that runs at this moment.
    pub(crate) fn running_now(&self, now: Timestamp) -> impl Iterator<Item = &Running> {
        self.running.iter().filter(move |known| known.is_alive(now))
    }

    fn running_of<'h>(&'h self, work: Work, source: Option<&str>) -> impl Iterator<Item = &'h Running> {
        let is_it =
            move |known: &&Running| known.began.work == work && known.began.source.as_deref() == source;
        self.running.iter().filter(is_it)
    }
}

#[cfg(test)]
mod tests {
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

    /// All of one host, as pods are: the first letter is the lock domain.
    fn began(run: &str) -> Began {
        Began {
            run: run.into(),
            work: Work::Backup,
            source: Some("db".into()),
            host: "kubernetes".into(),
            pid: 1,
            date: None,
            domain: Some(run.chars().take(1).collect()),
            lease_seconds: 600,
        }
    }

    fn ended(run: &str, result: RunResult) -> Ended {
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
            left_out: None,
            cause: None,
        }
    }

    #[test]
    fn who_came_first_goes_on_and_who_was_killed_is_not_waited_for_long() {
        let mut history = History::default();
        history.take(&note(3, 0, began("two, killed").to_note()));
        history.take(&note(4, 0, began("one").to_note()));
        history.take(&note(5, 1, began("two").to_note()));
        // Who runs for somebody who begins at this minute.
        let before = |history: &History, own: &Began, minute| {
            let mut history = history.clone();
            history.take(&note(99, minute, own.to_note()));
            history.running_before(own, 99).map(|running| running.began.run.clone())
        };
        let own = began("two, again");
        // What was killed where this begins hides nobody else.
        assert_eq!(before(&history, &own, 1).as_deref(), Some("one"));
        assert_eq!(history.running_before(&began("two"), 5).unwrap().began.run, "one");
        assert!(history.running_before(&began("two"), 4).is_none());
        assert_eq!(before(&history, &Began { work: Work::Verify, ..own.clone() }, 1), None);
        // The same domain on another host is a copy of it.
        let copy = Began { host: "other".into(), ..own.clone() };
        assert_eq!(before(&history, &copy, 1).as_deref(), Some("two, killed"));
        // It says once more that it goes on, and for longer.
        history.take(&note(6, 9, Began { lease_seconds: 1200, ..began("one") }.to_note()));
        history.take(&note(7, 10, ended("two", RunResult::Skipped).to_note()));
        assert_eq!(before(&history, &own, 28).as_deref(), Some("one"));
        assert_eq!(before(&history, &own, 29), None);
        assert_eq!(history.running(Work::Backup, Some("db"), at(28)).unwrap().until(), at(29));
        assert_eq!(history.last(Work::Backup, Some("db")), None);
        history.take(&note(8, 30, ended("one", RunResult::Failed).to_note()));
        assert_eq!(history.last(Work::Backup, Some("db")), Some(at(0)));
        assert_eq!(before(&history, &own, 11), None);
    }

    #[test]
    fn what_a_command_noted_itself_is_counted_once() {
        let mut history = History::default();
        let failed = serde_json::json!({ "source": "db", "engine": "x", "host": "a", "error": "no route" });
        history.take(&note(4, 0, began("one").to_note()));
        history.take(&note(5, 1, (FAILED_EVENT, failed.clone())));
        let end =
            Ended { exit_code: Some(5), error: Some("no route".into()), ..ended("one", RunResult::Failed) };
        history.take(&note(6, 2, end.to_note()));
        let [attempt] = history.backups("db") else { panic!("one attempt: {:?}", history.backups("db")) };
        assert_eq!((attempt.result, attempt.exit_code), (RunResult::Failed, Some(5)));
        // What was killed noted nothing.
        history.take(&note(7, 10, began("two").to_note()));
        history.take(&note(8, 11, ended("two", RunResult::Failed).to_note()));
        assert_eq!(history.backups("db").len(), 2);
        // By hand.
        history.take(&note(9, 12, (FAILED_EVENT, failed)));
        assert_eq!(history.backups("db").len(), 3);
    }

    #[test]
    fn a_date_that_was_left_out_is_not_due_and_one_that_was_interrupted_is() {
        let mut history = History::default();
        let last = |history: &History| history.last(Work::Backup, Some("db"));
        history.take(&note(4, 0, began("one").to_note()));
        history.take(&note(5, 1, ended("one", RunResult::Interrupted).to_note()));
        assert_eq!((last(&history), history.backups("db").len()), (None, 0));
        history.take(&note(6, 2, began("two").to_note()));
        let end = Ended { left_out: Some(at(60)), ..ended("two", RunResult::Done) };
        history.take(&note(7, 130, end.to_note()));
        assert_eq!(
            (last(&history), history.left_out(Work::Backup, Some("db"))),
            (Some(at(130)), &[at(60)][..])
        );
        // A host that is a minute ahead of the store, and one that is a year ahead.
        for (number, date, counts_from) in [(8, at(201), at(201)), (10, at(900_000), at(200))] {
            let mut history = history.clone();
            history.take(&note(number, 200, Began { date: Some(date), ..began("three") }.to_note()));
            history.take(&note(number + 1, 201, ended("three", RunResult::Done).to_note()));
            assert_eq!(last(&history), Some(counts_from));
        }
    }

    #[test]
    fn what_is_no_note_of_a_run_says_nothing() {
        let mut history = History::default();
        history.take(&note(4, 0, (BEGAN, serde_json::json!({ "run": 5 }))));
        history.take(&note(5, 0, ("check", serde_json::json!({ "clean": true }))));
        assert!(history.running.is_empty());
        assert_eq!(history.last(Work::Check, None), Some(at(0)));
    }
}
