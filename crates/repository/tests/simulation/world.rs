//! What is going on in one seed, and what must be there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use strongroom_store::{MemoryStore, ObjectName, Store as _};

use super::dice::Dice;
use super::support::Files;

/// So many writes later, in which store, under which name, which bytes.
pub(crate) type Late = (u64, usize, ObjectName, Vec<u8>);

/// What is going on in one seed.
pub(crate) struct World {
    pub(crate) dice: Mutex<Dice>,
    pub(crate) stores: [Arc<MemoryStore>; 2],
    pub(crate) model: Mutex<Model>,
    /// Puts that were given up and land later, after so many more writes of anybody.
    pub(crate) late: Mutex<Vec<Late>>,
    /// What happened, for whoever reads a failure.
    pub(crate) log: Mutex<Vec<String>>,
}

/// What must be there: by the number of the backup that made it.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) contents: BTreeMap<u64, Files>,
    /// Of each repository, those that were said to be there.
    pub(crate) there: [BTreeSet<u64>; 2],
    /// Those of which nobody knows.
    pub(crate) perhaps: [BTreeSet<u64>; 2],
    /// Those that somebody forgot.
    pub(crate) forgotten: [BTreeSet<u64>; 2],
    /// The group that workers work for, by the number of the backup that it is.
    pub(crate) groups: [Option<u64>; 2],
    pub(crate) next: u64,
    pub(crate) logs: [Log; 2],
}

/// Of a log archive, by the place of a segment.
#[derive(Default)]
pub(crate) struct Log {
    /// Segments that were said to be stored.
    pub(crate) there: BTreeSet<u64>,
    /// Those that somebody began to expire.
    pub(crate) expired: BTreeSet<u64>,
}

impl World {
    pub(crate) fn say(&self, what: impl Into<String>) {
        self.log.lock().unwrap().push(what.into());
    }

    pub(crate) fn roll(&self, bound: u64) -> u64 {
        self.dice.lock().unwrap().below(bound)
    }

    pub(crate) fn one_in(&self, chance: u64) -> bool {
        self.dice.lock().unwrap().one_in(chance)
    }

    /// Lets what was given up long ago land.
    pub(crate) fn land(&self) {
        let mut late = self.late.lock().unwrap();
        for one in late.iter_mut() {
            one.0 = one.0.saturating_sub(1);
        }
        let (landing, waiting) = late.drain(..).partition(|(left, ..)| *left == 0);
        *late = waiting;
        drop(late);
        let landing: Vec<Late> = landing;
        for (_, which, name, bytes) in landing {
            self.say(format!("  {name} lands late"));
            let _ = self.stores[which].put_if_absent(&name, &bytes).unwrap();
        }
    }
}

impl Model {
    /// Nobody knows any more whether it is there.
    pub(crate) fn doubt(&mut self, which: usize, number: u64) {
        self.there[which].remove(&number);
        self.perhaps[which].insert(number);
    }

    pub(crate) fn gone(&mut self, which: usize, number: u64) {
        self.forgotten[which].insert(number);
        self.there[which].remove(&number);
        self.perhaps[which].remove(&number);
    }
}
