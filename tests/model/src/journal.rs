//! The journal: its entries, and the state that they fold to.
//!
//! Entries themselves are not kept: what the protocol goes by is the fold, and whether somebody appended since an actor
//! looked. That keeps the number of states finite, however often something is forgotten or garbage takes a number.

use crate::rules::{Rule, Rules};
use crate::set::Set;

/// Who signed an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// An actor, listed unless it was revoked.
    Actor(u8),
    /// Somebody who is always listed: who forgets, and who revokes.
    Operator,
    /// Somebody whom no policy lists.
    Stranger,
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement {
    /// A snapshot is there, and brings packs, each with an index object that describes it.
    Snapshot {
        /// The snapshot.
        id: u8,
        /// What it brings.
        packs: Set,
    },
    /// A snapshot is gone.
    Forget {
        /// The snapshot.
        id: u8,
    },
    /// Nothing that matters.
    Note,
    /// Packs and keys count no more.
    Retire {
        /// The packs.
        packs: Set,
        /// Packs that hold what is still needed of them, each with an index object that describes it.
        copies: Set,
        /// Data keys.
        keys: Set,
    },
    /// A new index object takes the place of others.
    Reindex {
        /// The packs that it describes.
        says: Set,
        /// The packs whose own index objects go, and with them the one that was merged before.
        removes: Set,
    },
    /// A policy takes away a signer's roles.
    Revoke {
        /// The signer.
        actor: u8,
        /// The packs that it brought before.
        brought: Set,
    },
}

/// An entry of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is.
    pub signer: Signer,
    /// Whether the base that it names is the entry before it.
    pub is_decided_before: bool,
    /// What it says.
    pub statement: Statement,
}

/// The state of a repository: the fold of its journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Journal {
    /// Snapshots that are there.
    pub snapshots: Set,
    /// Packs that count.
    pub counts: Set,
    /// Packs that are retired.
    pub retired: Set,
    /// Data keys that are retired.
    pub retired_keys: Set,
    /// Packs that an index object of their own describes.
    pub described: Set,
    /// Packs that a merged index object describes.
    pub merged: Set,
    /// Actors that are revoked.
    pub revoked: Set,
}

impl Journal {
    /// The packs of which an index object that counts says what they hold: nothing is found in others.
    #[must_use]
    pub fn found(&self) -> Set {
        self.counts & (self.described | self.merged)
    }

    /// Takes the next entry.
    pub fn fold(&mut self, entry: &Entry, rules: Rules) {
        let is_listed = match entry.signer {
            Signer::Actor(number) => !self.revoked.has(number),
            Signer::Operator => true,
            Signer::Stranger => false,
        };
        let is_void = !is_listed && rules.keep(Rule::VoidUnlessListed)
            || !entry.is_decided_before && rules.keep(Rule::VoidUnlessDecidedBefore);
        if !is_void {
            self.apply(&entry.statement, rules);
        }
    }

    fn apply(&mut self, statement: &Statement, rules: Rules) {
        match *statement {
            Statement::Snapshot { id, packs } => {
                self.snapshots |= Set::one(id);
                self.bring(packs);
            }
            Statement::Note => {}
            Statement::Forget { id } => self.snapshots -= Set::one(id),
            Statement::Retire { packs, copies, keys } => {
                self.bring(copies);
                self.retired |= packs;
                self.counts -= packs;
                self.retired_keys |= keys;
            }
            Statement::Reindex { says, removes } => {
                self.described -= removes;
                self.merged = says;
            }
            Statement::Revoke { actor, brought } => {
                self.revoked |= Set::one(actor);
                if !rules.keep(Rule::WhatWasBroughtStays) {
                    self.counts -= brought;
                }
            }
        }
        // What is said of packs that do not count is passed over.
        self.described = self.described & self.counts;
        self.merged = self.merged & self.counts;
    }

    /// All sets of packs.
    pub(crate) fn each_set(&mut self, with: &mut impl FnMut(&mut Set)) {
        let Self { counts, retired, described, merged, .. } = self;
        [counts, retired, described, merged].into_iter().for_each(with);
    }

    fn bring(&mut self, packs: Set) {
        let packs = packs - self.retired;
        self.counts |= packs;
        self.described |= packs;
    }
}
