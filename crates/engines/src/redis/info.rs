//! What a server says of itself.

use std::collections::BTreeMap;

use super::connection::Connection;
use super::error::RedisError;

/// Fields of `INFO`.
#[derive(Debug, Clone)]
pub(super) struct Info {
    fields: BTreeMap<String, String>,
    server: String,
}

impl Info {
    /// Asks for it.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub(super) fn of(connection: &mut Connection<'_>) -> Result<Self, RedisError> {
        let text = connection.ask(&[b"INFO"])?.text();
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        let fields = pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        Ok(Self { fields, server: connection.server.clone() })
    }

    pub(super) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map(String::as_str).unwrap_or_default()
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.field(name) == value
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.is("redis_mode", "cluster") || self.is("server_mode", "cluster")
    }

    pub(super) fn is_replica(&self) -> bool {
        self.is("role", "slave") || self.is("role", "replica")
    }

    /// `redis` or `valkey`.
    pub(super) fn name(&self) -> &'static str {
        if self.fields.contains_key("valkey_version") { "valkey" } else { "redis" }
    }

    /// Its own version.
    pub(super) fn version(&self) -> &str {
        match self.field("valkey_version") {
            "" => self.field("redis_version"),
            version => version,
        }
    }

    /// Major and minor version of the Redis that it is, or is compatible with.
    pub(super) fn compatible(&self) -> (u32, u32) {
        let mut parts = self.field("redis_version").split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }

    /// The newest version of dumps that it reads.
    pub(super) fn reads_dumps_of(&self) -> u32 {
        match self.compatible() {
            (0..=2, _) => 6,
            (3, _) => 7,
            (4, _) => 8,
            (5 | 6, _) => 9,
            (7, 0 | 1) => 10,
            (7, 2 | 3) => 11,
            _ => 12,
        }
    }

    /// Databases that have keys, with how many.
    pub(super) fn databases(&self) -> Vec<(u64, u64)> {
        let number = |name: &str| name.strip_prefix("db")?.parse().ok();
        let keys = |value: &str| value.strip_prefix("keys=")?.split(',').next()?.parse().ok();
        self.fields.iter().filter_map(|(name, value)| Some((number(name)?, keys(value)?))).collect()
    }

    /// That all of its data is there: it has read its own, and has all of its master's.
    ///
    /// # Errors
    /// `NotReady`.
    pub(super) fn require_whole(&self) -> Result<(), RedisError> {
        let why = if self.is("loading", "1") || self.is("async_loading", "1") {
            "it is loading a dump"
        } else if self.is("master_sync_in_progress", "1") {
            "it is a replica in the middle of a sync"
        } else if self.is("master_link_status", "down") {
            "it is a replica whose link to its master is down"
        } else {
            return Ok(());
        };
        Err(RedisError::NotReady { server: self.server.clone(), why: why.into() })
    }
}
