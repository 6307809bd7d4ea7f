//! What is known of a server's tables when they are backed up.

use serde::{Deserialize, Serialize};
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use super::error::ClickHouseError;
use crate::engine::EngineError;

/// The engine's name.
pub(crate) const ENGINE: &str = "clickhouse";

/// Of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// `clickhouse`.
    pub(super) engine: String,
    /// The server's, `26.9.2.1`.
    pub(super) server_version: String,
    /// The server's.
    pub(super) timezone: String,
    pub(super) rows: u64,
    pub(super) databases: Vec<Database>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) functions: Vec<Function>,
    pub(super) tables: Vec<Table>,
    /// Of a cluster whose shards have a worker each: what each knew of its server. `tables` has all of it together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) shards: Vec<Facts>,
    /// Of such a worker: its server.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) server: String,
}

/// A database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Database {
    pub(super) name: String,
    pub(super) engine: String,
    /// What makes it.
    pub(super) create: String,
}

/// A function that was made with SQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Function {
    pub(super) name: String,
    /// What makes it.
    pub(super) create: String,
}

/// A table, view or dictionary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    pub(super) database: String,
    pub(super) name: String,
    pub(super) engine: String,
    /// What makes it.
    pub(super) create: String,
    pub(super) columns: Vec<Column>,
    /// Whether its rows have the values of columns that are `MATERIALIZED`: snapshots of before have none of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) has_materialized: bool,
    /// Where its rows lie: in itself, or in a materialized view's inner table. Others have no rows of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) storage: Option<Storage>,
    pub(super) rows: u64,
    /// A table that has no partitions has one here, without an ID.
    pub(super) partitions: Vec<Partition>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// `DEFAULT`, `MATERIALIZED`, `ALIAS`, `EPHEMERAL`, or nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) default: String,
}

/// A table that holds rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Storage {
    /// Its name.
    pub(super) table: String,
    pub(super) engine: String,
    /// As the server writes it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) sorting_key: String,
    /// What tells it from another of that name: its UUID, or when it was last altered.
    pub(super) identity: String,
}

/// Of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Partition {
    /// As the server calls it; none of a table that has no partitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    /// Where it lies in the snapshot.
    pub(super) path: String,
    /// And the rows of further shards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) more_paths: Vec<String>,
    pub(super) rows: u64,
    /// In Native format.
    pub(super) bytes: u64,
    /// What its rows come to in any order: hashes of all, each of a row, as an exclusive or and as a sum. None where it
    /// could not be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint: Option<String>,
    /// What the server keeps it in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<Part>,
    /// When the server said so, by its clock, seconds.
    #[serde(default)]
    pub(super) listed: u64,
}

/// A part: never changed once it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// When it was made, seconds.
    pub(super) modified: u64,
    /// Of all its files, where the server tells it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) hash: String,
}

impl Facts {
    /// Those of a snapshot.
    ///
    /// # Errors
    /// `NotClickHouse`; what reading the facts fails with.
    pub(super) fn of(reader: &Reader<'_>, snapshot: &Snapshot) -> Result<Self, EngineError> {
        let not_ours = || ClickHouseError::NotClickHouse { snapshot: snapshot.id() };
        let facts = snapshot.manifest.facts.as_ref().filter(|_| snapshot.manifest.engine == ENGINE);
        let json = reader.blob(facts.ok_or_else(not_ours)?.node)?;
        Ok(serde_json::from_slice(&json).map_err(|_| not_ours())?)
    }
}

impl Table {
    /// `shop.orders`
    pub(super) fn full_name(&self) -> String {
        format!("{}.{}", self.database, self.name)
    }

    /// Columns that are read and written.
    pub(super) fn stored_columns(&self) -> impl Iterator<Item = &Column> {
        let is_wanted = |column: &&Column| self.has_materialized || !column.is_materialized();
        self.columns.iter().filter(|column| column.is_stored()).filter(is_wanted)
    }
}

impl Column {
    /// Whether it holds values: the others are worked out when they are read. What was worked out when it was inserted need not
    /// come out the same again.
    pub(super) fn is_stored(&self) -> bool {
        matches!(self.default.as_str(), "" | "DEFAULT") || self.is_materialized()
    }

    pub(super) fn is_materialized(&self) -> bool {
        self.default == "MATERIALIZED"
    }
}

impl Partition {
    /// `partition 202001 of shop.orders`
    pub(super) fn full_name(&self, table: &str) -> String {
        name_of(table, self.id.as_deref())
    }
}

/// A partition, or a table that has none, in words.
pub(super) fn name_of(table: &str, partition: Option<&str>) -> String {
    partition.map_or_else(|| table.to_owned(), |id| format!("partition {id} of {table}"))
}

/// The server's clock tells seconds, and may be this much late in telling them.
const CLOCK_GRAIN_SECONDS: u64 = 2;

impl Part {
    /// Whether it is the same, and not another of that name; `listed` is when this one was listed.
    pub(super) fn is_still(&self, now: &Self, listed: u64) -> bool {
        if self.name != now.name || self.rows != now.rows {
            return false;
        }
        if !self.hash.is_empty() {
            return self.hash == now.hash;
        }
        let was_quiet = self.modified + CLOCK_GRAIN_SECONDS < listed;
        was_quiet && (self.bytes, self.modified) == (now.bytes, now.modified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_of_before_have_no_values_of_materialized_columns() {
        let column = |name: &str, default: &str| serde_json::json!({ "name": name, "type": "UInt8", "default": default });
        let mut json = serde_json::json!({
            "database": "d", "name": "t", "engine": "MergeTree", "create": "", "rows": 0, "partitions": [],
            "columns": [column("a", ""), column("b", "DEFAULT"), column("c", "MATERIALIZED"), column("d", "ALIAS"), column("e", "EPHEMERAL")],
        });
        let stored = |json: &serde_json::Value| {
            let table: Table = serde_json::from_value(json.clone()).unwrap();
            table.stored_columns().map(|column| column.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(stored(&json), ["a", "b"]);
        json["has_materialized"] = true.into();
        assert_eq!(stored(&json), ["a", "b", "c"]);
    }

    #[test]
    fn a_part_is_known_by_its_hash_or_its_time() {
        let part = |hash: &str, modified| Part {
            name: "all_1_1_0".into(),
            rows: 3,
            bytes: 30,
            modified,
            hash: hash.into(),
        };
        assert!(part("ab", 5).is_still(&part("ab", 9), 5));
        assert!(!part("ab", 5).is_still(&part("ac", 5), 50));
        assert!(part("", 5).is_still(&part("", 5), 50));
        assert!(!part("", 5).is_still(&part("", 6), 50));
        // Another of the same second would look the same.
        assert!(!part("", 5).is_still(&part("", 5), 7));
    }
}
