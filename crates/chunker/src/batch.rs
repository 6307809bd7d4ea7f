//! Reading a stream in batches of whole chunks.

use std::io::{self, ErrorKind, Read};

use crate::chunker::Chunker;

/// Bytes a batch holds unless asked otherwise: as much as one frame.
pub const DEFAULT_BATCH_BYTES: usize = 1 << 20;

/// Consecutive whole chunks of a stream: `lengths` add up to `data.len()`, and neither is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The chunks' bytes, one after the other.
    pub data: Vec<u8>,
    /// Length of each chunk in bytes, in order.
    pub lengths: Vec<u32>,
}

impl Batch {
    /// The chunks, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.data.as_slice();
        self.lengths.iter().map(move |length| {
            let (chunk, after) = rest.split_at(*length as usize);
            rest = after;
            chunk
        })
    }
}

/// Reads a stream and cuts it into batches. Cut points depend neither on the batch size nor on how many bytes a
/// read returns.
///
/// It always holds one buffer of its own, the one being filled. A buffer given to [`BatchReader::next_batch`]
/// takes over the unfinished tail and is filled next, while the full one leaves as the batch: the tail is all that
/// is ever copied.
#[derive(Debug)]
pub struct BatchReader<R> {
    reader: R,
    chunker: Chunker,
    batch_bytes: usize,
    /// Read so far are `pending[..filled]`; what follows is stale, kept so that a reused buffer is not zeroed again.
    pending: Vec<u8>,
    filled: usize,
    is_end: bool,
}

impl<R: Read> BatchReader<R> {
    /// Batches of [`DEFAULT_BATCH_BYTES`].
    pub fn new(reader: R, chunker: Chunker) -> Self {
        Self::with_batch_bytes(reader, chunker, DEFAULT_BATCH_BYTES)
    }

    /// Batches of at most `batch_bytes`, or of twice the chunker's largest chunk where that is more: a smaller
    /// buffer would copy more tail than it yields chunks.
    pub fn with_batch_bytes(reader: R, chunker: Chunker, batch_bytes: usize) -> Self {
        let batch_bytes = batch_bytes.max(chunker.max_size() * 2);
        Self { reader, chunker, batch_bytes, pending: Vec::new(), filled: 0, is_end: false }
    }

    /// The next chunks, or `None` after the last. Blocks until a whole batch is read or the stream ends.
    ///
    /// `buffer` is any vector, best the `data` of a batch that is done with: what it holds is lost, its memory is
    /// reused.
    ///
    /// # Errors
    /// What the reader answered, except `Interrupted`, which is tried again. Nothing read is lost: calling again
    /// goes on where the reader stopped.
    pub fn next_batch(&mut self, mut buffer: Vec<u8>) -> io::Result<Option<Batch>> {
        self.fill()?;
        let mut lengths = Vec::new();
        let mut cut = 0;
        while let Some(length) = self.chunker.next_cut(&self.pending[cut..self.filled], self.is_end) {
            #[expect(clippy::cast_possible_truncation, reason = "a chunk is at most 8 MiB")]
            lengths.push(length as u32);
            cut += length;
        }
        if lengths.is_empty() {
            return Ok(None);
        }
        let tail = &self.pending[cut..self.filled];
        let tail_bytes = tail.len();
        if tail_bytes > 0 {
            grow(&mut buffer, self.batch_bytes);
            buffer[..tail_bytes].copy_from_slice(tail);
        }
        self.filled = tail_bytes;
        let mut data = std::mem::replace(&mut self.pending, buffer);
        data.truncate(cut);
        Ok(Some(Batch { data, lengths }))
    }

