//! A store in memory, for tests and test vectors.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use crate::error::StoreError;
use crate::name::{ObjectName, check_prefix};
use crate::store::{ObjectInfo, PutOutcome, Store};

/// 2026-01-01T00:00:00Z
const START_MS: u64 = 1_767_225_600_000;

/// A store that forgets everything when it is dropped, with a clock that moves only when told.
///
/// Cloning it copies what it holds: a clone is the repository as it was at that moment. Objects are shared between
/// clones, so that a test may keep one for every step.
#[derive(Debug)]
pub struct MemoryStore {
    state: RwLock<State>,
}

#[derive(Debug, Clone)]
struct State {
    objects: BTreeMap<ObjectName, Object>,
    now_ms: u64,
}

#[derive(Debug, Clone)]
struct Object {
    bytes: Arc<[u8]>,
    modified_ms: u64,
}

impl Object {
    fn info(&self) -> ObjectInfo {
        ObjectInfo { length_bytes: self.bytes.len() as u64, modified_ms: self.modified_ms, billed_days: 0 }
    }
}

impl MemoryStore {
    /// An empty store; its clock stands at the beginning of 2026 (UTC).
    #[must_use]
    pub fn new() -> Self {
        Self { state: RwLock::new(State { objects: BTreeMap::new(), now_ms: START_MS }) }
    }

    /// Moves the store's clock on.
    pub fn advance_ms(&self, by_ms: u64) {
        self.write(|state| state.now_ms = state.now_ms.saturating_add(by_ms));
    }

    /// Damages a repository: whatever the name held, it holds these bytes now. No store does this; tests do.
    pub fn overwrite(&self, name: &ObjectName, bytes: &[u8]) {
        self.write(|state| {
            let modified_ms = state.now_ms;
            state.objects.insert(name.clone(), Object { bytes: bytes.into(), modified_ms });
        });
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read(|state| state.objects.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read<T>(&self, action: impl FnOnce(&State) -> T) -> T {
        action(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, action: impl FnOnce(&mut State) -> T) -> T {
        action(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn object(&self, name: &ObjectName) -> Result<Object, StoreError> {
        self.read(|state| state.objects.get(name).cloned())
            .ok_or_else(|| StoreError::NotFound { object: name.clone() })
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        Self { state: RwLock::new(self.read(State::clone)) }
    }
}

impl Store for MemoryStore {
    fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
        Ok(self.write(|state| {
            if state.objects.contains_key(name) {
                return PutOutcome::AlreadyExists;
            }
            let modified_ms = state.now_ms;
            state.objects.insert(name.clone(), Object { bytes: bytes.into(), modified_ms });
            PutOutcome::Created
        }))
    }

    fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let object = self.object(name)?;
        let length_bytes = object.info().length_bytes;
        if length_bytes > max_length_bytes {
            return Err(StoreError::TooLarge {
                object: name.clone(),
                length_bytes,
                limit_bytes: max_length_bytes,
            });
        }
        Ok(object.bytes.to_vec())
    }

    fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        let object = self.object(name)?;
        range_of(&object.bytes, offset, length).map(<[u8]>::to_vec).ok_or_else(|| StoreError::Truncated {
            object: name.clone(),
            offset,
            wanted_bytes: length,
            length_bytes: object.info().length_bytes,
        })
    }

    fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.object(name).map(|object| object.info())
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        check_prefix(prefix)?;
        // Copied first: `visit` may well call the store.
        let found: Vec<_> = self.read(|state| {
            let from = (Bound::Included(prefix), Bound::Unbounded);
            let found = state.objects.range::<str, _>(from);
            let found = found.take_while(|(name, _)| name.as_str().starts_with(prefix));
            found.map(|(name, object)| (name.clone(), object.info())).collect()
        });
        found.into_iter().try_for_each(|(name, info)| visit(name, info))
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let deleted = self.write(|state| state.objects.remove(name));
        deleted.map(drop).ok_or_else(|| StoreError::NotFound { object: name.clone() })
    }

    fn location(&self) -> String {
        "memory".to_owned()
    }
}

/// The range of `bytes`, if they reach so far.
pub(crate) fn range_of(bytes: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = usize::try_from(offset.checked_add(length)?).ok()?;
    bytes.get(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    fn name(name: &str) -> ObjectName {
        ObjectName::new(name).unwrap()
    }

    #[test]
    fn conforms() {
        conformance::suite(&MemoryStore::new()).unwrap();
    }

    #[test]
    fn a_clone_is_the_store_as_it_was() {
        let store = MemoryStore::new();
        assert_eq!(store.put_if_absent(&name("a"), b"1").unwrap(), PutOutcome::Created);
        let before = store.clone();
        store.delete(&name("a")).unwrap();
        store.overwrite(&name("b"), b"2");
        assert_eq!(before.get(&name("a"), 1).unwrap(), b"1");
        assert!(before.stat(&name("b")).unwrap_err().is_not_found());
        assert_eq!((before.len(), store.len()), (1, 1));
    }

    #[test]
    fn time_moves_when_told() {
        let store = MemoryStore::new();
        let _ = store.put_if_absent(&name("a"), b"").unwrap();
        store.advance_ms(5);
        let _ = store.put_if_absent(&name("b"), b"").unwrap();
        let time = |object| store.stat(&name(object)).unwrap().modified_ms;
        assert_eq!((time("a"), time("b")), (START_MS, START_MS + 5));
    }

    #[test]
    fn a_visitor_may_call_the_store() {
        let store = MemoryStore::new();
        let _ = store.put_if_absent(&name("a"), b"").unwrap();
        store.list("", &mut |name, _| store.delete(&name)).unwrap();
        assert!(store.is_empty());
    }
}
