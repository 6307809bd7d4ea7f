//! A decorator that fails on demand: the same way each time, so that a test can crash at every single write.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::capability::{Archive, History, Retention};
use crate::error::{Operation, StoreError};
use crate::memory::range_of;
use crate::name::ObjectName;
use crate::store::{ObjectInfo, PutOutcome, Store};

/// Whether a call that fails has changed the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The call never reached the store.
    BeforeEffect,
    /// The call did its work, and the answer was lost.
    AfterEffect,
}

/// Something that goes wrong. Mutations (puts and deletes) count from 1, from when the store was wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// This one mutation fails with [`StoreError::Io`].
    Fail {
        /// Which one.
        mutation: u64,
        /// With or without effect.
        when: When,
    },
    /// The process dies in this mutation: it and every call after it, reads too, fail with [`StoreError::Io`].
    Crash {
        /// Which one.
        mutation: u64,
        /// With or without effect.
        when: When,
    },
    /// From this mutation on every put fails with [`StoreError::NoSpace`], without effect; deletes go through.
    NoSpace {
        /// The first one.
        mutation: u64,
    },
    /// This share of all calls, reads too, fails with [`StoreError::Transient`]: some before their effect and some
    /// after it, lists after some of the names. `seed` and the number of the call alone decide which.
    Transient {
        /// How many in a hundred.
        percent: u8,
        /// Another seed fails other calls.
        seed: u64,
    },
    /// Whatever is read of this object is damaged; the store itself is not touched.
    Damage {
        /// Which object.
        name: ObjectName,
        /// How.
        damage: Damage,
    },
}

/// How an object is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// These bits of the byte at `offset` are inverted.
    Flip {
        /// Offset of the byte.
        offset: u64,
        /// Bits to invert.
        mask: u8,
    },
    /// The object ends here.
    Truncate {
        /// Length left.
        length_bytes: u64,
    },
    /// The object is not there for readers; its name stays taken.
    Missing,
}

/// A store on which [`Fault`]s happen.
#[derive(Debug)]
pub struct FaultStore<S> {
    inner: S,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<Fault>,
    mutations: u64,
    /// Calls while there was a [`Fault::Transient`].
    calls: u64,
    is_crashed: bool,
}

impl<S: Store> FaultStore<S> {
    /// Wraps a store.
    pub fn new(inner: S, faults: impl IntoIterator<Item = Fault>) -> Self {
        let faults = faults.into_iter().collect();
        Self { inner, state: Mutex::new(State { faults, ..State::default() }) }
    }

    /// Adds a fault.
    pub fn add(&self, fault: Fault) {
        self.locked().faults.push(fault);
    }

    /// Takes all faults away and ends a crash, as a new process would find the store. Counting goes on.
    pub fn clear(&self) {
        let mut state = self.locked();
        state.faults.clear();
        state.is_crashed = false;
    }

    /// Mutations called so far, failed ones included: run once without faults to learn how many crashes to try.
    pub fn mutations(&self) -> u64 {
        self.locked().mutations
    }

    /// Whether a [`Fault::Crash`] has happened.
    pub fn is_crashed(&self) -> bool {
        self.locked().is_crashed
    }

