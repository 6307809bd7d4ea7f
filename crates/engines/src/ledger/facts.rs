//! What a snapshot of a ledger says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use super::error::LedgerError;
use crate::engine::EngineError;

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// `ledger`.
    pub engine: String,
    /// The data directory, absolute.
    pub root: String,
    /// Of the newest block, where anything tells it.
    pub height: Option<u64>,
    /// Its hash.
    pub head: Option<String>,
    /// What told it: `query`, `blocks`, `metadata`.
    pub height_from: Option<String>,
    /// What the node's metadata file says.
    pub metadata: Option<MetadataFacts>,
    /// Where blocks are, and their links.
    pub chain: Option<ChainFacts>,
    /// SQLite files.
    pub sqlite: Vec<SqliteFacts>,
    /// Databases of RocksDB and LevelDB.
    pub stores: Vec<StoreFacts>,
    /// Of when it is.
    pub moment: Moment,
}

/// What `metadata.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataFacts {
    /// The file, in the data directory.
    pub path: String,
    /// Of the newest block.
    pub height: Option<u64>,
    /// Its hash.
    pub head: Option<String>,
}

/// The table of blocks, or the query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainFacts {
    /// The SQLite file, in the data directory.
    pub database: String,
    /// The query that was given.
    pub query: Option<String>,
    /// The table.
    pub table: Option<String>,
    /// Its columns: height, hash, previous hash.
    pub columns: Option<[String; 3]>,
    /// What its links are like.
    pub links: Option<Links>,
}

/// Whether blocks name the hash of the block before them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// Blocks that were compared with the one before.
    pub checked: u64,
    /// Of those, blocks that name another.
    pub broken: u64,
    /// The highest of them.
    pub named: Vec<BrokenLink>,
}

/// A block that does not follow the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenLink {
    /// Its height.
    pub height: i64,
    /// The hash that it names.
    pub names: String,
    /// The hash of the block before it; none if there is no such block.
    pub is: Option<String>,
}

/// An SQLite file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqliteFacts {
    /// The file, in the data directory.
    pub path: String,
    /// Its length, with what its write-ahead log holds.
    pub bytes: u64,
    /// `wal`, `delete`, ...
    pub journal_mode: String,
    /// Rows of each table.
    pub tables: BTreeMap<String, u64>,
    /// `full`, `quick` or `none`: what was checked.
    pub integrity_check: String,
    /// What is wrong with it; none if all is well, or nothing was checked.
    pub damage: Vec<String>,
}

/// A database of RocksDB or LevelDB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreFacts {
    /// Its folder, in the data directory; empty if it is that.
    pub path: String,
    /// `rocksdb` or `leveldb`.
    pub kind: String,
    /// Its manifest.
    pub manifest: String,
    /// How many tables there are.
    pub tables: u64,
    /// How many files of blobs.
    pub blobs: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// Bytes of whole records in its logs.
    pub log_bytes: u64,
}

/// Of when a snapshot is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Whether all of it is of one moment.
    pub one: bool,
    /// When the databases were pinned, ms since 1970.
    pub pinned_ms: i64,
    /// How far the first and the last of them lie apart, where something was written in between; 0 where nothing was.
    pub apart_ms: u64,
    /// Databases, or the metadata file, that were written to in between.
    pub written_between: Vec<String>,
    /// Other files that were written to before they were read; those named are the first.
    pub changed_after: u64,
    /// Some of them.
    pub changed: Vec<String>,
}

impl std::fmt::Display for BrokenLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.is {
            Some(is) => {
                write!(f, "block {} names {} as the one before it, which is {is}", self.height, self.names)
            }
            None => write!(f, "block {} has none before it: {} is missing", self.height, self.names),
        }
    }
}

impl Facts {
    /// Those of a snapshot.
    ///
    /// # Errors
    /// `Facts`; what reading them fails with.
    pub fn of(reader: &Reader<'_>, snapshot: &Snapshot) -> Result<Self, EngineError> {
        let wrong = |what: String| EngineError::Ledger(LedgerError::Facts { what });
        let facts = snapshot.manifest.facts.as_ref().ok_or_else(|| wrong("it has none".into()))?;
        serde_json::from_slice(&reader.blob(facts.node)?).map_err(|error| wrong(error.to_string()))
    }

    /// How many links are broken.
    #[must_use]
    pub fn broken_links(&self) -> u64 {
        self.chain.as_ref().and_then(|chain| chain.links.as_ref()).map_or(0, |links| links.broken)
    }

    /// Whether something is wrong with what was backed up, or it is not of one moment as far as databases go.
    #[must_use]
    pub fn has_findings(&self) -> bool {
        self.broken_links() > 0
            || self.sqlite.iter().any(|database| !database.damage.is_empty())
            || !self.moment.written_between.is_empty()
    }
}
