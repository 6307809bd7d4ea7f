//! What `cargo xtask scale` runs in processes of their own: each does one thing with a large repository or index, and
//! prints one line of `name value` pairs.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool that prints")]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use strongroom_chunker::ChunkerParams;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{Content, EntryKind, TreeEntry};
use strongroom_keys::Secret;
use strongroom_keys::random::OsRandom;
use strongroom_keys::unlock::Credential;
use strongroom_keys::wrap::WrapTo;
use strongroom_repository::backup::BackupOptions;
use strongroom_repository::cache::scale::{GeneratedIndex, chunk};
use strongroom_repository::clock::SystemClock;
use strongroom_repository::monitor::Silent;
use strongroom_repository::{InitOptions, OpenOptions, Repository, RepositoryError, init};
use strongroom_store::{LocalStore, Store};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Chunks that a worker looks up together: those of a batch of 1 MiB.
const TOGETHER: usize = 16;

/// Sources that snapshots are of.
const SOURCES: u64 = 10;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["build", folder, chunks, memory] => build(folder, chunks, memory),
        ["look-up", folder, chunks, memory, lookups] => look_up(folder, chunks, memory, lookups),
        ["snapshots", folder, count] => snapshots(Path::new(folder), count),
        _ => {
            Err("build FOLDER CHUNKS MEMORY | look-up FOLDER CHUNKS MEMORY LOOKUPS | snapshots FOLDER COUNT"
                .into())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Loads an index of so many chunks into an empty cache.
fn build(folder: &str, chunks: &str, memory: &str) -> Result<()> {
    let (chunks, memory) = (chunks.parse()?, memory.parse()?);
    let index = GeneratedIndex::open(Some(Path::new(folder)), chunks, memory)?;
    let started = Instant::now();
    index.load()?;
    let seconds = started.elapsed().as_secs_f64();
    let resident = index.resident()?;
    println!(
        "seconds {seconds:.2} runs {} entries {} peak {} resident {}",
        resident.runs,
        resident.entries,
        peak_bytes()?,
        resident.bytes
    );
    Ok(())
}

/// Opens the cache, and looks up on one core: what is there, what is not, in no order, and in that of a stream.
fn look_up(folder: &str, chunks: &str, memory: &str, lookups: &str) -> Result<()> {
    let (chunks, lookups): (u64, u64) = (chunks.parse()?, lookups.parse()?);
    let before = peak_bytes()?;
    let state_started = Instant::now();
    let index = GeneratedIndex::open(Some(Path::new(folder)), chunks, memory.parse()?)?;
    let prepared = state_started.elapsed().as_secs_f64();
    let state = peak_bytes()?;
    let started = Instant::now();
    if index.load()? != 0 {
        return Err("the cache was not as it was left".into());
    }
    let open = started.elapsed().as_secs_f64();
    let resident = index.resident()?;
    let hits = rate(&index, lookups, |number| scattered(number, chunks), true)?;
    let misses = rate(&index, lookups, |number| chunks + number, false)?;
    let stream = rate(&index, lookups.min(chunks), |number| number, true)?;
    for number in (0..1000).map(|number| scattered(number + lookups, chunks)).chain(0..1000.min(chunks)) {
        if !index.is_in_place(number)? {
            return Err(format!("chunk {number} is not at its place").into());
        }
    }
    println!(
        "prepared {prepared:.2} open {open:.3} hits {hits:.0} misses {misses:.0} stream {stream:.0} runs {} entries {} resident {} state {} peak {}",
        resident.runs,
        resident.entries,
        resident.bytes,
        state - before,
        peak_bytes()?
    );
    Ok(())
}

/// Lookups a second of this thread's time on a core: what else runs on the machine takes none of it.
fn rate(index: &GeneratedIndex, lookups: u64, number: impl Fn(u64) -> u64, known: bool) -> Result<f64> {
    let mut ids = Vec::with_capacity(TOGETHER);
    let started = seconds_on_a_core()?;
    let mut at = 0;
    while at < lookups {
        ids.clear();
        ids.extend((at..lookups.min(at + TOGETHER as u64)).map(|at| chunk(number(at))));
        at += ids.len() as u64;
        if index.are_known(&ids)?.iter().any(|is_known| *is_known != known) {
            return Err(
                format!("a chunk is wrongly said {}to be there", if known { "not " } else { "" }).into()
            );
        }
    }
    Ok(lookups as f64 / (seconds_on_a_core()? - started))
}

/// The `number`th chunk in no order.
fn scattered(number: u64, chunks: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)) % chunks
}

fn seconds_on_a_core() -> Result<f64> {
    let said = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = said.split(' ').next().ok_or("no schedstat")?.parse()?;
    Ok(nanoseconds / 1e9)
}

/// The most memory that this process has held.
fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmHWM")?.trim().parse()?;
    Ok(kib << 10)
}

/// Makes a repository of so many small snapshots, with a key file `key` beside it.
fn snapshots(folder: &Path, count: &str) -> Result<()> {
    let count: u64 = count.parse()?;
    let place = folder.join("repository");
    let store: Arc<dyn Store> = Arc::new(LocalStore::create(&place)?);
    let key = [7; 32];
    let made =
        init(&store, &[WrapTo::KeyFile { key: Secret::new(key) }], InitOptions::of_host("scale"), &OsRandom)?;
    let text = strongroom_keys::key_file::encode(&Secret::new(key), &made.fingerprint);
    std::fs::write(folder.join("key"), text.as_bytes())?;
    let options = OpenOptions {
        cache_folder: Some(folder.join("cache")),
        ..OpenOptions::new(
            vec![Credential::KeyFile(Secret::new(key))],
            Arc::new(OsRandom),
            Arc::new(SystemClock),
        )
    };
    let mut repository = Repository::open(store, options)?;
    let started = Instant::now();
    for number in 0..count {
        let options = BackupOptions {
            source: format!("db-{}", number % SOURCES),
            engine: "stdin".into(),
            host: "scale".into(),
            user: "scale".into(),
            tool: "scale".into(),
            arguments: vec![],
            tags: vec![],
            copied: None,
            force: false,
            delta: false,
            keep_base_keys: false,
            compression_level: 3,
            workers: 1,
            uploads: 1,
        };
        repository.backup(&options, &Silent, |sink| {
            let path = EntryPath::new("stream")
                .map_err(|source| RepositoryError::Unstorable { what: "a path".into(), source })?;
            let mut lane = sink.stream_lane(ChunkerParams::default())?;
            let bytes = lane.content(&"stream", &mut &number.to_le_bytes()[..])?;
            sink.cut(b"stream".to_vec(), ChunkerParams::default(), bytes);
            let kind = EntryKind::Stream(Content::Inline(vec![]));
            lane.end(TreeEntry { path, kind, metadata: None, link_to: None })?;
            lane.finish()
        })?;
    }
    println!("seconds {:.2} snapshots {count}", started.elapsed().as_secs_f64());
    Ok(())
}
