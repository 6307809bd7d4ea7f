//! Things that are asked for ahead of their turn: many at once, answered in order.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

/// Waits for a network, most of the time.
type Job<'j> = Box<dyn FnOnce() + Send + 'j>;

/// Threads that ask. Dropping it has them stop, once they have done what they were asked.
pub(super) struct Askers<'j> {
    jobs: Sender<Job<'j>>,
    is_stopped: &'j AtomicBool,
}

impl<'j> Askers<'j> {
    /// So many, in this scope. Once `is_stopped`, nothing more is begun.
    pub(super) fn start<'scope>(
        scope: &'scope std::thread::Scope<'scope, 'j>,
        threads: usize,
        is_stopped: &'j AtomicBool,
    ) -> Self
    where
        'j: 'scope,
    {
        let (jobs, jobs_in) = unbounded::<Job<'j>>();
        for _ in 0..threads.max(1) {
            let jobs_in = jobs_in.clone();
            scope.spawn(move || {
                for job in jobs_in {
                    if !is_stopped.load(Ordering::Relaxed) {
                        job();
                    }
                }
            });
        }
        Self { jobs, is_stopped }
    }

    /// Has one of them do this. What it gives can be received; nothing, if it was stopped before.
    pub(super) fn ask<T: Send + 'j>(&self, work: impl FnOnce() -> T + Send + 'j) -> Receiver<T> {
        let (answer, answer_in) = bounded(1);
        // Nobody listens any more only after a stop.
        let job = Box::new(move || drop(answer.send(work())));
        drop(self.jobs.send(job));
        answer_in
    }
}

impl Drop for Askers<'_> {
    fn drop(&mut self) {
        // What was asked for ahead and not taken is wanted by nobody.
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_belong_to_their_questions() {
        let is_stopped = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let askers = Askers::start(scope, 4, &is_stopped);
            let answers: Vec<Receiver<u32>> = (0..100).map(|number| askers.ask(move || number * 2)).collect();
            for (number, answer) in (0..100).zip(answers) {
                assert_eq!(answer.recv(), Ok(number * 2));
            }
            is_stopped.store(true, Ordering::Relaxed);
            assert!(askers.ask(|| 1).recv().is_err());
        });
    }
}
