//! What is known of a cluster when it is backed up.

use serde::{Deserialize, Serialize};

/// Of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// `postgres-physical`.
    pub(super) engine: String,
    pub(super) server_major: u32,
    /// Which cluster: all copies of it have the same.
    pub(super) system_identifier: String,
    pub(super) timeline: u32,
    /// Where recovery begins, `0/2000028`.
    pub(super) start_lsn: String,
    /// What it must reach.
    pub(super) stop_lsn: String,
    /// When that was, by the server's clock, ms since 1970.
    pub(super) stopped_ms: i64,
    /// The segments that it reads, all of them in the snapshot.
    pub(super) wal: Vec<String>,
    pub(super) wal_segment_bytes: u64,
    pub(super) data_directory: String,
    pub(super) tablespaces: Vec<Tablespace>,
    /// Bytes of all databases.
    pub(super) size: u64,
    pub(super) databases: Vec<String>,
    /// Who made the cluster.
    pub(super) superuser: String,
    pub(super) page_checksums: PageChecksums,
}

/// One beside the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tablespace {
    pub(super) oid: u32,
    pub(super) name: String,
    /// Its folder.
    pub(super) path: String,
}

/// What looking at them came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PageChecksums {
    /// Whether the cluster has any.
    pub(super) are_on: bool,
    /// Pages that were read and looked at.
    pub(super) pages: u64,
    /// Pages that are damaged, as `PATH block N`; at most so many as a person reads.
    pub(super) damaged: Vec<String>,
    /// All of them.
    pub(super) damaged_pages: u64,
}
