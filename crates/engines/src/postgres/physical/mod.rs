//! A whole cluster as it lies in its data directory: read on the server's own host between `pg_backup_start` and
//! `pg_backup_stop`, or as the server sends it elsewhere, and started again from there.
//!
//! ```text
//! data/...           the data directory
//! space/OID/...      a tablespace
//! stop/backup_label  what must lie in the data directory when it is started, as of the end of the backup:
//! stop/global/pg_control, stop/pg_wal/..., stop/tablespace_map
//! manifest           what the server sent, as it says itself: it sends what changed since by that
//! ```
//! The rules are in the manual's "Making a Base Backup Using the Low Level API"
//! (<https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP>).

mod backup;
mod facts;
mod incremental;
mod label;
mod manifest;
mod page;
mod recovery;
mod remote;
mod restore;
mod server;
mod skip;
mod stopped;
mod verify;

pub use backup::PhysicalPostgres;
pub use recovery::{Recovery, Until};
pub use restore::{BackupEnd, PhysicalSnapshot, PlacedTablespace, RestoredCluster};
pub use verify::PhysicalVerification;

/// What snapshots of it are called.
pub const ENGINE: &str = "postgres-physical";

/// The folders of a snapshot.
const DATA: &str = "data";
const SPACE: &str = "space";
const STOP: &str = "stop";
/// Links to tablespaces, in the data directory.
const TABLESPACES: &str = "pg_tblspc";
