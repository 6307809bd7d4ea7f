//! Contents of many files, written as their frames come.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender, bounded};
use strongroom_format::ChunkId;
use strongroom_format::tree_entry::Content;

use crate::cache::Location;
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::reader::Reader;
use crate::stage::stage;
use crate::tree::ListCursor;

const WINDOW_JOBS: usize = 4096;
const WINDOW_FILES: usize = 128;
const WINDOW_BYTES: u64 = 64 << 20;
/// Most bytes of sealed frames to fetch with one request.
const FETCH_BYTES: u64 = 2 << 20;

/// Where contents go; called from many threads.
pub trait ContentTarget: Sync {
    /// An open file.
    type File: Send + Sync;

    /// Reads into `out` what the file has there already; `false` where that is not `length` bytes, or none were looked for.
    fn read_there(&self, file: &Self::File, offset: u64, length: usize, out: &mut Vec<u8>) -> bool;
    /// Nothing is stored of this part: it is to read as zeros. `false` stops the restore.
    fn hole(&self, file: &Self::File, offset: u64, length: u64) -> bool;
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
    end: &'a End,
    window: Vec<Job<T::File>>,
    files: usize,
    bytes: u64,
}

/// Restores what `producer` puts into the queue, with `workers` threads.
///
/// # Errors
/// What `producer` fails with; `Store` and `DataKey` when nothing can be read any more.
pub fn restore_contents<T: ContentTarget, E: From<RepositoryError>>(
    reader: &Reader<'_>,
    target: &T,
    monitor: &dyn Monitor,
    workers: usize,
    producer: impl FnOnce(&mut ContentQueue<'_, T>) -> Result<(), E>,
) -> Result<(), E> {
    let end = End::default();
    let produced = std::thread::scope(|scope| {
        let (tasks, tasks_in) = bounded(workers);
        for _ in 0..workers.max(1) {
            let (tasks_in, worker) = (tasks_in.clone(), Worker { reader, target, monitor, end: &end });
            scope.spawn(move || worker.work(&tasks_in));
        }
        drop(tasks_in);
        let mut queue = ContentQueue {
            reader,
            target,
            monitor,
            tasks,
            end: &end,
            window: Vec::new(),
            files: 0,
            bytes: 0,
        };
        producer(&mut queue)?;
        queue.flush();
        Ok(())
    });
    end.failed.into_inner().map_or(produced, |error| Err(error.into()))
}

impl<T: ContentTarget> ContentQueue<'_, T> {
    /// Whether the restore was stopped: by the target, or because it is to be interrupted.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.end.is_near() || self.monitor.is_cancelled()
    }

    /// Queues all of a file's content; the target finishes the file once it is written.
    pub fn file(&mut self, file: T::File, content: &Content) {
        let file = Arc::new(file);
        if let Err((offset, error)) = self.push_all(&file, content) {
            let rest = (offset, content.bytes().saturating_sub(offset));
            self.end.unreadable(self.target, &file, rest, error);
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
            if item.is_hole() {
                if !self.target.hole(file, offset, item.length.into()) {
                    self.end.stop();
                }
            } else {
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
            while let Some(job) =
                window.next_if(|job| self.goes_along(job.location, &task.frames, &mut range))
            {
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
    fn goes_along(&self, location: Option<Location>, frames: &[Location], range: &mut Range<u64>) -> bool {
        let (Some(location), Some(last)) = (location, frames.last()) else { return false };
        if location == *last {
            return true;
        }
        let Some(next) = self.reader.frame_range(location) else { return false };
        let follows =
            location.pack == last.pack && next.start == range.end && next.end - range.start <= FETCH_BYTES;
        if follows {
            range.end = next.end;
        }
        follows
    }
}

/// One of the threads that read.
struct Worker<'a, T: ContentTarget> {
    reader: &'a Reader<'a>,
    target: &'a T,
    monitor: &'a dyn Monitor,
    end: &'a End,
}

impl<T: ContentTarget> Worker<'_, T> {
    fn work(&self, tasks: &Receiver<Task<T::File>>) {
        let mut there = Vec::new();
        for mut task in tasks {
            if !self.end.is_near() {
                self.leave_what_is_there(&mut task, &mut there);
                self.reader.fetch(&task.frames);
            }
            for job in task.jobs {
                if !self.end.is_near() && !self.monitor.is_cancelled() {
                    self.restore(&job);
                    self.monitor.advance(job.length.into());
                }
                finish(self.target, job.file);
            }
            self.reader.forget(&task.frames);
        }
    }

    /// Takes from a task what files have already, and with it the frames that nothing needs then.
    fn leave_what_is_there(&self, task: &mut Task<T::File>, buffer: &mut Vec<u8>) {
        let jobs = std::mem::take(&mut task.jobs);
        for job in jobs {
            let is_there = self.target.read_there(&job.file, job.offset, job.length as usize, buffer);
            if is_there && self.reader.is_chunk(job.id, buffer) {
                self.monitor.advance(job.length.into());
                finish(self.target, job.file);
            } else {
                task.jobs.push(job);
            }
        }
        task.frames.retain(|frame| task.jobs.iter().any(|job| job.location == Some(*frame)));
    }

    fn restore(&self, job: &Job<T::File>) {
        let chunk = self.reader.chunk(job.id).and_then(|chunk| {
            if chunk.as_bytes().len() == job.length as usize {
                return Ok(chunk);
            }
            let reason = "it has another length than the list says".into();
            Err(RepositoryError::Inconsistent { object: format!("chunk {}", job.id), reason })
        });
        match chunk {
            Ok(chunk) => {
                let _writing = stage!("write");
                if !self.target.write_at(&job.file, job.offset, chunk.as_bytes()) {
                    self.end.stop();
                }
            }
            Err(error) => self.end.unreadable(self.target, &job.file, (job.offset, job.length.into()), error),
        }
    }
}

/// Whether the restore goes on, and if not, why, unless the target wanted it so.
#[derive(Default)]
struct End {
    stopped: AtomicBool,
    failed: OnceLock<RepositoryError>,
}

impl End {
    fn is_near(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// What cannot be read is a part of a file; or, without the store or the right to it, all the rest.
    fn unreadable<T: ContentTarget>(
        &self,
        target: &T,
        file: &T::File,
        (offset, length): (u64, u64),
        error: RepositoryError,
    ) {
        if error.is_no_access() {
            let _ = self.failed.set(error);
            self.stop();
        } else {
            target.damaged(file, offset, length, &error);
        }
    }
}

/// Whoever holds the file last finishes it.
fn finish<T: ContentTarget>(target: &T, file: Arc<T::File>) {
    if let Some(file) = Arc::into_inner(file) {
        target.finish(file);
    }
}
