//! A prune, again and again: it marks what snapshots need, copies that out of thin packs, and retires what nobody needs.
//!
//! Retiring a data key is another way to do the same: all that is sealed under it is sealed anew.
//!
//! One that crashed is one that starts again, and may find its copies, or another's, as leftovers.

use crate::journal::{Entry, Signer, Statement};
use crate::pack::{Chunk, Frame, Pack, bases, chunks, frames, readable, whole};
use crate::protocol::{Move, Protocol, What};
use crate::rules::Rule;
use crate::set::Set;
use crate::state::{Actor, State};

/// A prune.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pruner {
    /// Whether it retires two packs at a time too.
    pub takes_two: bool,
    /// Whether it may take the next number for the same entry, without another look: by its base it is void.
    pub is_hasty: bool,
    /// Whether it seals anew what is sealed under a data key, to retire that, and does nothing else.
    pub seals_anew: bool,
    /// What it is going to append.
    pub plan: Option<Plan>,
}

/// What is to be retired, and what takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Plan {
    retired: Set,
    copies: Set,
    keys: Set,
    is_leftover: bool,
}

impl Pruner {
    const PLAIN: Self = Self { takes_two: false, is_hasty: false, seals_anew: false, plan: None };
    /// One that retires a pack at a time.
    pub const ONE: Actor = Actor::Pruner(Self::PLAIN);
    /// One that retires two as well.
    pub const TWO: Actor = Actor::Pruner(Self { takes_two: true, ..Self::PLAIN });
    /// One that does not look again.
    pub const HASTY: Actor = Actor::Pruner(Self { is_hasty: true, ..Self::PLAIN });
    /// One that retires data keys.
    pub const SEALS_ANEW: Actor = Actor::Pruner(Self { seals_anew: true, ..Self::PLAIN });

