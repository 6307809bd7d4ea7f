//! A group commit: parts that were decided at different states become one snapshot. With one part it is a run that was
//! interrupted, and is resumed.

use crate::journal::{Entry, Signer, Statement};
use crate::pack::{Chunk, Frame, Pack};
use crate::protocol::{Move, Protocol, What};
use crate::rules::Rule;
use crate::set::Set;
use crate::state::{Actor, State, snapshot_of};
use crate::writer::Draft;

/// A group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Group {
    /// What the next part backs up; then all are stored.
    next: Option<Chunk>,
    /// What the last part backs up.
    last: Chunk,
    /// What the parts are made of.
    draft: Draft,
    /// The packs that were retired in the state from which reliance is checked, and that from which uploads are: none, but
    /// where a rule is dropped.
    passed_over: [Set; 2],
    /// What the commit is doing.
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Parts,
    Ready,
    Over,
}

impl Group {
    /// A group of a part for each chunk.
    pub const BOTH: Actor = Self::of(Chunk::X, Chunk::Y);

    /// A group of one part.
    #[must_use]
    pub const fn alone(chunk: Chunk) -> Actor {
        Self::of(chunk, chunk)
    }

    const fn of(first: Chunk, last: Chunk) -> Actor {
        Actor::Group(Self {
            next: Some(first),
            last,
            draft: Draft::EMPTY,
            passed_over: [Set::NONE; 2],
            step: Step::Parts,
        })
    }

    /// What its snapshot needs, of one that has not begun.
    #[must_use]
    pub fn needs(&self) -> Set {
        self.next.map_or(Set::NONE, Chunk::alone) | self.last.alone()
    }

    /// Whether it is going to append.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.step == Step::Ready
    }

    pub(crate) fn each_set(&mut self, with: &mut impl FnMut(&mut Set)) {
        self.draft.each_set(with);
        self.passed_over.iter_mut().for_each(with);
    }

    /// Gives up if it can never append.
    pub(crate) fn settle(&mut self, state: &State) {
        if self.is_retired(state) && self.step == Step::Ready {
            *self = self.over();
        }
    }

    fn over(self) -> Self {
        Self { draft: Draft::EMPTY, passed_over: [Set::NONE; 2], step: Step::Over, ..self }
    }

    /// Whether what it is made of was retired, as far as it looks.
    fn is_retired(&self, state: &State) -> bool {
        let retired = state.journal.retired;
        let [relied_from, own_from] = self.passed_over;
        self.draft.relied().meets(retired - relied_from) || self.draft.own.meets(retired - own_from)
    }

    /// What it can do next.
    pub fn moves(self, protocol: &Protocol, state: &State, me: u8, moves: &mut Vec<Move>) {
        match (self.step, self.next) {
            (Step::Parts, Some(chunk)) => self.make_part(protocol, state, me, chunk, moves),
            (Step::Parts, None) => self.read(protocol, state, me, moves),
            (Step::Ready, _) => self.append(protocol, state, me, moves),
            (Step::Over, _) => {}
        }
    }

    /// A worker decides its part at the state that it sees.
    fn make_part(mut self, protocol: &Protocol, state: &State, me: u8, chunk: Chunk, moves: &mut Vec<Move>) {
        self.next = (chunk != self.last).then_some(self.last);
        if !protocol.rules.keep(Rule::SmallestBase) {
            self.passed_over[0] = state.journal.retired;
        }
        let before = self.draft;
        for place in protocol.places_of(state, chunk) {
            self.draft = before.relying_on(place);
            let mut to = *state;
            to.set(me, Actor::Group(self));
            moves.push(Move::new("has a part that finds its chunk in", me, What::Packs(place.pack), to));
        }
        let Some(name) = state.store.free(protocol.scene.room) else { return };
        self.draft = before.bringing(name);
        let mut to = *state;
        to.set(me, Actor::Group(self));
        to.store.put(name, Pack { frames: Frame::whole(chunk).alone(), keys: protocol.key_of(me) });
        moves.push(Move::new("has a part that stores its chunk in", me, What::Packs(Set::one(name)), to));
    }

    /// The commit reads the journal.
    fn read(mut self, protocol: &Protocol, state: &State, me: u8, moves: &mut Vec<Move>) {
        if !protocol.rules.keep(Rule::PartsFromTheirBase) {
            self.passed_over[0] = state.journal.retired;
        }
        if !protocol.rules.keep(Rule::PartsPacksAreChecked) {
            self.passed_over[1] = state.journal.retired;
        }
        self.step = Step::Ready;
        let mut to = *state;
        to.set(me, Actor::Group(self));
        moves.push(Move::new("begins to commit", me, What::Nothing, to));
    }

    fn append(self, protocol: &Protocol, state: &State, me: u8, moves: &mut Vec<Move>) {
        if self.is_retired(state) {
            return;
        }
        let mut to = *state;
        if state.behind.has(me) {
            to.catch_up(me);
            moves.push(Move::new("looks at what came", me, What::Nothing, to));
            return;
        }
        let packs = self.draft.own;
        let statement = Statement::Snapshot { id: snapshot_of(me), packs };
        let entry = Entry { signer: Signer::Actor(me), is_decided_before: true, statement };
        to.set(me, Actor::Group(self.over()));
        to.append(&entry, protocol.rules);
        to.catch_up(me);
        moves.push(Move::new("appends its snapshot", me, What::Packs(packs), to));
    }
}
