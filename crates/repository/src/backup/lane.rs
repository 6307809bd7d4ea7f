//! The producer's side of a run: entries and bytes in, segments out.

use std::io::Read;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use strongroom_chunker::Chunker;
use strongroom_format::tree_entry::TreeEntry;

use super::cutter::Cutter;
use super::failure::Failure;
use super::run::Run;
use super::worker::Hashed;
use crate::delta::Base;
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::stage::stage;

/// Plain bytes of a full segment.
const SEGMENT_BYTES: usize = 1 << 20;
/// Room behind them, bytes, so that the last read of a segment is no tiny one.
const SLACK_BYTES: usize = 64 << 10;
/// Most steps of a segment: keeps segments of empty files small.
const SEGMENT_STEPS: usize = 4096;

/// A step of a lane, in order; `B` are the bytes of contents: as they were read, or cut into chunks.
#[derive(Debug)]
pub(crate) enum Step<B> {
    /// An entry without content, or with content that is stored already.
    Entry(Box<TreeEntry>),
    /// What the content that is being written was before.
    Against(Arc<Base>),
    /// The next bytes of the content that is being written.
    Bytes(B),
    /// A hole in it.
    Hole(u32),
    /// The content ends, and belongs to this entry.
    End(Box<TreeEntry>),
    /// The content ends and is thrown away: the file changed while it was read.
    Discard,
}

/// Bytes of a content as they were read.
#[derive(Debug)]
pub(crate) enum Raw {
    /// The next so many bytes of the segment.
    Read(u32),
    /// A chunk ends here: the content does, or a hole begins.
    Cut,
}

/// What a lane hands to its cutter.
pub(crate) struct Segment {
    /// A buffer of the pool: room for what the last segment left uncut, then the bytes read.
    pub(crate) data: Vec<u8>,
    pub(crate) steps: Vec<Step<Raw>>,
}

/// One ordered sequence of entries and contents. A run may have several, filled by threads of their own.
pub struct Lane<'a> {
    segments: Sender<Segment>,
    cutter: Arc<Cutter>,
    /// Where a worker learns that the cutter has one more segment.
    work: Sender<Arc<Cutter>>,
    buffers: Receiver<Vec<u8>>,
    failure: &'a Failure,
    monitor: &'a dyn Monitor,
    /// Bytes at a buffer's start that are left free: of the longest chunk.
    headroom: usize,
    /// A buffer of the pool, of a fixed length; empty before the first step.
    data: Vec<u8>,
    /// Where in it the bytes read end.
    filled: usize,
    steps: Vec<Step<Raw>>,
}

impl<'a> Lane<'a> {
    pub(crate) fn new(
        run: &'a Run<'_>,
        chunker: Chunker,
        work: Sender<Arc<Cutter>>,
        results: Sender<Hashed>,
    ) -> Self {
        // The pool of buffers bounds how many there are.
        let (segments, segments_in) = unbounded();
        let headroom = chunker.max_size();
        Self {
            segments,
            cutter: Arc::new(Cutter::new(segments_in, results, chunker)),
            work,
            buffers: run.buffers.clone(),
            failure: &run.failure,
            monitor: run.monitor,
            headroom,
            data: Vec::new(),
            filled: 0,
            steps: Vec::new(),
        }
    }

    /// Appends an entry that has no content, or whose content is stored already.
    ///
    /// # Errors
    /// `Cancelled` when another part of the run failed, `Interrupted`.
    pub fn entry(&mut self, entry: TreeEntry) -> Result<(), RepositoryError> {
        self.step(Step::Entry(Box::new(entry)))
    }

    /// Says what the content that comes next was before: new chunks of it may be stored as what differs.
    ///
    /// # Errors
    /// As [`Lane::entry`].
    pub fn against(&mut self, base: Option<Arc<Base>>) -> Result<(), RepositoryError> {
        base.map_or(Ok(()), |base| self.step(Step::Against(base)))
    }

