//! One content, from a reader into a lane.

use std::io::{self, Read};

use crossbeam_channel::{Receiver, Sender, bounded};
use strongroom_format::node::ListItem;
use strongroom_format::tree_entry::Content;

use crate::backup::Lane;
use crate::error::RepositoryError;
use crate::monitor::Silent;
use crate::reader::{ChunkBytes, Reader};
use crate::restore::{Output, read_in_order};

/// Chunks between reading and cutting.
const AHEAD: usize = 16;

/// How a content went.
pub(super) enum Poured {
    Whole,
    /// Some of it cannot be read; what is in the lane is to be discarded.
    Damaged(RepositoryError),
}

/// The next part of a content.
type Part = Result<(ListItem, Option<ChunkBytes>), RepositoryError>;

/// Reads a content into a lane, without its end. Holes stay holes.
pub(super) fn pour(
    reader: &Reader<'_>,
    content: &Content,
    name: &dyn std::fmt::Display,
    lane: &mut Lane<'_>,
    workers: usize,
) -> Result<Poured, RepositoryError> {
    match content {
        Content::Inline(items) => {
            let mut parts = items.iter().map(|item| read(reader, *item));
            pour_parts(&mut || parts.next(), name, lane)
        }
        Content::List(_) => std::thread::scope(|scope| {
            let (parts, parts_in) = bounded(AHEAD);
            scope.spawn(move || {
                let mut out = Parts(parts.clone());
                if let Err(error) = read_in_order(reader, content, &mut out, &Silent, workers) {
                    // Whoever received them may have stopped first.
                    let _ = parts.send(Err(error));
                }
            });
            let received: Receiver<Part> = parts_in;
            let poured = pour_parts(&mut || received.recv().ok(), name, lane);
            drop(received);
            poured
        }),
    }
}

fn read(reader: &Reader<'_>, item: ListItem) -> Part {
    if item.is_hole() {
        return Ok((item, None));
    }
    let chunk = reader.chunk(item.id)?;
    if chunk.as_bytes().len() != item.length as usize {
        return Err(RepositoryError::Inconsistent {
            object: format!("chunk {}", item.id),
            reason: "it has another length than the list says".into(),
        });
    }
    Ok((item, Some(chunk)))
}

struct Parts(Sender<Part>);

impl Output for Parts {
    fn take(&mut self, item: ListItem, chunk: Option<ChunkBytes>) -> Result<(), RepositoryError> {
        self.0.send(Ok((item, chunk))).map_err(|_| RepositoryError::Cancelled)
    }
}

fn pour_parts(
    next: &mut dyn FnMut() -> Option<Part>,
    name: &dyn std::fmt::Display,
    lane: &mut Lane<'_>,
) -> Result<Poured, RepositoryError> {
    let mut data = Data { next, current: None, hole: None, failed: None, is_at_end: false };
    while !data.is_at_end {
        match lane.content(name, &mut data) {
            Ok(_) => {}
            Err(RepositoryError::Read { source, path }) => {
                let error = data.failed.take().unwrap_or(RepositoryError::Read { source, path });
                return Ok(Poured::Damaged(error));
            }
            Err(error) => return Err(error),
        }
        if let Some(length) = data.hole.take() {
            lane.hole(length.into())?;
        }
    }
    Ok(Poured::Whole)
}

/// The bytes up to the next hole, or the end.
struct Data<'n> {
    next: &'n mut dyn FnMut() -> Option<Part>,
    current: Option<(ChunkBytes, usize)>,
    hole: Option<u32>,
    failed: Option<RepositoryError>,
    is_at_end: bool,
}

impl Read for Data<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((chunk, at)) = &mut self.current {
                let left = &chunk.as_bytes()[*at..];
                if !left.is_empty() {
                    let length = left.len().min(buffer.len());
                    buffer[..length].copy_from_slice(&left[..length]);
                    *at += length;
                    return Ok(length);
                }
                self.current = None;
            }
            match (self.next)() {
                None => {
                    self.is_at_end = true;
                    return Ok(0);
                }
                Some(Ok((_, Some(chunk)))) => self.current = Some((chunk, 0)),
                Some(Ok((item, None))) => {
                    self.hole = Some(item.length);
                    return Ok(0);
                }
                Some(Err(error)) => {
                    self.failed = Some(error);
                    return Err(io::Error::other("what is copied cannot be read"));
                }
            }
        }
    }
}
