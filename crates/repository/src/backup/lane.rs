//! The producer's side of a run: entries and bytes in, batches of chunks out.

use std::io::Read;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use strongroom_chunker::{Chunker, ChunkerParams};
use strongroom_format::tree_entry::TreeEntry;

use super::failure::Failure;
use super::run::Run;
use super::worker::Hashed;
use crate::delta::Base;
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::stage::stage;

/// Plain bytes of a batch.
pub(crate) const BATCH_BYTES: usize = 1 << 20;
/// Most items of a batch: keeps batches of empty files small.
const BATCH_ITEMS: usize = 4096;

/// A step of a lane, in order.
#[derive(Debug)]
pub(crate) enum Item {
    /// An entry without content, or with content that is stored already.
    Entry(Box<TreeEntry>),
    /// What the content that is being written was before.
    Against(Arc<Base>),
    /// The next chunk of the content that is being written: so many bytes of the batch.
    Chunk(u32),
    /// A hole in it.
    Hole(u32),
    /// The content ends, and belongs to this entry.
    End(Box<TreeEntry>),
    /// The content ends and is thrown away: the file changed while it was read.
    Discard,
}

/// What goes through the workers.
pub(crate) struct Batch {
    pub(crate) number: u64,
    pub(crate) data: Vec<u8>,
    pub(crate) items: Vec<Item>,
}

/// One ordered sequence of entries and contents. A run may have several, filled by threads of their own.
pub struct Lane<'a> {
    batches: Sender<(Batch, Sender<Hashed>)>,
    results: Sender<Hashed>,
    buffers: Receiver<Vec<u8>>,
    failure: &'a Failure,
    monitor: &'a dyn Monitor,
    chunker: Chunker,
    number: u64,
    /// A buffer of the pool, of a fixed length.
    data: Vec<u8>,
    /// Bytes of it that were read.
    filled: usize,
    /// Bytes of it that belong to items already.
    cut: usize,
    items: Vec<Item>,
}

impl<'a> Lane<'a> {
    pub(crate) fn new(
        run: &'a Run<'_>,
        batches: Sender<(Batch, Sender<Hashed>)>,
        parameters: ChunkerParams,
        results: Sender<Hashed>,
    ) -> Result<Self, RepositoryError> {
        let chunker = Chunker::new(parameters, Arc::clone(&run.gear)).map_err(|error| {
            RepositoryError::Inconsistent {
                object: "the chunker's parameters".into(),
                reason: error.to_string(),
            }
        })?;
        Ok(Self {
            batches,
            results,
            buffers: run.buffers.clone(),
            failure: &run.failure,
            monitor: run.monitor,
            chunker,
            number: 0,
            data: Vec::new(),
            filled: 0,
            cut: 0,
            items: Vec::new(),
        })
    }

    /// Appends an entry that has no content, or whose content is stored already.
    ///
    /// # Errors
    /// `Cancelled` when another part of the run failed, `Interrupted`.
    pub fn entry(&mut self, entry: TreeEntry) -> Result<(), RepositoryError> {
        self.item(Item::Entry(Box::new(entry)))
    }

    /// Says what the content that comes next was before: new chunks of it may be stored as what differs.
    ///
    /// # Errors
    /// As [`Lane::entry`].
    pub fn against(&mut self, base: Option<Arc<Base>>) -> Result<(), RepositoryError> {
        base.map_or(Ok(()), |base| self.item(Item::Against(base)))
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
            if self.data.is_empty() {
                self.data = self.buffer()?;
            }
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
            self.filled += read;
            total += read as u64;
            self.monitor.advance(read as u64);
            let chunking = stage!("chunk");
            while let Some(length) = self.chunker.next_cut(&self.data[self.cut..self.filled], read == 0) {
                self.cut += length;
                self.items.push(Item::Chunk(u32::try_from(length).unwrap_or(u32::MAX)));
            }
            drop(chunking);
            // Room must be left for the next read: what is not cut yet is shorter than the largest chunk.
            if self.cut >= BATCH_BYTES || self.items.len() >= BATCH_ITEMS || self.filled == self.data.len() {
                self.send()?;
            }
            if read == 0 {
                return Ok(total);
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
            self.item(Item::Hole(part))?;
            left -= u64::from(part);
        }
        Ok(())
    }

    /// Ends the content: it belongs to `entry`, whose own (empty) content is replaced.
    ///
    /// # Errors
    /// As [`Lane::entry`].
    pub fn end(&mut self, entry: TreeEntry) -> Result<(), RepositoryError> {
        self.item(Item::End(Box::new(entry)))
    }

    /// Throws away the content written since the last entry.
    ///
    /// # Errors
    /// As [`Lane::entry`].
    pub fn discard(&mut self) -> Result<(), RepositoryError> {
        self.filled = self.cut;
        self.item(Item::Discard)
    }

    fn item(&mut self, item: Item) -> Result<(), RepositoryError> {
        self.items.push(item);
        if self.items.len() >= BATCH_ITEMS || self.cut >= BATCH_BYTES { self.send() } else { Ok(()) }
    }

    fn buffer(&self) -> Result<Vec<u8>, RepositoryError> {
        let mut buffer = self.failure.receive(&self.buffers)?.ok_or(RepositoryError::Cancelled)?;
        buffer.resize(BATCH_BYTES + self.chunker.max_size(), 0);
        Ok(buffer)
    }

    fn send(&mut self) -> Result<(), RepositoryError> {
        if self.monitor.is_cancelled() {
            return Err(RepositoryError::Interrupted);
        }
        if self.items.is_empty() {
            return Ok(());
        }
        // Each batch has a buffer of the pool, so that the pool bounds what is under way.
        let mut next = self.buffer()?;
        let tail = self.filled - self.cut;
        if tail > 0 {
            next[..tail].copy_from_slice(&self.data[self.cut..self.filled]);
        }
        let data = std::mem::replace(&mut self.data, next);
        (self.cut, self.filled) = (0, tail);
        let batch = Batch { number: self.number, data, items: std::mem::take(&mut self.items) };
        self.number += 1;
        self.failure.send(&self.batches, (batch, self.results.clone()))
    }

    /// Ends the lane.
    ///
    /// # Errors
    /// As [`Lane::entry`].
    pub fn finish(mut self) -> Result<(), RepositoryError> {
        self.send()
    }
}
