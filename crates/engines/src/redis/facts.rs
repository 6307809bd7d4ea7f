//! What is known of the data when it is backed up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use super::cluster::SLOTS;
use super::error::RedisError;
use super::layout;
use crate::engine::EngineError;
use crate::join::{JoinError, agree, decoded};

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
    /// What its keys come to, in their order, whichever encodings they have. Where several workers read them, of the keys
    /// of each, with a `+` between.
    pub(super) digest: String,
    /// Where its keys lie, where several workers read them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) paths: Vec<String>,
}

impl DatabaseFacts {
    /// Where its keys lie, each in their order.
    pub(super) fn paths(&self) -> Vec<String> {
        if self.paths.is_empty() { vec![layout::database(self.number, None)] } else { self.paths.clone() }
    }
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

/// The facts of a cluster whose masters several workers read.
///
/// # Errors
/// `Facts`; `Disagreement` when slots were moved from one worker's masters to another's meanwhile.
pub(crate) fn join(parts: &[Vec<u8>]) -> Result<Vec<u8>, EngineError> {
    let parts: Vec<Facts> = decoded(parts)?;
    agree(&parts, "the server", |part| part.server.clone())?;
    let Some(mut facts) = parts.first().cloned() else { return Ok(Vec::new()) };
    for part in &parts[1..] {
        facts.rdb_version = facts.rdb_version.max(part.rdb_version);
        facts.checksum &= part.checksum;
        facts.keys += part.keys;
        facts.masters.extend(part.masters.iter().cloned());
        part.databases.iter().for_each(|database| facts.add(database));
    }
    let covered = covered(&facts.masters);
    if covered != Some(SLOTS) {
        return Err(JoinError::Disagreement {
            number: parts.len(),
            what: "slots, with those of the parts before, that have one master each:",
            found: covered.map_or_else(|| "no".to_owned(), |slots| slots.to_string()),
            expected: SLOTS.to_string(),
        }
        .into());
    }
    facts.databases.sort_by_key(|database| database.number);
    let json = serde_json::to_vec(&facts);
    Ok(json.map_err(|source| JoinError::Facts { number: 1, source })?)
}

/// How many slots the masters have; none if two have the same one.
fn covered(masters: &[MasterFacts]) -> Option<u16> {
    let mut ranges = Vec::new();
    for text in masters.iter().flat_map(|master| &master.slots) {
        let (first, last) = text.split_once('-')?;
        ranges.push((first.parse::<u16>().ok()?, last.parse::<u16>().ok()?));
    }
    ranges.sort_unstable();
    let are_apart = ranges.windows(2).all(|pair| pair[0].1 < pair[1].0);
    let count: u16 = ranges.iter().map(|(first, last)| last - first + 1).sum();
    are_apart.then_some(count)
}

impl Facts {
    /// Adds the keys of a database that another worker read.
    fn add(&mut self, part: &DatabaseFacts) {
        let Some(known) = self.databases.iter_mut().find(|known| known.number == part.number) else {
            self.databases.push(part.clone());
            return;
        };
        known.keys += part.keys;
        known.expires += part.expires;
        known.bytes += part.bytes;
        for (kind, keys) in &part.kinds {
            *known.kinds.entry(kind.clone()).or_default() += keys;
        }
        known.digest = format!("{}+{}", known.digest, part.digest);
        known.paths.extend(part.paths.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(slots: &str, keys: u64, path: &str) -> Vec<u8> {
        let masters = vec![MasterFacts { address: path.into(), keys, slots: vec![slots.into()] }];
        let database = DatabaseFacts {
            number: 0,
            keys,
            expires: 1,
            kinds: BTreeMap::from([("string".into(), keys)]),
            bytes: 10,
            digest: path.into(),
            paths: vec![path.into()],
        };
        let facts = Facts {
            engine: "redis".into(),
            server: "redis".into(),
            server_version: "8.0".into(),
            rdb_version: 12,
            checksum: true,
            keys,
            databases: vec![database],
            functions: 0,
            masters,
            cluster: true,
        };
        serde_json::to_vec(&facts).unwrap()
    }

    #[test]
    fn parts_of_a_cluster_are_added_up() {
        let joined = join(&[part("0-8191", 3, "a"), part("8192-16383", 4, "b")]).unwrap();
        let facts: Facts = serde_json::from_slice(&joined).unwrap();
        assert_eq!((facts.keys, facts.masters.len(), facts.databases.len()), (7, 2, 1));
        let database = &facts.databases[0];
        assert_eq!((database.keys, database.expires, database.kinds["string"]), (7, 2, 7));
        assert_eq!((database.paths(), &*database.digest), (vec!["a".to_owned(), "b".to_owned()], "a+b"));
    }

    #[test]
    fn slots_that_were_moved_meanwhile_are_noticed() {
        for (one, other) in [("0-8191", "8193-16383"), ("0-8191", "8191-16383"), ("0-16383", "0-16383")] {
            assert!(join(&[part(one, 1, "a"), part(other, 1, "b")]).is_err(), "{one} {other}");
        }
    }
}