    /// The reader, for instance to wait for the process behind it. Bytes read but not yet cut are dropped.
    pub fn into_reader(self) -> R {
        self.reader
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.is_end {
            return Ok(());
        }
        grow(&mut self.pending, self.batch_bytes);
        while self.filled < self.batch_bytes {
            match self.reader.read(&mut self.pending[self.filled..self.batch_bytes]) {
                Ok(0) => {
                    self.is_end = true;
                    break;
                }
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Makes `buffer` at least `length` bytes long without taking more memory than that.
fn grow(buffer: &mut Vec<u8>, length: usize) {
    if buffer.len() < length {
        buffer.reserve_exact(length - buffer.len());
        buffer.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ChunkerParams;
    use crate::spec_tests::{gear_table, random_bytes, text_bytes};

    /// Returns at most the next of `sizes` bytes a call; a size of 0 is an interruption.
    struct Dribble<'a> {
        data: &'a [u8],
        sizes: std::iter::Cycle<std::vec::IntoIter<usize>>,
    }

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.sizes.next() {
                Some(0) => Err(ErrorKind::Interrupted.into()),
                size => {
                    let most = size.unwrap_or(usize::MAX).min(buffer.len());
                    self.data.read(&mut buffer[..most])
                }
            }
        }
    }

    fn small() -> Chunker {
        Chunker::new(ChunkerParams::fast_cdc(4096, 8192, 16384, 2).unwrap(), gear_table()).unwrap()
    }

    /// Lengths as one pass over the whole stream gives them.
    fn lengths(chunker: &Chunker, data: &[u8]) -> Vec<u32> {
        let mut rest = data;
        let mut lengths = Vec::new();
        while let Some(length) = chunker.next_cut(rest, true) {
            lengths.push(u32::try_from(length).unwrap());
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
        lengths
    }

    /// All batches of a stream put together, buffers going round as in a pool.
    fn read_all<R: Read>(reader: &mut BatchReader<R>) -> Batch {
        let mut all = Batch { data: Vec::new(), lengths: Vec::new() };
        let mut spare = Vec::new();
        while let Some(batch) = reader.next_batch(spare).unwrap() {
            assert!(!batch.lengths.is_empty());
            assert_eq!(batch.lengths.iter().map(|length| *length as usize).sum::<usize>(), batch.data.len());
            assert_eq!(batch.chunks().map(<[u8]>::len).sum::<usize>(), batch.data.len());
            all.data.extend_from_slice(&batch.data);
            all.lengths.extend_from_slice(&batch.lengths);
            spare = batch.data;
        }
        assert!(reader.next_batch(Vec::new()).unwrap().is_none());
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn cuts_depend_on_nothing_but_the_bytes(
            length in 0_usize..400_000,
            is_text: bool,
            batch_bytes in 0_usize..200_000,
            mut sizes in prop::collection::vec(0_usize..50_000, 1..20),
            fixed: bool,
        ) {
            sizes.push(1 + length / 50);
            let data = if is_text { text_bytes(length) } else { random_bytes(length) };
            let chunker = if fixed {
                Chunker::new(ChunkerParams::fixed(12288).unwrap(), gear_table()).unwrap()
            } else {
                small()
            };
            let dribble = Dribble { data: &data, sizes: sizes.into_iter().cycle() };
            let all = read_all(&mut BatchReader::with_batch_bytes(dribble, chunker.clone(), batch_bytes));
            prop_assert_eq!(&all.data, &data);
            prop_assert_eq!(&all.lengths, &lengths(&chunker, &data));
            let (least, most) = if fixed { (12288, 12288) } else { (4096, 16384) };
            for (index, length) in all.lengths.iter().enumerate() {
                prop_assert!(*length > 0 && *length <= most);
                prop_assert!(*length >= least || index + 1 == all.lengths.len());
            }
        }

        #[test]
        fn an_insertion_at_the_front_moves_few_cuts(inserted in 1_usize..20_000) {
            let old = random_bytes(1 << 20);
            let mut new = vec![0x5a; inserted];
            new.extend_from_slice(&old);
            // Distances of cut points from the end of the stream: what is shared has the same.
            let from_end = |data: &[u8]| -> Vec<usize> {
                let mut left = data.len();
                lengths(&small(), data).iter().map(|length| { left -= *length as usize; left }).collect()
            };
            let (old, new) = (from_end(&old), from_end(&new));
            let shared = old.iter().filter(|cut| new.contains(cut)).count();
            prop_assert!(shared * 10 >= old.len() * 8, "{shared} of {}", old.len());
        }
    }

    #[test]
    fn an_error_of_the_reader_loses_nothing() {
        struct Stutter<'a>(&'a [u8], bool);
        impl Read for Stutter<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.1 = !self.1;
                if self.1 {
                    return Err(ErrorKind::WouldBlock.into());
                }
                let count = buffer.len().min(10_000);
                self.0.read(&mut buffer[..count])
            }
        }
        let data = random_bytes(100_000);
        let mut reader = BatchReader::with_batch_bytes(Stutter(&data, false), small(), 40_000);
        let mut all = Vec::new();
        loop {
            match reader.next_batch(Vec::new()) {
                Ok(Some(batch)) => all.extend_from_slice(&batch.lengths),
                Ok(None) => break,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert_eq!(all, lengths(&small(), &data));
    }

    #[test]
    fn an_empty_stream_has_no_batch() {
        assert!(BatchReader::new(io::empty(), small()).next_batch(Vec::new()).unwrap().is_none());
    }

    #[test]
    fn buffers_go_round_without_growing() {
        let data = random_bytes(500_000);
        let mut reader = BatchReader::with_batch_bytes(data.as_slice(), small(), 64 << 10);
        let mut spare = Vec::new();
        while let Some(batch) = reader.next_batch(spare).unwrap() {
            assert!(batch.data.capacity() <= 64 << 10);
            spare = batch.data;
        }
    }
}
