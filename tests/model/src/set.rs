//! Sets of small numbers.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub, SubAssign};

/// A set of numbers below 8: of packs, chunks, frames, keys, snapshots or actors.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Set(u8);

impl Set {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// One number.
    #[must_use]
    pub const fn one(number: u8) -> Self {
        Self(1 << number)
    }

    /// Two numbers.
    #[must_use]
    pub const fn two(one: u8, other: u8) -> Self {
        Self(1 << one | 1 << other)
    }

    /// Whether a number is in it.
    #[must_use]
    pub const fn has(self, number: u8) -> bool {
        self.0 >> number & 1 == 1
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of it is in another.
    #[must_use]
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether any of it is in another.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The same with a number for each of these, by place.
    #[must_use]
    pub fn renamed(self, new: &[u8; 8]) -> Self {
        self.numbers().map(|number| Self::one(new[usize::from(number)])).collect()
    }

    /// A number for it.
    #[must_use]
    pub fn number(self) -> usize {
        usize::from(self.0)
    }

    /// Its numbers, ascending.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (0..8).filter(move |number| self.has(*number))
    }
}

impl BitOr for Set {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Set {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Sub for Set {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOrAssign for Set {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl SubAssign for Set {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl FromIterator<Self> for Set {
    fn from_iter<I: IntoIterator<Item = Self>>(sets: I) -> Self {
        sets.into_iter().fold(Self::NONE, |all, set| all | set)
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.numbers()).finish()
    }
}
