//! A snapshot, or a part of it, into a server.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::share::Share;
use strongroom_repository::state::Snapshot;

use super::catalog;
use super::ddl::{self, Name};
use super::error::ClickHouseError;
use super::facts::Facts;
use super::load::{self, Contents};
use super::session::{Session, literal, quoted};
use super::wanted::{self, Chosen, Wanted};
use crate::engine::EngineError;
use crate::http::HttpTarget;

/// How.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreSwitches {
    /// What of it.
    pub wanted: Wanted,
    /// Drop what is there before it is made again.
    pub drop_existing: bool,
    /// No rows.
    pub schema_only: bool,
    /// Nothing but rows, into tables that are there.
    pub data_only: bool,
}

/// What came back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Tables, views and dictionaries.
    pub tables: u64,
    /// Partitions, or all of tables that have none.
    pub partitions: u64,
    /// In them.
    pub rows: u64,
    /// In Native format.
    pub bytes: u64,
}

/// A snapshot of ClickHouse.
pub struct Tables<'r> {
    pub(super) reader: &'r Reader<'r>,
    pub(super) snapshot: &'r Snapshot,
    pub(super) facts: Facts,
}

/// Lets a server make whatever another one had.
const MAKING: [(&str, &str); 21] = [
    ("allow_suspicious_low_cardinality_types", "1"),
    ("allow_suspicious_codecs", "1"),
    ("allow_suspicious_fixed_string_types", "1"),
    ("allow_suspicious_primary_key", "1"),
    ("allow_suspicious_ttl_expressions", "1"),
    ("allow_suspicious_variant_types", "1"),
    ("allow_suspicious_indices", "1"),
    ("allow_experimental_low_cardinality_type", "1"),
    ("allow_experimental_object_type", "1"),
    ("allow_experimental_json_type", "1"),
    ("allow_experimental_variant_type", "1"),
    ("allow_experimental_dynamic_type", "1"),
    ("allow_experimental_live_view", "1"),
    ("allow_experimental_window_view", "1"),
    ("allow_experimental_refreshable_materialized_view", "1"),
    ("allow_experimental_codecs", "1"),
    ("allow_deprecated_syntax_for_merge_tree", "1"),
    ("allow_deprecated_database_ordinary", "1"),
    ("enable_time_time64_type", "1"),
    ("max_table_size_to_drop", "0"),
    ("max_partition_size_to_drop", "0"),
];
/// Engines whose rows become fewer when they are merged: counting them must not race with that.
const MERGING: [&str; 7] =
    ["Replacing", "Summing", "Aggregating", "Collapsing", "VersionedCollapsing", "Graphite", "Coalescing"];

#[derive(Deserialize)]
struct There {
    database: String,
    name: String,
    engine: String,
}

impl<'r> Tables<'r> {
    /// Reads what the snapshot says of itself.
    ///
    /// # Errors
    /// `NotClickHouse`; what reading the facts fails with.
    pub fn open(reader: &'r Reader<'r>, snapshot: &'r Snapshot) -> Result<Self, EngineError> {
        Ok(Self { reader, snapshot, facts: Facts::of(reader, snapshot)? })
    }

    /// The same, of one shard of a cluster: as its server had it.
    ///
    /// # Errors
    /// `Missing` if the snapshot is none of so many shards; as [`Tables::open`].
    pub fn open_shard(
        reader: &'r Reader<'r>,
        snapshot: &'r Snapshot,
        shard: Share,
    ) -> Result<Self, EngineError> {
        let mut facts = Facts::of(reader, snapshot)?;
        let there = facts.shards.len();
        if there != shard.of as usize {
            let what = format!("shard {} of {} in the snapshot", shard.number, shard.of);
            let there = (1..=there).map(|number| format!("{number}/{there}")).collect();
            return Err(ClickHouseError::Missing { what, there }.into());
        }
        let facts = facts.shards.swap_remove(shard.number.saturating_sub(1) as usize);
        Ok(Self { reader, snapshot, facts })
    }

