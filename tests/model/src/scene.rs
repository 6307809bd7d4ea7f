//! Scenes: who plays, and what there is at first. Each is small enough to be played in every order.

use crate::group::Group;
use crate::journal::Journal;
use crate::pack::{BOTH, Chunk, Frame, Pack, Store};
use crate::pruner::Pruner;
use crate::reindexer::Reindexer;
use crate::set::Set;
use crate::state::{ACTORS, Actor, State};
use crate::writer::Writer;

/// Who plays, and what there is at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scene {
    /// What it is called.
    pub name: &'static str,
    /// Frames of the packs that count at first; all are sealed under one data key.
    pub packs: &'static [Set],
    /// Chunks of the snapshots that are there at first.
    pub snapshots: &'static [Set],
    /// Who plays.
    pub actors: &'static [Actor],
    /// How many packs there may be at a time: 8 at most.
    pub room: u8,
    /// Whether frames are sealed under data keys, which pruners retire.
    pub has_keys: bool,
    /// Whether entries come that are void.
    pub has_garbage: bool,
    /// Who may be revoked.
    pub revocable: Set,
    /// Whether the first snapshot's entry can be damaged, and come back.
    pub can_be_damaged: bool,
}

const PLAIN: Scene = Scene {
    name: "",
    packs: &[],
    snapshots: &[],
    actors: &[],
    room: 8,
    has_keys: false,
    has_garbage: false,
    revocable: Set::NONE,
    can_be_damaged: false,
};

const X: Set = Frame::X.alone();
const Y: Set = Frame::Y.alone();
const Y_ON_X: Set = Frame::YonX.alone();
const A_CIRCLE: Set = Set::two(Frame::XonY as u8, Frame::YonX as u8);
const NEEDS_X: Set = Chunk::X.alone();
const NEEDS_Y: Set = Chunk::Y.alone();

/// Something new beside a prune.
pub const NEW: Scene = Scene {
    name: "a writer of something new, a pruner",
    packs: &[X],
    snapshots: &[NEEDS_X],
    actors: &[Writer::of(Chunk::Y), Pruner::ONE],
    ..PLAIN
};

/// A writer beside two pruners, and a chunk that lies in two packs.
pub const TWO_PRUNERS: Scene = Scene {
    name: "a writer, two pruners",
    packs: &[X, X],
    snapshots: &[NEEDS_X],
    actors: &[Writer::of(Chunk::X), Pruner::TWO, Pruner::TWO],
    ..PLAIN
};

/// Two writers beside a pruner.
pub const TWO_WRITERS: Scene = Scene {
    name: "two writers, a pruner",
    packs: &[X],
    snapshots: &[NEEDS_X],
    actors: &[Writer::of(Chunk::X), Writer::of(Chunk::X), Pruner::ONE],
    ..PLAIN
};

/// Everybody at once.
pub const CROWD: Scene = Scene {
    name: "two writers, two pruners",
    packs: &[X],
    snapshots: &[NEEDS_X],
    actors: &[Writer::of(Chunk::X), Writer::of(Chunk::X), Pruner::ONE, Pruner::TWO],
    ..PLAIN
};

/// A run that was interrupted and is resumed.
pub const RESUMED: Scene = Scene {
    name: "a resumed run, a writer, two pruners",
    packs: &[X],
    snapshots: &[NEEDS_X],
    actors: &[Group::alone(Chunk::Y), Writer::of(Chunk::Y), Pruner::ONE, Pruner::ONE],
    ..PLAIN
};

/// Parts of several workers, committed together.
pub const GROUP: Scene = Scene {
    name: "a group of two parts, a writer, a pruner",
    packs: &[X, Y],
    snapshots: &[BOTH],
    actors: &[Group::BOTH, Writer::of(Chunk::X), Pruner::ONE],
    ..PLAIN
};

/// Deltas, and their bases.
pub const DELTAS: Scene = Scene {
    name: "deltas: a writer, a pruner",
    packs: &[X, Y_ON_X],
    snapshots: &[NEEDS_X, NEEDS_Y],
    actors: &[Writer::of(Chunk::Y), Pruner::TWO],
    room: 6,
    ..PLAIN
};

