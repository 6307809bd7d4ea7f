//! Which states are the same: those that differ in nothing that anybody can ever tell.
//!
//! That makes the checker's work a hundred times less. What is left out is argued for at each step; a step that was wrong
//! would hide a history, so each is switched off where a dropped rule lets somebody look at what it takes away.

use crate::pack::{BOTH, Chunk, PACKS, Pack};
use crate::protocol::Protocol;
use crate::rules::Rule;
use crate::set::Set;
use crate::state::{Actor, State};

/// The one of its kind.
#[must_use]
pub fn of(protocol: &Protocol, mut state: State) -> State {
    // Where entries can be replaced, what was may come back.
    if state.replaceable.is_none() {
        stop_the_hopeless(protocol, &mut state);
        drop_what_is_over(protocol, &mut state);
        merge_snapshots(protocol, &mut state);
        renumber(&mut state);
    }
    state
}

/// Whoever can never append is as good as crashed.
fn stop_the_hopeless(protocol: &Protocol, state: &mut State) {
    let now = *state;
    for (number, actor) in (0..).zip(&mut state.actors) {
        match actor {
            Actor::Writer(writer) => writer.settle(protocol, &now, number),
            Actor::Pruner(pruner) => pruner.settle(protocol, &now),
            Actor::Group(group) => group.settle(&now),
            Actor::Nobody | Actor::Reindexer(_) => {}
        }
        if !actor.is_under_way() {
            state.behind -= Set::one(number);
        }
    }
}

/// A retired pack that nobody under way has to do with never counts again, and is relied on by nobody: whether it is there
/// is all the same. So its number is free.
fn drop_what_is_over(protocol: &Protocol, state: &mut State) {
    if !protocol.rules.keep(Rule::RetiredDoesNotCount) {
        return;
    }
    let used: Set = state.actors.iter_mut().map(Actor::packs).collect();
    let over = state.journal.retired - used;
    // Whoever copies a delta out of a retired pack may find its base in any other.
    if over.is_empty() || state.relies_on_delta() {
        return;
    }
    over.numbers().for_each(|pack| state.store.made[usize::from(pack)] = Pack::default());
    state.each_set(&mut |set| *set -= over);
}

/// Snapshots that need the same are as good as each other, and three as two: one that a run may take over the tree of, and one
/// that needs the same when that is forgotten. (Forgetting a third is a number that is taken, as by a note.)
fn merge_snapshots(protocol: &Protocol, state: &mut State) {
    // The first one's entry may be damaged, and no other's.
    let special = if protocol.scene.can_be_damaged { Set::one(0) } else { Set::NONE };
    for needs in [Chunk::X.alone(), Chunk::Y.alone(), BOTH] {
        let alike =
            (0..8).filter(|snapshot| protocol.needs_of(*snapshot) == needs && !special.has(*snapshot));
        let alike: Set = alike.map(Set::one).collect();
        let (parents, others) = (state.parents() & alike, state.journal.snapshots & alike);
        let kept = (parents & others).numbers().chain((others - parents).numbers()).take(2);
        let (mut new, mut snapshots) = ([0, 1, 2, 3, 4, 5, 6, 7], Set::NONE);
        for (old, number) in kept.zip(alike.numbers()) {
            new[usize::from(old)] = number;
            snapshots |= Set::one(number);
        }
        state.journal.snapshots = (state.journal.snapshots - alike) | snapshots;
        state.rename_parents(&new);
    }
}

/// Packs have no names but what they hold and who has to do with them.
fn renumber(state: &mut State) {
    let mut signs = [0_u64; PACKS];
    for (sign, pack) in signs.iter_mut().zip(state.store.made) {
        // Free numbers come last.
        let is_free = u64::from(pack.frames.is_empty());
        *sign = is_free << 16 | (pack.frames.number() as u64) << 8 | pack.keys.number() as u64;
    }
    state.each_set(&mut |set| {
        for (number, sign) in (0..).zip(&mut signs) {
            *sign = *sign << 1 | u64::from(set.has(number));
        }
    });
    let mut order = [0, 1, 2, 3, 4, 5, 6, 7];
    order.sort_by_key(|number: &u8| signs[usize::from(*number)]);
    let mut new = [0; PACKS];
    for (place, old) in (0..).zip(order) {
        new[usize::from(old)] = place;
    }
    state.store.rename(&new);
    state.each_set(&mut |set| *set = set.renamed(&new));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use stateright::Model;

    use super::*;
    use crate::rules::Rules;
    use crate::scene::{self, Scene};

    /// All states that a scene comes to, where of all that are `same` one is looked at.
    fn reached(protocol: Protocol, same: impl Fn(&Protocol, State) -> State) -> HashSet<State> {
        let mut left = protocol.init_states();
        let mut seen: HashSet<State> = left.iter().copied().collect();
        let mut moves = Vec::new();
        while let Some(state) = left.pop() {
            protocol.actions(&state, &mut moves);
            for next in moves.drain(..) {
                let next = same(&protocol, *next.to());
                if seen.insert(next) {
                    left.push(next);
                }
            }
        }
        seen
    }

    /// What is come to in any order is looked at, but for names and what is over.
    #[test]
    fn nothing_is_hidden_by_looking_at_one_of_its_kind() {
        const SCENES: [Scene; 10] = [
            Scene { room: 4, ..scene::NEW },
            Scene { room: 3, ..scene::TWO_WRITERS },
            Scene { room: 4, ..scene::TWO_PRUNERS },
            Scene { room: 4, ..scene::KEYS },
            Scene { room: 4, ..scene::DELTAS },
            Scene { room: 4, ..scene::CIRCLES },
            Scene { room: 3, ..scene::INDEX },
            Scene { room: 3, ..scene::GROUP },
            Scene { room: 3, ..scene::DAMAGE },
            Scene { room: 2, ..scene::VOID },
        ];
        for scene in &SCENES {
            let protocol = Protocol { scene, rules: Rules::ALL };
            let (looked_at, all) = (reached(protocol, of), reached(protocol, |_, state| state));
            println!("{}: {} states stand for {}", scene.name, looked_at.len(), all.len());
            for state in all {
                assert!(looked_at.contains(&of(&protocol, state)), "{}: {state:#?}", scene.name);
            }
        }
    }
}
