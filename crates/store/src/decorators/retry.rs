//! Trying again what failed for a reason that passes.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::backoff::Backoff;
use crate::capability::{Archive, History, ObjectLock, Retention, ThawState, Version};
use crate::decorators::lacking;
use crate::decorators::timer::{SystemTimer, Timer};
use crate::error::{Operation, StoreError, with_causes};
use crate::name::ObjectName;
use crate::store::{ObjectInfo, PutOutcome, Store};

/// How long to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Longest wait before the second attempt; it doubles with each further one.
    pub first_delay: Duration,
    /// Longest wait there is.
    pub longest_delay: Duration,
    /// No attempt begins later than this after the first one of a call, or after the last object that a list visited.
    pub deadline: Duration,
    /// The same for a store that has never answered and cannot be reached: most often its URL is wrong.
    pub first_contact: Duration,
}

impl Default for RetryPolicy {
    /// 100 ms, 10 s, 5 min, 20 s.
    fn default() -> Self {
        Self {
            first_delay: Duration::from_millis(100),
            longest_delay: Duration::from_secs(10),
            deadline: Duration::from_secs(5 * 60),
            first_contact: Duration::from_secs(20),
        }
    }
}

/// Tries calls again that failed with a transient error ([`StoreError::is_transient`]), after a random part of a wait
/// that grows ("full jitter"), so that many hosts that were refused together do not come back together.
///
/// What an answer that was lost hides is found out: a put that finds its own bytes has created the object, and a
/// delete that finds nothing has deleted it. Two callers that put the same bytes under one name may so both be told
/// [`PutOutcome::Created`], which is true for either: those bytes are there.
pub struct RetryStore<S> {
    inner: S,
    policy: RetryPolicy,
    timer: Arc<dyn Timer>,
    random: Arc<dyn Fn() -> u64 + Send + Sync>,
    has_answered: AtomicBool,
}

impl<S: Store> RetryStore<S> {
    /// With the system's clock and randomness.
    pub fn new(inner: S, policy: RetryPolicy) -> Self {
        // Without randomness hosts may come back together: a pity, and no reason to fail.
        let random = || getrandom::u64().unwrap_or(u64::MAX / 2);
        Self::with(inner, policy, Arc::new(SystemTimer::new()), Arc::new(random))
    }

    /// With a clock and randomness of the caller's; each `random` number is expected to be new.
    pub fn with(
        inner: S,
        policy: RetryPolicy,
        timer: Arc<dyn Timer>,
        random: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Self {
        Self { inner, policy, timer, random, has_answered: AtomicBool::new(false) }
    }

    /// The store behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn retried<T>(
        &self,
        operation: Operation,
        object: &str,
        attempt: impl Fn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut tries = self.tries(operation, object);
        loop {
            match attempt() {
                Err(error) if error.is_transient() => tries.wait(error)?,
                answer => return tries.done(answer),
            }
        }
    }

    fn tries<'a>(&'a self, operation: Operation, object: &'a str) -> Tries<'a> {
        let Self { policy, timer, random, has_answered, .. } = self;
        let (timer, random) = (timer.as_ref(), random.as_ref());
        let start = timer.elapsed();
        Tries { operation, object, policy, timer, random, has_answered, start, failures: 0 }
    }

