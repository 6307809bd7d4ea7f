//! Redis and Valkey: the dump that a server sends to a replica, brought into one order, an entry a database.
//!
//! A server is asked for its dump as a replica asks ([`psync`]), over a connection of one's own ([`connection`]). The dump
//! is read to its checksum ([`rdb`]), sorted by key through a sealed temporary file ([`sort`]), and stored so that the
//! entries are a dump again when a head and an end are put around them.

mod aof;
mod backup;
mod body;
mod cluster;
mod comparison;
mod connection;
mod digest;
mod error;
mod facts;
mod info;
mod intake;
mod into;
mod layout;
mod load;
mod pipe;
mod psync;
pub mod rdb;
mod record;
mod resp;
mod restore;
mod scratch;
mod sentinel;
mod sort;
mod spill;
mod target;
mod tls;
mod verify;
mod wanted;
mod write;

pub use aof::{AOF_ENGINE, AofFiles, AofSnapshot};
pub use backup::Redis;
pub use error::RedisError;
pub(crate) use facts::join;
pub use into::{Loaded, RestoreInto};
pub use restore::Dumps;
pub use target::Target;
pub use verify::{Place, Verification};
pub use wanted::Wanted;
pub use write::AofFolder;

/// In snapshots.
pub const ENGINE: &str = "redis";
