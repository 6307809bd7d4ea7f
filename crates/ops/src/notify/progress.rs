//! How far something is that takes long: told after a time, again each time that the time has doubled, and when it is over.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::letter::Letter;
use crate::run::{Began, RunResult, Work};
use crate::words::{bytes, took};

/// What is told at once is told again after this long.
const SHORTEST: Duration = Duration::from_secs(60);

/// When somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Milestones {
    next: Duration,
}

impl Milestones {
    /// First after so long.
    #[must_use]
    pub fn new(after: Duration) -> Self {
        Self { next: after }
    }

    /// Whether another one has been reached. Those that were slept through, or waited through, are one.
    pub fn reached(&mut self, elapsed: Duration) -> bool {
        let is_reached = elapsed >= self.next;
        while elapsed >= self.next {
            self.next = self.next.saturating_mul(2).max(SHORTEST);
        }
        is_reached
    }
}

/// What a command says of itself while it goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// What it does now.
    pub what: String,
    /// How much of it is done.
    pub bytes: u64,
    /// Of how much, where that is known.
    pub total_bytes: Option<u64>,
    /// What it has stored.
    pub stored_bytes: u64,
}

/// How far a run is, or how it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress<'r> {
    /// Where the repository is.
    pub repository: &'r str,
    /// What it is.
    pub began: &'r Began,
    /// As of when.
    pub time: Timestamp,
    /// How long it has taken.
    pub elapsed: Duration,
    /// `None` where it has said nothing yet.
    pub figures: Option<Figures>,
    /// How much there was the last time.
    pub expected_bytes: Option<u64>,
    /// How it ended, and what went wrong.
    pub ended: Option<(RunResult, Option<String>)>,
}

impl Progress<'_> {
    /// In one line: `database: backup runs for 35 min, 42.0 GiB of about 60.0 GiB read, stored 3.1 GiB`.
    #[must_use]
    pub fn line(&self) -> String {
        let of = self.began.source.as_ref().map(|source| format!("{source}: ")).unwrap_or_default();
        let work = self.began.work.name();
        let took = took(self.elapsed.as_secs_f64());
        let mut line = match &self.ended {
            None => format!("{of}{work} runs for {took}"),
            Some((result, _)) => format!("{of}{work} {} after {took}", result.name()),
        };
        if let Some((_, Some(error))) = &self.ended {
            line.push_str(&format!(": {error}"));
            return line;
        }
        if let Some(figures) = &self.figures {
            line.push_str(&self.told(figures));
        }
        line
    }

    fn told(&self, figures: &Figures) -> String {
        let done = bytes(figures.bytes);
        let of = match (figures.total_bytes, self.expected_bytes) {
            _ if self.ended.is_some() => String::new(),
            (Some(total), _) => format!(" of {}", bytes(total)),
            (None, Some(expected)) => format!(" of about {}", bytes(expected)),
            (None, None) => String::new(),
        };
        if self.began.work == Work::Backup {
            return format!(", {done}{of} read, stored {}", bytes(figures.stored_bytes));
        }
        format!(", {}: {done}{of}", figures.what)
    }

    /// As it is sent.
    #[must_use]
    pub fn letter(&self) -> Letter {
        let line = self.line();
        let Began { run, work, source, host, .. } = self.began;
        let (result, error) = match &self.ended {
            None => (json!("running"), None),
            Some((result, error)) => (json!(result), error.as_ref()),
        };
        let figures = self.figures.as_ref();
        let json = json!({
            "type": "strongroom.progress", "repository": self.repository, "time": self.time, "subject": subject(&line),
            "run": run, "work": work, "source": source, "host": host, "seconds": self.elapsed.as_secs(), "result": result,
            "error": error, "bytes": figures.map(|figures| figures.bytes),
            "total_bytes": figures.and_then(|figures| figures.total_bytes), "expected_bytes": self.expected_bytes,
            "stored_bytes": figures.map(|figures| figures.stored_bytes),
        });
        let text = format!("{}\nas of {}, on {host}\n\n{line}\n", self.repository, self.time);
        Letter { subject: subject(&line), text, json }
    }
}

fn subject(line: &str) -> String {
    super::letter::subject(line)
}

/// What a line of a command says, where it says how far it is.
#[must_use]
pub fn figures_of(line: &Value) -> Option<Figures> {
    (line["type"] == "status").then(|| Figures {
        what: line["what"].as_str().unwrap_or_default().to_owned(),
        bytes: line["bytes"].as_u64().unwrap_or_default(),
        total_bytes: line["total_bytes"].as_u64(),
        stored_bytes: line["stored_bytes"].as_u64().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    #[test]
    fn it_is_told_each_time_that_the_time_has_doubled() {
        let mut milestones = Milestones::new(minutes(30));
        let reached: Vec<u64> = (0..=300).filter(|at| milestones.reached(minutes(*at))).collect();
        assert_eq!(reached, [30, 60, 120, 240]);
        // A host that slept.
        let mut milestones = Milestones::new(minutes(30));
        assert!(milestones.reached(minutes(500)) && !milestones.reached(minutes(900)));
        assert!(milestones.reached(minutes(960)));
        let mut at_once = Milestones::new(Duration::ZERO);
        let reached: Vec<u64> = (0..=200).filter(|at| at_once.reached(Duration::from_secs(*at))).collect();
        assert_eq!(reached, [0, 60, 120]);
    }

    #[test]
    fn as_people_read_it() {
        let began = |work, source: Option<&str>| Began {
            run: "r".into(),
            work,
            source: source.map(str::to_owned),
            host: "db1".into(),
            pid: 1,
            date: None,
            domain: None,
            lease_seconds: 600,
        };
        let backup = began(Work::Backup, Some("database"));
        let line = json!({ "type": "status", "what": "backing up", "bytes": 42_u64 << 30, "stored_bytes": 3_u64 << 30 });
        let figures = figures_of(&line).unwrap();
        let progress = Progress {
            repository: "s3://bucket",
            began: &backup,
            time: Timestamp::UNIX_EPOCH,
            elapsed: minutes(35),
            figures: Some(figures.clone()),
            expected_bytes: Some(60 << 30),
            ended: None,
        };
        let told = "database: backup runs for 35 min, 42.0 GiB of about 60.0 GiB read, stored 3.0 GiB";
        assert_eq!(progress.line(), told);
        assert_eq!(progress.letter().subject, format!("[strongroom] {told}"));
        assert_eq!(progress.letter().json["result"], "running");
        let silent = Progress { figures: None, ..progress.clone() };
        assert_eq!(silent.line(), "database: backup runs for 35 min");
        let done = Progress { ended: Some((RunResult::Done, None)), ..progress.clone() };
        assert_eq!(done.line(), "database: backup done after 35 min, 42.0 GiB read, stored 3.0 GiB");
        let failed =
            Progress { ended: Some((RunResult::Failed, Some("no route".into()))), ..progress.clone() };
        assert_eq!(failed.line(), "database: backup failed after 35 min: no route");
        let prune = began(Work::Prune, None);
        let figures = Figures { what: "deleting".into(), total_bytes: Some(84 << 30), ..figures };
        let progress = Progress { began: &prune, figures: Some(figures), expected_bytes: None, ..progress };
        assert_eq!(progress.line(), "prune runs for 35 min, deleting: 42.0 GiB of 84.0 GiB");
    }
}
