//! Cold storage: which packs some contents need, and having them thawed.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use strongroom_format::tree_entry::Content;
use strongroom_store::{ObjectName, ThawState};

use crate::error::RepositoryError;
use crate::names;
use crate::reader::Reader;
use crate::repository::Repository;
use crate::tree::ListCursor;

/// Questions to the store at the same time.
const THREADS: usize = 16;

/// Data packs that contents need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NeededPacks(BTreeSet<ObjectName>);

/// How far the packs are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Thawed {
    /// Packs that can be read.
    pub ready: usize,
    /// Packs that somebody asked for already.
    pub thawing: usize,
    /// Packs that nobody had asked for; asked for now.
    pub asked: usize,
}

impl Thawed {
    /// Whether all can be read.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.thawing == 0 && self.asked == 0
    }
}

impl NeededPacks {
    /// Adds the packs of a content.
    ///
    /// # Errors
    /// What reading its list fails with.
    pub fn add(&mut self, reader: &Reader<'_>, content: &Content) -> Result<(), RepositoryError> {
        let mut items = ListCursor::new(reader, content)?;
        while let Some(item) = items.next_item()? {
            if !item.is_hole() {
                for pack in reader.packs_of(item.id) {
                    self.0.insert(names::pack(strongroom_format::registry::ObjectKind::DataPack, pack)?);
                }
            }
        }
        Ok(())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl Repository {
    /// Whether the store may keep packs in cold storage, from where they must be asked for before they are read.
    #[must_use]
    pub fn has_cold_storage(&self) -> bool {
        self.store.archive().is_some()
    }

    /// Looks whether packs can be read, and asks for those that cannot, to be kept readable for `days`.
    ///
    /// # Errors
    /// `Store`.
    pub fn thaw(&self, packs: &NeededPacks, days: u32) -> Result<Thawed, RepositoryError> {
        let Some(archive) = self.store.archive() else {
            return Ok(Thawed { ready: packs.count(), ..Thawed::default() });
        };
        let names: Vec<&ObjectName> = packs.0.iter().collect();
        let (next, result) = (AtomicUsize::new(0), Mutex::new(Ok(Thawed::default())));
        let look = |name: &ObjectName| -> Result<ThawState, RepositoryError> {
            let state = archive.state(name)?;
            if state == ThawState::Frozen {
                archive.thaw(name, days)?;
            }
            Ok(state)
        };
        std::thread::scope(|scope| {
            for _ in 0..THREADS.min(names.len()) {
                scope.spawn(|| {
                    while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let looked = look(name);
                        let Ok(mut result) = result.lock() else { return };
                        match (&mut *result, looked) {
                            (Ok(thawed), Ok(ThawState::Ready)) => thawed.ready += 1,
                            (Ok(thawed), Ok(ThawState::Thawing)) => thawed.thawing += 1,
                            (Ok(thawed), Ok(ThawState::Frozen)) => thawed.asked += 1,
                            (Ok(_), Err(error)) => *result = Err(error),
                            (Err(_), _) => return,
                        }
                    }
                });
            }
        });
        result.into_inner().unwrap_or(Err(RepositoryError::Cancelled))
    }
}