    /// Restores tables, or a part of them. What is in the way is found before anything is changed.
    ///
    /// # Errors
    /// `Missing`, `InTheWay`, `Older`: nothing was changed. `Partial`: with what was done before.
    pub fn restore(
        &self,
        target: &HttpTarget,
        switches: &RestoreSwitches,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<Restored, EngineError> {
        let chosen = switches.wanted.choose(&self.facts)?;
        let session = Session::open(target)?;
        let mut run = Run {
            session: &session,
            facts: &self.facts,
            switches,
            monitor,
            contents: Contents { reader: self.reader, snapshot: self.snapshot, monitor, workers },
            done: Restored::default(),
            there: BTreeMap::new(),
            is_test: false,
        };
        match run.all(&chosen) {
            Ok(()) => Ok(run.done),
            // What is partly done is said whatever stopped it.
            Err(error @ EngineError::ClickHouse(ClickHouseError::Partial { .. })) => Err(error),
            Err(_) if monitor.is_cancelled() => Err(RepositoryError::Interrupted.into()),
            Err(error) => Err(error),
        }
    }
}

/// A restore under way.
pub(super) struct Run<'r> {
    pub(super) session: &'r Session,
    pub(super) facts: &'r Facts,
    pub(super) switches: &'r RestoreSwitches,
    pub(super) monitor: &'r dyn Monitor,
    pub(super) contents: Contents<'r>,
    pub(super) done: Restored,
    /// Tables that the server has, with their engines.
    pub(super) there: BTreeMap<Name, String>,
    /// Whether it is looked at and dropped: it must not touch anything outside, and is not merged meanwhile.
    pub(super) is_test: bool,
}

