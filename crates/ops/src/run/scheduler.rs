//! What is begun now by somebody who asks again and again: the plan of `run --due`, with what this process itself has begun. Pure:
//! whoever asks brings the time.
//!
//! The journal knows what was done by anybody, by the store's clock. This process knows beside what it began by its own, so that a
//! store's clock that is behind has nothing done twice. A clock that is set back by minutes has nothing done twice either; one that
//! is set back further was wrong before, and what was done by it counts for nothing. A clock that is set forward has what was
//! missed done once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::note::Work;
use super::plan::Job;
use crate::config::Config;
use crate::history::{Attempt, History};

/// By how much clocks may differ, or be set back, before what was begun by them is not believed.
const SKEW: SignedDuration = SignedDuration::from_hours(1);
/// When something is tried again that could not even be begun.
const RETRY: SignedDuration = SignedDuration::from_mins(1);

/// Something that is to be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What.
    pub job: Job,
    /// The date that it is done for; `None` where it was never done.
    pub date: Option<Timestamp>,
}

impl Due {
    /// Whether somebody else did it meanwhile.
    #[must_use]
    pub fn is_done(&self, history: &History) -> bool {
        let last = history.last(self.job.work, self.job.source.as_deref());
        last.is_some_and(|last| self.date.is_none_or(|date| last >= date))
    }
}

/// What one process has begun.
#[derive(Debug, Clone)]
pub struct Scheduler {
    host: String,
    domain: Option<String>,
    parallel: usize,
    running: BTreeSet<Job>,
    begun: BTreeMap<Job, Timestamp>,
    put_off: BTreeMap<Job, Timestamp>,
}

impl Scheduler {
    /// One that has begun nothing yet, and begins so many runs at once at most. What was begun on this host in this lock domain and
    /// runs no more was killed; without a domain nothing is of this process's own.
    #[must_use]
    pub fn new(host: &str, domain: Option<String>, parallel: usize) -> Self {
        let parallel = parallel.max(1);
        let (running, begun, put_off) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        Self { host: host.to_owned(), domain, parallel, running, begun, put_off }
    }

    /// What is to be begun now, what is due longest first. Of a source one thing at a time, and of the repository; nothing that
    /// runs elsewhere.
    #[must_use]
    pub fn due(&self, config: &Config, history: &History, now: Timestamp) -> Vec<Due> {
        let mut due: Vec<Due> = Vec::new();
        for job in Job::all(config) {
            let waits = |since: &Timestamp| now >= *since && now.duration_since(*since) < RETRY;
            if self.put_off.get(&job).is_some_and(waits) {
                continue;
            }
            let Some((date, begins)) = self.next(&job, config, history, now) else { continue };
            let runs_elsewhere = || {
                let running = history.running(job.work, job.source.as_deref(), now);
                running.is_some_and(|running| !running.began.is_of(&self.host, self.domain.as_deref()))
            };
            if begins <= now && !runs_elsewhere() {
                due.push(Due { job, date });
            }
        }
        // Stable: what is due at the same time stays in the configuration's order.
        due.sort_by_key(|due| due.date);
        let mut busy: BTreeSet<Option<String>> = self.running.iter().map(|job| job.source.clone()).collect();
        due.retain(|due| busy.insert(due.job.source.clone()));
        due.truncate(self.parallel.saturating_sub(self.running.len()));
        due
    }

    /// The next date of a job, and when it is begun for that: later by the jitter. No date where it was never done, and is due.
    /// `None` where it never is; a restore test where there is nothing to restore.
    #[must_use]
    pub fn next(
        &self,
        job: &Job,
        config: &Config,
        history: &History,
        now: Timestamp,
    ) -> Option<(Option<Timestamp>, Timestamp)> {
        let when = job.when(config)?;
        // There is nothing to restore before the first.
        let has_snapshot = |source: &String| history.backups(source).iter().any(Attempt::is_success);
        if job.work == Work::Verify && !job.source.as_ref().is_some_and(has_snapshot) {
            return None;
        }
        let begun = self.begun.get(job).copied().filter(|begun| begun.duration_since(now) <= SKEW);
        let Some(last) = history.last(job.work, job.source.as_deref()).max(begun) else {
            return Some((None, now));
        };
        let date = when.next(last)?;
        let most = config.jitter(job.source.as_deref()).unwrap_or_default();
        // Never beyond half of what is between two dates.
        let between = when.next(date).map_or(Duration::ZERO, |next| next.duration_since(date).unsigned_abs());
        let begins = date.checked_add(self.offset(job, date, most.min(between / 2))).ok()?;
        Some((Some(date), begins))
    }

