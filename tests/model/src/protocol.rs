//! The model that the checker runs: every move of everybody, in every order.

use std::fmt;

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::canonical;
use crate::pack::{Chunk, bases, chunks, readable, whole};
use crate::rules::{Rule, Rules};
use crate::scene::Scene;
use crate::set::Set;
use crate::state::{Actor, FIRST_SNAPSHOTS, Place, State};
use crate::surroundings;

/// What it is all about: the data of every snapshot that is there can be read.
const WHOLE: &str = "every snapshot is whole";

/// A scene, played by some rules.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    /// Who plays, and what there is at first.
    pub scene: &'static Scene,
    /// The rules that they keep.
    pub rules: Rules,
}

/// A step, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    who: Option<u8>,
    does: &'static str,
    what: What,
    to: State,
}

/// What a step is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Nothing to be named.
    Nothing,
    /// Packs.
    Packs(Set),
    /// A snapshot.
    Snapshot(u8),
    /// Somebody.
    Actor(u8),
}

impl Move {
    /// Of an actor.
    #[must_use]
    pub const fn new(does: &'static str, who: u8, what: What, to: State) -> Self {
        Self { who: Some(who), does, what, to }
    }

    /// Of somebody else.
    #[must_use]
    pub const fn happens(does: &'static str, what: What, to: State) -> Self {
        Self { who: None, does, what, to }
    }

    /// Where it leads.
    #[must_use]
    pub fn to(&self) -> &State {
        &self.to
    }

    fn name(&self, actor: u8) -> String {
        let kind = match self.to.actors[usize::from(actor)] {
            Actor::Nobody => "nobody",
            Actor::Writer(_) => "writer",
            Actor::Pruner(_) => "pruner",
            Actor::Group(_) => "group",
            Actor::Reindexer(_) => "reindexer",
        };
        format!("{kind} {actor}")
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.who.map_or_else(|| "somebody".into(), |actor| self.name(actor));
        write!(f, "{who} {}", self.does)?;
        match self.what {
            What::Nothing => Ok(()),
            What::Packs(packs) => {
                packs.numbers().try_for_each(|pack| write!(f, " {}", self.to.store.letter(pack)))
            }
            What::Actor(actor) => write!(f, " {}", self.name(actor)),
            What::Snapshot(snapshot) => match snapshot.checked_sub(FIRST_SNAPSHOTS) {
                None => write!(f, " the first snapshot{}", if snapshot == 0 { "" } else { " but one" }),
                Some(actor) => write!(f, " the snapshot of {}", self.name(actor)),
            },
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How many different states were looked at.
    pub states: usize,
    /// What does not hold, and the steps to where it does not: the fewest there are.
    pub broken: Option<(&'static str, Vec<String>)>,
}

impl Protocol {
    /// Plays a scene in every order.
    #[must_use]
    pub fn check(scene: &'static Scene, rules: Rules) -> Outcome {
        // One thread: so the history that is found is the shortest, and the same every time.
        let model = Self { scene, rules };
        let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let broken = checker.discoveries().into_iter().next();
        let broken = broken
            .map(|(name, path)| (name, path.into_actions().iter().map(Move::to_string).collect::<Vec<_>>()));
        Outcome { states: checker.unique_state_count(), broken }
    }

    /// The chunks that a snapshot is made of.
    #[must_use]
    pub fn needs_of(&self, snapshot: u8) -> Set {
        let Some(actor) = snapshot.checked_sub(FIRST_SNAPSHOTS) else {
            return self.scene.snapshots.get(usize::from(snapshot)).copied().unwrap_or_default();
        };
        match self.scene.actors.get(usize::from(actor)) {
            Some(Actor::Writer(writer)) => writer.data.alone(),
            Some(Actor::Group(group)) => group.needs(),
            _ => Set::NONE,
        }
    }

    /// The chunks that some snapshots are made of.
    #[must_use]
    pub fn needs(&self, snapshots: Set) -> Set {
        snapshots.numbers().map(|snapshot| self.needs_of(snapshot)).collect()
    }

    /// The data key of an actor, where there are any. The first packs are sealed under key 0.
    #[must_use]
    pub fn key_of(&self, actor: u8) -> Set {
        if self.scene.has_keys { Set::one(1 + actor) } else { Set::NONE }
    }

    /// Where a writer finds a chunk.
    pub fn places_of<'s>(&self, state: &'s State, chunk: Chunk) -> impl Iterator<Item = Place> + use<'s> {
        let mut packs = state.journal.found();
        if !self.rules.keep(Rule::OnlyWhatIsNamedCounts) {
            packs |= state.unnamed();
        }
        if !self.rules.keep(Rule::RetiredDoesNotCount) {
            packs |= state.journal.retired;
        }
        state.places(packs).filter(move |place| place.frame.chunk() == chunk)
    }

    /// Whether a writer that relied on a pack cannot do so any more.
    #[must_use]
    pub fn is_lost(&self, state: &State, pack: Set) -> bool {
        if !self.rules.keep(Rule::RetiredDoesNotCount) {
            false
        } else if !self.rules.keep(Rule::OnlyWhatIsNamedCounts) {
            state.journal.retired.meets(pack)
        } else {
            !state.journal.counts.meets(pack)
        }
    }

    fn is_whole(&self, state: &State) -> bool {
        let journal = &state.journal;
        let there = (journal.found() & state.store.there).numbers();
        let open = there.filter(|pack| !state.store.pack(*pack).keys.meets(journal.retired_keys));
        let frames = state.store.frames(open.map(Set::one).collect());
        self.needs(journal.snapshots).is_within(readable(frames))
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Move;

    fn init_states(&self) -> Vec<State> {
        vec![self.scene.start()]
    }

    fn actions(&self, state: &State, moves: &mut Vec<Move>) {
        for (number, actor) in (0..).zip(state.actors) {
            match actor {
                Actor::Nobody => {}
                Actor::Writer(writer) => writer.moves(self, state, number, moves),
                Actor::Pruner(pruner) => pruner.moves(self, state, number, moves),
                Actor::Group(group) => group.moves(self, state, number, moves),
                Actor::Reindexer(reindexer) => reindexer.moves(self, state, number, moves),
            }
        }
        surroundings::moves(self, state, moves);
    }

    fn next_state(&self, _: &State, chosen: Move) -> Option<State> {
        Some(canonical::of(self, chosen.to))
    }

    /// With all rules the invariants hold too; without one of them only the outcome matters.
    fn properties(&self) -> Vec<Property<Self>> {
        let data = Property::always(WHOLE, Self::is_whole);
        if self.rules != Rules::ALL {
            return vec![data];
        }
        vec![
            data,
            Property::always("I1: every pack that counts is there", |_, state: &State| {
                state.journal.counts.is_within(state.store.there)
            }),
            Property::always("I2: no pack that counts is retired", |_, state: &State| {
                !state.journal.counts.meets(state.journal.retired)
            }),
            Property::always("I3: an index object describes every pack that counts", |_, state: &State| {
                state.journal.counts.is_within(state.journal.found())
            }),
            Property::always(
                "I4: every frame that counts finds its bases, in shallower ones",
                |_, state: &State| {
                    let frames = state.store.frames(state.journal.counts);
                    bases(frames).is_within(chunks(whole(frames)))
                },
            ),
            Property::always("I5: nothing that counts is sealed under a retired key", |_, state: &State| {
                !state.store.keys(state.journal.counts).meets(state.journal.retired_keys)
            }),
        ]
    }
}
