//! Cutting what a lane has read into chunks, on all processors.
//!
//! Where a chunk ends follows from where it begins, so a segment waits for the cuts of the one before it. A worker
//! that would have to wait cuts as if a chunk began with its segment; and once it learns where one does begin, it
//! cuts from there until both agree, which takes a few chunks.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use strongroom_chunker::Chunker;

use super::failure::Failure;
use super::lane::{Raw, Segment, Step};
use super::worker::Hashed;
use crate::error::RepositoryError;
use crate::stage::stage;

/// Whole chunks of a lane, one after the other in `data` from `start` on.
pub(crate) struct Batch {
    pub(crate) number: u64,
    pub(crate) data: Vec<u8>,
    pub(crate) start: usize,
    /// With the length of each chunk.
    pub(crate) steps: Vec<Step<u32>>,
}

/// Cuts a lane's segments, whichever worker comes for the next.
pub(crate) struct Cutter {
    segments: Receiver<Segment>,
    /// Where the lane's batches go once their chunks are named.
    pub(crate) results: Sender<Hashed>,
    chunker: Chunker,
    next: Mutex<Next>,
}

/// Waits for the worker that takes the next segment.
struct Next {
    number: u64,
    /// Gives what the segment before it leaves uncut.
    uncut: Receiver<Vec<u8>>,
}

impl Cutter {
    pub(crate) fn new(segments: Receiver<Segment>, results: Sender<Hashed>, chunker: Chunker) -> Self {
        let (sender, uncut) = bounded(1);
        // Nothing is before the first; the receiver is right here.
        let _ = sender.send(Vec::new());
        Self { segments, results, chunker, next: Mutex::new(Next { number: 0, uncut }) }
    }

    /// The next segment, cut.
    ///
    /// # Errors
    /// `Cancelled` when the run has failed.
    pub(crate) fn next(&self, failure: &Failure) -> Result<Batch, RepositoryError> {
        let (sender, after) = bounded(1);
        let (Segment { data, steps }, number, before) = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let segment = self.segments.try_recv().map_err(|_| RepositoryError::Cancelled)?;
            let number = next.number;
            next.number += 1;
            (segment, number, std::mem::replace(&mut next.uncut, after))
        };
        let mut cutting = stage!("chunk");
        let cut = if let Ok(uncut) = before.try_recv() {
            Cut::new(&self.chunker, data, steps, &uncut)
        } else {
            let begin = Begin::of(&steps);
            let guess = Cut::new(&self.chunker, data, steps, &[]);
            drop(cutting);
            let uncut = failure.receive(&before)?.ok_or(RepositoryError::Cancelled)?;
            cutting = stage!("chunk");
            guess.corrected(&self.chunker, &begin, &uncut)
        };
        drop(cutting);
        // Nobody waits for what the last segment leaves.
        let _ = sender.send(cut.data[cut.end..cut.filled].to_vec());
        Ok(Batch { number, data: cut.data, start: cut.start, steps: cut.steps })
    }
}

/// The bytes that a segment begins with, if they may belong to a chunk of the segment before it.
struct Begin {
    length: usize,
    /// Whether the last chunk of them ends with them.
    is_whole: bool,
}

impl Begin {
    fn of(steps: &[Step<Raw>]) -> Self {
        let mut length = 0;
        for step in steps {
            match step {
                Step::Bytes(Raw::Read(more)) => length += *more as usize,
                Step::Bytes(Raw::Cut) => return Self { length, is_whole: true },
                _ => break,
            }
        }
        Self { length, is_whole: false }
    }
}

/// A segment that is cut.
struct Cut {
    data: Vec<u8>,
    steps: Vec<Step<u32>>,
    /// Where its first chunk begins.
    start: usize,
    /// Where its last chunk ends, and what is left uncut begins.
    end: usize,
    /// Where its bytes end.
    filled: usize,
}

impl Cut {
    /// Cuts a segment that follows `uncut`.
    fn new(chunker: &Chunker, mut data: Vec<u8>, steps: Vec<Step<Raw>>, uncut: &[u8]) -> Self {
        let mut filled = chunker.max_size();
        let start = filled - uncut.len();
        data[start..filled].copy_from_slice(uncut);
        let mut end = start;
        let mut cut = Vec::with_capacity(steps.len());
        for step in steps {
            cut.push(match step {
                Step::Bytes(bytes) => {
                    let is_end = match bytes {
                        Raw::Read(length) => {
                            filled += length as usize;
                            false
                        }
                        Raw::Cut => true,
                    };
                    while let Some(length) = chunker.next_cut(&data[end..filled], is_end) {
                        end += length;
                        cut.push(chunk(length));
                    }
                    continue;
                }
                Step::Discard => {
                    end = filled;
                    Step::Discard
                }
                Step::Entry(entry) => Step::Entry(entry),
                Step::Against(base) => Step::Against(base),
                Step::Hole(length) => Step::Hole(length),
                Step::End(entry) => Step::End(entry),
            });
        }
        Self { data, steps: cut, start, end, filled }
    }

