//! The main job on embedded defaults: three daily snapshots of a generated ledger, a restore by ID, a check.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, params};
use strongroom_engines::EngineError;
use strongroom_engines::files::{
    DirectoryTarget, Files, RestoreOptions, TargetError, TargetOptions, WalkOptions, restore,
};
use strongroom_format::SnapshotId;
use strongroom_format::path::EntryPath;
use strongroom_keys::random::{self, OsRandom};
use strongroom_keys::unlock::Credential;
use strongroom_keys::wrap::WrapTo;
use strongroom_keys::{KeysError, Secret};
use strongroom_repository::backup::BackupOptions;
use strongroom_repository::check::{CheckOptions, CheckReport};
use strongroom_repository::clock::SystemClock;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::{InitOptions, OpenOptions, Repository, RepositoryError, init};
use strongroom_store::{LocalStore, Store, StoreError};

const FIRST_DAY_BLOCKS: u64 = 40_000;
const DAILY_BLOCKS: u64 = 400;

/// Why the quickstart failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuickstartError {
    /// The ledger could not be made.
    #[error("the ledger {path} cannot be written")]
    Ledger {
        /// Where.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// Files of the quickstart could not be written or read.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No random bytes.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The repository failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A backup failed.
    #[error(transparent)]
    Backup(#[from] EngineError),
    /// A restore failed.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// What was restored is not what was backed up.
    #[error("snapshot {snapshot} did not restore to what was backed up: {what}")]
    Differs {
        /// The snapshot.
        snapshot: SnapshotId,
        /// What differs.
        what: String,
    },
}

/// One day.
#[derive(Debug, Clone)]
pub struct Day {
    /// Its snapshot.
    pub snapshot: SnapshotId,
    /// Blocks of the chain by then.
    pub blocks: u64,
    /// Plain bytes of the snapshot.
    pub bytes: u64,
    /// Plain bytes that were new.
    pub new_bytes: u64,
    /// Bytes stored.
    pub stored_bytes: u64,
}

/// What the quickstart did.
#[derive(Debug)]
pub struct QuickstartReport {
    /// Its folder.
    pub folder: PathBuf,
    /// The repository.
    pub repository: PathBuf,
    /// Its key file.
    pub key_file: PathBuf,
    /// Its fingerprint.
    pub fingerprint: String,
    /// The days.
    pub days: Vec<Day>,
    /// The snapshot that was restored and compared byte for byte.
    pub restored: SnapshotId,
    /// Bytes compared.
    pub compared_bytes: u64,
    /// What the check found.
    pub check: CheckReport,
}

/// Runs it below `folder`, which is created and kept. `told` is called after every day.
///
/// # Errors
/// Whatever goes wrong; `Differs` would be a defect of this program.
pub fn quickstart(
    folder: &Path,
    host: &str,
    tool: &str,
    workers: usize,
    monitor: &dyn Monitor,
    told: &mut dyn FnMut(&Day),
) -> Result<QuickstartReport, QuickstartError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| QuickstartError::File { path, source }
    };
    let data = folder.join("node");
    std::fs::create_dir_all(&data).map_err(file(&data))?;
    let key = Secret::new(random::array(&OsRandom)?);
    let repository_path = folder.join("repository");
    let store: Arc<dyn Store> = Arc::new(LocalStore::create(&repository_path)?);
    let made = init(&store, &[WrapTo::KeyFile { key: key.clone() }], InitOptions::of_host(host), &OsRandom)?;
    let fingerprint = made.fingerprint;
    let key_path = folder.join("repository.key");
    write_private(&key_path, strongroom_keys::key_file::encode(&key, &fingerprint).as_bytes())
        .map_err(file(&key_path))?;
    let options = OpenOptions {
        cache_folder: Some(folder.join("cache")),
        fingerprint: Some(fingerprint.clone()),
        ..OpenOptions::new(vec![Credential::KeyFile(key)], Arc::new(OsRandom), Arc::new(SystemClock))
    };
    let mut repository = Repository::open(store, options)?;

    let ledger = data.join("chain.sqlite");
    let engine = Files { roots: vec![data.clone()], options: WalkOptions::default() };
    let backup_options = BackupOptions {
        source: "ledger".into(),
        engine: "files".into(),
        host: host.to_owned(),
        user: String::new(),
        tool: tool.to_owned(),
        arguments: Vec::new(),
        tags: Vec::new(),
        copied: None,
        force: false,
        delta: true,
        keep_base_keys: false,
        compression_level: 3,
        workers,
        uploads: 2,
    };
    let (mut days, mut copies, mut blocks) = (Vec::new(), Vec::new(), 0);
    for day in 0..3_u64 {
        let grow = if day == 0 { FIRST_DAY_BLOCKS } else { DAILY_BLOCKS };
        extend_ledger(&ledger, blocks, grow)
            .map_err(|source| QuickstartError::Ledger { path: ledger.clone(), source })?;
        blocks += grow;
        let copy = folder.join(format!("day-{}.sqlite", day + 1));
        std::fs::copy(&ledger, &copy).map_err(file(&copy))?;
        let report = crate::backup(&mut repository, &engine, &backup_options, monitor)?;
        let day = Day {
            snapshot: report.id,
            blocks,
            bytes: report.totals.bytes,
            new_bytes: report.totals.new_bytes,
            stored_bytes: report.totals.stored_bytes,
        };
        told(&day);
        days.push(day);
        copies.push(copy);
    }

    // The second day, so that it is neither the first nor the last.
    let restored = days[1].snapshot;
    let compared_bytes = restore_and_compare(
        &mut repository,
        restored,
        &data,
        &folder.join("restored"),
        &copies[1],
        workers,
        monitor,
    )?;
    let check = repository.check(
        &CheckOptions {
            packs: true,
            read_data: true,
            sample_percent: None,
            keys: true,
            share: None,
            workers,
        },
        monitor,
    )?;
    Ok(QuickstartReport {
        folder: folder.to_owned(),
        repository: repository_path,
        key_file: key_path,
        fingerprint,
        days,
        restored,
        compared_bytes,
        check,
    })
}