    /// Whether it is going to append.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.plan.is_some()
    }

    pub(crate) fn each_set(&mut self, with: &mut impl FnMut(&mut Set)) {
        if let Some(Plan { retired, copies, .. }) = &mut self.plan {
            with(retired);
            with(copies);
        }
    }

    /// Drops a plan that can never hold again.
    pub(crate) fn settle(&mut self, protocol: &Protocol, state: &State) {
        let looks_again = protocol.rules.keep(Rule::PrunerDecidesAgain) && !self.is_hasty;
        self.plan.take_if(|plan| looks_again && plan.is_hopeless(protocol, state));
    }

    /// What it can do next.
    pub fn moves(self, protocol: &Protocol, state: &State, me: u8, moves: &mut Vec<Move>) {
        match self.plan {
            None => self.plan(protocol, state, me, moves),
            Some(plan) => self.go_on(protocol, state, me, plan, moves),
        }
    }

    fn at(self, state: &State, me: u8, plan: Option<Plan>) -> State {
        let mut to = *state;
        to.set(me, Actor::Pruner(Self { plan, ..self }));
        to
    }

    fn plan(self, protocol: &Protocol, state: &State, me: u8, moves: &mut Vec<Move>) {
        if is_stopped(protocol, state) {
            return;
        }
        let found = state.journal.found();
        if self.seals_anew {
            state.store.keys(found).numbers().for_each(|key| self.seal_anew(protocol, state, me, key, moves));
            return;
        }
        for first in found.numbers() {
            self.plan_for(protocol, state, me, Set::one(first), moves);
            let others = found.numbers().filter(|other| self.takes_two && *other > first);
            others.for_each(|other| self.plan_for(protocol, state, me, Set::two(first, other), moves));
        }
        for leftover in state.unnamed().numbers() {
            let retired = Set::one(leftover);
            let plan = Plan { retired, copies: Set::NONE, keys: Set::NONE, is_leftover: true };
            let to = self.at(state, me, Some(plan));
            moves.push(Move::new("is going to retire the leftover", me, What::Packs(retired), to));
        }
    }

    fn plan_for(self, protocol: &Protocol, state: &State, me: u8, retired: Set, moves: &mut Vec<Move>) {
        let plan = |copies| {
            let keys = unused_keys(protocol, state, retired, copies);
            Plan { retired, copies, keys, is_leftover: false }
        };
        if may_retire(protocol, state, retired, Set::NONE) {
            let to = self.at(state, me, Some(plan(Set::NONE)));
            moves.push(Move::new("is going to retire", me, What::Packs(retired), to));
            return;
        }
        let copied = needed_of(protocol, state, retired);
        if copied.is_empty()
            || !retired.is_within(state.store.there)
            || !may_retire(protocol, state, retired, copied)
        {
            return;
        }
        let pack = Pack { frames: copied, keys: state.store.keys(retired) };
        let is_copy = |number: &u8| state.store.pack(*number) == pack;
        for copy in state.unnamed().numbers().filter(is_copy) {
            let to = self.at(state, me, Some(plan(Set::one(copy))));
            moves.push(Move::new("takes over a copy of what is needed of", me, What::Packs(retired), to));
        }
        // A third that is the same would add nothing.
        let may_copy = state.unnamed().numbers().filter(is_copy).count() < 2;
        if let Some(name) = state.store.free(protocol.scene.room).filter(|_| may_copy) {
            let mut copying = *state;
            copying.store.put(name, pack);
            let keys = unused_keys(protocol, &copying, retired, Set::one(name));
            let plan = Plan { keys, ..plan(Set::one(name)) };
            let to = self.at(&copying, me, Some(plan));
            moves.push(Move::new("copies what is needed of", me, What::Packs(retired), to));
        }
    }

    /// All that is sealed under a data key, needed or not, and without deltas: under a key that nothing was sealed under.
    fn seal_anew(self, protocol: &Protocol, state: &State, me: u8, key: u8, moves: &mut Vec<Move>) {
        let found = state.journal.found();
        let is_under = |pack: &u8| state.store.pack(*pack).keys.has(key);
        let retired: Set = found.numbers().filter(is_under).map(Set::one).collect();
        let held = chunks(state.store.frames(retired));
        let new = protocol.key_of(me);
        let is_fresh = !new.meets(state.store.all_keys() | state.journal.retired_keys);
        let Some(number) = state.store.free(protocol.scene.room).filter(|_| is_fresh) else { return };
        if !held.is_within(readable(state.store.frames(found))) {
            return;
        }
        let frames = [Chunk::X, Chunk::Y].into_iter().filter(|chunk| held.has(*chunk as u8));
        let frames = frames.map(|chunk| Frame::whole(chunk).alone()).collect();
        let mut sealed = *state;
        sealed.store.put(number, Pack { frames, keys: new });
        let copies = Set::one(number);
        let keys = unused_keys(protocol, &sealed, retired, copies);
        let to = self.at(&sealed, me, Some(Plan { retired, copies, keys, is_leftover: false }));
        moves.push(Move::new("seals anew what is in", me, What::Packs(retired), to));
    }

    fn go_on(self, protocol: &Protocol, state: &State, me: u8, plan: Plan, moves: &mut Vec<Move>) {
        let rules = protocol.rules;
        if !rules.keep(Rule::RetireBeforeDelete) && plan.retired.meets(state.store.there) {
            let mut to = *state;
            to.store.there -= plan.retired;
            moves.push(Move::new("deletes, before its entry,", me, What::Packs(plan.retired), to));
        }
        let mut starts_again = self.at(state, me, None);
        starts_again.catch_up(me);
        moves.push(Move::new("starts again", me, What::Nothing, starts_again));
        let is_behind = state.behind.has(me);
        if !is_behind || !rules.keep(Rule::PrunerDecidesAgain) {
            // It is damage that stops it, and not an entry: that needs a look all the same.
            if !is_stopped(protocol, state) {
                moves.push(self.append(protocol, state, me, plan, true));
            }
            return;
        }
        if self.is_hasty {
            moves.push(self.append(protocol, state, me, plan, false));
        }
        if plan.still_holds(protocol, state) {
            let keys = match rules.keep(Rule::KeysAreDecidedAgain) && !plan.is_leftover {
                true => unused_keys(protocol, state, plan.retired, plan.copies),
                false => plan.keys,
            };
            let mut to = self.at(state, me, Some(Plan { keys, ..plan }));
            to.catch_up(me);
            moves.push(Move::new("looks at what came, and still retires", me, What::Packs(plan.retired), to));
        }
    }

    fn append(self, protocol: &Protocol, state: &State, me: u8, plan: Plan, is_decided_before: bool) -> Move {
        let Plan { retired: packs, copies, keys, .. } = plan;
        let statement = Statement::Retire { packs, copies, keys };
        let entry = Entry { signer: Signer::Actor(me), is_decided_before, statement };
        let mut to = self.at(state, me, None);
        to.append(&entry, protocol.rules);
        to.catch_up(me);
        Move::new("retires", me, What::Packs(packs), to)
    }
}

