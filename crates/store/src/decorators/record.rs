//! A decorator that writes down the calls made, so that tests can say how many requests something may cost.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::capability::{Archive, History, Retention};
use crate::error::{Operation, StoreError};
use crate::name::ObjectName;
use crate::store::{ObjectInfo, PutOutcome, Store};

/// One call on a store, written down when it returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which method.
    pub operation: Operation,
    /// The object's name, or the prefix listed.
    pub object: String,
    /// Bytes given to a put, or returned by a get; objects visited by a list.
    pub amount: u64,
    /// Whether it succeeded.
    pub is_ok: bool,
}

/// Passes every call on, and remembers it.
#[derive(Debug)]
pub struct RecordStore<S> {
    inner: S,
    calls: Mutex<Vec<Call>>,
}

impl<S: Store> RecordStore<S> {
    /// Nothing is recorded yet.
    pub fn new(inner: S) -> Self {
        Self { inner, calls: Mutex::default() }
    }

    /// The calls so far, in the order in which they returned.
    pub fn calls(&self) -> Vec<Call> {
        self.locked().clone()
    }

    /// The calls so far, which are forgotten.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.locked())
    }

    /// How many calls of this kind there were, failed ones included.
    pub fn count(&self, operation: Operation) -> usize {
        self.locked().iter().filter(|call| call.operation == operation).count()
    }

    /// The store behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record<T>(
        &self,
        operation: Operation,
        object: &str,
        amount: impl FnOnce(&T) -> u64,
        answer: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let amount = answer.as_ref().map_or(0, amount);
        self.locked().push(Call { operation, object: object.to_owned(), amount, is_ok: answer.is_ok() });
        answer
    }

    fn record_list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
        list: impl FnOnce(
            &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
        ) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut visited = 0;
        let answer = list(&mut |name, info| {
            visited += 1;
            visit(name, info)
        });
        self.record(Operation::List, prefix, |()| visited, answer)
    }
}

impl<S: Store> Store for RecordStore<S> {
    fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
        let answer = self.inner.put_if_absent(name, bytes);
        self.record(Operation::Put, name.as_str(), |_| bytes.len() as u64, answer)
    }

    fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let answer = self.inner.get(name, max_length_bytes);
        self.record(Operation::Get, name.as_str(), |bytes| bytes.len() as u64, answer)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        let answer = self.inner.get_range(name, offset, length);
        self.record(Operation::GetRange, name.as_str(), |bytes| bytes.len() as u64, answer)
    }

    fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.record(Operation::Stat, name.as_str(), |_| 0, self.inner.stat(name))
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.record_list(prefix, visit, |visit| self.inner.list(prefix, visit))
    }

    fn list_after(
        &self,
        prefix: &str,
        after: &ObjectName,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.record_list(prefix, visit, |visit| self.inner.list_after(prefix, after, visit))
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.record(Operation::Delete, name.as_str(), |()| 0, self.inner.delete(name))
    }

    fn location(&self) -> String {
        self.inner.location()
    }

    fn history(&self) -> Option<&dyn History> {
        self.inner.history()
    }

    fn retention(&self) -> Option<&dyn Retention> {
        self.inner.retention()
    }

    fn archive(&self) -> Option<&dyn Archive> {
        self.inner.archive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;
    use crate::conformance;

    #[test]
    fn changes_nothing() {
        conformance::suite(&RecordStore::new(MemoryStore::new())).unwrap();
    }

    #[test]
    fn calls_are_written_down() {
        let store = RecordStore::new(MemoryStore::new());
        let name = ObjectName::new("a/b").unwrap();
        let _ = store.put_if_absent(&name, b"123").unwrap();
        store.get_range(&name, 1, 2).unwrap();
        store.get(&name, 2).unwrap_err();
        store.list("a/", &mut |_, _| Ok(())).unwrap();
        let call =
            |operation, object: &str, amount, is_ok| Call { operation, object: object.into(), amount, is_ok };
        let expected = [
            call(Operation::Put, "a/b", 3, true),
            call(Operation::GetRange, "a/b", 2, true),
            call(Operation::Get, "a/b", 0, false),
            call(Operation::List, "a/", 1, true),
        ];
        assert_eq!(store.calls(), expected);
        assert_eq!(store.count(Operation::Get), 1);
        assert_eq!(store.take_calls(), expected);
        assert_eq!(store.count(Operation::Get), 0);
    }
}
