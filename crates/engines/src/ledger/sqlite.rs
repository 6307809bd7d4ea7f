//! SQLite files: read through a transaction, page by page, so that what comes is what SQLite's own backup would give, without a
//! copy on disk.
//!
//! Nothing is written to the database: it is opened to be read, its write-ahead log is neither checkpointed nor deleted. For
//! one in WAL mode SQLite itself makes the `-shm` file that readers share, where nobody has it open.
//!
//! While a connection is open no other descriptor of its file may be closed in this process: the kernel would drop its locks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Rows, ffi};

use super::error::LedgerError;

/// What every file of SQLite starts with.
pub(super) const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Beside a database: what is in it through the transaction, or means nothing without the process that wrote it.
pub(super) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];
/// Findings of a check that are kept.
const FINDINGS: usize = 20;
/// Pages that SQLite keeps in memory, KiB.
const CACHE_KIB: i32 = 16 << 10;

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    connection: Connection,
    /// Sees whether others commit, which a connection in a transaction does not; none for a file that is taken to be at rest.
    watcher: Option<Connection>,
    /// What it saw last.
    seen: i64,
}

impl Database {
    /// Opens it to be read.
    ///
    /// # Errors
    /// `Sqlite` and others of it.
    pub(super) fn open(path: &Path, lock_timeout: Duration) -> Result<Self, LedgerError> {
        let open = |uri: &str| connect(uri, lock_timeout).map_err(|error| of_sqlite(path, error));
        let uri = uri_of(path);
        let connection = open(&uri)?;
        match connection.query_row("PRAGMA data_version", [], |row| row.get(0)) {
            Ok(seen) => {
                let watcher = Some(open(&uri)?);
                Ok(Self { path: path.to_owned(), connection, watcher, seen })
            }
            // Of another's directory, at rest: readers have nowhere to put what they share, and need nothing of it.
            Err(error) if is_unopenable(&error) && has_no_log(path) => {
                drop(connection);
                let connection = open(&format!("{uri}&immutable=1"))?;
                Ok(Self { path: path.to_owned(), connection, watcher: None, seen: 0 })
            }
            Err(error) => Err(of_sqlite(path, error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether nothing but the file's times can tell that it was written to.
    pub(super) fn is_taken_for_at_rest(&self) -> bool {
        self.watcher.is_none()
    }

    /// Notes what is committed now.
    pub(super) fn watch(&mut self) -> Result<(), LedgerError> {
        self.seen = self.version()?;
        Ok(())
    }

    /// Whether nothing was committed since.
    pub(super) fn is_quiet(&self) -> Result<bool, LedgerError> {
        Ok(self.version()? == self.seen)
    }

    fn version(&self) -> Result<i64, LedgerError> {
        let Some(watcher) = &self.watcher else { return Ok(0) };
        let version = watcher.query_row("PRAGMA data_version", [], |row| row.get(0));
        version.map_err(|error| of_sqlite(&self.path, error))
    }

    /// Begins the transaction that all is read in.
    pub(super) fn pin(&self) -> Result<(), LedgerError> {
        let pinned = self.connection.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema");
        pinned.map_err(|error| of_sqlite(&self.path, error))
    }

    /// Ends it.
    pub(super) fn release(&self) -> Result<(), LedgerError> {
        self.connection.execute_batch("ROLLBACK").map_err(|error| of_sqlite(&self.path, error))
    }

    /// How many bytes its pages are.
    pub(super) fn bytes(&self) -> Result<u64, LedgerError> {
        let (size, count): (u64, u64) = (self.pragma("page_size")?, self.pragma("page_count")?);
        Ok(size.saturating_mul(count))
    }

    pub(super) fn journal_mode(&self) -> Result<String, LedgerError> {
        self.pragma("journal_mode")
    }

    fn pragma<T: rusqlite::types::FromSql>(&self, name: &str) -> Result<T, LedgerError> {
        let value = self.connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0));
        value.map_err(|error| of_sqlite(&self.path, error))
    }

    /// Gives its pages to `work`.
    ///
    /// # Errors
    /// `NoPages`, and what `work` fails with.
    pub(super) fn read<T, E: From<LedgerError>>(
        &self,
        work: impl FnOnce(&mut dyn Read) -> Result<T, E>,
    ) -> Result<T, E> {
        let prepared = self.connection.prepare("SELECT data FROM sqlite_dbpage ORDER BY pgno");
        let mut statement = prepared.map_err(|error| match error.to_string() {
            said if said.contains("no such table") => LedgerError::NoPages,
            _ => of_sqlite(&self.path, error),
        })?;
        let rows = statement.query([]).map_err(|error| of_sqlite(&self.path, error))?;
        work(&mut Pages { rows, page: Vec::new(), used: 0 })
    }

    /// The rows of each table.
    pub(super) fn rows(&self) -> Result<BTreeMap<String, u64>, LedgerError> {
        rows(&self.connection).map_err(|error| of_sqlite(&self.path, error))
    }

    /// What is wrong with it, as SQLite tells it.
    pub(super) fn check(&self, pragma: &str) -> Result<Vec<String>, LedgerError> {
        check(&self.connection, pragma).map_err(|error| of_sqlite(&self.path, error))
    }
}

/// A connection for a file of this process alone.
pub(super) fn open_copy(path: &Path) -> Result<Connection, LedgerError> {
    connect(&uri_of(path), Duration::ZERO).map_err(|error| of_sqlite(path, error))
}

pub(super) fn rows(connection: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    let mut statement = connection.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )?;
    let names = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let count = |name: String| {
        let rows =
            connection.query_row(&format!("SELECT count(*) FROM {}", quoted(&name)), [], |row| row.get(0))?;
        Ok((name, rows))
    };
    names.into_iter().map(count).collect()
}

pub(super) fn check(connection: &Connection, pragma: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA {pragma}({FINDINGS})"))?;
    let found = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    Ok(found.into_iter().filter(|line| line != "ok").collect())
}

/// A name in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A companion of a database.
pub(super) fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn connect(uri: &str, lock_timeout: Duration) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.busy_timeout(lock_timeout)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // What others wrote into the schema runs nothing, and nothing of the data goes to files for sorting.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    Ok(connection)
}

