//! Why Redis could not be read or restored.

use std::path::PathBuf;

use strongroom_format::SnapshotId;

use super::rdb::RdbError;
use crate::engine::EngineError;

/// What went wrong, and with which server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// A URL that leads nowhere.
    #[error("the URL of the server is none: {why}")]
    Url {
        /// What is wrong with it.
        why: &'static str,
    },
    /// No connection.
    #[error("cannot connect to {server}")]
    Connect {
        /// Host and port, or socket.
        server: String,
        /// Why.
        source: std::io::Error,
    },
    /// No trust.
    #[error("no TLS with {server}: {why}")]
    Tls {
        /// Host and port.
        server: String,
        /// What is wrong.
        why: String,
    },
    /// A connection that broke, or an answer that did not come.
    #[error("the connection to {server} broke while {doing}")]
    Broken {
        /// Host and port, or socket.
        server: String,
        /// What was under way.
        doing: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The server refused.
    #[error("{server} refused {command}: {said}")]
    Refused {
        /// Host and port, or socket.
        server: String,
        /// What.
        command: String,
        /// In its words.
        said: String,
    },
    /// An answer that is none.
    #[error("{server} answered {command} with what makes no sense: {what}")]
    Answer {
        /// Host and port, or socket.
        server: String,
        /// What it was asked.
        command: &'static str,
        /// What is wrong.
        what: String,
    },
    /// A server whose data is not all there now.
    #[error("{server} has not all of its data now: {why}; no snapshot was made")]
    NotReady {
        /// Host and port, or socket.
        server: String,
        /// What it waits for.
        why: String,
    },
    /// No master to be had.
    #[error("no sentinel knows where the master `{master}` is: {why}")]
    NoMaster {
        /// Its name.
        master: String,
        /// What they said.
        why: String,
    },
    /// A cluster that is not whole.
    #[error("the cluster of {server} is not whole: {why}; no snapshot was made")]
    Cluster {
        /// Who was asked.
        server: String,
        /// What is wrong.
        why: String,
    },
    /// Its masters cannot be divided among workers.
    #[error("{server} cannot be read by several workers: {why}; no snapshot was made")]
    Divided {
        /// Who was asked.
        server: String,
        /// What is wrong.
        why: String,
    },
    /// The dump is wrong.
    #[error("what {server} sent is no dump to keep; no snapshot was made")]
    Dump {
        /// Host and port, or socket.
        server: String,
        /// Why.
        source: RdbError,
    },
    /// A key that came twice.
    #[error("the key `{key}` came twice; no snapshot was made{}", if *.is_cluster { ". Slots of the cluster are being moved: run it again afterwards" } else { "" })]
    Twice {
        /// It.
        key: String,
        /// Whether several servers were read.
        is_cluster: bool,
    },
    /// The temporary file that is sorted in.
    #[error("cannot sort in a temporary file in {}", .folder.display())]
    Temporary {
        /// Where.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What was stored is not what was read.
    #[error("database {database}: {what}; no snapshot was made")]
    Disagreement {
        /// Which.
        database: u64,
        /// What differs.
        what: String,
    },
    /// A snapshot of something else.
    #[error("snapshot {snapshot} was not made by `backup redis`")]
    NotRedis {
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// The snapshot's own bytes are no dump.
    #[error("what snapshot {snapshot} has of database {database}")]
    Stored {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Which.
        database: u64,
        /// Why.
        source: RdbError,
    },
    /// A database that is to be restored is not in the snapshot.
    #[error("there is no database {database} in the snapshot (there are: {there})")]
    NoDatabase {
        /// It.
        database: u64,
        /// Those that are.
        there: String,
    },
    /// A pattern that is none.
    #[error("`{pattern}` is no pattern of keys: {why}")]
    Pattern {
        /// It.
        pattern: String,
        /// Why.
        why: String,
    },
    /// A server too old for the dump.
    #[error(
        "{server} is {name} {version}, which reads dumps up to version {reads}, and this one has version {has}; nothing was changed"
    )]
    TooOld {
        /// Host and port, or socket.
        server: String,
        /// Of the program.
        name: String,
        /// Of the server.
        version: String,
        /// Of the format.
        reads: u32,
        /// Of the dump.
        has: u32,
    },
    /// A server that cannot take it.
    #[error("{server} cannot take it: {why}; nothing was changed")]
    Unfit {
        /// Host and port, or socket.
        server: String,
        /// Why.
        why: String,
    },
    /// What is to be restored into is not empty.
    #[error("database {database} of {server} has {keys} keys already; nothing was changed")]
    NotEmpty {
        /// Host and port, or socket.
        server: String,
        /// Which.
        database: u64,
        /// How many.
        keys: u64,
    },
    /// A key that is to be restored is there.
    #[error("the key `{key}` is in database {database} of {server} already; nothing was changed")]
    InTheWay {
        /// Host and port, or socket.
        server: String,
        /// Which.
        database: u64,
        /// It.
        key: String,
    },
    /// A server that drops keys to make room.
    #[error(
        "{server} evicted {keys} keys while it was restored into: it has reached its maxmemory, and what was restored may be among them"
    )]
    Evicted {
        /// Host and port, or socket.
        server: String,
        /// How many.
        keys: u64,
    },
    /// A restore that broke off.
    #[error("the restore broke off: {written} keys were written, and what is in {server} now is PARTIAL")]
    Partial {
        /// Host and port, or socket.
        server: String,
        /// How many.
        written: u64,
        /// Why.
        source: Box<EngineError>,
    },
    /// A file that is to be written cannot be.
    #[error("cannot write {}", .path.display())]
    WriteFile {
        /// It.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is to be made is there.
    #[error("{} is there already; nothing was changed", .path.display())]
    Exists {
        /// It.
        path: PathBuf,
    },
    /// A file of the server cannot be read.
    #[error("cannot read {}; no snapshot was made", .path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An append-only file that is none.
    #[error("{} is no append-only file to keep: {why}; no snapshot was made", .path.display())]
    AppendOnly {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// No server for a restore to be tested in.
    #[error("no scratch server for the test of the restore: {}: {why}", .what.display())]
    Scratch {
        /// The program or folder.
        what: PathBuf,
        /// What it said.
        why: String,
    },
}
