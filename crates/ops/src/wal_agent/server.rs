//! The agent itself: a socket, those who ask, and those who push.

use std::fs::{File, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::message::{Reply, Request, read_line, write_line};
use super::queue::{Job, Queue, Refusal};
use crate::wal_queue::ready;

/// Files that are pushed ahead of the one that is asked for.
const AHEAD: usize = 8;
/// How long somebody who connects may take to say what he wants.
const ASKING: Duration = Duration::from_secs(10);
/// How long nobody may come until whoever accepts looks whether all is over.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// How often the agent looks whether it is to end.
const LOOKING: Duration = Duration::from_millis(100);

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// There is one already.
    #[error("another agent serves {}", .socket.display())]
    Another {
        /// Its socket.
        socket: PathBuf,
    },
    /// It cannot listen.
    #[error("no agent can listen at {}", .socket.display())]
    Listen {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What an agent is made of.
pub struct Agent<'a> {
    /// Where it listens; beside it lies a file that only one agent at a time has locked.
    pub socket: &'a Path,
    /// Requests that say otherwise are not for it.
    pub configuration: &'a str,
    /// Threads that push.
    pub workers: usize,
    /// It ends when nobody has asked for so long.
    pub idle: Duration,
    /// Whether it is to end.
    pub is_stopped: &'a (dyn Fn() -> bool + Sync),
    /// Tells which file a request is about.
    pub identify: &'a (dyn Fn(&Request) -> Result<Job, Refusal> + Sync),
    /// Takes files from the queue and pushes them, until there are no more.
    pub push: &'a (dyn Fn(&Queue) + Sync),
}

impl Agent<'_> {
    /// Serves until it is stopped, or nobody has asked for long. What is being pushed then is pushed to its end.
    ///
    /// # Errors
    /// [`AgentError`].
    pub fn serve(&self) -> Result<(), AgentError> {
        let listen = |source| AgentError::Listen { socket: self.socket.to_owned(), source };
        let mut options = File::options();
        let lock = options.create(true).truncate(false).write(true).open(self.socket.with_extension("lock"));
        let lock = lock.map_err(listen)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(AgentError::Another { socket: self.socket.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(listen(source)),
        }
        // For people.
        lock.set_len(0).and_then(|()| writeln!(&lock, "{}", std::process::id())).map_err(listen)?;
        // Of one that was killed.
        match std::fs::remove_file(self.socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(listen(error)),
            _ => {}
        }
        let listener = UnixListener::bind(self.socket).map_err(listen)?;
        std::fs::set_permissions(self.socket, Permissions::from_mode(0o600)).map_err(listen)?;
        let queue = Queue::default();
        let (is_over, asked) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..self.workers.max(1) {
                scope.spawn(|| (self.push)(&queue));
            }
            let accepting = || {
                while !is_over.load(Ordering::Relaxed) {
                    // Not for ever: when the socket's folder is gone nobody can come to say that it is over.
                    let mut coming = [PollFd::new(&listener, PollFlags::IN)];
                    if !matches!(poll(&mut coming, Some(&PATIENCE)), Ok(1..)) {
                        continue;
                    }
                    let accepted = listener.accept();
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                    if let Ok((stream, _)) = accepted {
                        let queue = &queue;
                        scope.spawn(move || self.answer(&stream, queue));
                    }
                }
            };
            scope.spawn(accepting);
            self.wait_for_the_end(&queue, &asked);
            is_over.store(true, Ordering::Relaxed);
            queue.end();
            // Whoever waits for somebody to come returns; whoever comes later pushes by himself, or starts another.
            let _ = UnixStream::connect(self.socket);
            let _ = std::fs::remove_file(self.socket);
        });
        Ok(())
    }

    fn wait_for_the_end(&self, queue: &Queue, asked: &AtomicU64) {
        let (mut before, mut since) = (0, Instant::now());
        while !(self.is_stopped)() {
            let now = asked.load(Ordering::Relaxed);
            if now != before || !queue.is_idle() {
                (before, since) = (now, Instant::now());
            }
            if since.elapsed() >= self.idle {
                return;
            }
            std::thread::sleep(LOOKING.min(self.idle));
        }
    }

    fn answer(&self, stream: &UnixStream, queue: &Queue) {
        let _ = stream.set_read_timeout(Some(ASKING));
        let Ok(request) = read_line::<Request>(stream) else { return };
        let failed = |refusal: Refusal| Reply::Failed { message: refusal.message, code: refusal.code };
        let reply = if request.configuration == self.configuration {
            match (self.identify)(&request) {
                Ok(job) => {
                    let key = job.key.clone();
                    queue.push(job);
                    self.push_ahead(&request, queue);
                    match queue.wait(&key) {
                        Some(Ok(())) => Reply::Done,
                        Some(Err(refusal)) => failed(refusal),
                        None => Reply::NotMine,
                    }
                }
                Err(refusal) => failed(refusal),
            }
        } else {
            Reply::NotMine
        };
        // Whoever asked may be gone: what is done is done.
        let _ = write_line(stream, &reply);
    }

    /// What the server will ask for next. What is wrong with it, it is told then.
    fn push_ahead(&self, request: &Request, queue: &Queue) {
        let Some(folder) = request.path.parent() else { return };
        let own = request.path.file_name().unwrap_or_default();
        let names = ready(folder).into_iter().map(|file| file.to_string());
        for name in names.filter(|name| own != name.as_str()).take(AHEAD) {
            if let Ok(job) = (self.identify)(&Request { path: folder.join(name), ..request.clone() }) {
                queue.push_ahead(job);
            }
        }
    }
}