fn uri_of(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte))
            }
            // To memory.
            byte => drop(write!(uri, "%{byte:02X}")),
        }
    }
    uri.push_str("?mode=ro");
    uri
}

fn is_unopenable(error: &rusqlite::Error) -> bool {
    let read_only_directory = [ffi::SQLITE_READONLY_CANTINIT, ffi::SQLITE_READONLY_DIRECTORY];
    error.sqlite_error().is_some_and(|error| {
        error.code == ErrorCode::CannotOpen || read_only_directory.contains(&error.extended_code)
    })
}

fn has_no_log(path: &Path) -> bool {
    ["-wal", "-journal"]
        .iter()
        .all(|suffix| std::fs::metadata(companion(path, suffix)).map_or(true, |log| log.len() == 0))
}

pub(super) fn of_sqlite(path: &Path, source: rusqlite::Error) -> LedgerError {
    let path = path.to_owned();
    match source.sqlite_error().map(|error| (error.code, error.extended_code)) {
        Some((ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _)) => {
            LedgerError::Locked { path, source }
        }
        Some((_, ffi::SQLITE_READONLY_ROLLBACK | ffi::SQLITE_READONLY_RECOVERY)) => {
            LedgerError::HotJournal { path, source }
        }
        Some((ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _)) => LedgerError::Torn { path, source },
        _ => LedgerError::Sqlite { path, source },
    }
}

/// Pages one after the other.
struct Pages<'s> {
    rows: Rows<'s>,
    page: Vec<u8>,
    used: usize,
}

