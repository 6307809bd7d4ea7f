//! What every store must do, as code: tests of each store run [`suite`] on it, and once [`long_suite`]. What must be
//! known of somebody's store before it is trusted, [`probe`] finds out.

use std::io;
use std::thread;

use crate::error::{Operation, StoreError};
use crate::name::ObjectName;
use crate::store::{ObjectInfo, PutOutcome, Store};

/// Everything the suite creates lies below this, and is deleted again if the suite passes.
const PREFIX: &str = "conformance";

const WRITERS: u8 = 8;

/// More than a page of any service's list, save Azure's 5000.
const MANY: u32 = 1100;

/// What object stores must take in one request.
const LARGE_BYTES: usize = 128 << 20;

/// Why a store does not conform.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConformanceError {
    /// The store answered, and wrongly.
    #[error("{rule}: {observed}")]
    Violated {
        /// What should hold.
        rule: &'static str,
        /// What the store did.
        observed: String,
    },
    /// A call that should succeed failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Tries everything [`Store`] promises that can be seen from one process.
///
/// The store may hold other objects, but none below `conformance/`.
///
/// # Errors
/// The first promise that was not kept.
pub fn suite(store: &dyn Store) -> Result<(), ConformanceError> {
    try_all(store, true)
}

/// [`suite`] for servers of tests that look and write in two steps: without writers that create the same name at once.
///
/// # Errors
/// As [`suite`].
pub fn suite_of_one_writer(store: &dyn Store) -> Result<(), ConformanceError> {
    try_all(store, false)
}

fn try_all(store: &dyn Store, with_race: bool) -> Result<(), ConformanceError> {
    check_names("the suite's own folder is empty at first", store, "conformance/", &[])?;
    nothing_there(store)?;
    create_only(store)?;
    reads(store)?;
    information(store)?;
    lists(store)?;
    visitors_errors(store)?;
    if with_race {
        race(store)?;
    }
    for name in names(store, "conformance/")? {
        store.delete(&ObjectName::new(name)?)?;
    }
    check_names("what was deleted is not listed", store, PREFIX, &[])
}

/// [`suite`], and then many objects and a large one.
///
/// # Errors
/// The first promise that was not kept.
pub fn long_suite(store: &dyn Store) -> Result<(), ConformanceError> {
    suite(store)?;
    many_objects(store)?;
    large_object(store)
}

/// Creates 1100 objects, and lists them: more than services list in one go.
///
/// # Errors
/// The first promise that was not kept.
pub fn many_objects(store: &dyn Store) -> Result<(), ConformanceError> {
    let expected: Vec<_> = (0..MANY).map(|number| format!("{PREFIX}/many/{number:05}")).collect();
    let each = |writer: u8, action: &(dyn Fn(&ObjectName) -> Result<(), ConformanceError> + Sync)| {
        let own = expected.iter().skip(usize::from(writer)).step_by(usize::from(WRITERS));
        own.map(|name| action(&ObjectName::new(name.as_str())?)).collect::<Result<Vec<_>, _>>().map(drop)
    };
    let all = |action: &(dyn Fn(&ObjectName) -> Result<(), ConformanceError> + Sync)| {
        thread::scope(|scope| {
            let threads: Vec<_> =
                (0..WRITERS).map(|writer| scope.spawn(move || each(writer, action))).collect();
            threads.into_iter().try_for_each(|thread| match thread.join() {
                Ok(answer) => answer,
                Err(_) => Err(violated("a call does not panic", "a thread")),
            })
        })
    };
    all(&|name| check("created", &store.put_if_absent(name, b"x")?, &PutOutcome::Created))?;
    let rule = "list gives all names, over many pages";
    check_names(rule, store, "conformance/many/", &expected)?;
    for first in [0, 1, 998, 999, 1000, 1098, 1099] {
        let after = ObjectName::new(expected[first].as_str())?;
        check_names_after(
            "list_after gives what comes behind",
            store,
            "conformance/many/",
            &after,
            &expected,
        )?;
    }
    all(&|name| Ok(store.delete(name)?))?;
    check_names("what was deleted is not listed", store, PREFIX, &[])
}

