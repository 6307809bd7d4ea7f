//! What of a snapshot is restored, and under which names.

use std::collections::{BTreeMap, BTreeSet};

use super::ddl::{self, Name};
use super::error::ClickHouseError;
use super::facts::{Facts, Partition, Table};

/// What of a snapshot. Nothing named means everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only this database.
    pub database: Option<String>,
    /// Only these tables: `TABLE`, where one of that name is enough, or `DATABASE.TABLE`.
    pub tables: Vec<String>,
    /// Only partitions with these IDs.
    pub partitions: Vec<String>,
    /// Tables that get other names, each `DATABASE.TABLE`.
    pub renames: Vec<(String, String)>,
    /// The database that all get into.
    pub into: Option<String>,
}

/// A table that is restored.
#[derive(Debug, Clone)]
pub(super) struct Chosen<'f> {
    pub(super) table: &'f Table,
    /// What it is called there.
    pub(super) to: Name,
    /// What of its rows.
    pub(super) partitions: Vec<&'f Partition>,
}

impl Chosen<'_> {
    /// `shop.orders`, as it is called there.
    pub(super) fn full_name(&self) -> String {
        format!("{}.{}", self.to.0, self.to.1)
    }

    pub(super) fn rows(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.rows).sum()
    }

    pub(super) fn is_materialized_view(&self) -> bool {
        self.table.engine == "MaterializedView"
    }

    /// Whether it takes no rows of its own.
    pub(super) fn is_view(&self) -> bool {
        self.table.storage.is_none()
    }
}

impl Wanted {
    /// The tables, by class and then so that each comes behind those that it refers to.
    ///
    /// # Errors
    /// `Missing`.
    pub(super) fn choose<'f>(&self, facts: &'f Facts) -> Result<Vec<Chosen<'f>>, ClickHouseError> {
        let there = || facts.tables.iter().map(Table::full_name).collect::<Vec<_>>();
        if let Some(database) = &self.database
            && !facts.databases.iter().any(|one| one.name == *database)
        {
            let there = facts.databases.iter().map(|one| one.name.clone()).collect();
            return Err(ClickHouseError::Missing {
                what: format!("database {database} in the snapshot"),
                there,
            });
        }
        let is_named = |table: &Table, name: &str| table.full_name() == name || table.name == name;
        let in_database = |table: &&Table| self.database.as_ref().is_none_or(|own| *own == table.database);
        for name in &self.tables {
            match facts.tables.iter().filter(in_database).filter(|table| is_named(table, name)).count() {
                0 => {
                    let what = format!("table {name} in the snapshot");
                    return Err(ClickHouseError::Missing { what, there: there() });
                }
                1 => {}
                _ => {
                    let what = format!("one table only that is called {name}: name it as DATABASE.TABLE");
                    return Err(ClickHouseError::Missing { what, there: there() });
                }
            }
        }
        let wanted: Vec<&Table> = facts
            .tables
            .iter()
            .filter(in_database)
            .filter(|table| self.tables.is_empty() || self.tables.iter().any(|name| is_named(table, name)))
            .collect();
        for (old, _) in &self.renames {
            if !wanted.iter().any(|table| table.full_name() == *old) {
                return Err(ClickHouseError::Missing {
                    what: format!("table {old} in what is to be restored"),
                    there: there(),
                });
            }
        }
        let mut chosen = Vec::new();
        for table in wanted {
            let is_wanted = |partition: &&Partition| {
                let id = partition.id.as_deref().unwrap_or_default();
                self.partitions.is_empty() || self.partitions.iter().any(|one| one == id)
            };
            let partitions: Vec<&Partition> = table.partitions.iter().filter(is_wanted).collect();
            if !self.partitions.is_empty() && partitions.is_empty() {
                continue;
            }
            chosen.push(Chosen { table, to: self.name_of(table), partitions });
        }
        for id in &self.partitions {
            let is_there =
                |chosen: &Chosen<'_>| chosen.partitions.iter().any(|one| one.id.as_ref() == Some(id));
            if !chosen.iter().any(is_there) {
                let what = format!("partition {id} in what is to be restored");
                let there = facts.tables.iter().flat_map(|table| &table.partitions);
                let there: BTreeSet<String> = there.filter_map(|partition| partition.id.clone()).collect();
                return Err(ClickHouseError::Missing { what, there: there.into_iter().take(20).collect() });
            }
        }
        Ok(in_order(chosen))
    }

    fn name_of(&self, table: &Table) -> Name {
        let own = table.full_name();
        let renamed =
            self.renames.iter().find(|(old, _)| *old == own).and_then(|(_, new)| new.split_once('.'));
        match (renamed, &self.into) {
            (Some((database, name)), _) => (database.to_owned(), name.to_owned()),
            (None, Some(into)) => (into.clone(), table.name.clone()),
            (None, None) => (table.database.clone(), table.name.clone()),
        }
    }
}