    /// The same for a host, a job and a date, whoever asks when: a restart does not change it, and hosts differ.
    fn offset(&self, job: &Job, date: Timestamp, most: Duration) -> SignedDuration {
        let source = job.source.as_deref().unwrap_or_default();
        let of = format!("{}\0{}\0{source}\0{date}", self.host, job.work.name());
        let hash = blake3::hash(of.as_bytes());
        let [b0, b1, b2, b3, ..] = *hash.as_bytes();
        let share = u128::from(u32::from_le_bytes([b0, b1, b2, b3]));
        let ms = most.as_millis().saturating_mul(share) >> 32;
        SignedDuration::from_millis(i64::try_from(ms).unwrap_or(0))
    }

    /// It has begun.
    pub fn began(&mut self, job: Job, now: Timestamp) {
        self.put_off.remove(&job);
        self.begun.insert(job.clone(), now);
        self.running.insert(job);
    }

    /// It has ended, at this moment of this process's clock. A date that came meanwhile is left out.
    pub fn ended(&mut self, job: &Job, config: &Config, now: Timestamp) {
        self.running.remove(job);
        if let Some(begun) = self.begun.get_mut(job)
            && job.left_out(config, *begun, now).is_some()
        {
            *begun = now;
        }
    }

    /// It could not even be begun, so that nobody else knows of it: it is tried again soon.
    pub fn not_begun(&mut self, job: &Job, now: Timestamp) {
        self.running.remove(job);
        self.begun.remove(job);
        self.put_off.insert(job.clone(), now);
    }