/// Creates an object of 128 MiB, and reads it. Takes three times that in memory.
///
/// # Errors
/// The first promise that was not kept.
pub fn large_object(store: &dyn Store) -> Result<(), ConformanceError> {
    let object = name("large")?;
    let mut bytes = vec![0; LARGE_BYTES];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    check("a large object is created", &store.put_if_absent(&object, &bytes)?, &PutOutcome::Created)?;
    let same = |read: &[u8], expected: &[u8]| {
        let is_same = read == expected;
        check("a large object is read as it was put", &(read.len(), is_same), &(expected.len(), true))
    };
    same(&store.get(&object, LARGE_BYTES as u64)?, &bytes)?;
    for (offset, length) in
        [(0, 1 << 20), ((64 << 20) - 7, 16 << 20), (LARGE_BYTES - 1, 1), (1, LARGE_BYTES - 1)]
    {
        same(&store.get_range(&object, offset as u64, length as u64)?, &bytes[offset..offset + length])?;
    }
    match store.get(&object, LARGE_BYTES as u64 - 1) {
        Err(StoreError::TooLarge { .. }) => {}
        answer => return Err(violated("get beyond the bound is TooLarge", &answer.map(|bytes| bytes.len()))),
    }
    store.delete(&object)?;
    is_not_found("a deleted object is NotFound", store.stat(&object))
}

/// Finds out whether a store can be trusted with a repository: whether it refuses to replace an object, and shows a
/// new one at once. Three or four requests; leaves `running/probe-…` behind where it may not delete.
///
/// # Errors
/// [`StoreError::NoAtomicCreate`] when the store replaces objects, or takes every name for taken. [`StoreError::Io`]
/// when it shows something other than what was put. And whatever keeps this user from creating objects.
pub fn probe(store: &dyn Store) -> Result<(), StoreError> {
    let location = store.location();
    let random = || {
        getrandom::u64().map_err(|error| StoreError::Io {
            operation: Operation::Create,
            object: "a name for a probe".to_owned(),
            location: location.clone(),
            source: io::Error::other(error),
        })
    };
    let object = ObjectName::new(format!("running/probe-{:016x}", random()?))?;
    let (first, second) = (random()?.to_le_bytes(), [0; 8]);
    let unsafe_create = || StoreError::NoAtomicCreate { object: object.clone(), location: location.clone() };
    let wrong = |said: &str| StoreError::Io {
        operation: Operation::Get,
        object: object.to_string(),
        location: location.clone(),
        source: io::Error::new(io::ErrorKind::InvalidData, said.to_owned()),
    };
    if store.put_if_absent(&object, &first)? != PutOutcome::Created {
        return Err(unsafe_create());
    }
    let again = store.put_if_absent(&object, &second)?;
    let verdict = match store.get(&object, 8) {
        _ if again != PutOutcome::AlreadyExists => Err(unsafe_create()),
        Ok(found) if found == first => Ok(()),
        Ok(found) if found == second => Err(unsafe_create()),
        Ok(_) | Err(StoreError::TooLarge { .. }) => {
            Err(wrong("the store gives other bytes than it was given"))
        }
        Err(error) if error.is_not_found() => Err(wrong("the store does not show at once what was created")),
        // Some hosts may write here and not read.
        Err(StoreError::PermissionDenied { .. }) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = store.delete(&object) {
        tracing::debug!(%object, %error, "the probe stays");
    }
    verdict
}

fn name(suffix: &str) -> Result<ObjectName, StoreError> {
    ObjectName::new(format!("{PREFIX}/{suffix}"))
}

fn names(store: &dyn Store, prefix: &str) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    store.list(prefix, &mut |name, _| {
        found.push(name.to_string());
        Ok(())
    })?;
    Ok(found)
}

fn check<T: PartialEq + std::fmt::Debug + ?Sized>(
    rule: &'static str,
    observed: &T,
    expected: &T,
) -> Result<(), ConformanceError> {
    if observed == expected { Ok(()) } else { Err(violated(rule, observed)) }
}

