//! Two stores for one repository: a fast one for what every command reads, a cheap one for the bulk.

use crate::capability::{Archive, History, ObjectLock, Retention, ThawState, Version};
use crate::decorators::lacking;
use crate::error::{Operation, StoreError};
use crate::name::ObjectName;
use crate::store::{ObjectInfo, PutOutcome, Store};

/// What lies in the cold store, and only there; in the order of bytes.
const COLD: [&str; 3] = ["packs/", "parity/", "wal/"];

/// Data packs, parity and log archives in `cold`, and everything else in `hot`, and only there.
///
/// Whatever else either store holds is not looked at.
#[derive(Debug)]
pub struct HotStore<H, C> {
    hot: H,
    cold: C,
}

impl<H: Store, C: Store> HotStore<H, C> {
    /// Joins two stores.
    pub fn new(hot: H, cold: C) -> Self {
        Self { hot, cold }
    }

    /// The store that holds this object, if either does.
    fn side(&self, name: &ObjectName) -> &dyn Store {
        if is_cold(name.as_str()) { &self.cold } else { &self.hot }
    }

    fn history_of(&self, operation: Operation, name: &ObjectName) -> Result<&dyn History, StoreError> {
        self.side(name).history().ok_or_else(|| lacking(self, operation, name))
    }

    fn retention_of(&self, operation: Operation, name: &ObjectName) -> Result<&dyn Retention, StoreError> {
        self.side(name).retention().ok_or_else(|| lacking(self, operation, name))
    }

    /// The names of each cold folder are neighbours in the order of bytes, and no hot name lies between them: so each
    /// is listed, whole, before the first hot name behind it.
    fn list_both(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if is_cold(prefix) {
            return list_from(&self.cold, prefix, after, visit);
        }
        let mut folders = COLD.into_iter().filter(|folder| folder.starts_with(prefix)).peekable();
        list_from(&self.hot, prefix, after, &mut |name, info| {
            while let Some(folder) = folders.next_if(|folder| *folder < name.as_str()) {
                list_from(&self.cold, folder, after, visit)?;
            }
            if is_cold(name.as_str()) { Ok(()) } else { visit(name, info) }
        })?;
        folders.try_for_each(|folder| list_from(&self.cold, folder, after, visit))
    }
}

fn is_cold(name: &str) -> bool {
    COLD.iter().any(|folder| name.starts_with(folder))
}

fn list_from(
    store: &dyn Store,
    prefix: &str,
    after: Option<&ObjectName>,
    visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    match after {
        Some(after) => store.list_after(prefix, after, visit),
        None => store.list(prefix, visit),
    }
}

impl<H: Store, C: Store> Store for HotStore<H, C> {
    fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
        self.side(name).put_if_absent(name, bytes)
    }

    fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.side(name).get(name, max_length_bytes)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        self.side(name).get_range(name, offset, length)
    }

    fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.side(name).stat(name)
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.list_both(prefix, None, visit)
    }

    fn list_after(
        &self,
        prefix: &str,
        after: &ObjectName,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.list_both(prefix, Some(after), visit)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.side(name).delete(name)
    }

    fn location(&self) -> String {
        format!("{} (hot: {})", self.cold.location(), self.hot.location())
    }
    fn history(&self) -> Option<&dyn History> {
        self.hot.history().or(self.cold.history()).map(|_| self as &dyn History)
    }

    fn retention(&self) -> Option<&dyn Retention> {
        self.hot.retention().or(self.cold.retention()).map(|_| self as &dyn Retention)
    }

    fn archive(&self) -> Option<&dyn Archive> {
        self.hot.archive().or(self.cold.archive()).map(|_| self as &dyn Archive)
    }
}

impl<H: Store, C: Store> History for HotStore<H, C> {
    fn versions(&self, name: &ObjectName) -> Result<Vec<Version>, StoreError> {
        self.history_of(Operation::Versions, name)?.versions(name)
    }

    fn deleted(&self, prefix: &str) -> Result<Vec<ObjectName>, StoreError> {
        let mut found = Vec::new();
        for (history, cold) in [(self.hot.history(), false), (self.cold.history(), true)] {
            let names = history.map_or(Ok(Vec::new()), |history| history.deleted(prefix))?;
            found.extend(names.into_iter().filter(|name| is_cold(name.as_str()) == cold));
        }
        Ok(found)
    }

    fn get_version(&self, name: &ObjectName, id: &str, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.history_of(Operation::Get, name)?.get_version(name, id, max_length_bytes)
    }

    fn make_newest(&self, name: &ObjectName, id: &str) -> Result<(), StoreError> {
        self.history_of(Operation::MakeNewest, name)?.make_newest(name, id)
    }
}

impl<H: Store, C: Store> Retention for HotStore<H, C> {
    fn set(&self, lock: Option<ObjectLock>) {
        for retention in [self.hot.retention(), self.cold.retention()].into_iter().flatten() {
            retention.set(lock);
        }
    }

