//! Bytes as they come, counted and summed.

use std::io::{ErrorKind, Read, Write};

use super::crc64::Crc64;
use super::error::RdbError;

/// What is read at once, bytes.
const BUFFER_BYTES: usize = 128 << 10;

/// Reads numbers and runs of bytes; nothing that it is told of lengths makes it take memory.
pub struct Input<R> {
    inner: R,
    buffer: Box<[u8]>,
    /// What of the buffer was not taken yet.
    start: usize,
    end: usize,
    /// Where the buffer lies in the whole.
    offset: u64,
    /// Of all that was taken up to `summed` of the buffer, where that is wanted.
    crc: Option<Crc64>,
    summed: usize,
    /// Of whoever needs it for a while.
    scratch: Vec<u8>,
}

impl<R: Read> Input<R> {
    /// From its first byte.
    pub fn new(inner: R) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { inner, buffer, start: 0, end: 0, offset: 0, crc: None, summed: 0, scratch: Vec::new() }
    }

    /// As [`Input::new`], with a checksum of what is taken.
    pub(super) fn summing(inner: R) -> Self {
        Self { crc: Some(Crc64::default()), ..Self::new(inner) }
    }

    /// How many bytes were taken.
    pub fn offset(&self) -> u64 {
        self.offset + self.start as u64
    }

    /// What they come to.
    pub(super) fn crc(&mut self) -> u64 {
        if let Some(crc) = &mut self.crc {
            crc.update(&self.buffer[self.summed..self.start]);
            self.summed = self.start;
        }
        self.crc.unwrap_or_default().value()
    }

    /// Whether nothing follows.
    ///
    /// # Errors
    /// `Read`.
    pub fn is_at_end(&mut self) -> Result<bool, RdbError> {
        Ok(self.start == self.end && self.fill()? == 0)
    }

    /// Only when all of the buffer was taken.
    fn fill(&mut self) -> Result<usize, RdbError> {
        self.crc();
        self.offset += self.end as u64;
        (self.start, self.end, self.summed) = (0, 0, 0);
        loop {
            match self.inner.read(&mut self.buffer) {
                Ok(read) => {
                    self.end = read;
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(RdbError::Read(error)),
            }
        }
    }

    fn need(&mut self) -> Result<(), RdbError> {
        if self.start == self.end && self.fill()? == 0 {
            return Err(RdbError::Truncated { offset: self.offset() });
        }
        Ok(())
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> Result<u8, RdbError> {
        self.need()?;
        let byte = self.buffer[self.start];
        self.start += 1;
        Ok(byte)
    }

    /// The next bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], RdbError> {
        let mut out = [0; N];
        self.exact(&mut out)?;
        Ok(out)
    }

    /// Fills `out`.
    pub(super) fn exact(&mut self, out: &mut [u8]) -> Result<(), RdbError> {
        let mut left = &mut out[..];
        while !left.is_empty() {
            self.need()?;
            let taken = left.len().min(self.end - self.start);
            let (now, later) = left.split_at_mut(taken);
            now.copy_from_slice(&self.buffer[self.start..self.start + taken]);
            self.start += taken;
            left = later;
        }
        Ok(())
    }

    /// Passes the next `length` bytes on, piece by piece.
    pub(crate) fn pass(
        &mut self,
        length: u64,
        out: &mut dyn FnMut(&[u8]) -> Result<(), RdbError>,
    ) -> Result<(), RdbError> {
        let mut left = length;
        while left > 0 {
            self.need()?;
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(self.end - self.start);
            out(&self.buffer[self.start..self.start + taken])?;
            self.start += taken;
            left -= taken as u64;
        }
        Ok(())
    }

    /// Writes the next `length` bytes.
    pub(super) fn copy(&mut self, length: u64, out: &mut impl Write) -> Result<(), RdbError> {
        self.pass(length, &mut |piece| out.write_all(piece).map_err(RdbError::Write))
    }

    /// Appends the next `length` bytes.
    pub(crate) fn append(&mut self, length: u64, out: &mut Vec<u8>) -> Result<(), RdbError> {
        let mut left = length;
        while left > 0 {
            self.need()?;
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(self.end - self.start);
            out.extend_from_slice(&self.buffer[self.start..self.start + taken]);
            self.start += taken;
            left -= taken as u64;
        }
        Ok(())
    }

    /// Memory, empty, to be given back.
    pub(super) fn take_scratch(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.scratch)
    }

    /// Takes it back.
    pub(super) fn give_scratch(&mut self, mut scratch: Vec<u8>) {
        scratch.clear();
        self.scratch = scratch;
    }

    /// That it makes no sense.
    pub(crate) fn malformed(&self, what: &'static str) -> RdbError {
        RdbError::Malformed { what, offset: self.offset() }
    }

    /// What it reads from.
    pub fn inner(&self) -> &R {
        &self.inner
    }

    /// What follows, as it is.
    pub fn read_some(&mut self, out: &mut [u8]) -> Result<usize, RdbError> {
        if self.is_at_end()? {
            return Ok(0);
        }
        let taken = out.len().min(self.end - self.start);
        out[..taken].copy_from_slice(&self.buffer[self.start..self.start + taken]);
        self.start += taken;
        Ok(taken)
    }
}