fn check_names(
    rule: &'static str,
    store: &dyn Store,
    prefix: &str,
    expected: &[String],
) -> Result<(), ConformanceError> {
    check(rule, names(store, prefix)?.as_slice(), expected)
}

fn check_names_after(
    rule: &'static str,
    store: &dyn Store,
    prefix: &str,
    after: &ObjectName,
    all: &[String],
) -> Result<(), ConformanceError> {
    let expected: Vec<_> = all.iter().filter(|name| name.as_str() > after.as_str()).cloned().collect();
    let mut found = Vec::new();
    store.list_after(prefix, after, &mut |name, _| {
        found.push(name.to_string());
        Ok(())
    })?;
    check(rule, found.as_slice(), expected.as_slice())
}

fn violated(rule: &'static str, observed: &(impl std::fmt::Debug + ?Sized)) -> ConformanceError {
    let mut observed = format!("{observed:?}");
    if observed.len() > 500 {
        observed = observed.chars().take(500).collect();
    }
    ConformanceError::Violated { rule, observed }
}

fn is_not_found<T: std::fmt::Debug>(
    rule: &'static str,
    answer: Result<T, StoreError>,
) -> Result<(), ConformanceError> {
    match answer {
        Err(error) if error.is_not_found() => Ok(()),
        answer => Err(violated(rule, &answer)),
    }
}

fn nothing_there(store: &dyn Store) -> Result<(), ConformanceError> {
    for absent in [name("absent")?, name("absent/deeper/still")?] {
        is_not_found("get of no object is NotFound", store.get(&absent, 10))?;
        is_not_found("get_range of no object is NotFound", store.get_range(&absent, 0, 0))?;
        is_not_found("stat of no object is NotFound", store.stat(&absent))?;
        is_not_found("delete of no object is NotFound", store.delete(&absent))?;
    }
    check_names("a prefix nothing has lists nothing", store, "conformance/absent/", &[])
}

fn create_only(store: &dyn Store) -> Result<(), ConformanceError> {
    let object = name("create/a")?;
    check("a free name is created", &store.put_if_absent(&object, b"first")?, &PutOutcome::Created)?;
    let rule = "a new name is there at once";
    check(rule, store.get(&object, 5)?.as_slice(), b"first".as_slice())?;
    check_names(rule, store, "conformance/create/", &[object.to_string()])?;
    for bytes in [b"first".as_slice(), b"other"] {
        let outcome = store.put_if_absent(&object, bytes)?;
        check("a taken name is AlreadyExists, same bytes or not", &outcome, &PutOutcome::AlreadyExists)?;
        check("nothing is replaced", store.get(&object, 5)?.as_slice(), b"first".as_slice())?;
    }
    store.delete(&object)?;
    is_not_found("a deleted object is NotFound", store.get(&object, 5))?;
    is_not_found("it cannot be deleted twice", store.delete(&object))
}