    /// Reads `reader` to its end as the next part of the content. Returns how many bytes that were.
    ///
    /// # Errors
    /// `Read` with `name`, `Cancelled`, `Interrupted`.
    pub fn content(
        &mut self,
        name: &dyn std::fmt::Display,
        reader: &mut dyn Read,
    ) -> Result<u64, RepositoryError> {
        let mut total = 0_u64;
        loop {
            self.take_buffer()?;
            let reading = stage!("read");
            let read = match reader.read(&mut self.data[self.filled..]) {
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
                    if self.monitor.is_cancelled() {
                        return Err(RepositoryError::Interrupted);
                    }
                    continue;
                }
                Err(source) => return Err(RepositoryError::Read { path: name.to_string(), source }),
            };
            drop(reading);
            if read == 0 {
                self.step(Step::Bytes(Raw::Cut))?;
                return Ok(total);
            }
            self.filled += read;
            total += read as u64;
            self.monitor.advance(read as u64);
            let length = u32::try_from(read).unwrap_or(u32::MAX);
            if let Some(Step::Bytes(Raw::Read(before))) = self.steps.last_mut() {
                *before += length;
                self.send_if_full()?;
            } else {
                self.step(Step::Bytes(Raw::Read(length)))?;
            }
        }
    }

    /// Appends a hole of `length` zero bytes to the content.
    ///
    /// # Errors
    /// As [`Lane::entry`].
    pub fn hole(&mut self, length: u64) -> Result<(), RepositoryError> {
        let mut left = length;
        while left > 0 {
            let part = u32::try_from(left).unwrap_or(u32::MAX);
            self.step(Step::Hole(part))?;
            left -= u64::from(part);
        }
        Ok(())
    }

    /// Ends the content: it belongs to `entry`, whose own (empty) content is replaced.
    ///
    /// # Errors
    /// As [`Lane::entry`].
    pub fn end(&mut self, entry: TreeEntry) -> Result<(), RepositoryError> {
        self.step(Step::End(Box::new(entry)))
    }

    /// Throws away the content written since the last entry.
    ///
    /// # Errors
    /// As [`Lane::entry`].
    pub fn discard(&mut self) -> Result<(), RepositoryError> {
        // What was not cut yet must be the last of its segment: chunks lie without gaps.
        self.step(Step::Discard)?;
        self.send()
    }

    fn step(&mut self, step: Step<Raw>) -> Result<(), RepositoryError> {
        self.take_buffer()?;
        self.steps.push(step);
        self.send_if_full()
    }

    /// Each segment has a buffer of the pool, so that the pool bounds what is under way.
    fn take_buffer(&mut self) -> Result<(), RepositoryError> {
        if self.data.is_empty() {
            self.data = self.failure.receive(&self.buffers)?.ok_or(RepositoryError::Cancelled)?;
            self.data.resize(self.headroom + SEGMENT_BYTES + SLACK_BYTES, 0);
            self.filled = self.headroom;
        }
        Ok(())
    }

    fn send_if_full(&mut self) -> Result<(), RepositoryError> {
        let is_full = self.filled >= self.headroom + SEGMENT_BYTES || self.steps.len() >= SEGMENT_STEPS;
        if is_full { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), RepositoryError> {
        if self.monitor.is_cancelled() {
            return Err(RepositoryError::Interrupted);
        }
        if self.steps.is_empty() {
            return Ok(());
        }
        let segment =
            Segment { data: std::mem::take(&mut self.data), steps: std::mem::take(&mut self.steps) };
        self.failure.send(&self.segments, segment)?;
        self.failure.send(&self.work, Arc::clone(&self.cutter))
    }

    /// Ends the lane.
    ///
    /// # Errors
    /// As [`Lane::entry`].
    pub fn finish(mut self) -> Result<(), RepositoryError> {
        self.send()
    }
}
