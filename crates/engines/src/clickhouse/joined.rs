//! What is known of a cluster, from what the workers of its shards knew of their servers.

use super::facts::{Facts, Partition, Table};
use crate::engine::EngineError;
use crate::join::{JoinError, decoded};

/// The facts of all shards.
///
/// # Errors
/// `Facts`; `Disagreement` when two workers read one server, or a table has other columns on another shard.
pub(crate) fn join(parts: &[Vec<u8>]) -> Result<Vec<u8>, EngineError> {
    let shards: Vec<Facts> = decoded(parts)?;
    let Some(first) = shards.first() else { return Ok(Vec::new()) };
    let mut joined = Facts {
        rows: shards.iter().map(|shard| shard.rows).sum(),
        databases: Vec::new(),
        functions: Vec::new(),
        tables: Vec::new(),
        shards: Vec::new(),
        server: String::new(),
        ..first.clone()
    };
    for (number, shard) in (1..).zip(&shards) {
        if let Some(other) = shards.iter().take(number - 1).find(|other| other.server == shard.server) {
            return Err(differs(number, "another server than", &shard.server, &other.server).into());
        }
        for database in &shard.databases {
            if !joined.databases.iter().any(|known| known.name == database.name) {
                joined.databases.push(database.clone());
            }
        }
        for function in &shard.functions {
            if !joined.functions.iter().any(|known| known.name == function.name) {
                joined.functions.push(function.clone());
            }
        }
        for table in &shard.tables {
            add_table(&mut joined.tables, number, table)?;
        }
    }
    joined.shards = shards;
    let json = serde_json::to_vec(&joined);
    Ok(json.map_err(|source| JoinError::Facts { number: 1, source })?)
}

fn differs(number: usize, what: &'static str, found: &str, expected: &str) -> JoinError {
    JoinError::Disagreement { number, what, found: found.into(), expected: expected.into() }
}

fn add_table(tables: &mut Vec<Table>, number: usize, table: &Table) -> Result<(), JoinError> {
    let is_same = |known: &&mut Table| (&known.database, &known.name) == (&table.database, &table.name);
    let Some(known) = tables.iter_mut().find(is_same) else {
        tables.push(Table {
            partitions: table.partitions.iter().map(without_parts).collect(),
            ..table.clone()
        });
        return Ok(());
    };
    let same = |table: &Table| (table.columns.clone(), table.has_materialized, table.engine.clone());
    if same(known) != same(table) {
        let what = "a table of other columns or another engine:";
        return Err(differs(number, what, &table.full_name(), &known.full_name()));
    }
    known.rows += table.rows;
    for partition in &table.partitions {
        match known.partitions.iter_mut().find(|one| one.id == partition.id) {
            Some(one) => add_rows(one, partition),
            None => known.partitions.push(without_parts(partition)),
        }
    }
    known.partitions.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(())
}

/// What a server keeps it in is known of its shard.
fn without_parts(partition: &Partition) -> Partition {
    Partition { parts: Vec::new(), ..partition.clone() }
}

fn add_rows(known: &mut Partition, other: &Partition) {
    known.more_paths.push(other.path.clone());
    known.rows += other.rows;
    known.bytes += other.bytes;
    let both = known.fingerprint.as_deref().zip(other.fingerprint.as_deref());
    known.fingerprint = both.and_then(|(one, other)| sum_of(one, other));
}

/// An exclusive or and a sum, as servers work them out: modulo 2^64.
fn sum_of(one: &str, other: &str) -> Option<String> {
    let numbers = |text: &str| {
        let (xor, sum) = text.split_once('-')?;
        Some((xor.parse::<u64>().ok()?, sum.parse::<u64>().ok()?))
    };
    let (one, other) = (numbers(one)?, numbers(other)?);
    Some(format!("{}-{}", one.0 ^ other.0, one.1.wrapping_add(other.1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clickhouse::facts::{Database, Storage};

    fn shard(server: &str, rows: u64, column: &str) -> Vec<u8> {
        let partition = Partition {
            id: Some("202001".into()),
            path: format!("{server}/p"),
            more_paths: Vec::new(),
            rows,
            bytes: 10,
            fingerprint: Some(format!("{rows}-{}", u64::MAX)),
            parts: Vec::new(),
            listed: 0,
        };
        let storage = Storage {
            table: "t".into(),
            engine: "MergeTree".into(),
            sorting_key: String::new(),
            identity: server.into(),
        };
        let column = serde_json::from_value(serde_json::json!({ "name": column, "type": "UInt8" })).unwrap();
        let table = Table {
            database: "d".into(),
            name: "t".into(),
            engine: "MergeTree".into(),
            create: "CREATE".into(),
            columns: vec![column],
            has_materialized: false,
            storage: Some(storage),
            rows,
            partitions: vec![partition],
        };
        let facts = Facts {
            engine: "clickhouse".into(),
            server_version: "26.9".into(),
            timezone: "UTC".into(),
            rows,
            databases: vec![Database { name: "d".into(), engine: "Atomic".into(), create: String::new() }],
            functions: Vec::new(),
            tables: vec![table],
            shards: Vec::new(),
            server: server.into(),
        };
        serde_json::to_vec(&facts).unwrap()
    }

    #[test]
    fn shards_are_put_together_and_kept_apart() {
        let joined = join(&[shard("one", 3, "a"), shard("two", 5, "a")]).unwrap();
        let facts: Facts = serde_json::from_slice(&joined).unwrap();
        assert_eq!((facts.rows, facts.shards.len(), facts.tables.len(), facts.databases.len()), (8, 2, 1, 1));
        let partition = &facts.tables[0].partitions[0];
        assert_eq!((&*partition.path, &partition.more_paths[..]), ("one/p", &["two/p".to_owned()][..]));
        assert_eq!((partition.rows, partition.fingerprint.as_deref()), (8, Some("6-18446744073709551614")));
    }

    #[test]
    fn what_is_no_cluster_is_refused() {
        assert!(join(&[shard("one", 3, "a"), shard("one", 3, "a")]).is_err());
        assert!(join(&[shard("one", 3, "a"), shard("two", 3, "b")]).is_err());
    }
}
