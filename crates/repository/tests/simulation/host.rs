//! A store as one host sees it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use strongroom_store::{MemoryStore, ObjectInfo, ObjectName, Operation, PutOutcome, Store, StoreError};

use super::commands::step;
use super::world::World;

/// A host's way to a store: it fails by the dice.
pub(crate) struct HostStore {
    pub(crate) world: Arc<World>,
    pub(crate) which: usize,
    /// Commands that this one runs inside.
    pub(crate) depth: u32,
    pub(crate) has_faults: bool,
    pub(crate) is_dead: AtomicBool,
    /// Whether anything failed, or somebody came in between.
    pub(crate) is_disturbed: AtomicBool,
    pub(crate) has_failed_to_read: AtomicBool,
}

fn failed(operation: Operation, object: &str) -> StoreError {
    StoreError::Io {
        operation,
        object: object.to_owned(),
        location: "a simulated store".into(),
        source: io::Error::other("the dice said so"),
    }
}

/// What becomes of a write.
enum Fate {
    Done,
    /// It fails, and has no effect; or one later.
    Before {
        lands_late: bool,
    },
    /// It is done, and the answer is lost.
    After,
}

impl HostStore {
    fn base(&self) -> &MemoryStore {
        &self.world.stores[self.which]
    }

    fn alive(&self, operation: Operation, object: &str) -> Result<(), StoreError> {
        if self.is_dead.load(Ordering::Relaxed) { Err(failed(operation, object)) } else { Ok(()) }
    }

    fn disturb(&self) {
        self.is_disturbed.store(true, Ordering::Relaxed);
    }

    fn fate(&self, operation: Operation, object: &str) -> Fate {
        self.world.land();
        if self.depth < 2 && self.world.one_in([4, 12][self.depth as usize]) {
            self.disturb();
            step(&self.world, self.depth + 1);
        }
        if !self.has_faults || !self.world.one_in(20) {
            return Fate::Done;
        }
        self.disturb();
        let dies = self.world.one_in(2);
        self.is_dead.fetch_or(dies, Ordering::Relaxed);
        let fate = match self.world.roll(4) {
            0 => Fate::After,
            1 => Fate::Before { lands_late: operation == Operation::Put },
            _ => Fate::Before { lands_late: false },
        };
        let how = match fate {
            Fate::After => "is done, and its answer lost",
            Fate::Before { lands_late: true } => "fails, and lands later",
            _ => "fails",
        };
        self.world
            .say(format!("  {operation:?} {object} {how}{}", if dies { "; the host dies" } else { "" }));
        fate
    }

    fn read(&self, operation: Operation, object: &str) -> Result<(), StoreError> {
        self.alive(operation, object)?;
        if self.has_faults && self.world.one_in(400) {
            self.disturb();
            self.has_failed_to_read.store(true, Ordering::Relaxed);
            self.world.say(format!("  {operation:?} {object} fails"));
            return Err(failed(operation, object));
        }
        Ok(())
    }
}

impl Store for HostStore {
    fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
        self.alive(Operation::Put, name.as_str())?;
        match self.fate(Operation::Put, name.as_str()) {
            Fate::Done => self.base().put_if_absent(name, bytes),
            Fate::After => {
                let _ = self.base().put_if_absent(name, bytes)?;
                Err(failed(Operation::Put, name.as_str()))
            }
            Fate::Before { lands_late } => {
                if lands_late {
                    let after = self.world.roll(60);
                    let late = (after, self.which, name.clone(), bytes.to_vec());
                    self.world.late.lock().unwrap().push(late);
                }
                Err(failed(Operation::Put, name.as_str()))
            }
        }
    }

    fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.read(Operation::Get, name.as_str())?;
        self.base().get(name, max_length_bytes)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        self.read(Operation::GetRange, name.as_str())?;
        self.base().get_range(name, offset, length)
    }

    fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.read(Operation::Stat, name.as_str())?;
        self.base().stat(name)
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.read(Operation::List, prefix)?;
        self.base().list(prefix, visit)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.alive(Operation::Delete, name.as_str())?;
        match self.fate(Operation::Delete, name.as_str()) {
            Fate::Done => self.base().delete(name),
            Fate::After => {
                self.base().delete(name)?;
                Err(failed(Operation::Delete, name.as_str()))
            }
            Fate::Before { .. } => Err(failed(Operation::Delete, name.as_str())),
        }
    }

    fn location(&self) -> String {
        "a simulated store".into()
    }
}
