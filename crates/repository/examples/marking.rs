//! What `cargo xtask index-scale` measures pruning with: a repository of many chunks and snapshots is made, and a prune
//! that changes nothing marks what they need. Prints one line of `name value` pairs.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool that prints")]

use std::error::Error;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use strongroom_chunker::ChunkerParams;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{Content, EntryKind, TreeEntry};
use strongroom_keys::Secret;
use strongroom_keys::random::OsRandom;
use strongroom_keys::unlock::Credential;
use strongroom_keys::wrap::WrapTo;
use strongroom_repository::backup::{BackupOptions, Sink};
use strongroom_repository::clock::SystemClock;
use strongroom_repository::monitor::{Monitor, Silent};
use strongroom_repository::prune::PruneOptions;
use strongroom_repository::tree::EntryCursor;
use strongroom_repository::{InitOptions, OpenOptions, Repository, RepositoryError, init};
use strongroom_store::{LocalStore, Store};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Chunks of a file.
const FILE_CHUNKS: u64 = 1000;
const CHUNK_BYTES: u32 = 4096;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["make", folder, chunks, snapshots] => make(Path::new(folder), chunks, snapshots),
        ["mark", folder] => mark(Path::new(folder)),
        _ => Err("make FOLDER CHUNKS SNAPSHOTS | mark FOLDER".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> OpenOptions {
    let key = Credential::KeyFile(Secret::new([7; 32]));
    OpenOptions::new(vec![key], Arc::new(OsRandom), Arc::new(SystemClock))
}

/// Each snapshot has as many files, and one of them is new.
fn make(folder: &Path, chunks: &str, snapshots: &str) -> Result<()> {
    let (chunks, snapshots): (u64, u64) = (chunks.parse()?, snapshots.parse()?);
    let files = chunks.div_ceil(FILE_CHUNKS);
    let store: Arc<dyn Store> = Arc::new(LocalStore::create(folder.join("repository"))?);
    let key = WrapTo::KeyFile { key: Secret::new([7; 32]) };
    let _ = init(&store, &[key], InitOptions::of_host("scale"), &OsRandom)?;
    let mut repository = Repository::open(store, options())?;
    let started = Instant::now();
    for number in 0..snapshots {
        let options = BackupOptions {
            source: "scale".into(),
            engine: "files".into(),
            host: "scale".into(),
            user: "scale".into(),
            tool: "scale".into(),
            arguments: vec![],
            tags: vec![],
            copied: None,
            force: false,
            delta: false,
            keep_base_keys: false,
            compression_level: 1,
            workers: 2,
            uploads: 2,
        };
        repository.backup(&options, &Silent, |sink| write(sink, number, files))?;
    }
    println!("seconds {:.2}", started.elapsed().as_secs_f64());
    Ok(())
}

fn write(sink: &Sink<'_, '_>, snapshot: u64, files: u64) -> std::result::Result<(), RepositoryError> {
    let chunker = ChunkerParams::Fixed { size: CHUNK_BYTES };
    let mut lane = sink.ordered_lane(chunker)?;
    let mut parent = match sink.parent() {
        Some(parent) => Some(EntryCursor::new(sink.reader(), &parent.manifest.tree)?),
        None => None,
    };
    for file in 0..files {
        let path = EntryPath::new(format!("{file:06}").into_bytes())
            .map_err(|source| RepositoryError::Unstorable { what: "a path".into(), source })?;
        if let Some(parent) = &mut parent
            && file != snapshot % files
            && let Some(known) = parent.seek(&path)?
        {
            lane.entry(known)?;
            continue;
        }
        let _ = lane
            .content(&"file", &mut Numbers { next: snapshot << 40 | file << 20, left: FILE_CHUNKS, at: 0 })?;
        let kind = EntryKind::Stream(Content::Inline(vec![]));
        lane.end(TreeEntry { path, kind, metadata: None, link_to: None })?;
    }
    lane.finish()?;
    sink.cut(Vec::new(), chunker, files * FILE_CHUNKS * u64::from(CHUNK_BYTES));
    Ok(())
}

/// Chunks that differ in their first bytes, and compress well.
struct Numbers {
    next: u64,
    left: u64,
    at: usize,
}

impl Read for Numbers {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        let length = buffer.len().min(CHUNK_BYTES as usize - self.at);
        buffer[..length].fill(0);
        if self.at == 0 && length >= 8 {
            buffer[..8].copy_from_slice(&self.next.to_le_bytes());
        }
        self.at += length;
        if self.at == CHUNK_BYTES as usize {
            (self.at, self.left, self.next) = (0, self.left - 1, self.next + 1);
        }
        Ok(length)
    }
}

/// When each part of a prune began.
struct Parts(Mutex<Vec<(String, Instant)>>);

impl Monitor for Parts {
    fn begin(&self, what: &str, _: Option<u64>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((what.to_owned(), Instant::now()));
    }
}

fn mark(folder: &Path) -> Result<()> {
    let store: Arc<dyn Store> = Arc::new(LocalStore::open(folder.join("repository"))?);
    let mut repository = Repository::open(store, options())?;
    let parts = Parts(Mutex::default());
    let started = Instant::now();
    let report = repository.prune(&PruneOptions { dry_run: true, ..PruneOptions::default() }, &parts)?;
    let whole = started.elapsed().as_secs_f64();
    let parts = parts.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    let began = parts.iter().position(|(what, _)| what.starts_with("marking")).ok_or("it did not mark")?;
    let ended = parts.get(began + 1).ok_or("it did not go on")?.1;
    println!(
        "seconds {whole:.2} marking {:.3} kept {} peak {}",
        (ended - parts[began].1).as_secs_f64(),
        report.kept.objects,
        peak_bytes()?
    );
    Ok(())
}

/// The most memory that this process has held.
fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmHWM")?.trim().parse()?;
    Ok(kib << 10)
}
