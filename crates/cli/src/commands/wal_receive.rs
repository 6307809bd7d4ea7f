//! `wal receive`: the log of a server as it is written, from a replication slot.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;
use strongroom_engines::postgres::{Programs, Receiver, Target};
use strongroom_engines::wal_segment;
use strongroom_format::wal_file::LogFile;
use strongroom_ops::wal_receive::{Spool, receive};
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::wal::{ArchivedFile, WalWriter};

use crate::arguments::WalReceive;
use crate::context::Context;
use crate::exit::{self, Outcome};
use crate::signals;

/// How often it is looked whether a file is finished.
const LOOKING: Duration = Duration::from_millis(100);
/// Between two tries to push what could not be pushed, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Pushes what is finished.
struct Pusher<'a> {
    context: &'a Context<'a>,
    spool: &'a Spool,
    source: &'a str,
    /// The server's system; 0 before it said so.
    server: &'a AtomicU64,
    /// What is in the repository, and in the spool all the same.
    pushed: BTreeSet<LogFile>,
}

pub(crate) fn run(context: &Context<'_>, arguments: &WalReceive) -> anyhow::Result<Outcome> {
    let receiver = Receiver {
        target: Target::parse(arguments.dbname.as_deref().unwrap_or_default())?,
        programs: Programs { folder: arguments.pg_bin.clone() },
        slot: arguments.slot.clone(),
        create_slot: arguments.create_slot,
    };
    let folder = match &arguments.spool {
        Some(folder) => std::path::absolute(folder)?,
        None => context.state_folder()?.join("wal-receive").join(&arguments.slot),
    };
    let spool = Spool::open(&folder)?;
    // What is wrong with the arguments is told now; a store that is away may come back.
    if let Err(error) = context.open() {
        let (message, code) = exit::describe(&error);
        if matches!(code, exit::USAGE | exit::ACCESS) {
            return Err(error);
        }
        context.terminal.warn(&format!("the repository cannot be opened yet: {message}"));
    }
    let server = AtomicU64::new(0);
    let mut pusher = Pusher {
        context,
        spool: &spool,
        source: &arguments.source,
        server: &server,
        pushed: BTreeSet::new(),
    };
    let is_server = |system| server.store(system, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(&receiver, &spool, &context.terminal, &is_server));
        let (mut pause, mut again) = (PAUSES.0, Instant::now());
        loop {
            // Looked at before the last time that all is pushed.
            let is_over = receiving.is_finished();
            if is_over || again <= Instant::now() {
                match pusher.push_all() {
                    Ok(()) => (pause, again) = (PAUSES.0, Instant::now()),
                    Err(error) => {
                        let (message, _) = exit::describe(&error);
                        let seconds = pause.as_secs();
                        context.terminal.warn(&format!(
                            "what was received stays in the spool, and is pushed again in {seconds} s: {message}"
                        ));
                        again = Instant::now() + pause;
                        pause = (pause * 2).min(PAUSES.1);
                    }
                }
            }
            if is_over {
                break;
            }
            std::thread::sleep(LOOKING);
        }
        match receiving.join() {
            Ok(ended) => Ok(ended?),
            Err(_) => anyhow::bail!("receiving ended in a panic"),
        }
    })?;
    Ok(Outcome::Done)
}

impl Pusher<'_> {
    /// All that is finished, with the repository open for as long as there is something to push.
    fn push_all(&mut self) -> anyhow::Result<()> {
        let files = self.waiting()?;
        if files.is_empty() {
            return Ok(());
        }
        let mut repository = self.context.open()?;
        let mut writer = WalWriter::new(&mut repository);
        for file in files {
            if signals::is_interrupted() {
                break;
            }
            self.push(&mut writer, file)?;
        }
        Ok(())
    }

    fn waiting(&mut self) -> anyhow::Result<Vec<LogFile>> {
        let finished = self.spool.finished()?;
        self.pushed.retain(|file| finished.contains(file));
        let is_known = self.server.load(Ordering::Relaxed) != 0;
        // A history does not say whose it is.
        let is_waiting = |file: &LogFile| {
            !self.pushed.contains(file) && (is_known || !matches!(file, LogFile::History(_)))
        };
        Ok(finished.into_iter().filter(is_waiting).collect())
    }

    fn push(&mut self, writer: &mut WalWriter<'_>, file: LogFile) -> anyhow::Result<()> {
        let path = self.spool.path(file);
        let mut content = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let system = match file {
            LogFile::History(_) | LogFile::Backup(..) => self.server.load(Ordering::Relaxed),
            LogFile::Segment(_) | LogFile::Partial(_) => wal_segment::system_of(&path, file, &mut content)?,
        };
        let archived = ArchivedFile { source: self.source.to_owned(), system, file };
        let _ = writer.push(&archived, &mut content)?;
        if self.context.global.json {
            self.context.json(&json!({
                "type": "wal_received", "source": self.source, "system_identifier": system.to_string(), "file": file.to_string(),
            }));
        } else {
            self.context.terminal.say(&format!("stored {file}"));
        }
        let _ = self.pushed.insert(file);
        // An earlier one may have stayed as the last.
        for file in self.pushed.iter() {
            self.spool.remove(*file)?;
        }
        Ok(())
    }
}
