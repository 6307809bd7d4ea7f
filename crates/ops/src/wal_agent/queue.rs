//! Files that wait to be pushed, and those that were.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strongroom_repository::wal::ArchivedFile;

use super::FileKey;

/// Files that are remembered as done.
const REMEMBERED: usize = 1024;
/// How often somebody who waits looks whether all is over.
const PATIENCE: Duration = Duration::from_millis(200);

/// A file to push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// What it is known by.
    pub key: FileKey,
    /// Where it lies.
    pub path: PathBuf,
    /// What it is.
    pub file: ArchivedFile,
}

/// Why a file was not pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For people.
    pub message: String,
    /// The exit code that says so.
    pub code: u8,
}

#[derive(Debug)]
enum Status {
    /// It waits, or is being pushed; somebody waits for it or not.
    Pending,
    Done,
    Refused(Refusal),
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Job>,
    status: HashMap<FileKey, Status>,
    /// Done ones, the oldest first.
    done: VecDeque<FileKey>,
    is_over: bool,
}

/// Shared by those who ask and those who push.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a file pushed before all others.
    pub fn push(&self, job: Job) {
        let mut state = self.state();
        match state.status.get(&job.key) {
            Some(Status::Done) => return,
            // It was pushed ahead in vain: it is tried again for whoever asks now.
            None | Some(Status::Refused(_)) => {
                state.status.insert(job.key.clone(), Status::Pending);
                state.waiting.push_front(job);
            }
            Some(Status::Pending) => {
                let at = state.waiting.iter().position(|waiting| waiting.key == job.key);
                if let Some(waiting) = at.and_then(|at| state.waiting.remove(at)) {
                    state.waiting.push_front(waiting);
                }
            }
        }
        self.changed.notify_all();
    }

    /// Waits until a file is pushed; `None` if all is over before.
    pub fn wait(&self, key: &FileKey) -> Option<Result<(), Refusal>> {
        let mut state = self.state();
        loop {
            match state.status.get(key) {
                Some(Status::Done) => return Some(Ok(())),
                Some(Status::Refused(refusal)) => return Some(Err(refusal.clone())),
                _ if state.is_over => return None,
                _ => {}
            }
            (state, _) = self.changed.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Has a file pushed when nothing else waits, if it is not known yet.
    pub fn push_ahead(&self, job: Job) {
        let mut state = self.state();
        if !state.status.contains_key(&job.key) && !state.is_over {
            state.status.insert(job.key.clone(), Status::Pending);
            state.waiting.push_back(job);
            self.changed.notify_all();
        }
    }

    /// The next file; waits for it, until all is over.
    pub fn take(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.is_over {
                return None;
            }
            if let Some(job) = state.waiting.pop_front() {
                return Some(job);
            }
            (state, _) = self.changed.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says what became of a file.
    pub fn finish(&self, job: &Job, result: Result<(), Refusal>) {
        let mut state = self.state();
        match result {
            Ok(()) => {
                state.status.insert(job.key.clone(), Status::Done);
                state.done.push_back(job.key.clone());
                if state.done.len() > REMEMBERED
                    && let Some(oldest) = state.done.pop_front()
                {
                    state.status.remove(&oldest);
                }
            }
            Err(refusal) => {
                state.status.insert(job.key.clone(), Status::Refused(refusal));
            }
        }
        self.changed.notify_all();
    }

    /// Whether nothing waits and nothing is being pushed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.state().status.values().any(|status| matches!(status, Status::Pending))
    }

    /// Ends it: what is being pushed is pushed to its end, what waits is not.
    pub fn end(&self) {
        self.state().is_over = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn job(folder: &tempfile::TempDir, name: &str) -> Job {
        let path = folder.path().join(name);
        let open = File::create(&path).unwrap();
        let file = ArchivedFile { source: "db".into(), system: 1, file: name.parse().unwrap() };
        Job { key: FileKey::of(&path, &file, &open).unwrap(), path, file }
    }

    fn refusal() -> Refusal {
        Refusal { message: "the store is away".into(), code: 1 }
    }

    #[test]
    fn who_waits_comes_first_and_what_is_done_is_done_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::default();
        let jobs = [1, 2, 3].map(|number| job(&folder, &format!("0000000100000000{number:08X}")));
        for ahead in &jobs {
            queue.push_ahead(ahead.clone());
            queue.push_ahead(ahead.clone());
        }
        queue.push(jobs[2].clone());
        let taken = queue.take().unwrap();
        assert_eq!(taken, jobs[2]);
        queue.finish(&taken, Ok(()));
        assert_eq!(queue.wait(&taken.key), Some(Ok(())));
        queue.push(taken);
        assert_eq!(queue.take(), Some(jobs[0].clone()), "nothing is pushed twice");
        assert!(!queue.is_idle());
        queue.finish(&jobs[0], Err(refusal()));
        assert_eq!(queue.wait(&jobs[0].key), Some(Err(refusal())));
        queue.push(jobs[0].clone());
        assert_eq!(queue.take(), Some(jobs[0].clone()), "what failed is tried again for whoever asks");
        queue.end();
        assert_eq!((queue.take(), queue.wait(&jobs[1].key)), (None, None));
    }

    #[test]
    fn another_file_of_that_name_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::default();
        let first = job(&folder, "000000010000000000000001");
        queue.push(first.clone());
        queue.finish(&queue.take().unwrap(), Ok(()));
        std::fs::rename(&first.path, folder.path().join("kept")).unwrap();
        let second = job(&folder, "000000010000000000000001");
        queue.push(second.clone());
        assert_eq!(queue.take(), Some(second));
    }
}
