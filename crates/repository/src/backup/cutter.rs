//! Cutting what a lane has read into chunks.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use strongroom_chunker::Chunker;

use super::lane::{Raw, Segment, Step};
use super::worker::Hashed;
use crate::stage::stage;

/// Whole chunks of a lane, one after the other in `data` from `start` on.
pub(crate) struct Batch {
    pub(crate) number: u64,
    pub(crate) data: Vec<u8>,
    pub(crate) start: usize,
    /// With the length of each chunk.
    pub(crate) steps: Vec<Step<u32>>,
}

/// Cuts a lane's segments in their order, whichever worker comes for the next.
pub(crate) struct Cutter {
    segments: Receiver<Segment>,
    /// Where the lane's batches go once their chunks are named.
    pub(crate) results: Sender<Hashed>,
    chunker: Chunker,
    place: Mutex<Place>,
}

/// Where a cutter is.
#[derive(Default)]
struct Place {
    /// Number of the next batch.
    number: u64,
    /// What is not cut yet of the last segment: it goes before the bytes of the next.
    uncut: Vec<u8>,
}

impl Cutter {
    pub(crate) fn new(segments: Receiver<Segment>, results: Sender<Hashed>, chunker: Chunker) -> Self {
        Self { segments, results, chunker, place: Mutex::default() }
    }

    /// The next segment, cut; `None` if there is none.
    pub(crate) fn next(&self) -> Option<Batch> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let Segment { mut data, steps } = self.segments.try_recv().ok()?;
        let _cutting = stage!("chunk");
        let mut filled = self.chunker.max_size();
        let start = filled - place.uncut.len();
        data[start..filled].copy_from_slice(&place.uncut);
        let mut at = start;
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
                    while let Some(length) = self.chunker.next_cut(&data[at..filled], is_end) {
                        at += length;
                        cut.push(Step::Bytes(u32::try_from(length).unwrap_or(u32::MAX)));
                    }
                    continue;
                }
                Step::Discard => {
                    at = filled;
                    Step::Discard
                }
                Step::Entry(entry) => Step::Entry(entry),
                Step::Against(base) => Step::Against(base),
                Step::Hole(length) => Step::Hole(length),
                Step::End(entry) => Step::End(entry),
            });
        }
        place.uncut.clear();
        place.uncut.extend_from_slice(&data[at..filled]);
        let number = place.number;
        place.number += 1;
        Some(Batch { number, data, start, steps: cut })
    }
}
