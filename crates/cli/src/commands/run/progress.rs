//! Tells the configuration's channels how far something is that takes long. Never in the way of what it tells of: each channel has a
//! thread of its own, begun when there is something to tell, and what cannot be told is said once and no failure.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use strongroom_ops::history::{Attempt, History};
use strongroom_ops::notify::{Channel, Figures, Letter, Milestones, Progress};
use strongroom_ops::redacted;
use strongroom_ops::run::{Began, Ended, Work};
use strongroom_repository::monitor::Monitor as _;

use super::Step;
use crate::arguments::Global;
use crate::context::Context;
use crate::{clock, exit};

/// Tells of one run.
pub(super) struct Teller {
    global: Global,
    repository: String,
    began: Began,
    since: Instant,
    expected_bytes: Option<u64>,
    figures: Option<Figures>,
    listeners: Vec<Listener>,
}

/// A channel that is to be told.
struct Listener {
    name: String,
    channel: Channel,
    milestones: Milestones,
    /// From when on there was something to tell.
    line: Option<Line>,
}

/// To the thread that tells it.
struct Line {
    letters: Sender<(Letter, Kind)>,
    thread: JoinHandle<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    GoesOn,
    /// Only for who was told that it goes on.
    Ended,
}

impl Teller {
    pub(super) fn new(
        step: &Step<'_, '_>,
        began: &Began,
        history: &History,
        since: Instant,
    ) -> anyhow::Result<Self> {
        let backups = step.source.filter(|_| step.work == Work::Backup).map(|source| history.backups(source));
        let last = backups.and_then(|backups| backups.iter().rev().find(|last| Attempt::is_success(last)));
        let listeners = step.config.notify.iter().filter_map(|(name, channel)| {
            let milestones = Milestones::new(channel.progress_after?);
            Some(Listener { name: name.clone(), channel: channel.clone(), milestones, line: None })
        });
        Ok(Self {
            global: step.context.global.clone(),
            repository: redacted(&step.context.url()?.to_string()),
            began: began.clone(),
            since,
            expected_bytes: last.map(|last| last.sizes.logical).filter(|bytes| *bytes > 0),
            figures: None,
            listeners: listeners.collect(),
        })
    }

    /// Whether anybody is to be told.
    pub(super) fn is_wanted(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// It goes on, and is so far.
    pub(super) fn look(&mut self, figures: Option<Figures>) {
        self.came(figures);
        let elapsed = self.since.elapsed();
        for at in 0..self.listeners.len() {
            if self.listeners[at].milestones.reached(elapsed) {
                let letter = self.progress(elapsed, None).letter();
                self.listeners[at].tell(&self.global, letter, Kind::GoesOn);
            }
        }
    }

    /// So far it came.
    pub(super) fn came(&mut self, figures: Option<Figures>) {
        self.figures = figures.or(self.figures.take());
    }

    /// It has ended: who was told of it is told of that too, which is waited for.
    pub(super) fn finish(mut self, end: &Ended) {
        let letter = self.progress(self.since.elapsed(), Some(end)).letter();
        for listener in &mut self.listeners {
            if listener.line.is_some() {
                listener.tell(&self.global, letter.clone(), Kind::Ended);
            }
        }
        for Line { letters, thread } in self.listeners.into_iter().filter_map(|listener| listener.line) {
            drop(letters);
            // One that panicked has said so.
            let _ = thread.join();
        }
    }

    fn progress(&self, elapsed: Duration, end: Option<&Ended>) -> Progress<'_> {
        Progress {
            repository: &self.repository,
            began: &self.began,
            time: clock::now(),
            elapsed,
            figures: self.figures.clone(),
            expected_bytes: self.expected_bytes,
            ended: end.map(|end| (end.result, end.error.clone())),
        }
    }
}

impl Listener {
    fn tell(&mut self, global: &Global, letter: Letter, kind: Kind) {
        if self.line.is_none() {
            self.line = self.begin(global);
        }
        if let Some(line) = &self.line {
            // A thread that is gone tells nobody any more.
            let _ = line.letters.send((letter, kind));
        }
    }

    fn begin(&self, global: &Global) -> Option<Line> {
        let (letters, received) = channel();
        let (name, channel, of) = (self.name.clone(), self.channel.clone(), global.clone());
        let thread = std::thread::Builder::new().name("strongroom-progress".into());
        match thread.spawn(move || tell_all(&of, &name, &channel, &received)) {
            Ok(thread) => Some(Line { letters, thread }),
            Err(error) => {
                let what = format!("{} is not told how far it is: {error}", self.name);
                Context::of(global).terminal.warn(&what);
                None
            }
        }
    }
}

/// Sends what comes; of what has waited the newest.
fn tell_all(global: &Global, name: &str, channel: &Channel, letters: &Receiver<(Letter, Kind)>) {
    let (mut was_told, mut has_failed) = (false, false);
    while let Ok(first) = letters.recv() {
        let (letter, kind) = letters.try_iter().last().unwrap_or(first);
        if kind == Kind::Ended && !was_told {
            continue;
        }
        match letter.send(&channel.address) {
            Ok(()) => was_told = true,
            Err(error) if !has_failed => {
                has_failed = true;
                let (what, _) = exit::describe(&anyhow::Error::new(error));
                let what = format!("{name} is not told how far it is: {what}");
                Context::of(global).terminal.warn(&what);
            }
            Err(_) => {}
        }
    }
}
