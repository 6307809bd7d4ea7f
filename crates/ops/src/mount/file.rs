//! Reading a file of a snapshot from any offset, with what comes next opened ahead.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use strongroom_format::ChunkId;
use strongroom_format::node::ListItem;
use strongroom_format::tree_entry::Content;
use strongroom_repository::RepositoryError;
use strongroom_repository::reader::Reader;
use strongroom_repository::tree::ListCursor;

/// Chunks whose places are known at once: some 64 MiB.
const WINDOW_ITEMS: usize = 1024;
/// What is opened ahead of somebody who reads on; well below what a reader keeps open.
const AHEAD_BYTES: u64 = 12 << 20;
/// Chunks that wait to be opened ahead.
const WAITING: usize = 64;

/// Chunks of a stretch of the file.
#[derive(Default)]
struct Window {
    items: Vec<(u64, ListItem)>,
    end: u64,
    /// Where the last read ended: who goes on there reads on.
    read_to: u64,
    /// Asked for ahead up to here.
    asked_to: u64,
}

/// A file that is open.
pub(super) struct OpenFile {
    content: Content,
    length: u64,
    window: Mutex<Window>,
}

impl OpenFile {
    pub(super) fn new(content: Content) -> Self {
        let length = content.bytes();
        Self { content, length, window: Mutex::default() }
    }

    /// Up to `size` bytes from `offset` on; fewer only at the end of the file. Every chunk is verified.
    ///
    /// # Errors
    /// As [`Reader::chunk`].
    pub(super) fn read(
        &self,
        reader: &Reader<'_>,
        ahead: &Ahead,
        offset: u64,
        size: u32,
    ) -> Result<Vec<u8>, RepositoryError> {
        let end = offset.saturating_add(size.into()).min(self.length);
        let mut bytes = Vec::with_capacity(usize::try_from(end.saturating_sub(offset)).unwrap_or_default());
        let mut at = offset;
        while at < end {
            for (start, item) in self.items(reader, ahead, at, end)? {
                let from = usize::try_from(at - start).unwrap_or(usize::MAX);
                let to = usize::try_from((end - start).min(item.length.into())).unwrap_or(usize::MAX);
                if item.is_hole() {
                    bytes.resize(bytes.len() + (to - from), 0);
                } else {
                    let chunk = reader.chunk(item.id)?;
                    let part = chunk
                        .as_bytes()
                        .get(from..to)
                        .filter(|_| chunk.as_bytes().len() == item.length as usize);
                    bytes.extend_from_slice(part.ok_or_else(|| RepositoryError::Inconsistent {
                        object: format!("chunk {}", item.id),
                        reason: "it has another length than the list says".into(),
                    })?);
                }
                at = start + to as u64;
            }
        }
        Ok(bytes)
    }

    /// The chunks of a stretch, as far as they are known at once; asks for those behind it where somebody reads on.
    fn items(
        &self,
        reader: &Reader<'_>,
        ahead: &Ahead,
        at: u64,
        end: u64,
    ) -> Result<Vec<(u64, ListItem)>, RepositoryError> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let first = window.items.first().map_or(u64::MAX, |(start, _)| *start);
        if at < first || at >= window.end {
            let (read_to, asked_to) = (window.read_to, window.asked_to);
            *window = Window { read_to, asked_to, ..self.window_at(reader, at)? };
        }
        let begin = window.items.partition_point(|(start, item)| start + u64::from(item.length) <= at);
        let items: Vec<_> =
            window.items[begin..].iter().take_while(|(start, _)| *start < end).copied().collect();
        if items.is_empty() {
            return Err(RepositoryError::Inconsistent {
                object: "the list of a file's chunks".into(),
                reason: format!("it has none at {at}"),
            });
        }
        let reads_on = at == window.read_to;
        window.read_to = end.min(window.end);
        if reads_on {
            let from = window.asked_to.max(window.read_to);
            let to = window.read_to.saturating_add(AHEAD_BYTES).min(window.end);
            let wanted = window.items.iter().filter(|(start, _)| (from..to).contains(start));
            let mut last = None;
            for (_, item) in wanted.filter(|(_, item)| !item.is_hole()) {
                let location = reader.first_location(item.id);
                if location != last {
                    ahead.ask(item.id);
                    last = location;
                }
            }
            window.asked_to = to.max(from);
        } else {
            window.asked_to = window.read_to;
        }
        Ok(items)
    }

    fn window_at(&self, reader: &Reader<'_>, at: u64) -> Result<Window, RepositoryError> {
        let mut cursor = ListCursor::new(reader, &self.content)?;
        let mut start = cursor.skip_to(at)?;
        let mut items = Vec::new();
        while items.len() < WINDOW_ITEMS
            && let Some(item) = cursor.next_item()?
        {
            items.push((start, item));
            start += u64::from(item.length);
        }
        Ok(Window { items, end: start, ..Window::default() })
    }
}

/// Those who open ahead.
pub(super) struct Ahead {
    wanted: Sender<ChunkId>,
}

impl Ahead {
    /// So many threads, which end with it.
    pub(super) fn start(reader: &'static Reader<'static>, threads: usize) -> Self {
        let (wanted, asked) = bounded(WAITING);
        for _ in 0..threads.max(1) {
            let asked: Receiver<ChunkId> = asked.clone();
            std::thread::spawn(move || {
                for id in asked {
                    // It stays open in the reader. Who reads it is told why it cannot be opened.
                    let _ = reader.chunk(id);
                }
            });
        }
        Self { wanted }
    }

    /// Nobody waits for it: what is too much is opened when it is read.
    fn ask(&self, id: ChunkId) {
        let _ = self.wanted.try_send(id);
    }
}