impl Run<'_> {
    pub(super) fn all(&mut self, chosen: &[Chosen<'_>]) -> Result<(), EngineError> {
        self.check_version()?;
        self.there = self.tables_there(chosen)?;
        self.check(chosen)?;
        let mut at = "its tables".to_owned();
        self.write(chosen, &mut at).map_err(|source| {
            let done = format!(
                "{} of {} partitions were restored before it, and what was written of it is still there; --drop-existing starts over",
                self.done.partitions,
                chosen.iter().map(|one| one.partitions.len()).sum::<usize>()
            );
            // Whatever it looked like to those who were writing.
            let source =
                if self.monitor.is_cancelled() { RepositoryError::Interrupted.into() } else { source };
            ClickHouseError::Partial { at, done, source: Box::new(source) }.into()
        })
    }

    /// What an older server does not understand, it may take for something else.
    fn check_version(&self) -> Result<(), ClickHouseError> {
        let of = |version: &str| -> Vec<u32> {
            version.split('.').take(2).map(|part| part.parse().unwrap_or_default()).collect()
        };
        let (stored, there) = (of(&self.facts.server_version), of(&self.session.version));
        if there.first() < stored.first() {
            return Err(ClickHouseError::Older {
                target: self.session.version.clone(),
                stored: self.facts.server_version.clone(),
            });
        }
        if there < stored {
            self.monitor.warn(&format!(
                "the server is of version {}, older than the one that was backed up ({})",
                self.session.version, self.facts.server_version
            ));
        }
        Ok(())
    }

    fn tables_there(&self, chosen: &[Chosen<'_>]) -> Result<BTreeMap<Name, String>, ClickHouseError> {
        let databases: BTreeSet<&str> = chosen.iter().map(|one| one.to.0.as_str()).collect();
        if databases.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names: Vec<String> = databases.into_iter().map(literal).collect();
        let sql = format!(
            "SELECT database, name, engine FROM system.tables WHERE database IN ({}) AND NOT is_temporary",
            names.join(", ")
        );
        let rows: Vec<There> = self.session.ask("its tables", &sql)?;
        Ok(rows.into_iter().map(|row| ((row.database, row.name), row.engine)).collect())
    }

    fn write(&mut self, chosen: &[Chosen<'_>], at: &mut String) -> Result<(), EngineError> {
        if self.switches.drop_existing {
            self.drop_existing(chosen)?;
        }
        let mut left = Vec::new();
        if !self.switches.data_only {
            self.make_databases(chosen)?;
            let (last, first): (Vec<_>, Vec<_>) = chosen.iter().partition(|one| one.is_materialized_view());
            let is_missing = |one: &&&Chosen<'_>| !self.there.contains_key(&one.to);
            let first: Vec<&Chosen<'_>> = first.iter().filter(is_missing).copied().collect();
            let failed = self.make(first, chosen);
            // Without a table its rows have no place; a view may only need what is not there yet.
            if let Some((one, error)) = failed.into_iter().find(|(one, _)| !one.is_view()) {
                *at = one.full_name();
                return Err(error.into());
            }
            left = last;
        }
        let materialized = |one: &&Chosen<'_>| one.is_materialized_view();
        for one in chosen.iter().filter(|one| !materialized(one)) {
            *at = one.full_name();
            self.load(one)?;
        }
        if !self.switches.data_only {
            // Those that were not made yet, too.
            let made = self.tables_there(chosen)?;
            let views = chosen.iter().filter(|one| one.is_view() && !made.contains_key(&one.to));
            let rest: Vec<&Chosen<'_>> =
                left.into_iter().chain(views.filter(|one| !one.is_materialized_view())).collect();
            if let Some((one, error)) = self.make(rest, chosen).into_iter().next() {
                *at = one.full_name();
                return Err(error.into());
            }
        }
        for one in chosen.iter().filter(materialized) {
            *at = one.full_name();
            self.load(one)?;
        }
        for one in chosen.iter().filter(|one| is_refreshed(one) && !self.is_test) {
            if let Err(error) = self.refreshes("START", one) {
                self.monitor
                    .warn(&format!("refreshes of {} cannot be started again: {error}", one.full_name()));
            }
        }
        Ok(())
    }

    /// What refers to others first.
    fn drop_existing(&mut self, chosen: &[Chosen<'_>]) -> Result<(), ClickHouseError> {
        for one in chosen.iter().rev() {
            if !self.makes_anew(one) {
                continue;
            }
            let Some(engine) = self.there.get(&one.to) else { continue };
            let is_dictionary = engine == "Dictionary";
            let name = format!("{}.{}", quoted(&one.to.0), quoted(&one.to.1));
            let settings = [
                ("database_atomic_wait_for_drop_and_detach_synchronously", "1"),
                ("max_table_size_to_drop", "0"),
            ];
            let what = format!("{} cannot be dropped", one.full_name());
            let drop =
                |kind: &str| self.session.run(&what, &format!("DROP {kind} IF EXISTS {name}"), &settings);
            match drop("TABLE") {
                // There are tables of that engine, and dictionaries that only look like them.
                Err(_) if is_dictionary => drop("DICTIONARY")?,
                dropped => dropped?,
            }
            self.there.remove(&one.to);
        }
        for one in chosen.iter().filter(|one| !self.makes_anew(one) && self.there.contains_key(&one.to)) {
            let name = format!("{}.{}", quoted(&one.to.0), quoted(&one.to.1));
            if self.switches.wanted.partitions.is_empty() {
                self.session.run(
                    &format!("{} cannot be emptied", one.full_name()),
                    &format!("TRUNCATE TABLE {name}"),
                    &MAKING,
                )?;
                continue;
            }
            for partition in &one.partitions {
                let Some(id) = &partition.id else { continue };
                let what = format!("{} cannot be dropped", partition.full_name(&one.full_name()));
                let sql = format!("ALTER TABLE {name} DROP PARTITION ID {}", literal(id));
                self.session.run(&what, &sql, &MAKING)?;
            }
        }
        Ok(())
    }

    fn make_databases(&self, chosen: &[Chosen<'_>]) -> Result<(), ClickHouseError> {
        let mut names: BTreeSet<&str> = chosen.iter().map(|one| one.to.0.as_str()).collect();
        // A database may be empty, or have tables that lie elsewhere.
        let is_whole = self.switches.wanted == Wanted::default() && !self.is_test;
        if is_whole {
            names.extend(self.facts.databases.iter().map(|database| database.name.as_str()));
        }
        for name in names {
            let stored = self.facts.databases.iter().find(|database| database.name == name);
            let is_usual =
                |engine: &str| ["Ordinary", "Atomic", "Overlay", "Shared", "Lazy"].contains(&engine);
            // The server has its own idea of which engine is the usual one.
            let sql = match stored.filter(|stored| !is_usual(&stored.engine)) {
                Some(stored) => {
                    stored.create.replacen("CREATE DATABASE ", "CREATE DATABASE IF NOT EXISTS ", 1)
                }
                None => format!("CREATE DATABASE IF NOT EXISTS {}", quoted(name)),
            };
            self.session.run(&format!("database {name} cannot be made"), &sql, &MAKING)?;
        }
        if self.switches.wanted.tables.is_empty() && !self.is_test {
            for function in &self.facts.functions {
                let sql = function.create.replacen("CREATE FUNCTION ", "CREATE FUNCTION IF NOT EXISTS ", 1);
                self.session.run(&format!("function {} cannot be made", function.name), &sql, &MAKING)?;
            }
        }
        Ok(())
    }

    /// Makes tables, again and again as long as that brings more of them. Gives those that cannot be made, and why.
    fn make<'c, 'f>(
        &mut self,
        mut left: Vec<&'c Chosen<'f>>,
        chosen: &[Chosen<'_>],
    ) -> Vec<(&'c Chosen<'f>, ClickHouseError)> {
        let names = wanted::names(chosen);
        loop {
            let before = left.len();
            let mut failed = Vec::new();
            for one in left {
                match self.make_one(one, &names) {
                    Ok(()) => self.done.tables += 1,
                    Err(error) => failed.push((one, error)),
                }
            }
            if failed.is_empty() || failed.len() == before {
                return failed;
            }
            left = failed.into_iter().map(|(one, _)| one).collect();
        }
    }

    fn make_one(&self, one: &Chosen<'_>, names: &BTreeMap<Name, Name>) -> Result<(), ClickHouseError> {
        let mut sql = ddl::renamed(&one.table.create, names);
        if is_refreshed(one) {
            // What it would be filled with now is not what it had.
            sql = ddl::unfilled(&sql);
        }
        if self.is_test {
            sql = ddl::unreplicated(&sql);
        }
        let mut settings = vec![("database", one.to.0.as_str())];
        settings.extend(MAKING);
        if one.table.columns.iter().any(|column| column.kind.contains("Nested(")) {
            settings.push(("flatten_nested", "0"));
        }
        self.session.run(&format!("{} cannot be made", one.full_name()), &sql, &settings)?;
        if is_refreshed(one) && self.refreshes("STOP", one).is_err() {
            self.monitor.note(&format!("refreshes of {} cannot be stopped", one.full_name()));
        }
        Ok(())
    }

    /// Whether a view is filled by its schedule from now on: `START`, `STOP`.
    fn refreshes(&self, what: &str, one: &Chosen<'_>) -> Result<(), ClickHouseError> {
        let name = format!("{}.{}", quoted(&one.to.0), quoted(&one.to.1));
        self.session.run("its refreshes", &format!("SYSTEM {what} VIEW {name}"), &[])
    }

    /// All rows of a table, counted afterwards.
    fn load(&mut self, one: &Chosen<'_>) -> Result<(), EngineError> {
        if self.switches.schema_only || one.partitions.is_empty() {
            return Ok(());
        }
        let to = load::storage_of(self.session, one.table, &one.to)?;
        let engine = one.table.storage.as_ref().map(|storage| storage.engine.as_str()).unwrap_or_default();
        let has_ttl = catalog::has_parts(engine) && ddl::has_ttl(&one.table.create);
        let is_merging = has_ttl || MERGING.iter().any(|kind| engine.contains(kind));
        let holds_still = self.is_test || is_merging;
        let name = format!("{}.{}", quoted(&to.0), quoted(&to.1));
        if has_ttl && !self.is_test {
            self.keep_expired(one, &name);
        }
        if holds_still && catalog::has_parts(engine) {
            // Who may not say so has them merged: then there may be fewer.
            let stopped = self.session.run("merges", &format!("SYSTEM STOP MERGES {name}"), &[]);
            if stopped.is_err() {
                self.monitor.note(&format!("merges of {} cannot be stopped", one.full_name()));
            }
        }
        let loaded = self.load_rows(one, &to, is_merging);
        if holds_still && !self.is_test && catalog::has_parts(engine) {
            // Without the right to stop them they were never stopped.
            let _ = self.session.run("merges", &format!("SYSTEM START MERGES {name}"), &[]);
        }
        loaded
    }

    /// What has expired since it was backed up would go with the next merge.
    fn keep_expired(&self, one: &Chosen<'_>, name: &str) {
        let table = one.full_name();
        let told = match self.session.run("its TTL", &format!("SYSTEM STOP TTL MERGES {name}"), &[]) {
            Ok(()) => format!(
                "{table} has a TTL: so that rows that have expired stay, its TTL merges are stopped; `SYSTEM START TTL MERGES {name}`, or a restart of the server, lets them go"
            ),
            Err(_) => format!(
                "{table} has a TTL, and its TTL merges cannot be stopped: rows that have expired go with the next merges"
            ),
        };
        self.monitor.warn(&told);
    }

    fn load_rows(&mut self, one: &Chosen<'_>, to: &Name, is_merging: bool) -> Result<(), EngineError> {
        for partition in &one.partitions {
            if self.monitor.is_cancelled() {
                return Err(RepositoryError::Interrupted.into());
            }
            self.contents.insert(self.session, one.table, to, partition)?;
            self.done.partitions += 1;
            self.done.rows += partition.rows;
            self.done.bytes += partition.bytes;
        }
        for place in self.places(one) {
            let (found, stored) = (self.count(to, &place)?, place.rows);
            let what = place.full_name(&one.full_name());
            if found < stored && is_merging {
                self.monitor
                    .warn(&format!("{what} has {found} rows of {stored}: the server merged some already"));
            } else if found != stored {
                return Err(ClickHouseError::Restored { what, found, stored }.into());
            }
        }
        Ok(())
    }
}

/// Whether a schedule fills it anew.
fn is_refreshed(one: &Chosen<'_>) -> bool {
    one.is_materialized_view() && ddl::is_refreshable(&one.table.create)
}
