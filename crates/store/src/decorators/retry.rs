//! Trying again what failed for a reason that passes.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::capability::{Archive, History, ObjectLock, Retention, ThawState, Version};
use crate::decorators::lacking;
use crate::decorators::timer::{SystemTimer, Timer};
use crate::error::{Operation, StoreError};
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

    /// Anything from nothing to the longest wait after so many failures.
    fn delay(&self) -> Duration {
        let doubled = 1_u32.checked_shl(self.failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let longest = self.policy.first_delay.saturating_mul(doubled).min(self.policy.longest_delay);
        let longest_ns = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        match longest_ns.checked_add(1) {
            Some(range) => Duration::from_nanos((self.random)() % range),
            None => longest,
        }
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

fn with_causes(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
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
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::thread;

    use super::*;
    use crate::{Fault, FaultStore, ManualTimer, MemoryStore, RecordStore, When, conformance};

    const SECOND: Duration = Duration::from_secs(1);

    fn name(name: &str) -> ObjectName {
        ObjectName::new(name).unwrap()
    }

    /// Tries again at once, and notes how long it would have waited.
    fn retrying<S: Store>(inner: S, random: u64) -> (RetryStore<S>, Arc<ManualTimer>) {
        let timer = Arc::new(ManualTimer::new());
        let random = Arc::new(move || random);
        (RetryStore::with(inner, RetryPolicy::default(), Arc::clone(&timer) as _, random), timer)
    }

    /// Answers every call with the next of these errors, and then as the store behind does.
    struct Failing {
        inner: MemoryStore,
        errors: Mutex<VecDeque<(StoreError, When)>>,
    }

    impl Failing {
        fn new(errors: impl IntoIterator<Item = (StoreError, When)>) -> Self {
            Self { inner: MemoryStore::new(), errors: Mutex::new(errors.into_iter().collect()) }
        }

        fn answer<T>(
            &self,
            call: impl FnOnce(&MemoryStore) -> Result<T, StoreError>,
        ) -> Result<T, StoreError> {
            let error = self.errors.lock().unwrap().pop_front();
            match error {
                None => call(&self.inner),
                Some((error, When::BeforeEffect)) => Err(error),
                Some((error, When::AfterEffect)) => call(&self.inner).and(Err(error)),
            }
        }
    }

    impl Store for Failing {
        fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
            self.answer(|inner| inner.put_if_absent(name, bytes))
        }

        fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
            self.answer(|inner| inner.get(name, max_length_bytes))
        }

        fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
            self.answer(|inner| inner.get_range(name, offset, length))
        }

        fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
            self.answer(|inner| inner.stat(name))
        }

        fn list(
            &self,
            prefix: &str,
            visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
        ) -> Result<(), StoreError> {
            self.answer(|inner| inner.list(prefix, visit))
        }

        fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
            self.answer(|inner| inner.delete(name))
        }

        fn location(&self) -> String {
            "somewhere".to_owned()
        }
    }

    fn transient() -> StoreError {
        let (object, location) = ("x".to_owned(), "somewhere".to_owned());
        StoreError::Transient {
            operation: Operation::Get,
            object,
            location,
            throttled: true,
            source: "busy".into(),
        }
    }

    fn unreachable() -> StoreError {
        StoreError::Unreachable { location: "somewhere".to_owned(), source: "refused".into() }
    }

    fn denied() -> StoreError {
        let (object, location) = ("x".to_owned(), "somewhere".to_owned());
        StoreError::PermissionDenied { operation: Operation::Put, object, location, source: None }
    }

    fn before(error: StoreError) -> (StoreError, When) {
        (error, When::BeforeEffect)
    }

    fn after(error: StoreError) -> (StoreError, When) {
        (error, When::AfterEffect)
    }

    #[test]
    fn without_failures_it_changes_nothing() {
        let (store, timer) = retrying(MemoryStore::new(), 0);
        conformance::suite(&store).unwrap();
        assert_eq!(timer.elapsed(), Duration::ZERO);
    }

    #[test]
    fn waits_grow_up_to_the_longest_and_are_random() {
        let errors = || (0..10).map(|_| before(transient()));
        let (store, timer) = retrying(Failing::new(errors()), u64::MAX);
        let _ = store.put_if_absent(&name("a"), b"1").unwrap();
        let some = timer.elapsed();
        let (store, timer) = retrying(Failing::new(errors()), 0);
        let _ = store.put_if_absent(&name("a"), b"1").unwrap();
        assert_eq!(timer.elapsed(), Duration::ZERO, "full jitter may wait for nothing");
        // 0.1, 0.2, 0.4, ... 6.4, 10, 10, 10: what is drawn lies below each.
        assert!(some > Duration::ZERO && some <= Duration::from_millis(42_700), "{some:?}");
        let policy = RetryPolicy::default();
        let tries = |failures| {
            let (store, _) = retrying(MemoryStore::new(), 0);
            // One less than each longest wait in nanoseconds plus one: the longest.
            let longest = policy.first_delay * 2_u32.pow(failures - 1);
            let random = u64::try_from(longest.min(policy.longest_delay).as_nanos()).unwrap();
            let store = RetryStore { random: Arc::new(move || random), ..store };
            let mut tries = store.tries(Operation::Get, "a");
            tries.failures = failures;
            tries.delay()
        };
        assert_eq!([1, 2, 7, 8, 30].map(tries), [100, 200, 6400, 10_000, 10_000].map(Duration::from_millis));
    }

    #[test]
    fn every_call_is_tried_again() {
        let object = name("a");
        let failing = || Failing::new([before(transient()), before(unreachable()), before(transient())]);
        let filled = || {
            let failing = failing();
            let _ = failing.inner.put_if_absent(&object, b"123").unwrap();
            retrying(failing, 0).0
        };
        assert_eq!(filled().get(&object, 3).unwrap(), b"123");
        assert_eq!(filled().get_range(&object, 1, 1).unwrap(), b"2");
        assert_eq!(filled().stat(&object).unwrap().length_bytes, 3);
        filled().delete(&object).unwrap();
        filled().list("", &mut |_, _| Ok(())).unwrap();
        assert_eq!(filled().put_if_absent(&object, b"4").unwrap(), PutOutcome::AlreadyExists);
        assert_eq!(retrying(failing(), 0).0.put_if_absent(&object, b"4").unwrap(), PutOutcome::Created);
    }

    #[test]
    fn what_does_not_pass_is_not_tried_again() {
        let (store, _) = retrying(RecordStore::new(Failing::new([before(denied())])), 0);
        assert!(matches!(store.get(&name("a"), 1), Err(StoreError::PermissionDenied { .. })));
        assert_eq!(store.inner().calls().len(), 1);
        assert!(store.get(&name("a"), 1).unwrap_err().is_not_found());
        assert_eq!(store.inner().calls().len(), 2);
    }

    #[test]
    fn it_gives_up_and_says_so() {
        let (store, timer) =
            retrying(Failing::new((0..1000).map(|_| before(transient()))), 7 * 1_000_000_000);
        let error = store.get(&name("a"), 1).unwrap_err();
        assert!(error.is_transient() && error.is_throttled(), "{error}");
        assert!(timer.elapsed() <= RetryPolicy::default().deadline);
        assert!(timer.elapsed() > RetryPolicy::default().deadline - 10 * SECOND);
        let said = with_causes(&error);
        assert!(
            said.contains("tried ") && said.contains(" times within 29") && said.ends_with("busy"),
            "{said}"
        );
    }

    #[test]
    fn a_store_never_reached_is_given_up_soon() {
        let many = || (0..1000).map(|_| before(unreachable()));
        let (store, timer) = retrying(Failing::new(many()), 7 * 1_000_000_000);
        let error = store.get(&name("a"), 1).unwrap_err();
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
        assert!(timer.elapsed() <= 20 * SECOND);
        // One that has answered may be back in a minute.
        let first = before(StoreError::NotFound { object: name("a") });
        let (store, timer) = retrying(Failing::new([first].into_iter().chain(many())), 7 * 1_000_000_000);
        assert!(store.get(&name("a"), 1).unwrap_err().is_not_found());
        store.get(&name("a"), 1).unwrap_err();
        assert!(timer.elapsed() > 60 * SECOND);
    }

    #[test]
    fn a_lost_answer_to_a_put_is_found_out() {
        let object = name("a");
        for (errors, others, expected) in [
            (vec![after(transient())], None, PutOutcome::Created),
            (vec![after(transient()), before(transient()), after(transient())], None, PutOutcome::Created),
            (vec![before(transient())], None, PutOutcome::Created),
            (vec![before(transient())], Some(b"others".as_slice()), PutOutcome::AlreadyExists),
            (vec![before(transient())], Some(b"longer than it"), PutOutcome::AlreadyExists),
            (vec![], Some(b"own"), PutOutcome::AlreadyExists),
            (vec![before(transient())], Some(b"own"), PutOutcome::Created),
        ] {
            let failing = Failing::new(errors);
            if let Some(others) = others {
                let _ = failing.inner.put_if_absent(&object, others).unwrap();
            }
            let (store, _) = retrying(failing, 0);
            assert_eq!(store.put_if_absent(&object, b"own").unwrap(), expected, "{others:?}");
            assert_eq!(store.inner().inner.get(&object, 20).unwrap(), others.unwrap_or(b"own"));
        }
        // Created, unknown, and then refused: it is there.
        let (store, _) = retrying(Failing::new([after(transient()), before(denied())]), 0);
        assert_eq!(store.put_if_absent(&object, b"own").unwrap(), PutOutcome::Created);
        let (store, _) = retrying(Failing::new([before(transient()), before(denied())]), 0);
        assert!(matches!(store.put_if_absent(&object, b"own"), Err(StoreError::PermissionDenied { .. })));
        // Taken by somebody, and this host may not read by whom.
        let failing = Failing::new([before(transient())]);
        let _ = failing.inner.put_if_absent(&object, b"others").unwrap();
        let (store, _) = retrying(Unreadable(failing), 0);
        assert_eq!(store.put_if_absent(&object, b"own").unwrap(), PutOutcome::AlreadyExists);
    }

    /// A store that this host may only write to.
    struct Unreadable(Failing);

    impl Store for Unreadable {
        fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
            self.0.put_if_absent(name, bytes)
        }

        fn get(&self, _: &ObjectName, _: u64) -> Result<Vec<u8>, StoreError> {
            Err(denied())
        }

        fn get_range(&self, _: &ObjectName, _: u64, _: u64) -> Result<Vec<u8>, StoreError> {
            Err(denied())
        }

        fn stat(&self, _: &ObjectName) -> Result<ObjectInfo, StoreError> {
            Err(denied())
        }

        fn list(
            &self,
            _: &str,
            _: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
        ) -> Result<(), StoreError> {
            Err(denied())
        }

        fn delete(&self, _: &ObjectName) -> Result<(), StoreError> {
            Err(denied())
        }

        fn location(&self) -> String {
            self.0.location()
        }
    }

    #[test]
    fn a_lost_answer_to_a_delete_is_found_out() {
        let failing = Failing::new([after(transient()), before(transient())]);
        let _ = failing.inner.put_if_absent(&name("a"), b"").unwrap();
        let (store, _) = retrying(failing, 0);
        store.delete(&name("a")).unwrap();
        assert!(store.inner().inner.is_empty());
        assert!(store.delete(&name("a")).unwrap_err().is_not_found());
    }

    #[test]
    fn a_list_loses_no_name_and_repeats_none() {
        let inner = MemoryStore::new();
        let names: Vec<_> = (0..200).map(|number| format!("a/{number:03}")).collect();
        for name in &names {
            let _ = inner.put_if_absent(&ObjectName::new(name.as_str()).unwrap(), b"").unwrap();
        }
        for seed in 0..20 {
            let faulty = FaultStore::new(inner.clone(), [Fault::Transient { percent: 80, seed }]);
            let (store, _) = retrying(faulty, 0);
            let listed = |after: Option<&ObjectName>| {
                let mut found = Vec::new();
                let mut visit = |name: ObjectName, _| {
                    found.push(name.to_string());
                    Ok(())
                };
                match after {
                    Some(after) => store.list_after("a/", after, &mut visit).unwrap(),
                    None => store.list("a/", &mut visit).unwrap(),
                }
                found
            };
            assert_eq!(listed(None), names, "{seed}");
            assert_eq!(listed(Some(&name("a/150"))), names[151..], "{seed}");
        }
    }

    #[test]
    fn a_visitors_error_is_not_the_stores() {
        let (store, _) = retrying(RecordStore::new(MemoryStore::new()), 0);
        let _ = store.put_if_absent(&name("a"), b"").unwrap();
        let mut visits = 0;
        let answer = store.list("", &mut |_, _| {
            visits += 1;
            Err(transient())
        });
        assert!(answer.unwrap_err().is_transient());
        assert_eq!((visits, store.inner().count(Operation::List)), (1, 1));
    }

    #[test]
    fn everything_holds_when_a_third_of_all_calls_fails() {
        for seed in 0..5 {
            let faults = [Fault::Transient { percent: 30, seed }];
            let (store, _) = retrying(FaultStore::new(MemoryStore::new(), faults), 0);
            conformance::many_objects(&store).unwrap_or_else(|error| panic!("{seed}: {error}"));
            // One name, many writers: one of them wins, and knows it.
            for round in 0..50 {
                let object = name(&format!("journal/{round}"));
                let outcomes = thread::scope(|scope| {
                    let put = |writer: u8| store.put_if_absent(&object, &[writer; 100]).unwrap();
                    let writers: Vec<_> = (0..4).map(|writer| scope.spawn(move || put(writer))).collect();
                    writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
                });
                let winners: Vec<_> = (0..4_u8)
                    .filter(|writer| outcomes[usize::from(*writer)] == PutOutcome::Created)
                    .collect();
                let [winner] = winners[..] else { panic!("{seed}: {winners:?}") };
                assert_eq!(store.get(&object, 100).unwrap(), [winner; 100], "{seed}");
            }
        }
    }
}