    /// What is under a name that was found taken, or could not be created, after an attempt that may have created it.
    fn holds(&self, name: &ObjectName, bytes: &[u8]) -> Result<bool, StoreError> {
        match self.get(name, bytes.len() as u64) {
            Ok(found) => Ok(found == bytes),
            Err(StoreError::TooLarge { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The attempts of one call so far.
struct Tries<'a> {
    operation: Operation,
    object: &'a str,
    policy: &'a RetryPolicy,
    timer: &'a dyn Timer,
    random: &'a (dyn Fn() -> u64 + Send + Sync),
    has_answered: &'a AtomicBool,
    start: Duration,
    failures: u32,
}

impl Tries<'_> {
    /// Whether an attempt has failed, and may have had its effect all the same.
    fn is_uncertain(&self) -> bool {
        self.failures > 0
    }

    /// Passes the last answer on.
    fn done<T>(&self, answer: T) -> T {
        self.has_answered.store(true, Ordering::Relaxed);
        answer
    }

    /// Begins to count anew: the call came on.
    fn progress(&mut self) {
        self.has_answered.store(true, Ordering::Relaxed);
        self.start = self.timer.elapsed();
        self.failures = 0;
    }

    /// Returns when it is time for the next attempt; the error when there is none.
    fn wait(&mut self, error: StoreError) -> Result<(), StoreError> {
        self.failures = self.failures.saturating_add(1);
        let spent = self.timer.elapsed().saturating_sub(self.start);
        let delay = self.delay();
        let is_unreachable = matches!(error, StoreError::Unreachable { .. });
        let deadline = if is_unreachable && !self.has_answered.load(Ordering::Relaxed) {
            self.policy.first_contact.min(self.policy.deadline)
        } else {
            self.has_answered.store(true, Ordering::Relaxed);
            self.policy.deadline
        };
        if spent.saturating_add(delay) > deadline {
            return Err(gave_up(error, self.failures, spent));
        }
        let Self { operation, object, failures: attempt, .. } = self;
        let delay_ms = delay.as_millis();
        tracing::warn!(%operation, object, attempt, delay_ms, error = with_causes(&error), "trying again");
        self.timer.sleep(delay);
        Ok(())
    }

    fn delay(&self) -> Duration {
        let backoff = Backoff { first: self.policy.first_delay, longest: self.policy.longest_delay };
        backoff.delay(self.failures, (self.random)())
    }
}

/// The last of several errors, with how often and how long it was tried among its causes.
fn gave_up(error: StoreError, attempts: u32, spent: Duration) -> StoreError {
    let gave_up = |source| Box::new(GaveUp { attempts, spent_s: spent.as_secs(), source });
    match error {
        StoreError::Transient { operation, object, location, throttled, source } => {
            StoreError::Transient { operation, object, location, throttled, source: gave_up(source) }
        }
        StoreError::Unreachable { location, source } => {
            StoreError::Unreachable { location, source: gave_up(source) }
        }
        error => error,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("tried {attempts} times within {spent_s} s")]
struct GaveUp {
    attempts: u32,
    spent_s: u64,
    source: Box<dyn Error + Send + Sync>,
}

impl<S: Store> Store for RetryStore<S> {
    fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
        let mut tries = self.tries(Operation::Put, name.as_str());
        loop {
            match self.inner.put_if_absent(name, bytes) {
                Err(error) if error.is_transient() => tries.wait(error)?,
                Ok(PutOutcome::AlreadyExists) if tries.is_uncertain() => match self.holds(name, bytes) {
                    Ok(true) => return Ok(PutOutcome::Created),
                    // Gone again: somebody deletes here.
                    Err(error) if error.is_not_found() => tries.wait(error)?,
                    // Who may not read cannot tell, and "taken" is true in any case.
                    Ok(false) | Err(_) => return Ok(PutOutcome::AlreadyExists),
                },
                Err(error) if tries.is_uncertain() => match self.holds(name, bytes) {
                    Ok(true) => return Ok(PutOutcome::Created),
                    _ => return Err(error),
                },
                answer => return tries.done(answer),
            }
        }
    }

    fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.retried(Operation::Get, name.as_str(), || self.inner.get(name, max_length_bytes))
    }

    fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        self.retried(Operation::GetRange, name.as_str(), || self.inner.get_range(name, offset, length))
    }

    fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.retried(Operation::Stat, name.as_str(), || self.inner.stat(name))
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.list_on(prefix, None, visit)
    }

    fn list_after(
        &self,
        prefix: &str,
        after: &ObjectName,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.list_on(prefix, Some(after.clone()), visit)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let mut tries = self.tries(Operation::Delete, name.as_str());
        loop {
            match self.inner.delete(name) {
                Err(error) if error.is_transient() => tries.wait(error)?,
                Err(error) if error.is_not_found() && tries.is_uncertain() => return Ok(()),
                answer => return tries.done(answer),
            }
        }
    }

