//! What is known of the indices when they are backed up.

use serde::{Deserialize, Serialize};
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use super::catalog::Position;
use super::error::OpensearchError;
use super::session::Server;
use crate::engine::EngineError;
use crate::fingerprint::Fingerprint;

/// The engine's name.
pub const ENGINE: &str = "opensearch";

/// Of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// `opensearch`.
    pub(super) engine: String,
    pub(super) server: Server,
    /// In the order of their names.
    pub(super) indices: Vec<IndexFacts>,
    /// What is there and was closed, so that it could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) closed: Vec<String>,
}

/// Of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IndexFacts {
    pub(super) name: String,
    pub(super) uuid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) data_stream: Option<String>,
    /// In the order of their numbers.
    pub(super) shards: Vec<ShardFacts>,
}

/// Of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShardFacts {
    pub(super) documents: u64,
    pub(super) bytes: u64,
    /// What its documents come to, in any order.
    pub(super) fingerprint: String,
    /// Up to which change they are all there, where nobody wrote meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<Position>,
}

impl IndexFacts {
    pub(super) fn documents(&self) -> u64 {
        self.shards.iter().map(|shard| shard.documents).sum()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.bytes).sum()
    }

    /// Of all shards: how many there are does not matter.
    pub(super) fn fingerprint(&self) -> String {
        let mut all = Fingerprint::default();
        self.shards.iter().for_each(|shard| all.merge(&shard.fingerprint));
        all.to_hex()
    }
}

impl Facts {
    /// Those of a snapshot.
    ///
    /// # Errors
    /// `NotOpensearch`; what reading the facts fails with.
    pub(super) fn of(reader: &Reader<'_>, snapshot: &Snapshot) -> Result<Self, EngineError> {
        let other = || OpensearchError::NotOpensearch { snapshot: snapshot.id() };
        let facts = snapshot.manifest.facts.as_ref().filter(|_| snapshot.manifest.engine == ENGINE);
        let json = reader.blob(facts.ok_or_else(other)?.node)?;
        Ok(serde_json::from_slice(&json).map_err(|_| other())?)
    }

    pub(super) fn index(&self, name: &str) -> Option<&IndexFacts> {
        self.indices.iter().find(|index| index.name == name)
    }
}