/// Deltas with two pruners.
pub const MORE_PRUNERS: Scene = Scene {
    name: "deltas: a writer, two pruners",
    packs: &[X, Y_ON_X],
    snapshots: &[NEEDS_Y],
    actors: &[Writer::of(Chunk::Y), Pruner::ONE, Pruner::ONE],
    room: 6,
    ..PLAIN
};

/// Deltas with two writers.
pub const MORE_WRITERS: Scene = Scene {
    name: "deltas: two writers, a pruner",
    packs: &[X, Y_ON_X],
    snapshots: &[NEEDS_Y],
    actors: &[Writer::of(Chunk::Y), Writer::of(Chunk::Y), Pruner::ONE],
    room: 6,
    ..PLAIN
};

/// Deltas that would read each other.
pub const CIRCLES: Scene = Scene {
    name: "deltas of each other: a writer, a pruner",
    packs: &[X, Y, A_CIRCLE],
    snapshots: &[BOTH],
    actors: &[Writer::of(Chunk::Y), Pruner::TWO],
    room: 5,
    ..PLAIN
};

/// Data keys are retired.
pub const KEYS: Scene = Scene {
    name: "data keys: a writer, two pruners",
    packs: &[X, X],
    snapshots: &[NEEDS_X],
    actors: &[Writer::of(Chunk::X), Pruner::ONE, Pruner::ONE],
    has_keys: true,
    ..PLAIN
};

/// Data keys are retired, and what is sealed under them is sealed anew.
pub const SEALED_ANEW: Scene = Scene {
    name: "data keys: a writer, a pruner, one who seals anew",
    packs: &[X, Y_ON_X],
    snapshots: &[NEEDS_Y],
    actors: &[Writer::of(Chunk::Y), Pruner::ONE, Pruner::SEALS_ANEW],
    has_keys: true,
    room: 6,
    ..PLAIN
};

/// The index is compacted.
pub const INDEX: Scene = Scene {
    name: "a reindex, a writer, two pruners",
    packs: &[X, Y],
    snapshots: &[NEEDS_X],
    actors: &[Writer::of(Chunk::Y), Reindexer::IDLE, Pruner::ONE, Pruner::ONE],
    room: 5,
    ..PLAIN
};

/// Entries that are void, and a signer that is revoked.
pub const VOID: Scene = Scene {
    name: "void entries, a revoked writer, another, two pruners",
    packs: &[X],
    snapshots: &[NEEDS_X],
    actors: &[Writer::of(Chunk::X), Writer::of(Chunk::X), Pruner::HASTY, Pruner::ONE],
    has_garbage: true,
    revocable: Set::one(0),
    ..PLAIN
};

/// An entry that cannot be read for a while.
pub const DAMAGE: Scene = Scene {
    name: "a damaged entry, a writer, two pruners",
    packs: &[X],
    snapshots: &[NEEDS_X],
    actors: &[Writer::of(Chunk::X), Pruner::ONE, Pruner::ONE],
    can_be_damaged: true,
    ..PLAIN
};

impl Scene {
    /// Before anybody moved.
    #[must_use]
    pub fn start(&self) -> State {
        let mut store = Store::default();
        for (number, frames) in (0..).zip(self.packs) {
            store.put(
                number,
                Pack { frames: *frames, keys: if self.has_keys { Set::one(0) } else { Set::NONE } },
            );
        }
        let mut actors = [Actor::Nobody; ACTORS];
        for (place, actor) in actors.iter_mut().zip(self.actors) {
            *place = *actor;
        }
        let journal = Journal {
            snapshots: (0..).zip(self.snapshots).map(|(number, _)| Set::one(number)).collect(),
            counts: store.there,
            described: store.there,
            ..Journal::default()
        };
        State { store, journal, actors, behind: Set::NONE, is_damaged: false, replaceable: None }
    }
}
