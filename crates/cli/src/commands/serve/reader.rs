//! Reads the journal on, now and then, and publishes how things stand: the one place of `serve` that waits for the store, on a thread
//! of its own.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use strongroom_ops::config::Config;
use strongroom_ops::history::History;
use strongroom_ops::run::{Job, Scheduler};
use strongroom_ops::status::{Logs, Status};
use strongroom_repository::Repository;
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::reader::Reader as ChunkReader;
use strongroom_repository::state::Snapshot;
use strongroom_store::Store;
use strongroom_web::{Facts, Server, SnapshotView, Snapshots, StreamView, View};

use super::alerter::{Found, News};
use crate::arguments::Global;
use crate::context::{Context, TOOL, host_of_run};
use crate::{clock, exit};

/// Listing logs is a request for each thousand files.
const LOGS_EVERY: Duration = Duration::from_secs(60);
/// Of how many snapshots of a source the facts are read.
const FACTS: usize = 25;
/// Facts that are shown, bytes: more is for `show`.
const FACTS_BYTES: usize = 64 * 1024;

/// What the reader and the scheduler share.
#[derive(Default)]
pub(super) struct Shared {
    config: Mutex<Arc<Config>>,
    /// `None` until the journal was read once: before, everything would seem never to have been done.
    history: Mutex<Option<Arc<History>>>,
}

impl Shared {
    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_config(&self, config: Config) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    pub(super) fn history(&self) -> Option<Arc<History>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_history(&self, history: &History) {
        *self.history.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(history.clone()));
    }
}

/// Reads on until this process ends.
pub(super) struct Reader {
    pub(super) global: Global,
    pub(super) shared: Arc<Shared>,
    pub(super) server: Arc<Server>,
    pub(super) refresh: Duration,
    pub(super) schedules: bool,
    /// To who tells others what was found.
    pub(super) alerts: Sender<News>,
}

/// The repository, as it was read last.
struct Open {
    repository: Repository,
    /// Without the copies that a cache keeps.
    store: Arc<dyn Store>,
    history: History,
    logs: Logs,
    logs_read: Option<Instant>,
    snapshots: Snapshots,
    facts: HashMap<String, Facts>,
    /// Up to where `snapshots` goes.
    entry: Option<u64>,
}

impl Reader {
    /// Begins; what is sent to what this gives has it read at once.
    pub(super) fn start(self) -> anyhow::Result<SyncSender<()>> {
        let (wake, woken) = sync_channel(1);
        let thread = std::thread::Builder::new().name("strongroom-journal".into());
        thread.spawn(move || self.read_on(&woken)).context("the journal cannot be followed")?;
        Ok(wake)
    }

