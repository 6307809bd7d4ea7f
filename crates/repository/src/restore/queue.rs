//! Contents of many files, written as their frames come.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use strongroom_format::ChunkId;
use strongroom_format::tree_entry::Content;

use crate::cache::Location;
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::reader::Reader;
use crate::tree::ListCursor;

const WINDOW_JOBS: usize = 4096;
const WINDOW_FILES: usize = 128;
const WINDOW_BYTES: u64 = 64 << 20;
/// Most bytes of sealed frames to fetch with one request.
const FETCH_BYTES: u64 = 4 << 20;

/// Where contents go; called from many threads.
pub trait ContentTarget: Sync {
    /// An open file.
    type File: Send + Sync;

    /// Writes verified bytes. `false` stops the restore: there is no use in going on.
    fn write_at(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> bool;
    /// A part of the file cannot be read; it is left as a hole.
    fn damaged(&self, file: &Self::File, offset: u64, length: u64, error: &RepositoryError);
    /// All of the file was written, or found damaged.
    fn finish(&self, file: Self::File);
}

struct Job<F> {
    file: Arc<F>,
    offset: u64,
    id: ChunkId,
    location: Option<Location>,
    length: u32,
}

/// What one worker does at a stretch: the frames are fetched together, then opened one by one.
struct Task<F> {
    frames: Vec<Location>,
    jobs: Vec<Job<F>>,
}

/// Takes contents to be restored.
pub struct ContentQueue<'a, T: ContentTarget> {
    reader: &'a Reader<'a>,
    target: &'a T,
    monitor: &'a dyn Monitor,
    tasks: Sender<Task<T::File>>,
    stopped: &'a AtomicBool,
    window: Vec<Job<T::File>>,
    files: usize,
    bytes: u64,
}

/// Restores what `producer` puts into the queue, with `workers` threads.
///
/// # Errors
/// What `producer` fails with.
pub fn restore_contents<T: ContentTarget, E>(
    reader: &Reader<'_>,
    target: &T,
    monitor: &dyn Monitor,
    workers: usize,
    producer: impl FnOnce(&mut ContentQueue<'_, T>) -> Result<(), E>,
) -> Result<(), E> {
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (tasks, tasks_in) = bounded(workers);
        for _ in 0..workers.max(1) {
            let (tasks_in, stopped) = (tasks_in.clone(), &stopped);
            scope.spawn(move || work(reader, target, monitor, &tasks_in, stopped));
        }
        drop(tasks_in);
        let mut queue = ContentQueue {
            reader,
            target,
            monitor,
            tasks,
            stopped: &stopped,
            window: Vec::new(),
            files: 0,
            bytes: 0,
        };
        producer(&mut queue)?;
        queue.flush();
        Ok(())
    })
}

impl<T: ContentTarget> ContentQueue<'_, T> {
    /// Whether the restore was stopped: by the target, or because it is to be interrupted.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.monitor.is_cancelled()
    }

    /// Queues all of a file's content; the target finishes the file once it is written.
    pub fn file(&mut self, file: T::File, content: &Content) {
        let file = Arc::new(file);
        if let Err((offset, error)) = self.push_all(&file, content) {
            self.target.damaged(&file, offset, content.bytes().saturating_sub(offset), &error);
        }
        self.files += 1;
        finish(self.target, file);
        if self.window.len() >= WINDOW_JOBS || self.files >= WINDOW_FILES || self.bytes >= WINDOW_BYTES {
            self.flush();
        }
    }

    fn push_all(&mut self, file: &Arc<T::File>, content: &Content) -> Result<(), (u64, RepositoryError)> {
        let mut offset = 0;
        let mut items = ListCursor::new(self.reader, content).map_err(|error| (offset, error))?;
        while let Some(item) = items.next_item().map_err(|error| (offset, error))? {
            if !item.is_hole() {
                let location = self.reader.first_location(item.id);
                self.window.push(Job {
                    file: Arc::clone(file),
                    offset,
                    id: item.id,
                    location,
                    length: item.length,
                });
                self.bytes += u64::from(item.length);
                if self.window.len() >= WINDOW_JOBS || self.bytes >= WINDOW_BYTES {
                    self.flush();
                    if self.is_stopped() {
                        return Ok(());
                    }
                }
            }
            offset += u64::from(item.length);
        }
        Ok(())
    }

    fn flush(&mut self) {
        self.files = 0;
        self.bytes = 0;
        let mut window = std::mem::take(&mut self.window);
        window.sort_by_key(|job| job.location);
        let mut window = window.into_iter().peekable();
        while let Some(first) = window.next() {
            let range = first.location.and_then(|location| self.reader.frame_range(location));
            let mut task = Task { frames: first.location.into_iter().collect(), jobs: vec![first] };
            let mut range = range.unwrap_or_default();
            while let Some(job) = window.next_if(|job| self.goes_along(job.location, &task.frames, &mut range)) {
                if let Some(location) = job.location
                    && task.frames.last() != Some(&location)
                {
                    task.frames.push(location);
                }
                task.jobs.push(job);
            }
            // Workers end only when this sender is dropped.
            let _ = self.tasks.send(task);
        }
    }
}

impl<T: ContentTarget> ContentQueue<'_, T> {
    /// Whether a frame is the last of a task, or lies right behind it in the same pack; `range` grows by it.
    fn goes_along(
        &self,
        location: Option<Location>,
        frames: &[Location],
        range: &mut Range<u64>,
    ) -> bool {
        let (Some(location), Some(last)) = (location, frames.last()) else { return false };
        if location == *last {
            return true;
        }
        let Some(next) = self.reader.frame_range(location) else { return false };
        let follows = location.pack == last.pack
            && next.start == range.end
            && next.end - range.start <= FETCH_BYTES;
        if follows {
            range.end = next.end;
        }
        follows
    }
}

fn work<T: ContentTarget>(
    reader: &Reader<'_>,
    target: &T,
    monitor: &dyn Monitor,
    tasks: &Receiver<Task<T::File>>,
    stopped: &AtomicBool,
) {
    for task in tasks {
        if !stopped.load(Ordering::Relaxed) {
            reader.fetch(&task.frames);
        }
        for job in task.jobs {
            if !stopped.load(Ordering::Relaxed) && !monitor.is_cancelled() {
                match reader.chunk(job.id) {
                    Ok(chunk) if chunk.as_bytes().len() == job.length as usize => {
                        if !target.write_at(&job.file, job.offset, chunk.as_bytes()) {
                            stopped.store(true, Ordering::Relaxed);
                        }
                    }
                    Ok(_) => {
                        let error = RepositoryError::Inconsistent {
                            object: format!("chunk {}", job.id),
                            reason: "it has another length than the list says".into(),
                        };
                        target.damaged(&job.file, job.offset, job.length.into(), &error);
                    }
                    Err(error) => target.damaged(&job.file, job.offset, job.length.into(), &error),
                }
                monitor.advance(job.length.into());
            }
            finish(target, job.file);
        }
        reader.forget(&task.frames);
    }
}

/// Whoever holds the file last finishes it.
fn finish<T: ContentTarget>(target: &T, file: Arc<T::File>) {
    if let Some(file) = Arc::into_inner(file) {
        target.finish(file);
    }
}