impl Plan {
    /// Whether others have retired what it names, or named what it took for a leftover.
    fn is_hopeless(&self, protocol: &Protocol, state: &State) -> bool {
        let (rules, journal) = (protocol.rules, &state.journal);
        let lost_copies = self.copies.meets(journal.retired) && rules.keep(Rule::CopiesAreChecked);
        lost_copies
            || match self.is_leftover {
                false => !self.retired.is_within(journal.counts),
                true => {
                    self.retired.meets(journal.retired)
                        || self.retired.meets(journal.counts) && rules.keep(Rule::LeftoversAreUnnamed)
                }
            }
    }

    /// Whether it is as good now as it was when it was made.
    fn still_holds(&self, protocol: &Protocol, state: &State) -> bool {
        !is_stopped(protocol, state)
            && !self.is_hopeless(protocol, state)
            && (self.is_leftover
                || may_retire(protocol, state, self.retired, state.store.frames(self.copies)))
    }
}

/// Whether it is not known what is needed.
fn is_stopped(protocol: &Protocol, state: &State) -> bool {
    state.is_damaged && protocol.rules.keep(Rule::DamageStopsRetiring)
}

/// What of some packs is needed: the chunks of snapshots, and the bases of those and of all frames that stay.
fn needed_of(protocol: &Protocol, state: &State, retired: Set) -> Set {
    let rules = protocol.rules;
    let all = state.store.frames(state.journal.found());
    let stays = state.store.frames(state.journal.found() - retired);
    let mut needed = protocol.needs(state.visible());
    if rules.keep(Rule::BasesAreNeeded) {
        if rules.keep(Rule::AllThatStaysKeepsItsBases) {
            needed |= bases(stays);
        }
        let of_needed = |needed: Set| -> Set {
            let needed = frames(all).filter(|frame| frame.chunk().alone().is_within(needed));
            needed.map(|frame| bases(frame.alone())).collect()
        };
        needed |= of_needed(needed);
    }
    let of_retired = frames(state.store.frames(retired));
    of_retired.filter(|frame| frame.chunk().alone().is_within(needed)).map(|frame| frame.alone()).collect()
}

/// Whether a retire entry loses nothing when it is the next one.
fn may_retire(protocol: &Protocol, state: &State, retired: Set, copied: Set) -> bool {
    let found = state.journal.found();
    let needed = protocol.needs(state.visible());
    let suffices = |stays: Set| loses_nothing(protocol, state.store.frames(stays) | copied, needed);
    if protocol.rules.keep(Rule::EntryAsAWhole) {
        suffices(found - retired)
    } else {
        retired.numbers().all(|pack| suffices(found - Set::one(pack)))
    }
}

/// Whether frames that stay give all that snapshots need, and each of them its bases.
fn loses_nothing(protocol: &Protocol, stays: Set, needed: Set) -> bool {
    let rules = protocol.rules;
    if !rules.keep(Rule::BasesAreNeeded) {
        return needed.is_within(chunks(stays));
    }
    if !rules.keep(Rule::BasesAreShallower) {
        return (needed | bases(stays)).is_within(chunks(stays));
    }
    let bases_stay = bases(stays).is_within(chunks(whole(stays)));
    needed.is_within(readable(stays)) && (bases_stay || !rules.keep(Rule::AllThatStaysKeepsItsBases))
}

/// The data keys under which nothing is sealed any more.
fn unused_keys(protocol: &Protocol, state: &State, retired: Set, copies: Set) -> Set {
    if !protocol.scene.has_keys {
        return Set::NONE;
    }
    let counts = state.journal.counts;
    let copies = if protocol.rules.keep(Rule::CopiesKeepKeys) { copies } else { Set::NONE };
    let used = state.store.keys((counts - retired) | copies);
    state.store.keys(counts) - used - state.journal.retired_keys
}