    /// The store behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn injected(&self, operation: Operation, object: &str) -> StoreError {
        let (object, location) = (object.to_owned(), self.location());
        StoreError::Io { operation, object, location, source: io::Error::other("injected fault") }
    }

    fn mutate<T>(
        &self,
        operation: Operation,
        name: &ObjectName,
        action: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let fault = {
            let mut state = self.locked();
            if state.is_crashed {
                return Err(self.injected(operation, name.as_str()));
            }
            state.mutations += 1;
            let now = state.mutations;
            let fault = state.faults.iter().find(|fault| match fault {
                Fault::Fail { mutation, .. } | Fault::Crash { mutation, .. } => *mutation == now,
                Fault::NoSpace { mutation } => operation == Operation::Put && *mutation <= now,
                Fault::Transient { .. } | Fault::Damage { .. } => false,
            });
            let fault = fault.cloned();
            state.is_crashed = matches!(fault, Some(Fault::Crash { .. }));
            fault
        };
        match fault {
            None | Some(Fault::Transient { .. } | Fault::Damage { .. }) => {}
            Some(Fault::NoSpace { .. }) => {
                return Err(StoreError::NoSpace { object: name.to_string(), location: self.location() });
            }
            Some(Fault::Fail { when, .. } | Fault::Crash { when, .. }) => {
                if when == When::AfterEffect {
                    action()?;
                }
                return Err(self.injected(operation, name.as_str()));
            }
        }
        let Some(draw) = self.transient_draw() else { return action() };
        if draw % 2 == 1 {
            action()?;
        }
        Err(self.transient(operation, name.as_str()))
    }

    /// Fails reads that are not to succeed.
    fn readable(&self, operation: Operation, object: &str) -> Result<(), StoreError> {
        self.alive(operation, object)?;
        self.transient_draw().map_or(Ok(()), |_| Err(self.transient(operation, object)))
    }

    fn alive(&self, operation: Operation, object: &str) -> Result<(), StoreError> {
        if self.is_crashed() { Err(self.injected(operation, object)) } else { Ok(()) }
    }

    /// A number that says how this call fails, if it is one that does.
    fn transient_draw(&self) -> Option<u64> {
        let mut state = self.locked();
        let (percent, seed) = state.faults.iter().find_map(|fault| match fault {
            Fault::Transient { percent, seed } => Some((*percent, *seed)),
            _ => None,
        })?;
        state.calls += 1;
        let draw = mixed(seed ^ mixed(state.calls));
        (draw % 100 < u64::from(percent)).then_some(draw / 100)
    }

    fn transient(&self, operation: Operation, object: &str) -> StoreError {
        let (object, location) = (object.to_owned(), self.location());
        let source = Box::new(io::Error::other("injected fault"));
        StoreError::Transient { operation, object, location, throttled: false, source }
    }

    fn list_with(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
        list: impl FnOnce(
            &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
        ) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.alive(Operation::List, prefix)?;
        let mut left = self.transient_draw().map(|draw| draw % 8);
        list(&mut |name, info| {
            match &mut left {
                Some(0) => return Err(self.transient(Operation::List, prefix)),
                Some(left) => *left -= 1,
                None => {}
            }
            match damaged_info(info, &self.damages(&name)) {
                Some(info) => visit(name, info),
                None => Ok(()),
            }
        })?;
        left.map_or(Ok(()), |_| Err(self.transient(Operation::List, prefix)))
    }

    fn damages(&self, name: &ObjectName) -> Vec<Damage> {
        let state = self.locked();
        let damages = state.faults.iter().filter_map(|fault| match fault {
            Fault::Damage { name: damaged, damage } if damaged == name => Some(*damage),
            _ => None,
        });
        damages.collect()
    }

    /// The object as readers see it.
    fn damaged(&self, name: &ObjectName, damages: &[Damage]) -> Result<Vec<u8>, StoreError> {
        let mut bytes = self.inner.get(name, u64::MAX)?;
        for damage in damages {
            match damage {
                Damage::Missing => return Err(StoreError::NotFound { object: name.clone() }),
                Damage::Truncate { length_bytes } => {
                    bytes.truncate(usize::try_from(*length_bytes).unwrap_or(usize::MAX));
                }
                Damage::Flip { offset, mask } => {
                    if let Some(byte) = usize::try_from(*offset).ok().and_then(|offset| bytes.get_mut(offset))
                    {
                        *byte ^= mask;
                    }
                }
            }
        }
        Ok(bytes)
    }
}

/// What readers are told of an object, if they are told anything.
fn damaged_info(mut info: ObjectInfo, damages: &[Damage]) -> Option<ObjectInfo> {
    for damage in damages {
        match damage {
            Damage::Missing => return None,
            Damage::Truncate { length_bytes } => info.length_bytes = info.length_bytes.min(*length_bytes),
            Damage::Flip { .. } => {}
        }
    }
    Some(info)
}

