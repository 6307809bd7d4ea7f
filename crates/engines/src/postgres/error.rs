//! Why PostgreSQL could not be read or restored.

use strongroom_format::SnapshotId;

use super::archive::ArchiveError;

/// What went wrong, with the program that said it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// A connection string that libpq would not take either.
    #[error("`{text}` is no way to a server: {why}")]
    Target {
        /// It, without its password.
        text: String,
        /// Why.
        why: &'static str,
    },
    /// None of PostgreSQL's programs fits.
    #[error(
        "there is no {program} for a server of version {major}{}: install PostgreSQL's client programs of that version, or name their folder with --pg-bin",
        there_is(.found)
    )]
    NoProgram {
        /// `pg_dump`, `pg_restore`, ...
        program: &'static str,
        /// The server's.
        major: u32,
        /// Which ones there are.
        found: Vec<u32>,
    },
    /// A program could not be started.
    #[error("{program} cannot be started")]
    Start {
        /// It.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program or the server refused.
    #[error("{program} failed ({status}){}", said(.stderr))]
    Failed {
        /// It, and what it worked on.
        program: String,
        /// Its exit status or signal.
        status: String,
        /// The last it said on standard error.
        stderr: Vec<String>,
    },
    /// The server answered what makes no sense.
    #[error("the server's answer makes no sense: {what}")]
    Answer {
        /// What was wrong with it.
        what: String,
    },
    /// The archive that `pg_dump` wrote is not one.
    #[error("what pg_dump wrote of database {database}")]
    Archive {
        /// The database.
        database: String,
        /// Why.
        source: ArchiveError,
    },
    /// A table that is to be restored is not there.
    #[error("there is no table or schema `{table}` in what was backed up of database {database}")]
    NoTable {
        /// It.
        table: String,
        /// The database.
        database: String,
    },
    /// The files of a server that is to be backed up are not here.
    #[error("the data directory {} is not that of the server: {why}. A physical backup reads it on the server's own host, as its user or as root; with --remote, the server sends it", .folder.display())]
    NotLocal {
        /// What the server calls it.
        folder: std::path::PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Tablespaces are no part of the one stream that a server sends.
    #[error("the server has tablespaces ({}), which it does not send: back it up on its own host, without --remote", .names.join(", "))]
    RemoteTablespaces {
        /// Their names.
        names: Vec<String>,
    },
    /// A folder that a cluster is to be restored over holds something else.
    #[error("{} is no data of a PostgreSQL server: {why}; nothing was changed. Restore into a new folder", .folder.display())]
    NoCluster {
        /// It.
        folder: std::path::PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A cluster that is to be restored over is running.
    #[error("a server runs on {} (process {process}); nothing was changed. Stop it, or delete postmaster.pid if that process is no PostgreSQL", .folder.display())]
    InUse {
        /// Its data directory.
        folder: std::path::PathBuf,
        /// Its process.
        process: i32,
    },
    /// A file of the server cannot be read: without it a backup is none.
    #[error("cannot read {}; no snapshot was made", .path.display())]
    ReadFile {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A recovery that is to end before it could.
    #[error(
        "the cluster of this snapshot cannot be as of {what}: its backup ended {end}; take an earlier snapshot"
    )]
    Unreachable {
        /// Where it is to end.
        what: String,
        /// Where the backup did.
        end: String,
    },
    /// The log that a backup needs is gone before it ended.
    #[error(
        "the server has recycled {segment} of its log, which this backup needs, before it ended; no snapshot was made. Raise wal_keep_size on the server"
    )]
    SegmentGone {
        /// Its name.
        segment: String,
    },
    /// The server has no such replication slot.
    #[error(
        "the server has no replication slot `{slot}`: without it, it does not keep the log until it is received. --create-slot makes it"
    )]
    NoSlot {
        /// Its name.
        slot: String,
    },
    /// The replication slot is for something else.
    #[error("the replication slot `{slot}` is a {kind} one, and the log is received from a physical one")]
    SlotKind {
        /// Its name.
        slot: String,
        /// What it is.
        kind: String,
    },
    /// A tablespace that is to be restored elsewhere is not in the snapshot.
    #[error("there is no tablespace `{name}` in the snapshot (there are: {})", .there.join(", "))]
    NoTablespace {
        /// It.
        name: String,
        /// Those that are.
        there: Vec<String>,
    },
    /// No server for a restore to be tested in.
    #[error("no scratch server for the test of the restore: {}: {why}", .what.display())]
    Scratch {
        /// The program or folder.
        what: std::path::PathBuf,
        /// What it said.
        why: String,
    },
    /// The list for `pg_restore`, or the archive itself, cannot be written.
    #[error("what pg_restore needs cannot be written to a temporary file")]
    List(#[source] std::io::Error),
    /// An archive that `pg_restore` goes back and forth in cannot be written.
    #[error("the archive for pg_restore cannot be written to a temporary file in {}", .folder.display())]
    Temporary {
        /// Where.
        folder: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is to be dropped is needed by what is not restored.
    #[error("{table} cannot be dropped: {by}{} needs it, and is not restored; nothing was changed", others(.more))]
    Needed {
        /// What of the database.
        table: String,
        /// What needs it.
        by: String,
        /// How many others.
        more: usize,
    },
    /// What is to be made is there.
    #[error("{first}{} already exists in database {database}; nothing was changed", and_more(.more))]
    InTheWay {
        /// The database.
        database: String,
        /// What of it.
        first: String,
        /// How many others.
        more: usize,
    },
    /// A snapshot of something else.
    #[error("snapshot {snapshot} was not made by `backup postgres`")]
    NotPostgres {
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// A database that is to be backed up or restored is not there.
    #[error("there is no database `{database}` (there are: {})", .there.join(", "))]
    NoDatabase {
        /// It.
        database: String,
        /// Those that are.
        there: Vec<String>,
    },
}

/// What a server or a program says when the machine or the way to it fails, and not what it was asked to do.
const OF_SURROUNDINGS: [&str; 6] = [
    "No space left on device",
    "Disk quota exceeded",
    "out of memory",
    "server closed the connection",
    "terminating connection",
    "connection to server",
];

impl PostgresError {
    /// Whether it says nothing of what was backed up: a disk is full, a server went away.
    pub(super) fn is_of_surroundings(&self) -> bool {
        let of_surroundings = |line: &String| OF_SURROUNDINGS.iter().any(|said| line.contains(said));
        matches!(self, Self::Failed { stderr, .. } if stderr.iter().any(of_surroundings))
    }
}

fn others(more: &usize) -> String {
    if *more == 0 { String::new() } else { format!(" (and {more} more)") }
}

fn and_more(more: &usize) -> String {
    if *more == 0 { String::new() } else { format!(" (and {more} more of what is to be restored)") }
}

fn there_is(majors: &[u32]) -> String {
    match majors {
        [] => String::new(),
        majors => {
            let majors: Vec<String> = majors.iter().map(ToString::to_string).collect();
            format!(" (there is one of {})", majors.join(", "))
        }
    }
}

pub(super) fn said(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!(": {}", lines.join(" / ")) }
}
