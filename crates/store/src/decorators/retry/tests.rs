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

    fn answer<T>(&self, call: impl FnOnce(&MemoryStore) -> Result<T, StoreError>) -> Result<T, StoreError> {
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
    let (store, timer) = retrying(Failing::new((0..1000).map(|_| before(transient()))), 7 * 1_000_000_000);
    let error = store.get(&name("a"), 1).unwrap_err();
    assert!(error.is_transient() && error.is_throttled(), "{error}");
    assert!(timer.elapsed() <= RetryPolicy::default().deadline);
    assert!(timer.elapsed() > RetryPolicy::default().deadline - 10 * SECOND);
    let said = with_causes(&error);
    assert!(said.contains("tried ") && said.contains(" times within 29") && said.ends_with("busy"), "{said}");
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
            let winners: Vec<_> =
                (0..4_u8).filter(|writer| outcomes[usize::from(*writer)] == PutOutcome::Created).collect();
            let [winner] = winners[..] else { panic!("{seed}: {winners:?}") };
            assert_eq!(store.get(&object, 100).unwrap(), [winner; 100], "{seed}");
        }
    }
}
