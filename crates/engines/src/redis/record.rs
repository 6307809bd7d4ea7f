//! A value on its way, in memory until it is large, and what its members are sorted in.

use std::io::{self, Read as _, Write};
use std::sync::Arc;

use super::rdb::{Give, Members, RdbError};
use super::sort::{Body, LARGE_BYTES, Sorter};
use super::spill::{Spill, SpillWriter, Spilled};

/// Of the sort of the members of one value, bytes.
const MEMBERS_BYTES: usize = 8 << 20;

/// What follows a key: in memory until it is large.
pub(super) struct Record<'s> {
    spill: &'s Arc<Spill>,
    small: Vec<u8>,
    large: Option<SpillWriter>,
}

impl<'s> Record<'s> {
    /// In the memory of `small`, whatever that held.
    pub(super) fn new(spill: &'s Arc<Spill>, mut small: Vec<u8>) -> Self {
        small.clear();
        Self { spill, small, large: None }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), RdbError> {
        self.write_all(bytes).map_err(RdbError::Write)
    }

    pub(super) fn finish(self) -> io::Result<Held> {
        Ok(match self.large {
            None => Held::Small(self.small),
            Some(large) => Held::Large(large.finish()?),
        })
    }
}

impl Write for Record<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(large) = &mut self.large {
            return large.write(bytes);
        }
        if self.small.len() + bytes.len() <= LARGE_BYTES {
            self.small.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        let mut large = SpillWriter::new(self.spill);
        large.write_all(&self.small)?;
        self.small = Vec::new();
        self.large.insert(large).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All of what follows a key.
pub(super) enum Held {
    Small(Vec<u8>),
    Large(Spilled),
}

/// Members of hash tables, however many.
pub(super) struct SortedMembers {
    sorter: Sorter,
    body: Vec<u8>,
}

impl SortedMembers {
    pub(super) fn new(spill: &Arc<Spill>) -> Self {
        Self { sorter: Sorter::new(spill, MEMBERS_BYTES, 0), body: Vec::new() }
    }
}

impl Members for SortedMembers {
    fn add(&mut self, member: &[u8], body: &[u8], split: usize) -> Result<(), RdbError> {
        self.body.clear();
        self.body.push(u8::try_from(split).map_err(|error| RdbError::Write(io::Error::other(error)))?);
        self.body.extend_from_slice(body);
        self.sorter.push(member, &self.body).map_err(RdbError::Write)
    }

    fn drain(&mut self, give: &mut Give<'_>) -> Result<(), RdbError> {
        let mut sorted = self.sorter.finish().map_err(RdbError::Write)?;
        while let Some((member, body)) = sorted.next_record().map_err(RdbError::Write)? {
            let held;
            let body = match body {
                Body::Whole(body) => body,
                Body::Large(mut reader) => {
                    let mut whole = Vec::new();
                    reader.read_to_end(&mut whole).map_err(RdbError::Write)?;
                    held = whole;
                    &held
                }
            };
            let (split, body) =
                body.split_first().ok_or_else(|| RdbError::Write(io::ErrorKind::InvalidData.into()))?;
            give(member, body, usize::from(*split))?;
        }
        Ok(())
    }
}
