//! Where what lies in a snapshot.
//!
//! ```text
//! cluster.json               templates, pipelines, scripts
//! indices/NAME/index.json    settings, mappings, aliases
//! indices/NAME/documents/0   the documents of a shard
//! ```

/// Templates and pipelines.
pub(super) const CLUSTER: &str = "cluster.json";

/// Settings, mappings and aliases of an index.
pub(super) fn definition(index: &str) -> String {
    format!("indices/{index}/index.json")
}

/// The documents of a shard.
pub(super) fn documents(index: &str, shard: u32) -> String {
    format!("indices/{index}/documents/{shard}")
}
