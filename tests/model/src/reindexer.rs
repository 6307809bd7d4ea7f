//! Compaction of the index, again and again: one index object takes the place of all others.

use crate::journal::{Entry, Signer, Statement};
use crate::pack::chunks;
use crate::protocol::{Move, Protocol, What};
use crate::rules::Rule;
use crate::set::Set;
use crate::state::{Actor, State};

/// A compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reindexer {
    /// What it is going to append.
    pub merged: Option<Merged>,
}

/// An index object that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Merged {
    /// The packs that it describes.
    says: Set,
    /// The packs whose own index objects it replaces.
    replaces: Set,
}

impl Reindexer {
    /// One that has not begun.
    pub const IDLE: Actor = Actor::Reindexer(Self { merged: None });

    /// Whether it is going to append.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.merged.is_some()
    }

    pub(crate) fn each_set(&mut self, with: &mut impl FnMut(&mut Set)) {
        if let Some(Merged { says, replaces }) = &mut self.merged {
            with(says);
            with(replaces);
        }
    }

    /// What it can do next.
    pub fn moves(self, protocol: &Protocol, state: &State, me: u8, moves: &mut Vec<Move>) {
        let Some(merged) = self.merged else { return Self::merge(protocol, state, me, moves) };
        let mut to = *state;
        if state.behind.has(me) {
            to.catch_up(me);
            moves.push(Move::new("looks at what came", me, What::Nothing, to));
            return;
        }
        let statement = Statement::Reindex { says: merged.says, removes: merged.replaces };
        let entry = Entry { signer: Signer::Actor(me), is_decided_before: true, statement };
        to.set(me, Self::IDLE);
        to.append(&entry, protocol.rules);
        to.catch_up(me);
        moves.push(Move::new("replaces the index; the new one knows", me, What::Packs(merged.says), to));
    }

    fn merge(protocol: &Protocol, state: &State, me: u8, moves: &mut Vec<Move>) {
        let journal = &state.journal;
        if journal.described.is_empty() {
            return;
        }
        let mut says = journal.found();
        if !protocol.rules.keep(Rule::IndexesSayAll) {
            let needed = protocol.needs(state.visible());
            let is_needed = |pack: &u8| chunks(state.store.pack(*pack).frames).meets(needed);
            says = says.numbers().filter(is_needed).map(Set::one).collect();
        }
        let merged = Merged { says, replaces: journal.described };
        let mut to = *state;
        to.set(me, Actor::Reindexer(Self { merged: Some(merged) }));
        moves.push(Move::new("merges the index", me, What::Packs(says), to));
    }
}
