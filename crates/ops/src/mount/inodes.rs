//! The numbers by which the kernel knows places.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::view::{Node, Place};

/// The folder itself.
pub(super) const ROOT: u64 = 1;

/// What the kernel has looked up and not forgotten: memory grows with that, and not with the snapshots.
#[derive(Default)]
pub(super) struct Inodes {
    known: Mutex<HashMap<u64, Known>>,
}

struct Known {
    node: Node,
    lookups: u64,
}

/// The number that a place has, as long as no other has it.
pub(super) fn number(place: &Place) -> u64 {
    if *place == Place::Root {
        return ROOT;
    }
    let mut hasher = DefaultHasher::new();
    place.hash(&mut hasher);
    hasher.finish().max(ROOT + 1)
}

impl Inodes {
    /// The node of that number.
    pub(super) fn get(&self, number: u64) -> Option<Node> {
        if number == ROOT {
            return Some(Node::root());
        }
        self.lock().get(&number).map(|known| known.node.clone())
    }

    /// Counts a lookup; gives the number.
    pub(super) fn looked_up(&self, node: Node) -> u64 {
        let mut number = number(&node.place);
        if number == ROOT {
            return number;
        }
        let mut known = self.lock();
        loop {
            match known.entry(number) {
                Entry::Vacant(vacant) => {
                    vacant.insert(Known { node, lookups: 1 });
                    return number;
                }
                Entry::Occupied(mut occupied) if occupied.get().node.place == node.place => {
                    occupied.get_mut().lookups += 1;
                    return number;
                }
                Entry::Occupied(_) => number = number.wrapping_add(1).max(ROOT + 1),
            }
        }
    }

    /// The kernel has forgotten so many lookups.
    pub(super) fn forget(&self, number: u64, lookups: u64) {
        let mut known = self.lock();
        if let Entry::Occupied(mut occupied) = known.entry(number) {
            let left = occupied.get().lookups.saturating_sub(lookups);
            if left == 0 {
                occupied.remove();
            } else {
                occupied.get_mut().lookups = left;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_as_often_as_it_was_looked_up_is_gone() {
        let inodes = Inodes::default();
        let node = || Node { place: Place::Snapshot(3), entry: None };
        let number = inodes.looked_up(node());
        assert_eq!(inodes.looked_up(node()), number);
        inodes.forget(number, 1);
        assert_eq!(inodes.get(number).unwrap().place, Place::Snapshot(3));
        inodes.forget(number, 1);
        assert!(inodes.get(number).is_none());
        assert_eq!(inodes.get(ROOT).unwrap().place, Place::Root);
    }
}