fn restore_and_compare(
    repository: &mut Repository,
    id: SnapshotId,
    data: &Path,
    into: &Path,
    expected: &Path,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<u64, QuickstartError> {
    let differs = |what: String| QuickstartError::Differs { snapshot: id, what };
    repository.load_index()?;
    let snapshot = repository
        .snapshots()
        .iter()
        .find(|snapshot| snapshot.id() == id)
        .ok_or_else(|| differs("it is not there".into()))?;
    let absolute = std::path::absolute(data)
        .map_err(|source| QuickstartError::File { path: data.to_owned(), source })?;
    let subtree = EntryPath::new(
        std::os::unix::ffi::OsStrExt::as_bytes(absolute.as_os_str()).get(1..).unwrap_or_default(),
    )
    .map_err(|error| differs(error.to_string()))?;
    let target = DirectoryTarget::open(into, TargetOptions::default())?;
    let report = restore(
        &Reader::new(repository),
        snapshot,
        &target,
        &RestoreOptions { filter: None, subtree: Some(subtree), workers },
        monitor,
    )?;
    if let Some(trouble) = report.troubles.first() {
        return Err(differs(trouble.message.clone()));
    }
    let read = |path: PathBuf| std::fs::read(&path).map_err(|source| QuickstartError::File { path, source });
    let (found, expected) = (read(into.join("chain.sqlite"))?, read(expected.to_owned())?);
    if found == expected {
        Ok(found.len() as u64)
    } else {
        Err(differs("chain.sqlite has other bytes".into()))
    }
}

/// Appends `count` blocks, each naming the one before, with a few transactions each.
fn extend_ledger(path: &Path, first: u64, count: u64) -> Result<(), rusqlite::Error> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS block (height INTEGER PRIMARY KEY, previous BLOB NOT NULL, hash BLOB NOT NULL, time INTEGER NOT NULL);
         CREATE TABLE IF NOT EXISTS payment (id INTEGER PRIMARY KEY, height INTEGER NOT NULL, sender TEXT NOT NULL, receiver TEXT NOT NULL, amount INTEGER NOT NULL, memo TEXT NOT NULL);",
    )?;
    let transaction = connection.transaction()?;
    {
        let mut block = transaction.prepare("INSERT INTO block VALUES (?1, ?2, ?3, ?4)")?;
        let mut payment = transaction.prepare(
            "INSERT INTO payment (height, sender, receiver, amount, memo) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for height in first..first + count {
            let (previous, hash) = (block_hash(height.wrapping_sub(1)), block_hash(height));
            let number = i64::try_from(height).unwrap_or(i64::MAX);
            block.execute(params![number, &previous[..], &hash[..], 1_700_000_000 + number * 12])?;
            for n in 0..4_usize {
                let (from, to) = (u32::from(hash[n]), u32::from(hash[n + 8]));
                let memo = format!("invoice {number}-{n}");
                payment.execute(params![
                    number,
                    format!("wallet-{from:04}"),
                    format!("wallet-{to:04}"),
                    from * 1000 + to,
                    memo
                ])?;
            }
        }
    }
    transaction.commit()
}

/// A stand-in for a hash: well spread, and the same for the same height.
fn block_hash(height: u64) -> [u8; 32] {
    let mut state = height ^ 0x9e37_79b9_7f4a_7c15;
    let mut out = [0; 32];
    for part in out.chunks_mut(8) {
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
        part.copy_from_slice(&state.to_le_bytes());
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    }
    out
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = std::os::unix::fs::OpenOptionsExt::mode(
        std::fs::OpenOptions::new().write(true).create_new(true),
        0o600,
    )
    .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
