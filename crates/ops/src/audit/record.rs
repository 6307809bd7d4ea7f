//! One line of the audit trail.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// What it is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A snapshot was made, or was to be.
    Backup,
    /// Stored data was read: `restore`, `cat`, `mount`.
    Restore,
    /// A restore test.
    Verify,
    /// The repository was checked.
    Check,
    /// Snapshots were taken out.
    Forget,
    /// What no snapshot needs was freed.
    Prune,
    /// Files of logs expired, or were dropped.
    Log,
    /// Who may open the repository, who may write to it, and how.
    Key,
    /// Snapshots were tagged.
    Tag,
    /// Snapshots were held, or let go.
    Hold,
    /// Snapshots were copied, to or from another repository.
    Copy,
    /// Something was mended.
    Repair,
    /// A run by the configuration.
    Run,
    /// A drill was held.
    Drill,
    /// People were told.
    Alert,
    /// What a verifier opened, and how the index is kept.
    Upkeep,
    /// What this program has no word for.
    #[default]
    Other,
}

/// How it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All well.
    #[default]
    Done,
    /// It began; another entry with the same `operation` says how it ended. Where there is none, it was killed, or could not say so.
    Began,
    /// In part.
    Partly,
    /// It did not do what it was to do.
    Failed,
    /// What was found is not what it should be.
    Damage,
    /// It was running already, elsewhere.
    Skipped,
    /// The entry does not count: whoever signed it may not do that.
    Void,
    /// The entry is missing, or not what it was.
    Unreadable,
}

/// What an entry of the journal tells.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Record {
    /// Its place in the journal.
    pub entry: u64,
    /// By the store's clock.
    pub time: Option<Timestamp>,
    /// What it is about.
    pub kind: Kind,
    /// What was done, in a word or two.
    pub what: String,
    /// To what, for people.
    pub object: String,
    /// How it ended.
    pub result: Verdict,
    /// Why it failed, or does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Who signed it: proven.
    pub signer: Option<String>,
    /// The name that the policy gives the signer.
    pub signer_name: Option<String>,
    /// Where, as that host said.
    pub host: Option<String>,
    /// As which user of that host.
    pub user: Option<String>,
    /// Who called `sudo` there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sudo_user: Option<String>,
    /// What belongs together: a restore's begin and its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Of which sources.
    pub sources: Vec<String>,
    /// Of which snapshots.
    pub snapshots: Vec<String>,
    /// What became of keys, signers and recipients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Data keys that it brings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys_created: Vec<String>,
    /// Data keys that it ends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys_retired: Vec<String>,
    /// All that a note says.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub detail: Value,
    /// BLAKE3-256 of its stored bytes.
    pub hash: Option<String>,
    /// The chain over all that is stored up to it: `journal verify --expect-head ENTRY:CHAIN`.
    pub chain: String,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Backup,
        Self::Restore,
        Self::Verify,
        Self::Check,
        Self::Forget,
        Self::Prune,
        Self::Log,
        Self::Key,
        Self::Tag,
        Self::Hold,
        Self::Copy,
        Self::Repair,
        Self::Run,
        Self::Drill,
        Self::Alert,
        Self::Upkeep,
        Self::Other,
    ];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Verify => "verify",
            Self::Check => "check",
            Self::Forget => "forget",
            Self::Prune => "prune",
            Self::Log => "log",
            Self::Key => "key",
            Self::Tag => "tag",
            Self::Hold => "hold",
            Self::Copy => "copy",
            Self::Repair => "repair",
            Self::Run => "run",
            Self::Drill => "drill",
            Self::Alert => "alert",
            Self::Upkeep => "upkeep",
            Self::Other => "other",
        }
    }

    /// The kind that a command is of.
    #[must_use]
    pub fn of_command(command: &str) -> Self {
        match command {
            "policy" | "init" => Self::Key,
            "object-lock" => Self::Upkeep,
            "sync" => Self::Copy,
            "commit" => Self::Backup,
            "mount" => Self::Restore,
            "check-shard" => Self::Check,
            "verify-shard" => Self::Verify,
            name => Self::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or_default(),
        }
    }
}

impl Verdict {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Began => "began",
            Self::Partly => "partly",
            Self::Failed => "failed",
            Self::Damage => "damage",
            Self::Skipped => "skipped",
            Self::Void => "void",
            Self::Unreadable => "unreadable",
        }
    }
}

impl Record {
    pub(super) fn is_not(&mut self, result: Verdict, why: &str) {
        self.result = result;
        self.error = Some(why.to_owned());
    }
}

/// Which lines are asked for; nothing said is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// From then on.
    pub since: Option<Timestamp>,
    /// Up to then.
    pub until: Option<Timestamp>,
    /// Of these sources.
    pub sources: Vec<String>,
    /// Of these kinds.
    pub kinds: Vec<Kind>,
}

impl Selection {
    /// Whether it is asked for. An entry that cannot be read says neither when it was nor what it is about: it always is.
    #[must_use]
    pub fn wants(&self, record: &Record) -> bool {
        if record.result == Verdict::Unreadable {
            return true;
        }
        let is_in_time = record.time.is_none_or(|time| {
            self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time <= until)
        });
        let is_of_source =
            self.sources.is_empty() || record.sources.iter().any(|source| self.sources.contains(source));
        is_in_time && is_of_source && (self.kinds.is_empty() || self.kinds.contains(&record.kind))
    }
}
