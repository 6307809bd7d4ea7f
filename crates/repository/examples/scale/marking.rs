//! A prune of many chunks and snapshots that changes nothing: it marks what they need.

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use strongroom_chunker::ChunkerParams;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{Content, EntryKind, TreeEntry};
use strongroom_repository::backup::Sink;
use strongroom_repository::monitor::{Monitor, Silent};
use strongroom_repository::prune::PruneOptions;
use strongroom_repository::tree::EntryCursor;
use strongroom_repository::{Repository, RepositoryError};
use strongroom_store::{LocalStore, Store};

use super::{Result, backup_options, new_repository, open_options, peak_bytes};

/// Chunks of a file.
const FILE_CHUNKS: u64 = 1000;
const CHUNK_BYTES: u32 = 4096;

/// Each snapshot has as many files, and one of them is new.
pub(super) fn make(folder: &Path, chunks: &str, snapshots: &str) -> Result<()> {
    let (chunks, snapshots): (u64, u64) = (chunks.parse()?, snapshots.parse()?);
    let files = chunks.div_ceil(FILE_CHUNKS);
    let (mut repository, _) = new_repository(folder, open_options())?;
    let started = Instant::now();
    for number in 0..snapshots {
        let options = backup_options("scale".into(), "files");
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

pub(super) fn mark(folder: &Path) -> Result<()> {
    let store: Arc<dyn Store> = Arc::new(LocalStore::open(folder.join("repository"))?);
    let mut repository = Repository::open(store, open_options())?;
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
