//! What is known, as it is shown: made now and then by whoever reads the journal, and shared by all requests until the next.

use std::sync::Arc;

use jiff::Timestamp;
use strongroom_ops::redacted;
use strongroom_ops::run::Job;
use strongroom_ops::status::Status;

/// How reading the repository went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// When it was read last.
    pub last: Option<Timestamp>,
    /// Why it could not be read since.
    pub error: Option<String>,
}

/// A snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotView {
    /// All of its ID.
    pub id: String,
    /// Of what.
    pub source: String,
    /// What read it.
    pub engine: String,
    /// When, by the store's clock.
    pub time: Timestamp,
    /// How long it took, s.
    pub seconds: f64,
    /// Where.
    pub host: String,
    /// By whom.
    pub user: String,
    /// With what.
    pub tool: String,
    /// Who signed it.
    pub signer: String,
    /// Its entry in the journal.
    pub entry: u64,
    /// The snapshot that it was made against.
    pub parent: Option<String>,
    /// Entries of its tree.
    pub entries: u64,
    /// Files and streams among them.
    pub files: u64,
    /// As it is restored, bytes.
    pub bytes: u64,
    /// Of what was not there before, bytes.
    pub new_bytes: u64,
    /// What was stored for it, bytes.
    pub stored_bytes: u64,
    /// Files that could not be read.
    pub unreadable: u64,
    /// What was asked for.
    pub arguments: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its holds.
    pub holds: Vec<String>,
    /// How it was cut.
    pub streams: Vec<StreamView>,
    /// What the engine knew of the data.
    pub facts: Facts,
}

/// One stream of a snapshot.
#[derive(Debug, Clone)]
pub struct StreamView {
    /// Its path; nothing for all files together.
    pub name: String,
    /// How it was cut.
    pub chunker: String,
    /// Plain bytes.
    pub bytes: u64,
}

/// What an engine knew of the data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Facts {
    /// It knew nothing.
    #[default]
    None,
    /// It is an older snapshot: `strongroom show` tells them.
    NotRead,
    /// They cannot be read; why.
    Unreadable(String),
    /// As JSON, indented.
    Known(String),
}

/// All snapshots, the newest first, without any secret. Shared by views, since they seldom change.
#[derive(Debug, Clone, Default)]
pub struct Snapshots(Arc<[SnapshotView]>);

impl Snapshots {
    /// Of these.
    #[must_use]
    pub fn new(mut snapshots: Vec<SnapshotView>) -> Self {
        let hide = |text: &mut String| *text = redacted(text);
        for snapshot in &mut snapshots {
            snapshot.arguments.iter_mut().for_each(hide);
            snapshot.streams.iter_mut().for_each(|stream| hide(&mut stream.name));
            if let Facts::Known(text) | Facts::Unreadable(text) = &mut snapshot.facts {
                hide(text);
            }
        }
        snapshots.sort_by_key(|snapshot| std::cmp::Reverse((snapshot.time, snapshot.entry)));
        Self(snapshots.into())
    }

    /// The newest first.
    pub fn iter(&self) -> std::slice::Iter<'_, SnapshotView> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// All that is known.
#[derive(Debug, Clone)]
pub struct View {
    /// Where the repository is.
    pub repository: String,
    /// Its name in metrics.
    pub bucket: String,
    /// Which it is.
    pub fingerprint: String,
    /// How things stand.
    pub status: Status,
    /// All snapshots.
    pub snapshots: Snapshots,
    /// What is done next, and when, where this process does it.
    pub next: Vec<(Job, Timestamp)>,
    /// Whether this process runs schedules.
    pub schedules: bool,
    /// The program.
    pub tool: String,
}

impl View {
    /// Without any secret that a text of somebody else may hold. To be called before it is published.
    #[must_use]
    pub fn redacted(mut self) -> Self {
        let hide = |text: &mut String| *text = redacted(text);
        hide(&mut self.repository);
        hide(&mut self.bucket);
        for finding in &mut self.status.findings {
            hide(&mut finding.what);
        }
        for source in &mut self.status.sources {
            source.findings.iter_mut().for_each(|finding| hide(&mut finding.what));
            source.backups.iter_mut().filter_map(|backup| backup.error.as_mut()).for_each(hide);
            source.tests.iter_mut().filter_map(|test| test.error.as_mut()).for_each(hide);
        }
        let tasks = self.status.maintenance.iter_mut().map(|(_, last)| last).chain(&mut self.status.check);
        tasks.filter_map(|task| task.error.as_mut()).for_each(hide);
        self
    }
}
