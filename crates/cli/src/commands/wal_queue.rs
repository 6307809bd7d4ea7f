//! `wal-push --queue-max`: what waits is pushed as long as it is not too much; then it is dropped.
//!
//! Up to the limit a push is one like any other. Beyond it, whatever keeps the file from being stored within seconds has all
//! that waits dropped, so that the server goes on; and a quarter beyond it pushing is not even tried, because then it is
//! slower than what the server writes.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::json;
use strongroom_ops::wal_queue::{Dropped, DroppedFiles, bytes_of, ready};
use strongroom_repository::clock::{Clock as _, SystemClock};
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::wal::ArchivedFile;

use super::wal_push::{identify, push};
use crate::arguments::WalPush;
use crate::context::{Context, host_name};
use crate::exit::{self, Outcome};
use crate::{render, signals};

/// How long a push may take while too much waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked how much waits.
const LOOKING: Duration = Duration::from_millis(500);

/// Of a server's log: what it has ready, and how much may be.
struct Queue<'a> {
    context: &'a Context<'a>,
    file: ArchivedFile,
    pg_wal: &'a Path,
    limit_bytes: u64,
    dropped: Dropped,
}

pub(super) fn run(context: &Context<'_>, arguments: &WalPush, limit_bytes: u64) -> anyhow::Result<Outcome> {
    let archive = &arguments.archive;
    let (file, _) = identify(&arguments.path, &archive.source, archive.system_identifier)?;
    let queue = Queue {
        context,
        file,
        pg_wal: arguments.path.parent().unwrap_or(Path::new("")),
        limit_bytes,
        dropped: dropped(context)?,
    };
    if queue.dropped.tell_server(&queue.file.source, queue.file.system, queue.file.file)? {
        context.terminal.warn(&format!("{} was dropped with others, and is in no archive", queue.file));
        return Ok(Outcome::Done);
    }
    if queue.waiting_bytes() > limit_bytes.saturating_add(limit_bytes / 4) {
        return queue.drop_all("it is not pushed as fast as it is written");
    }
    std::thread::scope(|scope| {
        let (ended, end) = channel();
        scope.spawn(move || ended.send(push(context, arguments)));
        let mut too_much: Option<Instant> = None;
        loop {
            match end.recv_timeout(LOOKING) {
                Ok(result) => return queue.end(result),
                Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the push ended in a panic"),
                Err(RecvTimeoutError::Timeout) if queue.waiting_bytes() <= limit_bytes => too_much = None,
                Err(RecvTimeoutError::Timeout) => {
                    if too_much.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                        let _ = queue.drop_all("a push does not end")?;
                        // What is being pushed may be stored all the same, which does no harm; nobody waits for it.
                        std::process::exit(0);
                    }
                }
            }
        }
    })
}

/// What this host dropped.
pub(super) fn dropped(context: &Context<'_>) -> anyhow::Result<Dropped> {
    Ok(Dropped::new(&context.state_folder()?.join("wal-dropped")))
}

impl Queue<'_> {
    fn waiting_bytes(&self) -> u64 {
        bytes_of(self.pg_wal, &ready(self.pg_wal))
    }

    fn end(&self, result: anyhow::Result<Outcome>) -> anyhow::Result<Outcome> {
        let reason = match &result {
            Ok(Outcome::Done) => {
                self.tell_repository();
                return result;
            }
            // It was said already.
            Ok(Outcome::Code(code)) => format!("its agent could not push (exit code {code})"),
            Err(error) => exit::describe(error).0,
        };
        // A server that ends its archiver asks again.
        if signals::is_interrupted() || self.waiting_bytes() <= self.limit_bytes {
            return result;
        }
        self.drop_all(&reason)
    }

    fn drop_all(&self, reason: &str) -> anyhow::Result<Outcome> {
        let mut files = ready(self.pg_wal);
        if !files.contains(&self.file.file) {
            files.push(self.file.file);
        }
        let untold = files.iter().copied().filter(|file| *file != self.file.file).collect();
        let dropped = DroppedFiles {
            source: self.file.source.clone(),
            system: self.file.system,
            time_ms: SystemClock.now_ns() / 1_000_000,
            waiting_bytes: bytes_of(self.pg_wal, &files),
            limit_bytes: self.limit_bytes,
            reason: reason.to_owned(),
            files,
            untold,
            is_noted: false,
        };
        let _ = self.dropped.keep(&dropped)?;
        self.context.terminal.warn(&describe(&dropped));
        Ok(Outcome::Done)
    }

    /// What was dropped is told as soon as the repository can be reached again. What is not told now is told next time.
    fn tell_repository(&self) {
        let tell = || {
            let dropped = self.dropped.list()?;
            let mut untold = dropped.iter().filter(|(_, files)| !files.is_noted).peekable();
            if untold.peek().is_none() {
                return anyhow::Ok(());
            }
            let mut repository = self.context.open()?;
            for (path, files) in untold {
                let _ = repository.note("wal_dropped", None, &to_json(files).to_string())?;
                self.dropped.set_noted(path, files)?;
            }
            Ok(())
        };
        if let Err(error) = tell() {
            let (message, _) = exit::describe(&error);
            self.context
                .terminal
                .warn(&format!("that a part of the log was dropped is not noted yet: {message}"));
        }
    }
}

/// For people.
pub(super) fn describe(dropped: &DroppedFiles) -> String {
    let ranges: Vec<String> = dropped
        .ranges()
        .iter()
        .map(|range| format!("{} to {} ({} segments)", range.first, range.last, range.segments))
        .collect();
    format!(
        "DROPPED of the log of source {}, system {}: {}; {} files in all. {} waited to be archived, and --queue-max is {}. They \
are in no archive, and recovery ends before them: make a new base backup now. They could not be pushed: {}",
        render::safe(&dropped.source),
        dropped.system,
        ranges.join(", "),
        dropped.files.len(),
        render::bytes(dropped.waiting_bytes),
        render::bytes(dropped.limit_bytes),
        dropped.reason
    )
}

/// For machines, and for the journal.
pub(super) fn to_json(dropped: &DroppedFiles) -> serde_json::Value {
    let ranges: Vec<_> = dropped
        .ranges()
        .iter()
        .map(|range| json!({ "first": range.first.to_string(), "last": range.last.to_string(), "segments": range.segments }))
        .collect();
    json!({
        "type": "wal_dropped", "host": host_name(), "source": dropped.source, "system_identifier": dropped.system.to_string(),
        "time": render::rfc3339_ms(dropped.time_ms), "ranges": ranges, "files": dropped.files.len(),
        "waiting_bytes": dropped.waiting_bytes, "limit_bytes": dropped.limit_bytes, "reason": dropped.reason,
    })
}