    fn read_on(&self, woken: &Receiver<()>) {
        let context = Context::of(&self.global);
        let mut open = None;
        let mut told = None;
        loop {
            match self.read(&context, &mut open) {
                Ok(view) => {
                    if told.take().is_some() {
                        context.terminal.say("the repository can be read again");
                    }
                    let Status { now, findings, sent, .. } = &view.status;
                    let found = Found { findings: findings.clone(), sent: sent.clone() };
                    self.tell(News { now: *now, found: Ok(found) });
                    self.server.publish(view);
                }
                Err(error) => {
                    let (what, _) = exit::describe(&error);
                    self.server.failed(&what);
                    self.tell(News { now: clock::now(), found: Err(what.clone()) });
                    // Once, and not every few seconds.
                    if told.as_ref() != Some(&what) {
                        context
                            .terminal
                            .warn(&format!("the repository cannot be read, and is tried again: {what}"));
                    }
                    told = Some(what);
                    open = None;
                }
            }
            match woken.recv_timeout(self.refresh) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn tell(&self, news: News) {
        // Who cannot begin has said so.
        let _nobody = self.alerts.send(news);
    }

    fn read(&self, context: &Context<'_>, known: &mut Option<Open>) -> anyhow::Result<View> {
        let open = match known {
            Some(open) => {
                open.is_there()?;
                open.repository.refresh()?;
                open.history.read_on(&open.repository)?;
                open
            }
            None => known.insert(Open::new(context)?),
        };
        if open.look()? {
            self.shared.set_history(&open.history);
        }
        let config = self.shared.config();
        let now = clock::now();
        let status = Status::with_history(&open.repository, &open.history, open.logs.clone(), &config, now);
        Ok(View {
            repository: context.url()?.to_string(),
            bucket: context.url()?.bucket(),
            fingerprint: open.repository.fingerprint(),
            status,
            snapshots: open.snapshots.clone(),
            next: if self.schedules { next(&config, &open.history, now) } else { Vec::new() },
            schedules: self.schedules,
            tool: TOOL.to_owned(),
        })
    }
}

/// What is done next, by the journal alone.
fn next(config: &Config, history: &History, now: Timestamp) -> Vec<(Job, Timestamp)> {
    let scheduler = Scheduler::new(&host_of_run(), None, 1);
    let of = |job: Job| scheduler.next(&job, config, history, now).map(|(_, at)| (job, at));
    let mut next: Vec<_> = Job::all(config).into_iter().filter_map(of).collect();
    next.sort_by_key(|(_, at)| *at);
    next
}

impl Open {
    fn new(context: &Context<'_>) -> anyhow::Result<Self> {
        let repository = context.open()?;
        let history = History::of(&repository)?;
        Ok(Self {
            store: context.store()?,
            repository,
            history,
            logs: Logs::default(),
            logs_read: None,
            snapshots: Snapshots::default(),
            facts: HashMap::new(),
            entry: None,
        })
    }

    /// A folder that is gone has no new entries either: that alone would pass for a quiet day.
    fn is_there(&self) -> anyhow::Result<()> {
        let fingerprint = Repository::fingerprint_of(&*self.store)?;
        anyhow::ensure!(
            fingerprint == self.repository.fingerprint(),
            "another repository stands in its place: {fingerprint}"
        );
        Ok(())
    }

    /// Lists what is not in the journal, and looks at snapshots that are new; says whether there are new entries.
    fn look(&mut self) -> anyhow::Result<bool> {
        if self.logs_read.is_none_or(|read| read.elapsed() >= LOGS_EVERY) {
            self.logs = Logs::of(&self.repository.log_archives(None)?);
            self.logs_read = Some(Instant::now());
        }
        let last = self.repository.last_entry();
        let is_new = self.entry != Some(last);
        if is_new {
            self.read_facts();
            let views = self.repository.snapshots().iter().map(|snapshot| self.view(snapshot));
            self.snapshots = Snapshots::new(views.collect());
            self.entry = Some(last);
        }
        Ok(is_new)
    }

    /// Of the newest snapshots of each source that has any. What cannot be read is said where it would be shown.
    fn read_facts(&mut self) {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let mut wanted = Vec::new();
        for snapshot in self.repository.snapshots().iter().rev() {
            let Some(facts) = &snapshot.manifest.facts else { continue };
            let count = counts.entry(&snapshot.manifest.source).or_default();
            *count += 1;
            let id = snapshot.id().to_hex();
            if *count <= FACTS && !self.facts.contains_key(&id) {
                wanted.push((id, facts.node));
            }
        }
        if wanted.is_empty() {
            return;
        }
        let loaded = self.repository.load_index();
        for (id, node) in wanted {
            let read = match &loaded {
                Ok(()) => ChunkReader::new(&self.repository).blob(node).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            self.facts.insert(id, read.map_or_else(Facts::Unreadable, |json| facts(&json)));
        }
    }

    fn view(&self, snapshot: &Snapshot) -> SnapshotView {
        let manifest = &snapshot.manifest;
        let id = snapshot.id().to_hex();
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let signer = self.repository.state().policy.signer(snapshot.state.signer);
        let facts = match (&manifest.facts, self.facts.get(&id)) {
            (None, _) => Facts::None,
            (Some(_), None) => Facts::NotRead,
            (Some(_), Some(facts)) => facts.clone(),
        };
        let streams = manifest.streams.iter().map(|stream| StreamView {
            name: text(&stream.name),
            chunker: stream.chunker.name().to_owned(),
            bytes: stream.bytes,
        });
        let nanoseconds = manifest.finished_ns.saturating_sub(manifest.started_ns).max(0);
        SnapshotView {
            id,
            source: manifest.source.clone(),
            engine: manifest.engine.clone(),
            time: Timestamp::from_millisecond(snapshot.time_ms()).unwrap_or(Timestamp::UNIX_EPOCH),
            #[expect(clippy::cast_precision_loss, reason = "of a time that is shown")]
            seconds: nanoseconds as f64 / 1e9,
            host: manifest.host.clone(),
            user: manifest.user.clone(),
            tool: manifest.tool.clone(),
            signer: signer.map_or("(not in the policy any more)", |signer| signer.name.as_str()).to_owned(),
            entry: snapshot.state.number,
            parent: manifest.parent.map(|parent| parent.to_hex()),
            entries: manifest.totals.entries,
            files: manifest.totals.files,
            bytes: manifest.totals.bytes,
            new_bytes: manifest.totals.new_bytes,
            stored_bytes: manifest.totals.stored_bytes,
            unreadable: manifest.totals.unreadable,
            arguments: manifest.arguments.iter().map(text).collect(),
            tags: snapshot.state.tags.clone(),
            holds: snapshot.state.holds.iter().map(|hold| hold.name.clone()).collect(),
            streams: streams.collect(),
            facts,
        }
    }
}

fn facts(json: &[u8]) -> Facts {
    let parsed = serde_json::from_slice::<serde_json::Value>(json).ok();
    let text = parsed.and_then(|value| serde_json::to_string_pretty(&value).ok());
    let mut text = text.unwrap_or_else(|| String::from_utf8_lossy(json).into_owned());
    if text.len() > FACTS_BYTES {
        let end = (0..=FACTS_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("\n... `strongroom show` tells all of it");
    }
    Facts::Known(text)
}