/// SplitMix64: spreads a counter over all numbers.
fn mixed(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl<S: Store> Store for FaultStore<S> {
    fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
        self.mutate(Operation::Put, name, || self.inner.put_if_absent(name, bytes))
    }

    fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.readable(Operation::Get, name.as_str())?;
        let damages = self.damages(name);
        if damages.is_empty() {
            return self.inner.get(name, max_length_bytes);
        }
        let bytes = self.damaged(name, &damages)?;
        let length_bytes = bytes.len() as u64;
        if length_bytes > max_length_bytes {
            return Err(StoreError::TooLarge {
                object: name.clone(),
                length_bytes,
                limit_bytes: max_length_bytes,
            });
        }
        Ok(bytes)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        self.readable(Operation::GetRange, name.as_str())?;
        let damages = self.damages(name);
        if damages.is_empty() {
            return self.inner.get_range(name, offset, length);
        }
        let bytes = self.damaged(name, &damages)?;
        range_of(&bytes, offset, length).map(<[u8]>::to_vec).ok_or_else(|| StoreError::Truncated {
            object: name.clone(),
            offset,
            wanted_bytes: length,
            length_bytes: bytes.len() as u64,
        })
    }

    fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.readable(Operation::Stat, name.as_str())?;
        let info = self.inner.stat(name)?;
        damaged_info(info, &self.damages(name)).ok_or_else(|| StoreError::NotFound { object: name.clone() })
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.list_with(prefix, visit, |visit| self.inner.list(prefix, visit))
    }

    fn list_after(
        &self,
        prefix: &str,
        after: &ObjectName,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.list_with(prefix, visit, |visit| self.inner.list_after(prefix, after, visit))
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.mutate(Operation::Delete, name, || self.inner.delete(name))
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

    fn name(name: &str) -> ObjectName {
        ObjectName::new(name).unwrap()
    }

    fn with(faults: impl IntoIterator<Item = Fault>) -> FaultStore<MemoryStore> {
        FaultStore::new(MemoryStore::new(), faults)
    }

    #[test]
    fn without_faults_changes_nothing() {
        conformance::suite(&with([])).unwrap();
    }

    #[test]
    fn a_failure_has_an_effect_or_none() {
        for (when, count) in [(When::BeforeEffect, 2), (When::AfterEffect, 3)] {
            let store = with([Fault::Fail { mutation: 2, when }]);
            let outcomes = ["a", "b", "c"].map(|object| store.put_if_absent(&name(object), b""));
            assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
            let error = outcomes[1].as_ref().unwrap_err();
            assert!(matches!(error, StoreError::Io { operation: Operation::Put, .. }));
            assert!(!error.is_without_effect());
            assert_eq!(store.inner().len(), count);
            assert_eq!(store.mutations(), 3);
        }
    }

    #[test]
    fn a_crash_ends_everything() {
        for (when, count) in [(When::BeforeEffect, 1), (When::AfterEffect, 0)] {
            let store = with([Fault::Crash { mutation: 2, when }]);
            let _ = store.put_if_absent(&name("a"), b"1").unwrap();
            assert!(!store.is_crashed());
            store.delete(&name("a")).unwrap_err();
            assert!(store.is_crashed());
            assert_eq!(store.inner().len(), count);
            store.put_if_absent(&name("b"), b"").unwrap_err();
            store.delete(&name("a")).unwrap_err();
            store.get_range(&name("a"), 0, 0).unwrap_err();
            store.list("", &mut |_, _| Ok(())).unwrap_err();
            assert!(!store.get(&name("a"), 9).unwrap_err().is_not_found());
            assert!(!store.stat(&name("a")).unwrap_err().is_not_found());
            assert_eq!((store.inner().len(), store.mutations()), (count, 2));
            store.clear();
            let _ = store.put_if_absent(&name("b"), b"").unwrap();
        }
    }

    #[test]
    fn a_full_disk_lets_deletes_through() {
        let store = with([Fault::NoSpace { mutation: 2 }]);
        let _ = store.put_if_absent(&name("a"), b"1").unwrap();
        for _ in 0..2 {
            let error = store.put_if_absent(&name("b"), b"").unwrap_err();
            assert!(matches!(&error, StoreError::NoSpace { object, .. } if object == "b"));
            assert!(error.is_without_effect());
        }
        store.delete(&name("a")).unwrap();
        assert!(store.inner().is_empty());
    }

    #[test]
    fn damage_shows_to_every_reader() {
        let damage = |object, damage| Fault::Damage { name: name(object), damage };
        let store = with([
            damage("cut", Damage::Truncate { length_bytes: 2 }),
            damage("flip", Damage::Flip { offset: 1, mask: 0x80 }),
            damage("gone", Damage::Missing),
        ]);
        for object in ["cut", "flip", "gone", "whole"] {
            let _ = store.put_if_absent(&name(object), &[0, 1, 2]).unwrap();
        }
        assert_eq!(store.get(&name("cut"), 2).unwrap(), [0, 1]);
        let error = store.get_range(&name("cut"), 1, 2).unwrap_err();
        assert!(matches!(error, StoreError::Truncated { offset: 1, wanted_bytes: 2, length_bytes: 2, .. }));
        assert_eq!(store.get(&name("flip"), 3).unwrap(), [0, 0x81, 2]);
        assert_eq!(store.get_range(&name("flip"), 1, 2).unwrap(), [0x81, 2]);
        assert_eq!(store.get_range(&name("flip"), 2, 1).unwrap(), [2]);
        assert!(matches!(store.get(&name("flip"), 2), Err(StoreError::TooLarge { length_bytes: 3, .. })));
        assert!(store.get(&name("gone"), 3).unwrap_err().is_not_found());
        assert!(store.stat(&name("gone")).unwrap_err().is_not_found());
        assert_eq!(store.put_if_absent(&name("gone"), b"").unwrap(), PutOutcome::AlreadyExists);
        let mut listed = Vec::new();
        store
            .list("", &mut |name, info| {
                listed.push((name.to_string(), info.length_bytes));
                Ok(())
            })
            .unwrap();
        assert_eq!(listed, [("cut".to_owned(), 2), ("flip".to_owned(), 3), ("whole".to_owned(), 3)]);
        store.clear();
        assert_eq!(store.get(&name("cut"), 3).unwrap(), [0, 1, 2]);
    }
    #[test]
    fn a_share_of_all_calls_fails_in_passing() {
        let run = |seed| {
            let store = with([Fault::Transient { percent: 30, seed }]);
            let mut failed = Vec::new();
            let mut applied = 0;
            for number in 0..1000 {
                let object = name(&format!("a/{number:04}"));
                if let Err(error) = store.put_if_absent(&object, b"") {
                    assert!(error.is_transient());
                    failed.push(number);
                    applied += usize::from(store.inner().stat(&object).is_ok());
                }
            }
            (failed, applied)
        };
        let (failed, applied) = run(1);
        assert!((250..350).contains(&failed.len()), "{}", failed.len());
        assert!((failed.len() / 3..failed.len() * 2 / 3).contains(&applied), "{applied} of {}", failed.len());
        assert_eq!(run(1).0, failed, "the same seed fails the same calls");
        assert_ne!(run(2).0, failed);
    }

    #[test]
    fn lists_fail_in_the_middle_too() {
        let store = with([]);
        for number in 0..20 {
            let _ = store.put_if_absent(&name(&format!("{number:02}")), b"").unwrap();
        }
        store.add(Fault::Transient { percent: 100, seed: 1 });
        let mut visited = [0; 100];
        for visits in &mut visited {
            let answer = store.list("", &mut |_, _| {
                *visits += 1;
                Ok(())
            });
            assert!(answer.unwrap_err().is_transient());
        }
        assert!(visited.contains(&0) && visited.contains(&7), "{visited:?}");
    }
}
