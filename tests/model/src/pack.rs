//! Chunks, the frames that they are sealed in, and packs of frames: as little of them as the protocol sees.

use std::hash::{Hash, Hasher};

use crate::set::Set;

/// A chunk. Two are enough: one may be stored as what differs from the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Chunk {
    /// The first.
    X,
    /// The second.
    Y,
}

impl Chunk {
    /// The set of this one.
    #[must_use]
    pub const fn alone(self) -> Set {
        Set::one(self as u8)
    }
}

/// Both chunks.
pub const BOTH: Set = Set::two(Chunk::X as u8, Chunk::Y as u8);

/// A frame, of one chunk: whole, or as what differs from a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Frame {
    /// X, whole.
    X,
    /// Y, whole.
    Y,
    /// X, as what differs from Y.
    XonY,
    /// Y, as what differs from X.
    YonX,
}

impl Frame {
    /// All that there are.
    pub const ALL: [Self; 4] = [Self::X, Self::Y, Self::XonY, Self::YonX];

    /// A whole frame of a chunk.
    #[must_use]
    pub const fn whole(chunk: Chunk) -> Self {
        match chunk {
            Chunk::X => Self::X,
            Chunk::Y => Self::Y,
        }
    }

    /// What it holds.
    #[must_use]
    pub const fn chunk(self) -> Chunk {
        match self {
            Self::X | Self::XonY => Chunk::X,
            Self::Y | Self::YonX => Chunk::Y,
        }
    }

    /// What it is compressed against.
    #[must_use]
    pub const fn base(self) -> Option<Chunk> {
        match self {
            Self::X | Self::Y => None,
            Self::XonY => Some(Chunk::Y),
            Self::YonX => Some(Chunk::X),
        }
    }

    /// 0 for a whole frame. A base is only read from a frame of smaller depth.
    #[must_use]
    pub const fn depth(self) -> u8 {
        if self.base().is_some() { 1 } else { 0 }
    }

    /// The set of this one.
    #[must_use]
    pub const fn alone(self) -> Set {
        Set::one(self as u8)
    }
}

/// The frames of a set.
pub fn frames(set: Set) -> impl Iterator<Item = Frame> {
    Frame::ALL.into_iter().filter(move |frame| set.has(*frame as u8))
}

/// The chunks that frames are of, readable or not.
#[must_use]
pub fn chunks(set: Set) -> Set {
    frames(set).map(|frame| frame.chunk().alone()).collect()
}

/// What the frames of a set are compressed against.
#[must_use]
pub fn bases(set: Set) -> Set {
    frames(set).filter_map(Frame::base).map(Chunk::alone).collect()
}

/// The whole frames of a set.
#[must_use]
pub fn whole(set: Set) -> Set {
    set & (Frame::X.alone() | Frame::Y.alone())
}

/// The chunks that can be read where these frames are all there is.
#[must_use]
pub fn readable(set: Set) -> Set {
    let shallow = chunks(whole(set));
    let deltas = frames(set - whole(set)).filter(|frame| bases(frame.alone()).is_within(shallow));
    shallow | deltas.map(|frame| frame.chunk().alone()).collect()
}

/// What a pack holds, and the data keys that its frames are sealed under. (All of its frames need all of its keys here: that
/// loses sooner than frames with a key each.)
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Pack {
    /// Frames.
    pub frames: Set,
    /// Data keys.
    pub keys: Set,
}

/// How many packs there can be at a time.
pub const PACKS: usize = 8;

/// What is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Store {
    /// By number. What a pack holds never changes.
    pub made: [Pack; PACKS],
    /// Those that are there now.
    pub there: Set,
    /// What people call them: A, B, ...
    pub letters: ForPeople<Letters>,
}

/// The letters that packs have been given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Letters {
    of: [u8; PACKS],
    given: u8,
}

/// What is only for people: it tells no two states apart.
#[derive(Debug, Clone, Copy, Default)]
pub struct ForPeople<T>(pub T);

impl<T> PartialEq for ForPeople<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for ForPeople<T> {}

impl<T> Hash for ForPeople<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Store {
    /// What a pack holds.
    #[must_use]
    pub fn pack(&self, number: u8) -> Pack {
        self.made[usize::from(number)]
    }

    /// A number that no pack has, where there may be so many packs at a time.
    #[must_use]
    pub fn free(&self, room: u8) -> Option<u8> {
        (0..room).find(|number| self.pack(*number).frames.is_empty())
    }

    /// Creates a pack.
    pub fn put(&mut self, number: u8, pack: Pack) {
        self.made[usize::from(number)] = pack;
        self.there |= Set::one(number);
        let Letters { of, given } = &mut self.letters.0;
        of[usize::from(number)] = *given;
        *given = given.wrapping_add(1);
    }

    /// What people call a pack.
    #[must_use]
    pub fn letter(&self, number: u8) -> char {
        char::from(b'A' + self.letters.0.of[usize::from(number)] % 26)
    }

    /// All frames of some packs.
    #[must_use]
    pub fn frames(&self, packs: Set) -> Set {
        packs.numbers().map(|number| self.pack(number).frames).collect()
    }

    /// All data keys of some packs.
    #[must_use]
    pub fn keys(&self, packs: Set) -> Set {
        packs.numbers().map(|number| self.pack(number).keys).collect()
    }

    /// The data keys of all packs.
    #[must_use]
    pub fn all_keys(&self) -> Set {
        self.made.iter().map(|pack| pack.keys).collect()
    }

    /// Gives packs other numbers, by place.
    pub fn rename(&mut self, new: &[u8; PACKS]) {
        let (made, of) = (self.made, self.letters.0.of);
        for (old, new) in new.iter().enumerate() {
            self.made[usize::from(*new)] = made[old];
            self.letters.0.of[usize::from(*new)] = of[old];
        }
    }
}
