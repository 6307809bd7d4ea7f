//! One content in order, to a pipe, with bounded look-ahead.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use strongroom_format::node::ListItem;
use strongroom_format::tree_entry::Content;

use crate::cache::Location;
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::reader::{ChunkBytes, Reader};
use crate::stage::stage;
use crate::tree::ListCursor;

/// Bounds of a run: items that lie in one frame, or in frames one behind the other, which are fetched together.
const RUN_ITEMS: usize = 256;
const RUN_BYTES: u64 = 4 << 20;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

struct Run {
    number: u64,
    frames: Vec<Location>,
    items: Vec<ListItem>,
}

type Opened = (u64, Result<Vec<(ListItem, Option<ChunkBytes>)>, RepositoryError>);

/// Takes a content in order.
pub(crate) trait Output {
    /// The next item, verified; of a hole there is no chunk.
    fn take(&mut self, item: ListItem, chunk: Option<ChunkBytes>) -> Result<(), RepositoryError>;
}

/// Writes a content in order; every chunk is verified before it is written.
///
/// # Errors
/// `ChunkUnavailable`, `Write`, `Interrupted`; all before the failing chunk has been written then.
pub fn write_in_order(
    reader: &Reader<'_>,
    content: &Content,
    out: &mut dyn Write,
    monitor: &dyn Monitor,
    workers: usize,
) -> Result<(), RepositoryError> {
    read_in_order(reader, content, &mut Written(out), monitor, workers)?;
    out.flush().map_err(|source| RepositoryError::Write { source })
}

struct Written<'w>(&'w mut dyn Write);

impl Output for Written<'_> {
    fn take(&mut self, item: ListItem, chunk: Option<ChunkBytes>) -> Result<(), RepositoryError> {
        match chunk {
            Some(chunk) => self.0.write_all(chunk.as_bytes()),
            None => write_zeros(self.0, item.length),
        }
        .map_err(|source| RepositoryError::Write { source })
    }
}

/// Reads a content in order, with several threads.
///
/// # Errors
/// `ChunkUnavailable`, `Interrupted`, and what the output fails with; the failing chunk was not given to it.
pub(crate) fn read_in_order(
    reader: &Reader<'_>,
    content: &Content,
    out: &mut dyn Output,
    monitor: &dyn Monitor,
    workers: usize,
) -> Result<(), RepositoryError> {
    let workers = workers.max(1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (runs, runs_in) = bounded::<Run>(workers);
        let (opened, opened_in) = bounded::<Opened>(workers);
        // A permit a run under way: the look-ahead is bounded however late the first run comes.
        let (permits, permits_in) = bounded::<()>(workers * 2);
        for _ in 0..workers {
            let (runs_in, opened) = (runs_in.clone(), opened.clone());
            scope.spawn(move || open_runs(reader, &runs_in, &opened));
        }
        let failed = opened.clone();
        drop((runs_in, opened));
        let stop = &stop;
        scope.spawn(move || plan(reader, content, stop, &runs, &permits, &failed));
        let result = take_runs(&opened_in, &permits_in, out, monitor);
        stop.store(true, Ordering::Relaxed);
        drop((opened_in, permits_in));
        result
    })
}

fn plan(
    reader: &Reader<'_>,
    content: &Content,
    stop: &AtomicBool,
    runs: &Sender<Run>,
    permits: &Sender<()>,
    failed: &Sender<Opened>,
) {
    let mut number = 0;
    let mut send = |items: Vec<ListItem>, frames: Vec<Location>| {
        let sent = permits.send(()).is_ok() && runs.send(Run { number, frames, items }).is_ok();
        number += 1;
        sent && !stop.load(Ordering::Relaxed)
    };
    let mut walk = || -> Result<(), RepositoryError> {
        let mut items = ListCursor::new(reader, content)?;
        let (mut run, mut frames, mut bytes): (Vec<ListItem>, Vec<Location>, u64) = Default::default();
        while let Some(item) = items.next_item()? {
            let location = if item.is_hole() { None } else { reader.first_location(item.id) };
            let goes_along = item.is_hole()
                || location.is_some_and(|location| goes_along(reader, location, &frames, bytes));
            if !run.is_empty() && (!goes_along || run.len() >= RUN_ITEMS) {
                bytes = 0;
                if !send(std::mem::take(&mut run), std::mem::take(&mut frames)) {
                    return Ok(());
                }
            }
            if let Some(location) = location
                && frames.last() != Some(&location)
            {
                frames.push(location);
            }
            if !item.is_hole() {
                bytes += u64::from(item.length);
            }
            run.push(item);
        }
        if !run.is_empty() {
            send(run, frames);
        }
        Ok(())
    };
    if let Err(error) = walk() {
        let _ = failed.send((number, Err(error)));
    }
}

/// Whether a frame is the last of a run, or lies right behind it and the run is short enough.
fn goes_along(reader: &Reader<'_>, location: Location, frames: &[Location], bytes: u64) -> bool {
    let Some(last) = frames.last() else { return true };
    if location == *last {
        return true;
    }
    let ranges = reader.frame_range(*last).zip(reader.frame_range(location));
    location.pack == last.pack
        && bytes < RUN_BYTES / 2
        && ranges.is_some_and(|(last, next)| last.end == next.start)
}

fn open_runs(reader: &Reader<'_>, runs: &Receiver<Run>, opened: &Sender<Opened>) {
    for Run { number, frames, items } in runs {
        reader.fetch(&frames);
        let result = items
            .into_iter()
            .map(|item| {
                if item.is_hole() {
                    return Ok((item, None));
                }
                let chunk = reader.chunk(item.id)?;
                if chunk.as_bytes().len() == item.length as usize {
                    Ok((item, Some(chunk)))
                } else {
                    Err(RepositoryError::Inconsistent {
                        object: format!("chunk {}", item.id),
                        reason: "it has another length than the list says".into(),
                    })
                }
            })
            .collect();
        reader.forget(&frames);
        if opened.send((number, result)).is_err() {
            return;
        }
    }
}

fn take_runs(
    opened: &Receiver<Opened>,
    permits: &Receiver<()>,
    out: &mut dyn Output,
    monitor: &dyn Monitor,
) -> Result<(), RepositoryError> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for (number, result) in opened {
        early.insert(number, result);
        while let Some(result) = early.remove(&next) {
            next += 1;
            let writing = stage!("write");
            for (item, chunk) in result? {
                out.take(item, chunk)?;
                monitor.advance(item.length.into());
            }
            drop(writing);
            let _ = permits.try_recv();
            if monitor.is_cancelled() {
                return Err(RepositoryError::Interrupted);
            }
        }
    }
    if !early.is_empty() {
        return Err(RepositoryError::Cancelled);
    }
    Ok(())
}

fn write_zeros(out: &mut dyn Write, length: u32) -> std::io::Result<()> {
    let mut left = length as usize;
    while left > 0 {
        let part = left.min(ZEROS.len());
        out.write_all(&ZEROS[..part])?;
        left -= part;
    }
    Ok(())
}
