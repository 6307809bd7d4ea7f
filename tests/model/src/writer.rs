//! A backup of one chunk: it finds the chunk stored already, or stores it, and appends a snapshot.
//!
//! One that finds that it cannot go on fails ("run again"): here it has no move then, and is like one that crashed.

use crate::journal::{Entry, Signer, Statement};
use crate::pack::{Chunk, Frame, Pack, readable};
use crate::protocol::{Move, Protocol, What};
use crate::rules::Rule;
use crate::set::Set;
use crate::state::{Actor, Place, State, snapshot_of};

/// A backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Writer {
    /// What it backs up.
    pub data: Chunk,
    /// Where it stands.
    pub run: Run,
}

/// Where a backup stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Run {
    /// It has not begun.
    Idle,
    /// All is stored; the entry is to be appended.
    Ready(Draft),
    /// The entry is appended, and only now what it names is to be stored.
    Owes,
    /// It is over. Of one that can be revoked, what it brought.
    Over(Set),
}

/// What a snapshot is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Draft {
    /// Frames in packs of others, one for each chunk at most.
    pub relied: [Option<Place>; 2],
    /// Packs that it brings.
    pub own: Set,
    /// The snapshot whose tree it takes over without a look.
    pub parent: Option<u8>,
    /// Whether its pack is stored only afterwards.
    pub owes: bool,
}

impl Draft {
    /// Nothing yet.
    pub const EMPTY: Self = Self { relied: [None; 2], own: Set::NONE, parent: None, owes: false };

    /// Relies on a place.
    #[must_use]
    pub fn relying_on(mut self, place: Place) -> Self {
        self.relied[place.frame.chunk() as usize] = Some(place);
        self
    }

    /// Brings a pack.
    #[must_use]
    pub fn bringing(mut self, pack: u8) -> Self {
        self.own |= Set::one(pack);
        self
    }

    /// The packs that it relies on.
    #[must_use]
    pub fn relied(&self) -> Set {
        self.relied.iter().flatten().map(|place| place.pack).collect()
    }

    pub(crate) fn each_set(&mut self, with: &mut impl FnMut(&mut Set)) {
        self.relied.iter_mut().flatten().for_each(|place| with(&mut place.pack));
        with(&mut self.own);
    }

    /// Whether a look at the journal ends the run, now and for ever.
    fn is_hopeless(&self, protocol: &Protocol, state: &State, me: u8) -> bool {
        let (rules, journal) = (protocol.rules, &state.journal);
        let is_gone = |parent| !journal.snapshots.has(parent);
        rules.keep(Rule::WriterRebases)
            && (journal.revoked.has(me)
                || self.own.meets(journal.retired) && rules.keep(Rule::OwnPacksAreChecked)
                || self.parent.is_some_and(is_gone) && rules.keep(Rule::ParentIsThere)
                || state.store.keys(self.own).meets(journal.retired_keys) && rules.keep(Rule::KeysAreChecked))
    }
}

impl Writer {
    /// A backup that has not begun.
    #[must_use]
    pub const fn of(data: Chunk) -> Actor {
        Actor::Writer(Self { data, run: Run::Idle })
    }