    fn location(&self) -> String {
        self.inner.location()
    }

    fn history(&self) -> Option<&dyn History> {
        self.inner.history().map(|_| self as &dyn History)
    }

    fn retention(&self) -> Option<&dyn Retention> {
        self.inner.retention().map(|_| self as &dyn Retention)
    }

    fn archive(&self) -> Option<&dyn Archive> {
        self.inner.archive().map(|_| self as &dyn Archive)
    }
}

impl<S: Store> RetryStore<S> {
    /// Goes on behind the last name visited after each failure. Stores list in the order of the names' bytes, so that
    /// no name is lost or visited twice.
    fn list_on(
        &self,
        prefix: &str,
        mut last: Option<ObjectName>,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut tries = self.tries(Operation::List, prefix);
        loop {
            let after = last.clone();
            let mut is_visitors_error = false;
            let mut visit = |name: ObjectName, info| {
                tries.progress();
                last = Some(name.clone());
                visit(name, info).inspect_err(|_| is_visitors_error = true)
            };
            let answer = match &after {
                Some(after) => self.inner.list_after(prefix, after, &mut visit),
                None => self.inner.list(prefix, &mut visit),
            };
            match answer {
                Err(error) if error.is_transient() && !is_visitors_error => tries.wait(error)?,
                answer => return tries.done(answer),
            }
        }
    }
}

/// All of these may be done twice.
impl<S: Store> History for RetryStore<S> {
    fn versions(&self, name: &ObjectName) -> Result<Vec<Version>, StoreError> {
        let history = self.inner.history().ok_or_else(|| lacking(self, Operation::Versions, name))?;
        self.retried(Operation::Versions, name.as_str(), || history.versions(name))
    }

    fn deleted(&self, prefix: &str) -> Result<Vec<ObjectName>, StoreError> {
        let Some(history) = self.inner.history() else { return Ok(Vec::new()) };
        self.retried(Operation::Versions, prefix, || history.deleted(prefix))
    }

    fn get_version(&self, name: &ObjectName, id: &str, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let history = self.inner.history().ok_or_else(|| lacking(self, Operation::Get, name))?;
        self.retried(Operation::Get, name.as_str(), || history.get_version(name, id, max_length_bytes))
    }

    fn make_newest(&self, name: &ObjectName, id: &str) -> Result<(), StoreError> {
        let history = self.inner.history().ok_or_else(|| lacking(self, Operation::MakeNewest, name))?;
        self.retried(Operation::MakeNewest, name.as_str(), || history.make_newest(name, id))
    }
}

impl<S: Store> Retention for RetryStore<S> {
    fn set(&self, lock: Option<ObjectLock>) {
        if let Some(retention) = self.inner.retention() {
            retention.set(lock);
        }
    }

    fn extend(&self, name: &ObjectName, until_ms: u64) -> Result<(), StoreError> {
        let retention = self.inner.retention().ok_or_else(|| lacking(self, Operation::Retain, name))?;
        self.retried(Operation::Retain, name.as_str(), || retention.extend(name, until_ms))
    }

    fn retain_until(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
        let retention = self.inner.retention().ok_or_else(|| lacking(self, Operation::Stat, name))?;
        self.retried(Operation::Stat, name.as_str(), || retention.retain_until(name))
    }
}

impl<S: Store> Archive for RetryStore<S> {
    fn thaw(&self, name: &ObjectName, days: u32) -> Result<(), StoreError> {
        let archive = self.inner.archive().ok_or_else(|| lacking(self, Operation::Thaw, name))?;
        self.retried(Operation::Thaw, name.as_str(), || archive.thaw(name, days))
    }

    fn state(&self, name: &ObjectName) -> Result<ThawState, StoreError> {
        let archive = self.inner.archive().ok_or_else(|| lacking(self, Operation::Stat, name))?;
        self.retried(Operation::Stat, name.as_str(), || archive.state(name))
    }
}

#[cfg(test)]
mod tests;
