//! Append-only files, as they lie in the folder of a server that goes on writing.
//!
//! What is listed is opened before it is known whether the list still holds; of files that are open nothing is lost, whatever
//! the server deletes. Only the last file grows, and only at its end: it is taken up to the last whole command of the length
//! that it had then.

mod capture;
mod manifest;
mod scan;
mod verify;

pub use capture::AofFiles;
pub use verify::AofSnapshot;

/// In snapshots.
pub const AOF_ENGINE: &str = "redis-aof";

use serde::{Deserialize, Serialize};

/// What is known of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AofFacts {
    /// `redis-aof`.
    engine: String,
    /// `redis` or `valkey`.
    server: String,
    server_version: String,
    /// The folder in which they lie, below that of the server; none before 7.0, when there was one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
    /// What the names of all begin with.
    name: String,
    files: Vec<FileFacts>,
}

/// Of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FileFacts {
    name: String,
    /// As it was taken.
    bytes: u64,
    /// Of a dump in it.
    keys: u64,
    /// Behind that.
    commands: u64,
}
