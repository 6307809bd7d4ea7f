//! The server of a cluster that is backed up: where its files are, and that they are whole enough to recover from.

use std::path::PathBuf;

use serde::Deserialize;
use strongroom_repository::monitor::Monitor;

use super::super::error::PostgresError;
use super::super::session::{Session, literal};
use super::super::{Programs, Target};
use super::facts::Tablespace;
use super::label::{Label, parse_lsn};
use super::page::PAGE_BYTES;

/// How far the server's and the file's idea of when it was started may be apart, seconds.
const START_TOLERANCE_SECONDS: i64 = 5;

/// What the server says of itself.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Cluster {
    pub(super) system_identifier: String,
    pub(super) data_directory: PathBuf,
    pub(super) segment_bytes: u64,
    block_bytes: u64,
    pub(super) has_checksums: bool,
    started: i64,
    pub(super) size: u64,
    pub(super) databases: Vec<String>,
    pub(super) superuser: String,
}

const CLUSTER: &str = "SELECT row_to_json(found) FROM (SELECT
    (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
    current_setting('data_directory') AS data_directory,
    (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size') AS segment_bytes,
    current_setting('block_size')::bigint AS block_bytes,
    current_setting('data_checksums') = 'on' AS has_checksums,
    extract(epoch FROM pg_postmaster_start_time())::bigint AS started,
    (SELECT sum(pg_database_size(oid))::bigint FROM pg_database) AS size,
    (SELECT json_agg(datname ORDER BY datname) FROM pg_database WHERE datallowconn AND NOT datistemplate) AS databases,
    (SELECT rolname FROM pg_roles WHERE oid = 10) AS superuser) found";

const TABLESPACES: &str = "SELECT row_to_json(found) FROM (SELECT oid::bigint AS oid, spcname AS name,
    pg_tablespace_location(oid) AS path FROM pg_tablespace WHERE pg_tablespace_location(oid) <> '' ORDER BY oid::text) found";

/// A server in backup mode; dropped, it leaves it.
pub(super) struct Backup<'m> {
    session: Session<'m>,
    pub(super) cluster: Cluster,
    pub(super) tablespaces: Vec<Tablespace>,
    pub(super) major: u32,
    /// Whatever was written since lies in the WAL.
    pub(super) start: u64,
}

/// What a backup ends with.
#[derive(Debug, Deserialize)]
struct Stopped {
    lsn: String,
    labelfile: String,
    spcmapfile: Option<String>,
    stopped_ms: i64,
}

/// The files that a backup ends with, and what they say.
pub(super) struct Ending {
    pub(super) stop: u64,
    /// By the server's clock, ms since 1970.
    pub(super) stopped_ms: i64,
    pub(super) label: Label,
    pub(super) label_file: String,
    pub(super) map_file: Option<String>,
}

impl<'m> Backup<'m> {
    /// Begins one, with a checkpoint.
    ///
    /// # Errors
    /// As [`Session::ask`]; `NotLocal` when the data directory is not here, or another server's.
    pub(super) fn start(
        programs: &Programs,
        target: &Target,
        monitor: &'m dyn Monitor,
    ) -> Result<Self, PostgresError> {
        let mut session = Session::open(programs, target, None, monitor)?;
        let major = session.server_major()?;
        let cluster = Cluster::ask(&mut session)?;
        cluster.check_is_here()?;
        let tablespaces = tablespaces_of(&mut session)?;
        session.ask(
            "SELECT count(set_config(name, '0', false)) FROM pg_settings WHERE name IN ('statement_timeout', 'idle_session_timeout')",
        )?;
        let label = literal("strongroom");
        let begin = match major {
            15.. => format!("SELECT pg_backup_start({label}, true)"),
            _ => format!("SELECT pg_start_backup({label}, true, false)"),
        };
        let start = session.ask_one(&begin)?;
        let wrong = || PostgresError::Answer { what: format!("a backup starts at {start:?}") };
        let start = parse_lsn(&start).ok_or_else(wrong)?;
        Ok(Self { session, cluster, tablespaces, major, start })
    }

    /// Ends it: what was read until now, with these files, is a backup.
    ///
    /// # Errors
    /// As [`Session::ask`]; `Answer`.
    pub(super) fn stop(&mut self) -> Result<Ending, PostgresError> {
        let function =
            if self.major >= 15 { "pg_backup_stop(false)" } else { "pg_stop_backup(false, false)" };
        let nothing = || PostgresError::Answer { what: "it says nothing of the backup's end".into() };
        let mut stopped =
            self.session.ask_json(&format!(
            "SELECT row_to_json(stopped) FROM (SELECT *, (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS stopped_ms
                FROM {function}) stopped"
        ))?;
        let stopped: Stopped = stopped.pop().ok_or_else(nothing)?;
        let wrong = || PostgresError::Answer { what: format!("the backup ends with {stopped:?}") };
        let label = Label::parse(&stopped.labelfile).ok_or_else(wrong)?;
        Ok(Ending {
            stop: parse_lsn(&stopped.lsn).ok_or_else(wrong)?,
            stopped_ms: stopped.stopped_ms,
            label,
            map_file: stopped.spcmapfile.clone().filter(|map| !map.is_empty()),
            label_file: stopped.labelfile,
        })
    }
}

/// The tablespaces beside the data directory.
///
/// # Errors
/// As [`Session::ask`].
pub(super) fn tablespaces_of(session: &mut Session<'_>) -> Result<Vec<Tablespace>, PostgresError> {
    session.ask_json(TABLESPACES)
}

impl Cluster {
    /// Asks the server.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub(super) fn ask(session: &mut Session<'_>) -> Result<Self, PostgresError> {
        let nothing = || PostgresError::Answer { what: "it says nothing of itself".into() };
        session.ask_json(CLUSTER)?.pop().ok_or_else(nothing)
    }

    fn check_is_here(&self) -> Result<(), PostgresError> {
        let not_local = |why: String| PostgresError::NotLocal { folder: self.data_directory.clone(), why };
        if self.block_bytes != PAGE_BYTES as u64 {
            return Err(not_local(format!("its pages have {} bytes, not {PAGE_BYTES}", self.block_bytes)));
        }
        let read = |name: &str| {
            let path = self.data_directory.join(name);
            std::fs::read(&path)
                .map_err(|error| not_local(format!("cannot read {}: {error}", path.display())))
        };
        let control = read("global/pg_control")?;
        let identifier = control.first_chunk().map(|first| u64::from_le_bytes(*first).to_string());
        if identifier.as_ref() != Some(&self.system_identifier) {
            return Err(not_local("it is that of another cluster".into()));
        }
        // A standby of the same cluster may lie at the same place on another host.
        let pid_file = read("postmaster.pid")?;
        let started =
            String::from_utf8_lossy(&pid_file).lines().nth(2).and_then(|line| line.trim().parse().ok());
        match started {
            Some(started) if self.started.abs_diff(started) <= START_TOLERANCE_SECONDS.unsigned_abs() => {
                Ok(())
            }
            _ => Err(not_local("another server of this cluster runs in it".into())),
        }
    }
}