impl Read for Pages<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.used < self.page.len() {
                let now = (self.page.len() - self.used).min(buffer.len() - filled);
                buffer[filled..filled + now].copy_from_slice(&self.page[self.used..self.used + now]);
                self.used += now;
                filled += now;
                continue;
            }
            let row = self.rows.next().map_err(io::Error::other)?;
            let Some(row) = row else { break };
            let page = row.get_ref(0).map_err(io::Error::other)?;
            let page = page.as_blob().map_err(io::Error::other)?;
            if let Some(room) = buffer.get_mut(filled..filled + page.len()) {
                room.copy_from_slice(page);
                filled += page.len();
            } else {
                self.page.clear();
                self.page.extend_from_slice(page);
                self.used = 0;
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::ZERO;

    fn made(folder: &Path, mode: &str) -> (PathBuf, Connection) {
        let path = folder.join("a ?#%.db");
        let writer = Connection::open(&path).unwrap();
        writer.pragma_update(None, "journal_mode", mode).unwrap();
        writer.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (randomblob(100000))").unwrap();
        (path, writer)
    }

    fn bytes(database: &Database) -> Vec<u8> {
        let mut bytes = Vec::new();
        database
            .read(|pages| {
                pages.read_to_end(&mut bytes).unwrap();
                Ok::<_, LedgerError>(())
            })
            .unwrap();
        bytes
    }

    #[test]
    fn pages_are_those_of_the_transaction_and_the_log_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (path, writer) = made(folder.path(), "wal");
        let log = std::fs::read(companion(&path, "-wal")).unwrap();
        let mut database = Database::open(&path, TIMEOUT).unwrap();
        database.watch().unwrap();
        database.pin().unwrap();
        assert!(database.is_quiet().unwrap());
        writer.execute_batch("INSERT INTO t VALUES (randomblob(5000))").unwrap();
        assert!(!database.is_quiet().unwrap());
        let pages = bytes(&database);
        assert_eq!(pages.len() as u64, database.bytes().unwrap());
        assert_eq!(database.rows().unwrap(), BTreeMap::from([("t".to_owned(), 1)]));
        assert_eq!(database.check("integrity_check").unwrap(), Vec::<String>::new());

        database.release().unwrap();
        assert!(std::fs::read(companion(&path, "-wal")).unwrap().starts_with(&log));

        // What the writer brings into the file is what was read.
        writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        database.pin().unwrap();
        let pages = bytes(&database);
        drop((database, writer));
        assert!(std::fs::read(&path).unwrap() == pages);
    }

    #[test]
    fn what_holds_it_locked_or_left_it_in_the_middle_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (path, writer) = made(folder.path(), "delete");
        writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let opened = Database::open(&path, TIMEOUT).and_then(|database| database.pin());
        assert!(matches!(opened, Err(LedgerError::Locked { .. })), "{opened:?}");
        writer.execute_batch("PRAGMA cache_spill = 1; PRAGMA cache_size = 1; UPDATE t SET a = randomblob(200000); INSERT INTO t SELECT randomblob(90000) FROM t")
            .unwrap();
        // As a process that dies leaves it.
        let dead = tempfile::tempdir().unwrap();
        let copy = dead.path().join("a.db");
        std::fs::copy(&path, &copy).unwrap();
        std::fs::copy(companion(&path, "-journal"), companion(&copy, "-journal")).unwrap();
        let opened = Database::open(&copy, TIMEOUT).and_then(|database| database.pin());
        assert!(matches!(opened, Err(LedgerError::HotJournal { .. })), "{opened:?}");
    }

    #[test]
    fn a_torn_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (path, writer) = made(folder.path(), "delete");
        drop(writer);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2 / 4096 * 4096]).unwrap();
        let opened = Database::open(&path, TIMEOUT).and_then(|database| database.pin());
        assert!(matches!(opened, Err(LedgerError::Torn { .. })), "{opened:?}");
    }
}
