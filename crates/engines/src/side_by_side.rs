//! Several things at once.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use strongroom_repository::monitor::Monitor;

use crate::stop::Stop;

/// What is left to be done, for threads that stop together.
pub(crate) struct Tasks<'m, T> {
    left: Mutex<VecDeque<T>>,
    /// Cancelled when the run is, or when one of the threads fails.
    pub(crate) stop: Stop<'m>,
}

impl<T> Tasks<'_, T> {
    /// The next one; none when all are taken, or nothing more is to be done.
    pub(crate) fn next(&self) -> Option<T> {
        if self.stop.is_cancelled() {
            return None;
        }
        self.left.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// Has so many threads work, each with `work`, which takes tasks until there is none. Gives what all of them found, in no order. The
/// first that fails stops the others; a run that is cancelled gives what was found until then.
///
/// # Errors
/// That of the first that failed.
pub(crate) fn run<T: Send, R: Send, E: Send>(
    tasks: VecDeque<T>,
    threads: usize,
    monitor: &dyn Monitor,
    work: impl Fn(&Tasks<'_, T>) -> Result<Vec<R>, E> + Sync,
) -> Result<Vec<R>, E> {
    let threads = threads.clamp(1, tasks.len().max(1));
    let tasks = Tasks { left: Mutex::new(tasks), stop: Stop::new(monitor) };
    let (found, failure) = (Mutex::new(Vec::new()), Mutex::new(None));
    let thread = || match work(&tasks) {
        Ok(more) => found.lock().unwrap_or_else(PoisonError::into_inner).extend(more),
        Err(error) => {
            tasks.stop.stop();
            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(thread);
        }
        thread();
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

#[cfg(test)]
mod tests {
    use strongroom_repository::monitor::Silent;

    use super::*;

    fn take_all(tasks: &Tasks<'_, u32>) -> Result<Vec<u32>, u32> {
        let mut done = Vec::new();
        while let Some(task) = tasks.next() {
            if task == 77 {
                return Err(task);
            }
            done.push(task);
        }
        Ok(done)
    }

    #[test]
    fn everything_is_done_once() {
        for threads in [0, 1, 3, 100] {
            let mut done = run((0..50).collect(), threads, &Silent, take_all).unwrap();
            done.sort_unstable();
            assert_eq!(done, (0..50).collect::<Vec<_>>());
        }
        assert_eq!(run(VecDeque::new(), 4, &Silent, take_all), Ok(Vec::new()));
    }

    #[test]
    fn the_first_that_fails_stops_the_others() {
        assert_eq!(run((70..90).collect(), 3, &Silent, take_all), Err(77));
    }
}
