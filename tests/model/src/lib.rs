//! A model check of how writers share a repository (`format-spec/protocols.md`).
//!
//! The protocol is played by small actors over a small store, in every order that there is, and in every state that is
//! reached it is asked whether each snapshot that is there still has all of its data. Then it is played again without one
//! rule after another, and each time data is lost: every rule is needed, and the specification tells the histories that the
//! checker finds.
//!
//! # How the model maps to the specification
//!
//! | specification | model |
//! |---|---|
//! | journal, its fold | [`journal`]: the fold only; whether a number is taken is whether somebody appended since an actor looked ([`state::State::behind`]) |
//! | store | [`pack::Store`]: names are given once, what they hold never changes; requests may land again later |
//! | chunks, frames, deltas | [`pack`]: two chunks, each whole or as what differs from the other |
//! | index objects | one for each pack that an entry brings, and one that is merged: nothing is found in a pack that none describes |
//! | backup: rules W1 to W6 | [`writer`] |
//! | group commits, resumed runs: G1 to G3 | [`group`] |
//! | prune: P1 to P8, K1 and K2 | [`pruner`] |
//! | reindex: X1 | [`reindexer`] |
//! | files of logs: K3 | [`logs`], by itself |
//! | forget, delete, late requests, garbage, revocation, damage: D1, A1 to A4 | [`surroundings`] |
//! | invariants I1 to I5, and I6 as what is asked of a state | the properties of [`protocol`] |
//! | all rules, and what they are played in | [`rules`], [`scene`] |
//!
//! **Crashes** need no move of their own: an actor that never moves again has crashed, and all orders in which the others go
//! on are played. For the same reason nobody fails ("run again"): whoever may not go on stands still. A sleeper is an
//! actor that moves on after all others. **Time** is not modelled: what the specification lets happen after a grace, or to
//! leftovers of a certain age, happens here at any moment. So nothing that is checked depends on a clock. **Names** do not
//! matter either, nor does what nobody can look at any more: of states that differ in nothing else one is looked at
//! ([`canonical`]).
//!
//! **What it does not say.** Readers, checkpoints, wraps of keys and deduplication trust are not played: they change
//! nothing that counts. Index objects are always there. Data is two chunks, there are up to four actors, and eight packs at a
//! time, in some scenes fewer: what needs more to go wrong is not found. States are told apart by 64 bits of a hash. And it
//! is a model: that the program does what it says is for the tests of `crates/repository`.
//!
//! Start reading at [`protocol`], then [`writer`] and [`pruner`].

pub mod canonical;
pub mod group;
pub mod journal;
pub mod logs;
pub mod pack;
pub mod protocol;
pub mod pruner;
pub mod reindexer;
pub mod rules;
pub mod scene;
pub mod set;
pub mod state;
pub mod surroundings;
pub mod writer;