    /// How many runs of it have not ended.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Began;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-22T{text}Z").parse().unwrap()
    }

    fn config(text: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        std::fs::write(&file, text).unwrap();
        Config::read(&file).unwrap()
    }

    fn hourly(more: &str) -> Config {
        config(&format!("schedule = \"@hourly\"\n{more}\n[sources.db]\nengine = \"files\"\n"))
    }

    fn db() -> Job {
        Job { work: Work::Backup, source: Some("db".into()) }
    }

    /// What was done of it, when, by the store's clock.
    fn done(time: &str) -> History {
        let mut history = History::default();
        history.done(Work::Backup, Some("db".into()), at(time));
        history
    }

    fn names(due: &[Due]) -> Vec<String> {
        due.iter().map(|due| due.job.to_string()).collect()
    }

    #[test]
    fn what_is_due_is_begun_once() {
        let config = hourly("");
        let mut scheduler = Scheduler::new("a", None, 2);
        let never = History::default();
        assert_eq!(scheduler.due(&config, &never, at("01:30:00")), [Due { job: db(), date: None }]);
        scheduler.began(db(), at("01:30:00"));
        assert_eq!(scheduler.due(&config, &never, at("01:30:01")), []);
        scheduler.ended(&db(), &config, at("01:31:00"));
        // Also while nobody can read the journal.
        assert_eq!(scheduler.due(&config, &never, at("01:59:59")), []);
        let due = scheduler.due(&config, &never, at("02:00:00"));
        assert_eq!(due, [Due { job: db(), date: Some(at("02:00:00")) }]);
        // Somebody else did it.
        assert!(
            due[0].is_done(&done("02:00:00"))
                && !due[0].is_done(&done("01:59:59"))
                && !due[0].is_done(&never)
        );
        assert_eq!(scheduler.due(&config, &done("02:00:01"), at("02:00:02")), []);
    }

    #[test]
    fn a_clock_that_is_set_has_nothing_done_twice_and_what_was_missed_once() {
        let config = hourly("");
        let mut scheduler = Scheduler::new("a", None, 2);
        // The store's clock is ten seconds behind.
        scheduler.began(db(), at("02:00:00"));
        scheduler.ended(&db(), &config, at("02:00:05"));
        let behind = done("01:59:50");
        assert_eq!(scheduler.due(&config, &behind, at("02:00:06")), []);
        // Set back by half an hour: the date comes a second time.
        for time in ["01:30:00", "02:00:00", "02:30:00"] {
            assert_eq!(scheduler.due(&config, &behind, at(time)), [], "{time}");
        }
        // Set forward by hours: once.
        assert_eq!(names(&scheduler.due(&config, &behind, at("09:30:00"))), ["backup of db"]);
        scheduler.began(db(), at("09:30:00"));
        scheduler.ended(&db(), &config, at("09:30:05"));
        assert_eq!(scheduler.due(&config, &behind, at("09:30:06")), []);
        // It was wrong, and is right again: what was begun by it holds up nothing.
        assert_eq!(names(&scheduler.due(&config, &done("02:00:01"), at("03:00:00"))), ["backup of db"]);
        // What the journal knows is not done again, however far it is set back.
        assert_eq!(scheduler.due(&config, &done("09:30:02"), at("03:00:00")), []);
    }

    #[test]
    fn a_date_that_comes_while_it_runs_is_left_out() {
        let config = hourly("");
        let mut scheduler = Scheduler::new("a", None, 2);
        let history = done("02:00:01");
        scheduler.began(db(), at("03:00:00"));
        assert_eq!(scheduler.due(&config, &history, at("04:00:00")), []);
        assert_eq!(db().left_out(&config, at("03:00:00"), at("05:10:00")), Some(at("04:00:00")));
        assert_eq!(db().left_out(&config, at("03:00:00"), at("03:59:59")), None);
        scheduler.ended(&db(), &config, at("05:10:00"));
        assert_eq!(scheduler.due(&config, &done("03:00:01"), at("05:59:59")), []);
        assert_eq!(names(&scheduler.due(&config, &done("03:00:01"), at("06:00:00"))), ["backup of db"]);
    }

    #[test]
    fn what_runs_in_another_pod_of_the_same_name_is_waited_for_and_what_was_killed_here_is_not() {
        let config = hourly("");
        let mut history = done("01:00:01");
        let began = Began {
            run: "r".into(),
            work: Work::Backup,
            source: Some("db".into()),
            host: "kubernetes".into(),
            pid: 1,
            date: None,
            domain: Some("a".into()),
            lease_seconds: 600,
        };
        history.runs(began, at("02:00:00"));
        let due = |domain: &str, time| {
            let scheduler = Scheduler::new("kubernetes", Some(domain.into()), 2);
            names(&scheduler.due(&config, &history, at(time)))
        };
        assert_eq!(due("b", "02:05:00"), [""; 0]);
        assert_eq!(due("b", "02:10:00"), ["backup of db"]);
        assert_eq!(due("a", "02:05:00"), ["backup of db"]);
    }

    #[test]
    fn jitter_is_the_same_for_a_date_and_differs_between_hosts() {
        let config = hourly("jitter = \"10m\"");
        let history = done("01:00:01");
        let begins = |host: &str, history: &History| {
            let (date, begins) =
                Scheduler::new(host, None, 2).next(&db(), &config, history, at("01:30:00")).unwrap();
            begins.duration_since(date.unwrap())
        };
        let hosts: BTreeSet<_> = (0..20).map(|host| begins(&format!("host{host}"), &history)).collect();
        assert!(hosts.len() > 15, "{hosts:?}");
        assert!(hosts.iter().all(|offset| (0..600).contains(&offset.as_secs())), "{hosts:?}");
        assert_eq!(begins("a", &history), begins("a", &done("01:20:00")));
        assert_ne!(begins("a", &history), begins("a", &done("02:00:00")));
        let scheduler = Scheduler::new("a", None, 2);
        let begins = at("02:00:00") + begins("a", &history);
        assert_eq!(scheduler.due(&config, &history, begins - SignedDuration::from_millis(1)), []);
        assert_eq!(scheduler.due(&config, &history, begins).len(), 1);
        // More than there is between two dates would leave some out.
        let wide = hourly("jitter = \"1d\"");
        let (date, begins) = scheduler.next(&db(), &wide, &history, at("01:30:00")).unwrap();
        assert!(begins.duration_since(date.unwrap()) < SignedDuration::from_mins(30));
    }

    #[test]
    fn so_many_run_at_once_and_one_of_a_source() {
        let config = config(
            "schedule = \"@hourly\"\n[verify]\nevery = \"1d\"\n[check]\nevery = \"1d\"\n[prune]\nevery = \"1d\"\n\
             [sources.a]\nengine = \"files\"\n[sources.b]\nengine = \"files\"\n[sources.c]\nengine = \"files\"\n",
        );
        let mut scheduler = Scheduler::new("a", None, 3);
        let never = History::default();
        let now = at("02:00:00");
        assert_eq!(
            names(&scheduler.due(&config, &never, now)),
            ["backup of a", "backup of b", "backup of c"]
        );
        for due in scheduler.due(&config, &never, now) {
            scheduler.began(due.job, now);
        }
        assert_eq!(scheduler.due(&config, &never, now), []);
        let of_a = Job { work: Work::Backup, source: Some("a".into()) };
        scheduler.ended(&of_a, &config, now);
        // What failed cannot be restored.
        assert_eq!(names(&scheduler.due(&config, &never, now)), ["prune"]);
        let mut once = never.clone();
        once.backed_up("a", now);
        assert_eq!(names(&scheduler.due(&config, &once, now)), ["verify of a"]);
        assert_eq!(scheduler.running(), 2);
        scheduler.not_begun(&of_a, now);
        assert_eq!(names(&scheduler.due(&config, &never, now)), ["prune"]);
        assert_eq!(names(&scheduler.due(&config, &never, now + RETRY)), ["backup of a"]);
    }
}
