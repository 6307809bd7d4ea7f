//! What the audit trail tells a report.

use jiff::Timestamp;
use serde::Serialize;

use super::period::Period;
use crate::audit::{Kind, Outcome, Record};

/// How many events of a kind are listed; the others are counted.
const LISTED: usize = 200;

/// The journal, and what of it lies in the period.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AuditSummary {
    /// Entries of the whole journal.
    pub entries: u64,
    /// Since when it is unbroken: the time of the first entry behind which every one can be read.
    pub unbroken_since: Option<Timestamp>,
    /// Entries that cannot be read.
    pub unreadable: u64,
    /// Entries that do not count, of the period.
    pub void: u64,
    /// What `journal verify` found, worse than a remark.
    pub verify_findings: u64,
    /// The last entry and the chain up to it, to be noted elsewhere: `journal verify --expect-head`.
    pub head: String,
    /// What happened to keys, signers and recipients in the period.
    pub keys: Vec<Event>,
    /// Data keys that came and went in the period.
    pub data_keys_created: u64,
    /// Data keys that were ended in the period.
    pub data_keys_retired: u64,
    /// Holds put on and taken off in the period.
    pub holds: Vec<Event>,
    /// Reads of stored data in the period: restores, and copies to elsewhere.
    pub reads: Vec<Event>,
    /// Of each kind, what is not listed.
    pub more: u64,
    /// Reads that began and never said how they ended.
    pub reads_without_end: u64,
    #[serde(skip)]
    open: Vec<String>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The entry of the journal.
    pub entry: u64,
    /// When.
    pub time: Option<Timestamp>,
    /// Who: the user and host as that host said, and the signer.
    pub who: String,
    /// What.
    pub what: String,
    /// How it ended.
    pub result: &'static str,
}

impl AuditSummary {
    /// Adds an entry; they come in the journal's order, all of them.
    pub fn take(&mut self, record: &Record, period: &Period) {
        self.entries += 1;
        self.head = format!("{}:{}", record.entry, record.chain);
        if record.result == Outcome::Unreadable {
            self.unreadable += 1;
            self.unbroken_since = None;
            return;
        }
        self.unbroken_since = self.unbroken_since.or(record.time);
        if !record.time.is_some_and(|time| period.contains(time)) {
            return;
        }
        if record.result == Outcome::Void {
            self.void += 1;
            return;
        }
        self.data_keys_created += record.keys_created.len() as u64;
        self.data_keys_retired += record.keys_retired.len() as u64;
        match record.kind {
            Kind::Key => self.key_event(record),
            Kind::Hold => {
                let event = Event::new(record, &format!("{} {}", record.what, record.object));
                push(&mut self.holds, event, &mut self.more);
            }
            Kind::Restore => self.read(record),
            Kind::Copy if record.what == "copy-out" => self.read(record),
            _ => {}
        }
    }

    fn key_event(&mut self, record: &Record) {
        if record.changes.is_empty() {
            return push(&mut self.keys, Event::new(record, &record.what), &mut self.more);
        }
        for change in &record.changes {
            push(&mut self.keys, Event::new(record, change), &mut self.more);
        }
    }

    fn read(&mut self, record: &Record) {
        let operation = record.operation.clone().unwrap_or_default();
        if record.result == Outcome::Began {
            self.reads_without_end += 1;
            return self.open.push(operation);
        }
        if let Some(at) = self.open.iter().position(|open| *open == operation) {
            self.open.swap_remove(at);
            self.reads_without_end -= 1;
        }
        push(
            &mut self.reads,
            Event::new(record, &format!("{} {}", record.what, record.object)),
            &mut self.more,
        );
    }

    pub(super) fn judge(&self, missed: &mut Vec<String>) {
        if self.unreadable > 0 {
            missed.push(format!("{} entries of the audit trail cannot be read", self.unreadable));
        }
        if self.verify_findings > 0 {
            missed.push(format!("`journal verify` has findings: {}", self.verify_findings));
        }
        if self.void > 0 {
            missed.push(format!("{} entries were signed by somebody who may not do that", self.void));
        }
    }
}

fn push(events: &mut Vec<Event>, event: Event, more: &mut u64) {
    match events.len() < LISTED {
        true => events.push(event),
        false => *more += 1,
    }
}

impl Event {
    fn new(record: &Record, what: &str) -> Self {
        Self {
            entry: record.entry,
            time: record.time,
            who: who(record),
            what: what.trim().to_owned(),
            result: record.result.name(),
        }
    }
}

/// `alice@db1 (sudo by bob), signer backup`.
fn who(record: &Record) -> String {
    let signer = record.signer_name.as_deref().or(record.signer.as_deref()).unwrap_or("unknown");
    let sudo = record.sudo_user.as_ref().map(|user| format!(" (sudo by {user})")).unwrap_or_default();
    match (&record.user, &record.host) {
        (Some(user), Some(host)) => format!("{user}@{host}{sudo}, signer {signer}"),
        (Some(who), None) | (None, Some(who)) => format!("{who}{sudo}, signer {signer}"),
        (None, None) => format!("signer {signer}"),
    }
}
