//! What `cargo xtask index-scale` runs in processes of their own: each does one thing with a large repository or index, and
//! prints one line of `name value` pairs.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool that prints")]

mod index;
mod listing;
mod marking;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use strongroom_keys::Secret;
use strongroom_keys::random::OsRandom;
use strongroom_keys::unlock::Credential;
use strongroom_keys::wrap::WrapTo;
use strongroom_repository::backup::BackupOptions;
use strongroom_repository::clock::SystemClock;
use strongroom_repository::{InitOptions, OpenOptions, Repository, init};
use strongroom_store::{LocalStore, Store};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What opens the repositories.
const KEY: [u8; 32] = [7; 32];

const USAGE: &str = "build FOLDER CHUNKS MEMORY | look-up FOLDER CHUNKS MEMORY LOOKUPS | snapshots FOLDER COUNT | make FOLDER CHUNKS SNAPSHOTS | mark FOLDER";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["build", folder, chunks, memory] => index::build(folder, chunks, memory),
        ["look-up", folder, chunks, memory, lookups] => index::look_up(folder, chunks, memory, lookups),
        ["snapshots", folder, count] => listing::make(Path::new(folder), count),
        ["make", folder, chunks, snapshots] => marking::make(Path::new(folder), chunks, snapshots),
        ["mark", folder] => marking::mark(Path::new(folder)),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn open_options() -> OpenOptions {
    let key = Credential::KeyFile(Secret::new(KEY));
    OpenOptions::new(vec![key], Arc::new(OsRandom), Arc::new(SystemClock))
}

/// A new repository in `folder/repository`, and its fingerprint.
fn new_repository(folder: &Path, options: OpenOptions) -> Result<(Repository, String)> {
    let store: Arc<dyn Store> = Arc::new(LocalStore::create(folder.join("repository"))?);
    let key = WrapTo::KeyFile { key: Secret::new(KEY) };
    let made = init(&store, &[key], InitOptions::of_host("scale"), &OsRandom)?;
    Ok((Repository::open(store, options)?, made.fingerprint))
}

fn backup_options(source: String, engine: &str) -> BackupOptions {
    BackupOptions {
        source,
        engine: engine.into(),
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
    }
}

/// The most memory that this process has held.
fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmHWM")?.trim().parse()?;
    Ok(kib << 10)
}
