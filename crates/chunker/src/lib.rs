//! Cuts a stream of plaintext into chunks, the unit of deduplication.
//!
//! This crate does not name chunks, hash, compress or encrypt them, and derives no secret: it is handed a gear
//! table and bytes, and answers with lengths. It opens no file; the only thing it reads is the
//! [`Read`](std::io::Read) a [`BatchReader`] is given.
//!
//! The decision that shapes it: where a chunk ends depends only on the bytes from the chunk's start on, up to
//! the largest chunk, and on whether the stream ends there. So the cut points of a stream are the same whatever the
//! sizes of reads and batches, and an insertion moves only the cut points near it.
//!
//! Data flows from a `Read` into a batch buffer of about 1 MiB, is cut in place, and leaves as a [`Batch`] of
//! contiguous bytes and chunk lengths; only the unfinished tail, shorter than one chunk's maximum, is copied into
//! the next buffer. Start reading at [`Chunker::next_cut`].
//!
//! Implements `format-spec/chunking.md`. The secrecy of the gear table does not survive known cut points: lengths
//! of chunks are secrets as well, wherever they are stored or sent.

mod batch;
mod chunker;
mod gear;
mod params;

#[cfg(test)]
mod spec_tests;

pub use batch::{Batch, BatchReader, DEFAULT_BATCH_BYTES};
pub use chunker::Chunker;
pub use gear::{GEAR_TABLE_BYTES, GearTable};
pub use params::{
    CHUNK_MAX_BYTES, CHUNK_MIN_BYTES, ChunkerId, ChunkerParams, FAST_CDC_AVG_MAX_BYTES, ParamsError,
};