fn reads(store: &dyn Store) -> Result<(), ConformanceError> {
    let bytes: Vec<u8> = (0..300_000_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
    let (object, empty) = (name("read/a")?, name("read/empty")?);
    check("created", &store.put_if_absent(&object, &bytes)?, &PutOutcome::Created)?;
    check("an empty object is created", &store.put_if_absent(&empty, b"")?, &PutOutcome::Created)?;
    check("get returns what was put", &store.get(&object, 300_000)?, &bytes)?;
    check("an empty object is read", store.get(&empty, 0)?.as_slice(), b"".as_slice())?;
    match store.get(&object, 299_999) {
        Err(StoreError::TooLarge { length_bytes: 300_000, limit_bytes: 299_999, .. }) => {}
        answer => return Err(violated("get beyond the bound is TooLarge", &answer.map(|bytes| bytes.len()))),
    }
    for (offset, length) in
        [(0, 300_000), (0, 1), (1, 65_536), (299_999, 1), (300_000, 0), (0, 0), (123_457, 100_003)]
    {
        let range = store.get_range(&object, offset as u64, length as u64)?;
        check("get_range returns that range", range.as_slice(), &bytes[offset..offset + length])?;
    }
    for (offset, length) in
        [(0, 300_001), (299_999, 2), (300_000, 1), (300_001, 0), (1, u64::MAX), (u64::MAX, 1)]
    {
        match store.get_range(&object, offset, length) {
            Err(StoreError::Truncated { offset: at, wanted_bytes, length_bytes: 300_000, .. })
                if (at, wanted_bytes) == (offset, length) => {}
            answer => {
                let answer = answer.map(|bytes| bytes.len());
                return Err(violated("get_range beyond the end is Truncated", &(offset, length, answer)));
            }
        }
    }
    Ok(())
}

fn information(store: &dyn Store) -> Result<(), ConformanceError> {
    let (first, second) = (name("info/1")?, name("info/2")?);
    check("created", &store.put_if_absent(&first, b"12345")?, &PutOutcome::Created)?;
    check("created", &store.put_if_absent(&second, b"1")?, &PutOutcome::Created)?;
    let infos = [store.stat(&first)?, store.stat(&second)?];
    check("stat gives the length", &infos.map(|info| info.length_bytes), &[5, 1])?;
    // 2020-01-01 to 2200-01-01: not zero, and neither seconds nor microseconds.
    for ObjectInfo { modified_ms, .. } in infos {
        if !(1_577_836_800_000..7_258_118_400_000).contains(&modified_ms) {
            return Err(violated("time is milliseconds since 1970", &modified_ms));
        }
    }
    if infos[0].modified_ms > infos[1].modified_ms {
        return Err(violated("time does not run backwards", &infos));
    }
    let mut listed = Vec::new();
    store.list("conformance/info/", &mut |_, info| {
        listed.push(info);
        Ok(())
    })?;
    check("list says what stat says", listed.as_slice(), infos.as_slice())
}

fn lists(store: &dyn Store) -> Result<(), ConformanceError> {
    // In the order of their bytes, which is neither that of their components nor that of most collations.
    let sorted =
        ["l-/a", "l.", "l/-", "l/0/x", "l/0/y", "l/00", "l/_", "l/a-b", "l/a.b", "l/a/b", "l/ab", "l0"];
    for suffix in sorted.iter().rev() {
        check("created", &store.put_if_absent(&name(suffix)?, b"")?, &PutOutcome::Created)?;
    }
    let prefixes =
        ["l", "l/", "l/0", "l/0/", "l/0/x", "l/a", "l/a/", "l/a-", "l-", "l.", "l/b", "l/0/x/", "lm"];
    for prefix in prefixes {
        let expected: Vec<_> = sorted.iter().filter(|suffix| suffix.starts_with(prefix)).collect();
        let expected: Vec<_> = expected.iter().map(|suffix| format!("{PREFIX}/{suffix}")).collect();
        let rule = "list gives the names with the prefix, in the order of their bytes";
        check_names(rule, store, &format!("{PREFIX}/{prefix}"), &expected)?;
        for after in ["a", "l", "l/0/x", "l/0/z", "l/a", "l0", "z"] {
            let rule = "list_after gives what comes behind, whether or not that name is there";
            check_names_after(rule, store, &format!("{PREFIX}/{prefix}"), &name(after)?, &expected)?;
        }
    }
    for prefix in ["/", "../", "conformance/../", "conformance//"] {
        match names(store, prefix) {
            Err(StoreError::InvalidName { .. }) => {}
            answer => return Err(violated("a prefix no name can have is InvalidName", &(prefix, answer))),
        }
    }
    Ok(())
}

fn visitors_errors(store: &dyn Store) -> Result<(), ConformanceError> {
    let mut visited = 0;
    let answer = store.list("conformance/l", &mut |object, _| {
        visited += 1;
        if visited == 3 { Err(StoreError::NotFound { object }) } else { Ok(()) }
    });
    is_not_found("list answers what the visitor answers", answer)?;
    check("an error of the visitor ends the list", &visited, &3)
}

/// Many writers, one name: one of them wins, and what it wrote is what is there.
fn race(store: &dyn Store) -> Result<(), ConformanceError> {
    for round in 0..10 {
        let object = name(&format!("race/{round}/winner"))?;
        let outcomes: Vec<_> = thread::scope(|scope| {
            let put = |writer: u8| store.put_if_absent(&object, &vec![writer; 10_000 + usize::from(writer)]);
            let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || put(writer))).collect();
            writers.into_iter().map(thread::ScopedJoinHandle::join).collect()
        });
        let mut winners = Vec::new();
        for (writer, outcome) in (0..WRITERS).zip(outcomes) {
            match outcome {
                Ok(Ok(PutOutcome::Created)) => winners.push(writer),
                Ok(Ok(PutOutcome::AlreadyExists)) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(violated("a put does not panic", &writer)),
            }
        }
        let [winner] = winners[..] else {
            return Err(violated("exactly one writer creates a name", &winners));
        };
        let bytes = vec![winner; 10_000 + usize::from(winner)];
        check("the winner's bytes are there", &store.get(&object, 20_000)?, &bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::{Fault, FaultStore, MemoryStore, RecordStore, When};

    /// What object stores do that do not know of conditions.
    struct Replacing {
        inner: MemoryStore,
        admits_it: bool,
    }

    impl Store for Replacing {
        fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
            let is_taken = self.inner.stat(name).is_ok();
            self.inner.overwrite(name, bytes);
            Ok(if is_taken && !self.admits_it { PutOutcome::AlreadyExists } else { PutOutcome::Created })
        }

        fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
            self.inner.get(name, max_length_bytes)
        }

        fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
            self.inner.get_range(name, offset, length)
        }

        fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
            self.inner.stat(name)
        }

        fn list(
            &self,
            prefix: &str,
            visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
        ) -> Result<(), StoreError> {
            self.inner.list(prefix, visit)
        }

        fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
            self.inner.delete(name)
        }

        fn location(&self) -> String {
            "somewhere".to_owned()
        }
    }

    #[test]
    fn a_store_that_replaces_is_found_out() {
        for admits_it in [true, false] {
            let store = Replacing { inner: MemoryStore::new(), admits_it };
            assert!(matches!(probe(&store), Err(StoreError::NoAtomicCreate { .. })), "{admits_it}");
            assert!(store.inner.is_empty());
            suite(&store).unwrap_err();
        }
    }

    #[test]
    fn a_probe_leaves_nothing_and_costs_four_requests() {
        let store = RecordStore::new(MemoryStore::new());
        probe(&store).unwrap();
        probe(&store).unwrap();
        assert!(store.inner().is_empty());
        assert_eq!(store.calls().len(), 8);
        assert!(store.calls().iter().all(|call| call.object.starts_with("running/probe-")));
    }

    #[test]
    fn a_probe_may_stay() {
        let store =
            FaultStore::new(MemoryStore::new(), [Fault::Fail { mutation: 3, when: When::BeforeEffect }]);
        probe(&store).unwrap();
        assert_eq!(store.inner().len(), 1);
    }

    #[test]
    fn the_suite_finds_a_store_that_forgets() {
        /// Shows what was put only when something else happened.
        struct Late {
            inner: MemoryStore,
            is_late: AtomicBool,
        }

        impl Store for Late {
            fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
                self.is_late.store(true, Ordering::Relaxed);
                self.inner.put_if_absent(name, bytes)
            }

            fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
                if self.is_late.swap(false, Ordering::Relaxed) {
                    return Err(StoreError::NotFound { object: name.clone() });
                }
                self.inner.get(name, max_length_bytes)
            }

            fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
                self.inner.get_range(name, offset, length)
            }

            fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
                self.inner.stat(name)
            }

            fn list(
                &self,
                prefix: &str,
                visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
            ) -> Result<(), StoreError> {
                self.inner.list(prefix, visit)
            }

            fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
                self.inner.delete(name)
            }

            fn location(&self) -> String {
                self.inner.location()
            }
        }

        let store = Late { inner: MemoryStore::new(), is_late: AtomicBool::new(false) };
        assert!(matches!(probe(&store), Err(StoreError::Io { operation: Operation::Get, .. })));
        suite(&store).unwrap_err();
    }

    #[test]
    fn many_and_large_objects_fit_into_memory() {
        long_suite(&MemoryStore::new()).unwrap();
    }
}
