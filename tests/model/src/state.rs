//! A state of the model: the store, the journal, and where each actor stands.

use crate::group::Group;
use crate::journal::{Entry, Journal};
use crate::pack::{Frame, Store, frames};
use crate::pruner::Pruner;
use crate::reindexer::Reindexer;
use crate::rules::{Rule, Rules};
use crate::set::Set;
use crate::writer::{Draft, Run, Writer};

/// How many actors there can be.
pub const ACTORS: usize = 4;

/// The first snapshots of a scene have the numbers below this. Then comes one for each actor.
pub const FIRST_SNAPSHOTS: u8 = 2;

/// Somebody who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// Nobody.
    Nobody,
    /// A backup.
    Writer(Writer),
    /// A prune, again and again.
    Pruner(Pruner),
    /// A group commit, or a resumed run.
    Group(Group),
    /// Compaction of the index, again and again.
    Reindexer(Reindexer),
}

impl Actor {
    /// Whether it has looked at the journal, and is going to append.
    pub(crate) fn is_under_way(&self) -> bool {
        match self {
            Self::Nobody => false,
            Self::Writer(writer) => writer.is_under_way(),
            Self::Pruner(pruner) => pruner.is_under_way(),
            Self::Group(group) => group.is_under_way(),
            Self::Reindexer(reindexer) => reindexer.is_under_way(),
        }
    }

    /// The packs that it still has to do with.
    pub(crate) fn packs(&mut self) -> Set {
        let mut packs = Set::NONE;
        match self {
            Self::Writer(Writer { run: Run::Over(_), .. }) | Self::Nobody | Self::Reindexer(_) => {}
            Self::Writer(_) | Self::Pruner(_) | Self::Group(_) => self.each_set(&mut |set| packs |= *set),
        }
        packs
    }

    /// All sets of packs that it remembers, always in the same order.
    pub(crate) fn each_set(&mut self, with: &mut impl FnMut(&mut Set)) {
        match self {
            Self::Nobody => {}
            Self::Writer(writer) => writer.each_set(with),
            Self::Pruner(pruner) => pruner.each_set(with),
            Self::Group(group) => group.each_set(with),
            Self::Reindexer(reindexer) => reindexer.each_set(with),
        }
    }
}

/// A frame of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The pack.
    pub pack: Set,
    /// The frame.
    pub frame: Frame,
}

/// All that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// What is stored.
    pub store: Store,
    /// What counts.
    pub journal: Journal,
    /// Whoever is going to append.
    pub actors: [Actor; ACTORS],
    /// The actors for whom the number that they were going to take is taken.
    pub behind: Set,
    /// Whether the entry of the first snapshot cannot be read now: it is damaged, and may come back.
    pub is_damaged: bool,
    /// The journal before its last entry, and the actors that are more than one entry behind: what is needed to replace
    /// an entry, where that is possible.
    pub replaceable: Option<(Journal, Set)>,
}

impl State {
    /// Appends an entry. Whoever else was going to take its number finds it taken.
    pub fn append(&mut self, entry: &Entry, rules: Rules) {
        if !rules.keep(Rule::NumbersAreTakenOnce) {
            let far = self.replaceable.map_or(Set::NONE, |(_, far)| far) | self.behind;
            self.replaceable = Some((self.journal, far));
        }
        self.journal.fold(entry, rules);
        for (number, actor) in (0..).zip(&self.actors) {
            if actor.is_under_way() {
                self.behind |= Set::one(number);
            }
        }
    }

    /// Moves an actor on.
    pub fn set(&mut self, number: u8, actor: Actor) {
        self.actors[usize::from(number)] = actor;
    }

    /// An actor knows all of the journal again, or has nothing to append any more.
    pub fn catch_up(&mut self, number: u8) {
        self.behind -= Set::one(number);
        if let Some((_, far)) = &mut self.replaceable {
            *far -= Set::one(number);
        }
    }

    /// The snapshots that can be seen.
    #[must_use]
    pub fn visible(&self) -> Set {
        if self.is_damaged { self.journal.snapshots - Set::one(0) } else { self.journal.snapshots }
    }

    /// Packs in the store that no entry has named.
    #[must_use]
    pub fn unnamed(&self) -> Set {
        self.store.there - self.journal.counts - self.journal.retired
    }

    /// What backups are going to name.
    fn drafts(&self) -> impl Iterator<Item = &Draft> {
        self.actors.iter().filter_map(|actor| match actor {
            Actor::Writer(Writer { run: Run::Ready(draft), .. }) => Some(draft),
            _ => None,
        })
    }

    /// The snapshots that backups take over the trees of.
    pub(crate) fn parents(&self) -> Set {
        self.drafts().filter_map(|draft| draft.parent).map(Set::one).collect()
    }

    /// Gives snapshots other numbers, by place.
    pub(crate) fn rename_parents(&mut self, new: &[u8; 8]) {
        for actor in &mut self.actors {
            if let Actor::Writer(Writer { run: Run::Ready(Draft { parent: Some(parent), .. }), .. }) = actor {
                *parent = new[usize::from(*parent)];
            }
        }
    }

    /// Whether a backup relies on what differs from a base.
    pub(crate) fn relies_on_delta(&self) -> bool {
        self.drafts()
            .flat_map(|draft| draft.relied.iter().flatten())
            .any(|place| place.frame.base().is_some())
    }

    /// All sets of packs, always in the same order.
    pub(crate) fn each_set(&mut self, with: &mut impl FnMut(&mut Set)) {
        with(&mut self.store.there);
        self.journal.each_set(with);
        self.actors.iter_mut().for_each(|actor| actor.each_set(with));
    }

    /// The frames of some packs.
    pub fn places(&self, packs: Set) -> impl Iterator<Item = Place> {
        let store = self.store;
        packs.numbers().flat_map(move |pack| {
            frames(store.pack(pack).frames).map(move |frame| Place { pack: Set::one(pack), frame })
        })
    }
}

/// The snapshot that an actor makes.
#[must_use]
pub const fn snapshot_of(actor: u8) -> u8 {
    FIRST_SNAPSHOTS + actor
}
