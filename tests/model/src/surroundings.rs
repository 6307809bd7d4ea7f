//! What happens around the actors at any time: snapshots are forgotten, retired packs deleted, requests land late, garbage
//! takes numbers, signers are revoked, an entry is damaged.

use crate::journal::{Entry, Signer, Statement};
use crate::protocol::{Move, Protocol, What};
use crate::set::Set;
use crate::state::{Actor, State, snapshot_of};

/// What can happen next.
pub fn moves(protocol: &Protocol, state: &State, moves: &mut Vec<Move>) {
    forget(protocol, state, moves);
    delete(state, moves);
    land_late(state, moves);
    take_a_number(protocol, state, moves);
    revoke(protocol, state, moves);
    if protocol.scene.can_be_damaged {
        let to = State { is_damaged: !state.is_damaged, ..*state };
        let does = if state.is_damaged {
            "can read again the entry of"
        } else {
            "cannot read any more the entry of"
        };
        moves.push(Move::happens(does, What::Snapshot(0), to));
    }
}

fn append(protocol: &Protocol, state: &State, signer: Signer, statement: Statement) -> State {
    let mut to = *state;
    to.append(&Entry { signer, is_decided_before: true, statement }, protocol.rules);
    to
}

/// Any snapshot.
fn forget(protocol: &Protocol, state: &State, moves: &mut Vec<Move>) {
    for id in state.visible().numbers() {
        let to = append(protocol, state, Signer::Operator, Statement::Forget { id });
        moves.push(Move::happens("forgets", What::Snapshot(id), to));
    }
}

/// Any retired pack, without any grace.
fn delete(state: &State, moves: &mut Vec<Move>) {
    for pack in (state.journal.retired & state.store.there).numbers() {
        let mut to = *state;
        to.store.there -= Set::one(pack);
        moves.push(Move::happens("deletes the retired pack", What::Packs(Set::one(pack)), to));
    }
}

/// A request that somebody sent before lands again, after what it created was deleted.
fn land_late(state: &State, moves: &mut Vec<Move>) {
    let absent = (0..).zip(&state.store.made).filter(|(number, _)| !state.store.there.has(*number));
    for (number, _) in absent.filter(|(_, pack)| !pack.frames.is_empty()) {
        let mut to = *state;
        to.store.there |= Set::one(number);
        moves.push(Move::happens("uploads once more, late,", What::Packs(Set::one(number)), to));
    }
}

/// Somebody appends a note; a stranger what would do the most harm.
fn take_a_number(protocol: &Protocol, state: &State, moves: &mut Vec<Move>) {
    let to = append(protocol, state, Signer::Operator, Statement::Note);
    moves.push(Move::happens("appends a note", What::Nothing, to));
    if protocol.scene.has_garbage {
        let packs = state.journal.counts;
        let statement = Statement::Retire { packs, copies: Set::NONE, keys: Set::NONE };
        let to = append(protocol, state, Signer::Stranger, statement);
        moves.push(Move::happens("who is not listed retires", What::Packs(packs), to));
    }
}

/// A signer is revoked, and from then on does the most harm that it can.
fn revoke(protocol: &Protocol, state: &State, moves: &mut Vec<Move>) {
    for actor in protocol.scene.revocable.numbers() {
        let Actor::Writer(writer) = state.actors[usize::from(actor)] else { continue };
        if !state.journal.revoked.has(actor) {
            let statement = Statement::Revoke { actor, brought: writer.brought() & state.journal.counts };
            let to = append(protocol, state, Signer::Operator, statement);
            moves.push(Move::happens("revokes", What::Actor(actor), to));
        } else if !writer.is_over() {
            let statement = Statement::Snapshot { id: snapshot_of(actor), packs: Set::NONE };
            let to = append(protocol, state, Signer::Actor(actor), statement);
            moves.push(Move::happens("who is revoked names a snapshot of nothing:", What::Actor(actor), to));
        }
    }
}
