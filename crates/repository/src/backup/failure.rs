//! How the threads of a run fail together: the first error is kept, and everybody who waits is woken.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::error::RepositoryError;

/// Shared by all threads of a run.
pub(crate) struct Failure {
    first: Mutex<(Option<RepositoryError>, Option<Sender<()>>)>,
    tripped: Receiver<()>,
}

impl Default for Failure {
    fn default() -> Self {
        let (sender, tripped) = bounded(0);
        Self { first: Mutex::new((None, Some(sender))), tripped }
    }
}

impl Failure {
    /// Keeps `error` if it is the first, and wakes everybody.
    pub(crate) fn trip(&self, error: RepositoryError) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.0.is_none() && !matches!(error, RepositoryError::Cancelled) {
            first.0 = Some(error);
        }
        first.1 = None;
    }

    /// Runs a thread's work; its error trips, and so does its panic, for which nobody else may wait for ever.
    pub(crate) fn guard(&self, work: impl FnOnce() -> Result<(), RepositoryError>) {
        struct Unwinding<'f>(&'f Failure);
        impl Drop for Unwinding<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.trip(RepositoryError::Cancelled);
                }
            }
        }
        let _unwinding = Unwinding(self);
        if let Err(error) = work() {
            self.trip(error);
        }
    }

    /// The first error; none where a run was only told to stop.
    pub(crate) fn take(&self) -> Option<RepositoryError> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).0.take()
    }

    /// That nothing has failed.
    ///
    /// # Errors
    /// The first error, or that it was told to stop.
    pub(crate) fn end(&self) -> Result<(), RepositoryError> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        match (first.0.take(), &first.1) {
            (Some(error), _) => Err(error),
            (None, None) => Err(RepositoryError::Cancelled),
            (None, Some(_)) => Ok(()),
        }
    }

    /// Sends, unless the run has failed.
    pub(crate) fn send<T>(&self, channel: &Sender<T>, value: T) -> Result<(), RepositoryError> {
        select! {
            send(channel, value) -> sent => sent.map_err(|_| RepositoryError::Cancelled),
            recv(self.tripped) -> _ => Err(RepositoryError::Cancelled),
        }
    }

    /// Receives; `None` when the channel is closed.
    pub(crate) fn receive<T>(&self, channel: &Receiver<T>) -> Result<Option<T>, RepositoryError> {
        select! {
            recv(channel) -> received => Ok(received.ok()),
            recv(self.tripped) -> _ => Err(RepositoryError::Cancelled),
        }
    }

    /// Becomes ready when the run has failed.
    pub(crate) fn tripped(&self) -> &Receiver<()> {
        &self.tripped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_trips_and_nothing_ends_well_after_that() {
        let failure = Failure::default();
        assert!(failure.end().is_ok());
        let (_waits_for_ever, channel) = bounded::<()>(0);
        std::thread::scope(|scope| {
            let panics = scope.spawn(|| failure.guard(|| panic!("of the test")));
            assert!(matches!(failure.receive(&channel), Err(RepositoryError::Cancelled)));
            assert!(panics.join().is_err());
        });
        assert!(matches!(failure.end(), Err(RepositoryError::Cancelled)));
    }
}