    /// What [`Cut::new`] gives for `uncut`, if this is what it gives without.
    fn corrected(mut self, chunker: &Chunker, begin: &Begin, uncut: &[u8]) -> Self {
        if uncut.is_empty() {
            return self;
        }
        let guessed_start = self.start;
        self.start -= uncut.len();
        self.data[self.start..guessed_start].copy_from_slice(uncut);
        let bytes = &self.data[..guessed_start + begin.length];
        let (mut end, mut guessed_end) = (self.start, guessed_start);
        let mut rest = self.steps.into_iter().peekable();
        let mut steps = Vec::new();
        let mut agree = false;
        while !agree && let Some(length) = chunker.next_cut(&bytes[end..], begin.is_whole) {
            end += length;
            steps.push(chunk(length));
            while guessed_end < end
                && let Some(Step::Bytes(length)) = rest.peek()
            {
                guessed_end += *length as usize;
                rest.next();
            }
            agree = guessed_end == end;
        }
        if !agree {
            while rest.next_if(|step| matches!(step, Step::Bytes(_))).is_some() {}
            // What follows now can only be that all of it is thrown away.
            if rest.peek().is_none() {
                self.end = end;
            }
        }
        steps.extend(rest);
        Self { steps, ..self }
    }
}

fn chunk(length: usize) -> Step<u32> {
    Step::Bytes(u32::try_from(length).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use strongroom_chunker::{ChunkerParams, GearTable};

    use super::*;

    fn chunker() -> Chunker {
        let gear =
            (0..2048_u32).flat_map(|number| blake3::hash(&number.to_le_bytes()).as_bytes()[..1].to_vec());
        let gear = GearTable::from_bytes(&gear.collect::<Vec<_>>().try_into().unwrap());
        Chunker::new(ChunkerParams::fast_cdc(4096, 8192, 16384, 2).unwrap(), Arc::new(gear)).unwrap()
    }

    /// Bytes of which some runs repeat, so that some chunks are as long as they may be.
    fn bytes(length: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        for run in bytes.chunks_mut(50_000).step_by(3) {
            run.fill(7);
        }
        bytes
    }

    #[derive(Debug, Clone)]
    enum Do {
        Read(u32),
        Cut,
        Hole,
        Discard,
    }

    fn raw(what: &Do) -> Step<Raw> {
        match what {
            Do::Read(length) => Step::Bytes(Raw::Read(*length)),
            Do::Cut => Step::Bytes(Raw::Cut),
            Do::Hole => Step::Hole(1),
            Do::Discard => Step::Discard,
        }
    }

    proptest! {
        #[test]
        fn a_guess_is_corrected_to_what_is_right(
            uncut in 0_usize..16384,
            lengths in prop::collection::vec((0_u32..60_000, any::<bool>(), any::<bool>()), 1..6),
            is_open: bool,
            discards: bool,
            seed: u64,
        ) {
            let chunker = chunker();
            let mut doing = Vec::new();
            for (length, hole, _) in &lengths {
                doing.extend([Do::Read(*length), Do::Cut]);
                if *hole {
                    doing.push(Do::Hole);
                }
            }
            if is_open || discards {
                doing.push(Do::Read(30_000));
            }
            if discards {
                doing.push(Do::Discard);
            }
            // A content that goes on from the segment before it, and into the next.
            if lengths.len() == 1 && is_open {
                doing.retain(|what| !matches!(what, Do::Cut | Do::Hole));
            }
            let read: usize = doing.iter().map(|what| if let Do::Read(length) = what { *length as usize } else { 0 }).sum();
            let before = bytes(uncut, seed ^ 1);
            let mut data = vec![0; chunker.max_size()];
            data.extend(bytes(read, seed));
            let steps = || doing.iter().map(raw).collect::<Vec<_>>();

            let right = Cut::new(&chunker, data.clone(), steps(), &before);
            let begin = Begin::of(&steps());
            let corrected = Cut::new(&chunker, data, steps(), &[]).corrected(&chunker, &begin, &before);
            prop_assert_eq!(format!("{:?}", right.steps), format!("{:?}", corrected.steps));
            prop_assert_eq!((right.start, right.end, right.filled), (corrected.start, corrected.end, corrected.filled));
            prop_assert!(right.data[right.start..] == corrected.data[corrected.start..]);
        }
    }
}
