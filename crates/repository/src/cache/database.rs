//! The database of a cache: small values, which index objects are known, packs with their footers, and which runs count.
//!
//! A run counts when it is listed here, and is listed in the transaction that adds its packs: so a crash leaves files
//! that nobody names, and nothing else.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::error::CacheError;
use super::run::RunSummary;

const SCHEMA_VERSION: i64 = 5;
/// Numbers of packs and runs are never given twice: other processes may still go by the old ones. What lookups need of
/// packs lies apart from the footers, which are long.
const SCHEMA: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE index_object (id BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE pack (
        no INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL, description BLOB NOT NULL, kind INTEGER NOT NULL,
        trusted INTEGER NOT NULL, chunks INTEGER NOT NULL, UNIQUE (id, description));
    CREATE TABLE broken (id BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE log_head (id BLOB PRIMARY KEY, head BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE footer (no INTEGER PRIMARY KEY, header BLOB NOT NULL, footer BLOB NOT NULL);
    CREATE TABLE run (no INTEGER PRIMARY KEY, entries INTEGER NOT NULL, checksum BLOB NOT NULL);
    CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO counter VALUES ('run', 0), ('changed', 0), ('forgotten', 0);";

pub(super) type Sql<T> = Result<T, rusqlite::Error>;

/// What is counted besides packs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Counter {
    /// The last number given to a run.
    Run,
    /// How often packs or runs changed.
    Changed,
    /// How often packs were taken away, or what is trusted changed.
    Forgotten,
}

impl Counter {
    fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Changed => "changed",
            Self::Forgotten => "forgotten",
        }
    }

    pub(super) fn read(self, connection: &Connection) -> Sql<u64> {
        let mut query = connection.prepare_cached("SELECT value FROM counter WHERE name = ?1")?;
        query.query_row([self.name()], |row| row.get(0))
    }

    /// Counts on; gives the new value.
    pub(super) fn count(self, transaction: &Transaction<'_>) -> Sql<u64> {
        let mut query = transaction
            .prepare_cached("UPDATE counter SET value = value + 1 WHERE name = ?1 RETURNING value")?;
        query.query_row([self.name()], |row| row.get(0))
    }
}

/// One connection, used by one thread at a time.
pub(super) struct Database(Mutex<Connection>);

impl Database {
    /// Opens the database at `path`, or makes it.
    pub(super) fn open(
        path: &Path,
        fingerprint: &str,
        cache_bytes: u64,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
            #[cfg(unix)]
            std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        }
        // One process at a time: SQLite waits for nobody while it switches to its write-ahead log.
        let lock =
            File::options().write(true).create(true).truncate(false).open(path.with_extension("lock"))?;
        lock.lock()?;
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(60))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        Ok(Self::prepared(connection, fingerprint, cache_bytes)?)
    }

    /// A database of this process, in memory until it grows: then in a file without a name below `folder`, or in the
    /// system's folder for temporary files.
    pub(super) fn temporary(
        folder: Option<&Path>,
        fingerprint: &str,
        cache_bytes: u64,
    ) -> Result<Self, CacheError> {
        let named = folder.and_then(|folder| tempfile::NamedTempFile::new_in(folder).ok());
        let connection = match named {
            // Its name goes as soon as it is open: a process that is killed leaves nothing behind.
            Some(file) => {
                let connection = Connection::open(file.path())?;
                connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
                connection.pragma_update(None, "journal_mode", "MEMORY")?;
                connection
            }
            None => Connection::open("")?,
        };
        Ok(Self::prepared(connection, fingerprint, cache_bytes)?)
    }

    fn prepared(mut connection: Connection, fingerprint: &str, cache_bytes: u64) -> Sql<Self> {
        connection.pragma_update(None, "synchronous", "OFF")?;
        // Negative: KiB instead of pages.
        let kib = i64::try_from(cache_bytes >> 10).unwrap_or(i64::MAX);
        connection.pragma_update(None, "cache_size", -kib)?;
        prepare(&mut connection, fingerprint)?;
        Ok(Self(Mutex::new(connection)))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read<T>(&self, query: impl FnOnce(&Connection) -> Sql<T>) -> Result<T, CacheError> {
        query(&self.lock()).map_err(CacheError::Database)
    }

    /// Several queries that see the same.
    pub(super) fn snapshot<T>(
        &self,
        queries: impl FnOnce(&Transaction<'_>) -> Result<T, CacheError>,
    ) -> Result<T, CacheError> {
        self.transaction(TransactionBehavior::Deferred, queries)
    }

    pub(super) fn write<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, CacheError>,
    ) -> Result<T, CacheError> {
        self.transaction(TransactionBehavior::Immediate, change)
    }

    fn transaction<T>(
        &self,
        behavior: TransactionBehavior,
        run: impl FnOnce(&Transaction<'_>) -> Result<T, CacheError>,
    ) -> Result<T, CacheError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(behavior)?;
        let result = run(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    pub(super) fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, CacheError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
                .query_row([key], |row| row.get(0))
                .optional()
        })
    }

    pub(super) fn set_meta(&self, key: &str, value: &[u8]) -> Result<(), CacheError> {
        self.read(|connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
                .execute(params![key, value])
                .map(drop)
        })
    }
}

/// The names of a database's files.
pub(super) fn files_of(path: &Path) -> impl Iterator<Item = PathBuf> {
    ["", "-wal", "-shm"].into_iter().map(|suffix| {
        let mut name = path.to_owned().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    })
}

fn prepare(connection: &mut Connection, fingerprint: &str) -> Sql<()> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let same = version == SCHEMA_VERSION
        && connection
            .query_row("SELECT value FROM meta WHERE key = 'fingerprint'", [], |row| row.get::<_, Vec<u8>>(0))
            .optional()?
            .as_deref()
            == Some(fingerprint.as_bytes());
    if same {
        return Ok(());
    }
    if version != 0 {
        // Another schema or repository: the caller removes the file and starts over.
        return Err(rusqlite::Error::InvalidQuery);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.execute("INSERT INTO meta VALUES ('fingerprint', ?1)", [fingerprint.as_bytes()])?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()
}

/// The runs that count, smallest first.
pub(super) fn runs(connection: &Connection) -> Result<Vec<(u64, RunSummary)>, CacheError> {
    type Row = (u64, u32, Vec<u8>);
    let rows: Vec<Row> = connection
        .prepare_cached("SELECT no, entries, checksum FROM run ORDER BY entries, no")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Sql<_>>()?;
    rows.into_iter()
        .map(|(number, entries, checksum)| {
            let checksum = checksum
                .try_into()
                .map_err(|_| CacheError::Damaged { what: "the list of runs of the index".into() })?;
            Ok((number, RunSummary { entries, checksum }))
        })
        .collect()
}

pub(super) fn list_run(transaction: &Transaction<'_>, number: u64, summary: &RunSummary) -> Sql<()> {
    transaction
        .prepare_cached("INSERT INTO run VALUES (?1, ?2, ?3)")?
        .execute(params![number, summary.entries, &summary.checksum[..]])
        .map(drop)
}

/// Takes everything away that came from the index. The files of runs are swept later.
pub(super) fn clear(transaction: &Transaction<'_>) -> Result<(), CacheError> {
    transaction
        .execute_batch("DELETE FROM run; DELETE FROM footer; DELETE FROM pack; DELETE FROM index_object;")?;
    Counter::Forgotten.count(transaction)?;
    Counter::Changed.count(transaction)?;
    Ok(())
}
