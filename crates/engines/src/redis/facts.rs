//! What is known of the data when it is backed up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use super::error::RedisError;
use crate::engine::EngineError;

/// Of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// `redis`.
    pub(super) engine: String,
    /// `redis` or `valkey`.
    pub(super) server: String,
    pub(super) server_version: String,
    /// Of the dump.
    pub(super) rdb_version: u32,
    /// Whether the dump had a checksum, which was right then.
    pub(super) checksum: bool,
    pub(super) keys: u64,
    pub(super) databases: Vec<DatabaseFacts>,
    /// Libraries.
    pub(super) functions: u64,
    /// Where the data came from: one, or all masters of a cluster.
    pub(super) masters: Vec<MasterFacts>,
    /// Whether it was a cluster.
    pub(super) cluster: bool,
}

/// Of one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DatabaseFacts {
    pub(super) number: u64,
    pub(super) keys: u64,
    /// Those that expire.
    pub(super) expires: u64,
    /// Keys of each kind.
    pub(super) kinds: BTreeMap<String, u64>,
    /// As it is stored.
    pub(super) bytes: u64,
    /// What its keys come to, in their order, whichever encodings they have.
    pub(super) digest: String,
}

/// Of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MasterFacts {
    pub(super) address: String,
    pub(super) keys: u64,
    /// Of a cluster: `0-5460`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) slots: Vec<String>,
}

impl Facts {
    /// Those of a snapshot.
    ///
    /// # Errors
    /// `NotRedis`; what reading the facts fails with.
    pub(super) fn of(reader: &Reader<'_>, snapshot: &Snapshot) -> Result<Self, EngineError> {
        let not_redis = || RedisError::NotRedis { snapshot: snapshot.id() };
        let facts = snapshot.manifest.facts.as_ref().filter(|_| snapshot.manifest.engine == super::ENGINE);
        let json = reader.blob(facts.ok_or_else(not_redis)?.node)?;
        Ok(serde_json::from_slice(&json).map_err(|_| not_redis())?)
    }
}
