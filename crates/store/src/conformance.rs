//! What every store must do, as code: tests of each store run [`suite`] on it.

use std::thread;

use crate::error::StoreError;
use crate::name::ObjectName;
use crate::store::{ObjectInfo, PutOutcome, Store};

/// Everything the suite creates lies below this, and is deleted again if the suite passes.
const PREFIX: &str = "conformance";

const WRITERS: u8 = 8;

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
    check_names("the suite's own folder is empty at first", store, "conformance/", &[])?;
    nothing_there(store)?;
    create_only(store)?;
    reads(store)?;
    information(store)?;
    lists(store)?;
    visitors_errors(store)?;
    race(store)?;
    for name in names(store, "conformance/")? {
        store.delete(&ObjectName::new(name)?)?;
    }
    check_names("what was deleted is not listed", store, PREFIX, &[])
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