/// All tables of a snapshot that are called otherwise now.
pub(super) fn names(chosen: &[Chosen<'_>]) -> BTreeMap<Name, Name> {
    let name = |one: &Chosen<'_>| ((one.table.database.clone(), one.table.name.clone()), one.to.clone());
    chosen.iter().map(name).collect()
}

/// Tables that hold rows, what points to others, views, and materialized views last; in each class what others refer to first.
fn in_order(mut chosen: Vec<Chosen<'_>>) -> Vec<Chosen<'_>> {
    chosen.sort_by_key(|one| class(one.table));
    let known: BTreeSet<Name> =
        chosen.iter().map(|one| (one.table.database.clone(), one.table.name.clone())).collect();
    let (mut ordered, mut done): (Vec<Chosen<'_>>, BTreeSet<Name>) = (Vec::new(), BTreeSet::new());
    while !chosen.is_empty() {
        let own = |one: &Chosen<'_>| (one.table.database.clone(), one.table.name.clone());
        let is_ready = |one: &Chosen<'_>| {
            let own = own(one);
            ddl::references(&one.table.create, &known).iter().all(|name| *name == own || done.contains(name))
        };
        // Those that refer to each other come as they are.
        let at = chosen.iter().position(is_ready).unwrap_or_default();
        let next = chosen.remove(at);
        done.insert(own(&next));
        ordered.push(next);
    }
    ordered.sort_by_key(|one| one.is_materialized_view());
    ordered
}

fn class(table: &Table) -> u8 {
    match table.engine.as_str() {
        _ if table.storage.is_some() && table.engine != "MaterializedView" => 0,
        "MaterializedView" => 4,
        "View" | "LiveView" | "WindowView" => 3,
        "Distributed" | "Buffer" | "Merge" | "Dictionary" => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clickhouse::facts::{Database, Storage};

    fn table(name: &str, engine: &str, create: &str) -> Table {
        let partition = |id: &str| Partition {
            id: Some(id.into()),
            path: String::new(),
            more_paths: Vec::new(),
            rows: 1,
            bytes: 1,
            fingerprint: None,
            parts: Vec::new(),
            listed: 0,
        };
        let holds_rows = engine.ends_with("MergeTree");
        Table {
            database: "shop".into(),
            name: name.into(),
            engine: engine.into(),
            create: create.into(),
            columns: Vec::new(),
            has_materialized: false,
            storage: holds_rows.then(|| Storage {
                table: name.into(),
                engine: engine.into(),
                sorting_key: String::new(),
                identity: String::new(),
            }),
            rows: 2,
            partitions: if holds_rows { vec![partition("1"), partition(name)] } else { Vec::new() },
        }
    }

    fn facts() -> Facts {
        Facts {
            engine: "clickhouse".into(),
            server_version: "26.9".into(),
            timezone: "UTC".into(),
            rows: 0,
            databases: vec![Database { name: "shop".into(), engine: "Atomic".into(), create: String::new() }],
            functions: Vec::new(),
            shards: Vec::new(),
            server: String::new(),
            tables: vec![
                table("a_mv", "MaterializedView", "CREATE MATERIALIZED VIEW shop.a_mv TO shop.t AS SELECT 1"),
                table("a_view", "View", "CREATE VIEW shop.a_view AS SELECT * FROM shop.z_view"),
                table("all", "Distributed", "CREATE TABLE shop.all AS Distributed(c, shop, t)"),
                table("t", "MergeTree", "CREATE TABLE shop.t"),
                table("z_view", "View", "CREATE VIEW shop.z_view AS SELECT * FROM shop.all"),
            ],
        }
    }

    #[test]
    fn what_others_need_comes_first() {
        let facts = facts();
        let chosen = Wanted::default().choose(&facts).unwrap();
        let names: Vec<&str> = chosen.iter().map(|one| one.table.name.as_str()).collect();
        assert_eq!(names, ["t", "all", "z_view", "a_view", "a_mv"]);
    }

    #[test]
    fn parts_are_chosen_by_name() {
        let facts = facts();
        let choose = |wanted: &Wanted| {
            wanted.choose(&facts).map(|chosen| {
                chosen.iter().map(|one| (one.full_name(), one.partitions.len())).collect::<Vec<_>>()
            })
        };
        let tables = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let wanted = Wanted { tables: tables(&["t"]), ..Wanted::default() };
        assert_eq!(choose(&wanted).unwrap(), [("shop.t".to_owned(), 2)]);
        let wanted = Wanted { partitions: tables(&["1"]), into: Some("new".into()), ..Wanted::default() };
        assert_eq!(choose(&wanted).unwrap(), [("new.t".to_owned(), 1)]);
        let wanted = Wanted {
            tables: tables(&["shop.t"]),
            renames: vec![("shop.t".into(), "x.y".into())],
            ..Wanted::default()
        };
        assert_eq!(choose(&wanted).unwrap(), [("x.y".to_owned(), 2)]);
        for wanted in [
            Wanted { tables: tables(&["nothing"]), ..Wanted::default() },
            Wanted { partitions: tables(&["nothing"]), ..Wanted::default() },
            Wanted { database: Some("nothing".into()), ..Wanted::default() },
            Wanted { renames: vec![("shop.x".into(), "x.y".into())], ..Wanted::default() },
        ] {
            assert!(matches!(choose(&wanted), Err(ClickHouseError::Missing { .. })), "{wanted:?}");
        }
    }
}
