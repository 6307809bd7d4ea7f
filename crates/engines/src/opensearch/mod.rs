//! OpenSearch, and Elasticsearch 7 where its API is the same: indices, a stream of documents a shard.
//!
//! A shard is read as it is at one moment ([`moment`]), in the order of its last changes, so that the same documents come in the same
//! order again; one that nobody wrote to since the last snapshot is not read at all.

mod aliases;
mod backup;
mod bulk;
mod catalog;
mod cluster;
mod documents;
mod error;
mod facts;
mod layout;
mod make;
mod moment;
mod progress;
mod rename;
mod restore;
mod restore_plan;
mod session;
mod settings;
mod verify;

pub use backup::Opensearch;
pub use catalog::Selection;
pub use error::OpensearchError;
pub use facts::ENGINE;
pub use rename::Rename;
pub use restore::{IndexReport, IndexSwitches, Indices};
pub use session::DEFAULT_PORT;