    /// Whether it is going to append.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        matches!(self.run, Run::Ready(_))
    }

    /// Whether it has appended its snapshot.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.run, Run::Owes | Run::Over(_))
    }

    /// What it brought, if it can be revoked.
    #[must_use]
    pub fn brought(&self) -> Set {
        if let Run::Over(brought) = self.run { brought } else { Set::NONE }
    }

    pub(crate) fn each_set(&mut self, with: &mut impl FnMut(&mut Set)) {
        match &mut self.run {
            Run::Idle | Run::Owes => {}
            Run::Ready(draft) => draft.each_set(with),
            Run::Over(brought) => with(brought),
        }
    }

    /// Gives up if it can never append.
    pub(crate) fn settle(&mut self, protocol: &Protocol, state: &State, me: u8) {
        if let Run::Ready(draft) = &self.run
            && draft.is_hopeless(protocol, state, me)
        {
            self.run = Run::Over(Set::NONE);
        }
    }

    /// What it can do next.
    pub fn moves(self, protocol: &Protocol, state: &State, me: u8, moves: &mut Vec<Move>) {
        match self.run {
            Run::Idle if state.journal.revoked.has(me) => {}
            Run::Idle => self.begin(protocol, state, me, moves),
            Run::Ready(draft) => self.go_on(protocol, state, me, draft, moves),
            Run::Owes => {
                let Some(name) = state.store.free(protocol.scene.room) else { return };
                let mut to = self.at(state, me, Run::Over(Set::NONE));
                to.store.put(name, self.whole(protocol, me));
                moves.push(Move::new("stores what its entry named", me, What::Packs(Set::one(name)), to));
            }
            Run::Over(_) => {}
        }
    }

    fn at(self, state: &State, me: u8, run: Run) -> State {
        let mut to = *state;
        to.set(me, Actor::Writer(Self { run, ..self }));
        to
    }

    fn whole(self, protocol: &Protocol, me: u8) -> Pack {
        Pack { frames: Frame::whole(self.data).alone(), keys: protocol.key_of(me) }
    }

    /// Looks the chunk up in what counts, or stores it.
    fn begin(self, protocol: &Protocol, state: &State, me: u8, moves: &mut Vec<Move>) {
        for place in protocol.places_of(state, self.data) {
            let to = self.at(state, me, Run::Ready(Draft::EMPTY.relying_on(place)));
            moves.push(Move::new("finds its chunk in", me, What::Packs(place.pack), to));
        }
        for parent in state.visible().numbers() {
            if self.data.alone().is_within(protocol.needs_of(parent)) {
                let draft = Draft { parent: Some(parent), ..Draft::EMPTY };
                let to = self.at(state, me, Run::Ready(draft));
                moves.push(Move::new("takes over the tree of", me, What::Snapshot(parent), to));
            }
        }
        let Some(name) = state.store.free(protocol.scene.room) else { return };
        let draft = Draft::EMPTY.bringing(name);
        let mut to = self.at(state, me, Run::Ready(draft));
        to.store.put(name, self.whole(protocol, me));
        moves.push(Move::new("stores its chunk in", me, What::Packs(Set::one(name)), to));
        if self.data == Chunk::Y {
            let is_whole = |place: &Place| place.frame == Frame::X;
            for base in protocol.places_of(state, Chunk::X).filter(is_whole) {
                let relies = protocol.rules.keep(Rule::BasesAreReliedOn);
                let draft = if relies { draft.relying_on(base) } else { draft };
                let mut to = self.at(state, me, Run::Ready(draft));
                to.store.put(name, Pack { frames: Frame::YonX.alone(), ..self.whole(protocol, me) });
                moves.push(Move::new("stores what differs from X in", me, What::Packs(Set::one(name)), to));
            }
        }
        if !protocol.rules.keep(Rule::ContentFirst) {
            let to = self.at(state, me, Run::Ready(Draft { owes: true, ..draft }));
            moves.push(Move::new("means to store its chunk later in", me, What::Packs(Set::one(name)), to));
        }
    }

    /// Appends the snapshot, or looks at what came.
    fn go_on(self, protocol: &Protocol, state: &State, me: u8, draft: Draft, moves: &mut Vec<Move>) {
        let is_behind = state.behind.has(me);
        if !is_behind || !protocol.rules.keep(Rule::WriterRebases) {
            moves.push(self.append(protocol, *state, me, draft, "appends its snapshot"));
            return;
        }
        if let Some((before, far)) = state.replaceable
            && !far.has(me)
        {
            let replaced = State { journal: before, ..*state };
            moves.push(self.append(protocol, replaced, me, draft, "replaces the last entry by its snapshot"));
        }
        // A parent whose entry is damaged may come back.
        let is_seen = draft.parent.is_none_or(|parent| state.visible().has(parent));
        if draft.is_hopeless(protocol, state, me) || !is_seen && protocol.rules.keep(Rule::ParentIsThere) {
            return;
        }
        let lost = draft.relied.into_iter().flatten().find(|place| protocol.is_lost(state, place.pack));
        match lost {
            Some(lost) => self.rescue(protocol, state, me, draft, lost, moves),
            None => {
                let mut to = *state;
                to.catch_up(me);
                moves.push(Move::new("looks at what came", me, What::Nothing, to));
            }
        }
    }

    fn append(self, protocol: &Protocol, state: State, me: u8, draft: Draft, does: &'static str) -> Move {
        let statement = Statement::Snapshot { id: snapshot_of(me), packs: draft.own };
        let entry = Entry { signer: Signer::Actor(me), is_decided_before: true, statement };
        let brought = if protocol.scene.revocable.has(me) { draft.own } else { Set::NONE };
        let mut to = self.at(&state, me, if draft.owes { Run::Owes } else { Run::Over(brought) });
        to.append(&entry, protocol.rules);
        to.catch_up(me);
        Move::new(does, me, What::Packs(draft.own), to)
    }

    /// Relies on another place of a chunk, or copies the frame out of a pack that was retired, as long as that is there.
    fn rescue(
        self,
        protocol: &Protocol,
        state: &State,
        me: u8,
        draft: Draft,
        lost: Place,
        moves: &mut Vec<Move>,
    ) {
        let rules = protocol.rules;
        let chunk = lost.frame.chunk();
        for place in protocol.places_of(state, chunk) {
            if place.frame.depth() <= lost.frame.depth() {
                let to = self.at(state, me, Run::Ready(draft.relying_on(place)));
                moves.push(Move::new("relies instead on", me, What::Packs(place.pack), to));
            }
        }
        let Some(name) = state.store.free(protocol.scene.room) else { return };
        if !lost.pack.is_within(state.store.there) {
            return;
        }
        let mut draft = draft.bringing(name);
        draft.relied[chunk as usize] = None;
        let copied = Pack { frames: lost.frame.alone(), keys: state.store.keys(lost.pack) };
        let mut copy = |draft: Draft, pack: Pack| {
            let mut to = self.at(state, me, Run::Ready(draft));
            to.store.put(name, pack);
            moves.push(Move::new("copies a frame of a retired pack to", me, What::Packs(Set::one(name)), to));
        };
        let is_at_hand = |base: Chunk| {
            let own = readable(state.store.frames(draft.own));
            draft.relied[base as usize].is_some() || base.alone().is_within(own)
        };
        let base = lost.frame.base().filter(|base| rules.keep(Rule::RescuesTakeBases) && !is_at_hand(*base));
        let Some(base) = base else { return copy(draft, copied) };
        let whole = Frame::whole(base);
        for place in protocol.places_of(state, base).filter(|place| place.frame == whole) {
            let relies = rules.keep(Rule::BasesAreReliedOn);
            copy(if relies { draft.relying_on(place) } else { draft }, copied);
        }
        let retired = state.journal.retired & state.store.there;
        for place in state.places(retired).filter(|place| place.frame == whole) {
            let keys = copied.keys | state.store.keys(place.pack);
            copy(draft, Pack { frames: copied.frames | whole.alone(), keys });
        }
    }
}
