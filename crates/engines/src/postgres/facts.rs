//! What is known of a server's databases when they are backed up, in the transaction that the dump reads.

use serde::{Deserialize, Serialize};
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use super::error::PostgresError;
use super::session::Session;
use crate::engine::EngineError;

/// Of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// `postgres`.
    pub(super) engine: String,
    /// The server's, `15`.
    pub(super) server_major: u32,
    /// All that the server knows.
    pub(super) roles: Vec<String>,
    /// What the snapshot holds.
    pub(super) databases: Vec<DatabaseFacts>,
}

/// Of one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DatabaseFacts {
    #[serde(flatten)]
    pub(super) properties: Properties,
    /// What the dump left out or was limited to, as `pg_dump` was told; none for all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) limits: Vec<String>,
    pub(super) archive: ArchiveFacts,
}

/// What a database says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Properties {
    pub(super) name: String,
    /// Bytes on the server's disk.
    pub(super) size: u64,
    pub(super) encoding: String,
    pub(super) collate: String,
    pub(super) ctype: String,
    pub(super) extensions: Vec<Extension>,
}

/// One that is installed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Extension {
    pub(super) name: String,
    pub(super) version: String,
}

/// Of what `pg_dump` wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ArchiveFacts {
    /// The archive's own, `1.14`.
    pub(super) format: String,
    pub(super) server_version: String,
    pub(super) dump_version: String,
    /// Entries of its table of contents.
    pub(super) entries: usize,
    /// In their order.
    pub(super) blocks: Vec<BlockFacts>,
}

/// Of a table's rows, or of large objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BlockFacts {
    /// The number of its entry.
    pub(super) id: i64,
    /// Where it lies in the snapshot.
    pub(super) path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<String>,
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) large_objects: Option<u64>,
    /// In the archive.
    pub(super) bytes: u64,
    /// What its rows come to in any order, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint: Option<String>,
}

impl Facts {
    /// Those of a snapshot.
    ///
    /// # Errors
    /// `NotPostgres`; what reading the facts fails with.
    pub(super) fn of(reader: &Reader<'_>, snapshot: &Snapshot) -> Result<Self, EngineError> {
        let not_postgres = || PostgresError::NotPostgres { snapshot: snapshot.id() };
        let facts = snapshot.manifest.facts.as_ref().filter(|_| snapshot.manifest.engine == "postgres");
        let json = reader.blob(facts.ok_or_else(not_postgres)?.node)?;
        Ok(serde_json::from_slice(&json).map_err(|_| not_postgres())?)
    }
}

const PROPERTIES: &str = "SELECT row_to_json(found) FROM (SELECT datname AS name, pg_database_size(oid) AS size,
    pg_encoding_to_char(encoding) AS encoding, datcollate AS \"collate\", datctype AS ctype,
    (SELECT coalesce(json_agg(json_build_object('name', extname, 'version', extversion) ORDER BY extname), '[]') FROM pg_extension)
    AS extensions FROM pg_database WHERE datname = current_database()) found";

impl Properties {
    /// Those of the session's database.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub(super) fn of(session: &mut Session<'_>) -> Result<Self, PostgresError> {
        let mut found = session.ask_json(PROPERTIES)?;
        found.pop().ok_or_else(|| PostgresError::Answer { what: "it has no current database".into() })
    }
}