    fn extend(&self, name: &ObjectName, until_ms: u64) -> Result<(), StoreError> {
        self.retention_of(Operation::Retain, name)?.extend(name, until_ms)
    }

    fn retain_until(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
        self.retention_of(Operation::Stat, name)?.retain_until(name)
    }
}

/// A side without cold storage has everything ready.
impl<H: Store, C: Store> Archive for HotStore<H, C> {
    fn thaw(&self, name: &ObjectName, days: u32) -> Result<(), StoreError> {
        self.side(name).archive().map_or(Ok(()), |archive| archive.thaw(name, days))
    }

    fn state(&self, name: &ObjectName) -> Result<ThawState, StoreError> {
        self.side(name).archive().map_or(Ok(ThawState::Ready), |archive| archive.state(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, conformance};

    fn name(name: &str) -> ObjectName {
        ObjectName::new(name).unwrap()
    }

    fn names(store: &dyn Store, prefix: &str, after: Option<&str>) -> Vec<String> {
        let mut found = Vec::new();
        let mut visit = |name: ObjectName, _| {
            found.push(name.to_string());
            Ok(())
        };
        match after {
            Some(after) => store.list_after(prefix, &name(after), &mut visit).unwrap(),
            None => store.list(prefix, &mut visit).unwrap(),
        }
        found
    }

    /// In the order of bytes.
    const ALL: [&str; 13] = [
        "checkpoints/1",
        "config",
        "index/a/1",
        "journal/1",
        "keys/a/b",
        "meta/3f/1",
        "packs-/1",
        "packs/3f/1",
        "packs/4f/1",
        "parity/1",
        "parts/g/1",
        "running/1",
        "wal/1",
    ];

    fn filled() -> HotStore<MemoryStore, MemoryStore> {
        let store = HotStore::new(MemoryStore::new(), MemoryStore::new());
        for object in ALL {
            assert_eq!(store.put_if_absent(&name(object), object.as_bytes()).unwrap(), PutOutcome::Created);
        }
        store
    }

    #[test]
    fn it_is_a_store() {
        conformance::suite(&HotStore::new(MemoryStore::new(), MemoryStore::new())).unwrap();
    }

    #[test]
    fn each_object_has_one_side() {
        let store = filled();
        assert_eq!(names(&store.cold, "", None), ["packs/3f/1", "packs/4f/1", "parity/1", "wal/1"]);
        assert_eq!(store.hot.len(), ALL.len() - 4);
        for object in ALL {
            let object = name(object);
            assert_eq!(store.put_if_absent(&object, b"").unwrap(), PutOutcome::AlreadyExists);
            assert_eq!(store.get(&object, 20).unwrap(), object.as_str().as_bytes());
            assert_eq!(store.get_range(&object, 0, 2).unwrap(), &object.as_str().as_bytes()[..2]);
            assert_eq!(store.stat(&object).unwrap().length_bytes, object.as_str().len() as u64);
            store.delete(&object).unwrap();
        }
        assert!(store.hot.is_empty() && store.cold.is_empty());
    }

    #[test]
    fn both_sides_are_listed_in_one_order() {
        let store = filled();
        for prefix in
            ["", "p", "pa", "pack", "packs", "packs/", "packs/4", "par", "part", "w", "wal/", "j", "z"]
        {
            let expected: Vec<_> = ALL.into_iter().filter(|name| name.starts_with(prefix)).collect();
            assert_eq!(names(&store, prefix, None), expected, "{prefix}");
            for after in ALL.into_iter().chain(["a", "p", "packs/3z", "z"]) {
                let expected: Vec<_> = expected.iter().copied().filter(|name| *name > after).collect();
                assert_eq!(names(&store, prefix, Some(after)), expected, "{prefix} {after}");
            }
        }
    }

    #[test]
    fn what_lies_on_the_wrong_side_is_not_seen() {
        let store = filled();
        let _ = store.hot.put_if_absent(&name("packs/5f/1"), b"").unwrap();
        let _ = store.cold.put_if_absent(&name("journal/2"), b"").unwrap();
        assert_eq!(names(&store, "", None), ALL);
        assert!(store.stat(&name("journal/2")).unwrap_err().is_not_found());
        assert!(store.stat(&name("packs/5f/1")).unwrap_err().is_not_found());
    }

    #[test]
    fn a_visitors_error_ends_the_list() {
        let store = filled();
        for stop in [1, 8, 10, 13] {
            let mut visited = 0;
            let answer = store.list("", &mut |object, _| {
                visited += 1;
                if visited == stop { Err(StoreError::NotFound { object }) } else { Ok(()) }
            });
            assert!(answer.unwrap_err().is_not_found());
            assert_eq!(visited, stop);
        }
    }
}
