//! What is in the way of a restore, found before anything is changed.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::ddl::Name;
use super::error::ClickHouseError;
use super::facts::{Column, Partition};
use super::load;
use super::restore::Run;
use super::session::literal;
use super::wanted::Chosen;

#[derive(Deserialize)]
struct Count {
    rows: u64,
}

impl Run<'_> {
    /// Finds what is in the way, before anything is changed.
    pub(super) fn check(&self, chosen: &[Chosen<'_>]) -> Result<(), ClickHouseError> {
        let mut in_the_way = Vec::new();
        let mut twice = BTreeSet::new();
        for one in chosen {
            if !twice.insert(&one.to) {
                in_the_way.push(format!("another table that is restored as {}", one.full_name()));
            }
            match self.there.get(&one.to) {
                None if self.switches.data_only => {
                    let what =
                        format!("table {} on the server, and only rows are to be restored", one.full_name());
                    return Err(ClickHouseError::Missing { what, there: Vec::new() });
                }
                None => {}
                Some(_) => in_the_way.extend(self.what_is_wrong(one)?),
            }
        }
        let more = in_the_way.len().saturating_sub(1);
        match in_the_way.into_iter().next() {
            Some(what) => Err(ClickHouseError::InTheWay { what, more }),
            None => Ok(()),
        }
    }

    /// Of a table that is there.
    fn what_is_wrong(&self, one: &Chosen<'_>) -> Result<Option<String>, ClickHouseError> {
        let name = one.full_name();
        if self.makes_anew(one) {
            return Ok(None);
        }
        if one.is_view() || one.is_materialized_view() {
            return Ok(
                (!self.switches.data_only || one.is_materialized_view()).then(|| format!("view {name}"))
            );
        }
        let (database, table) = (literal(&one.to.0), literal(&one.to.1));
        let sql = format!(
            "SELECT name, type, default_kind AS default FROM system.columns WHERE database = {database} AND table = {table}"
        );
        let columns: Vec<Column> = self.session.ask(&format!("the columns of {name}"), &sql)?;
        let stored: Vec<&Column> = one.table.stored_columns().collect();
        let is_there = |column: &&Column| {
            columns
                .iter()
                .any(|there| there.is_stored() && there.name == column.name && there.kind == column.kind)
        };
        if let Some(other) = stored.iter().find(|column| !is_there(column)) {
            return Ok(Some(format!(
                "table {name} with other columns ({} is none of type {})",
                other.name, other.kind
            )));
        }
        if self.switches.drop_existing {
            return Ok(None);
        }
        for partition in self.places(one) {
            if self.count(&one.to, &partition)? > 0 {
                return Ok(Some(format!("{} with rows", partition.full_name(&name))));
            }
        }
        self.warn_of_views(one)?;
        Ok(None)
    }

    /// What is inserted into a table that stays goes into its materialized views, too.
    fn warn_of_views(&self, one: &Chosen<'_>) -> Result<(), ClickHouseError> {
        #[derive(Deserialize)]
        struct Row {
            views: Vec<String>,
        }
        let sql = format!(
            "SELECT dependencies_table AS views FROM system.tables WHERE database = {} AND name = {}",
            literal(&one.to.0),
            literal(&one.to.1)
        );
        let name = one.full_name();
        let rows: Vec<Row> = self.session.ask(&format!("the views of {name}"), &sql)?;
        let views: Vec<String> = rows.into_iter().flat_map(|row| row.views).collect();
        if !views.is_empty() && !self.switches.schema_only {
            self.monitor.warn(&format!(
                "what is restored into {name} goes into its materialized views, too: {}",
                views.join(", ")
            ));
        }
        Ok(())
    }

    /// Whether a table that is there is dropped first: for a partition of it, it is not.
    pub(super) fn makes_anew(&self, one: &Chosen<'_>) -> bool {
        let is_part = !self.switches.wanted.partitions.is_empty() || self.switches.data_only;
        self.switches.drop_existing && (one.is_view() || !is_part)
    }

    /// What is looked at of a table's rows: those partitions that are restored, or all.
    pub(super) fn places(&self, one: &Chosen<'_>) -> Vec<Partition> {
        let is_part = !self.switches.wanted.partitions.is_empty();
        match is_part {
            true => one.partitions.iter().map(|partition| (*partition).clone()).collect(),
            false => vec![Partition {
                id: None,
                path: String::new(),
                more_paths: Vec::new(),
                rows: one.rows(),
                bytes: 0,
                fingerprint: None,
                parts: Vec::new(),
                listed: 0,
            }],
        }
    }

    pub(super) fn count(&self, to: &Name, partition: &Partition) -> Result<u64, ClickHouseError> {
        let what = format!("the count of {}", partition.full_name(&format!("{}.{}", to.0, to.1)));
        let sql = format!("SELECT count() AS rows FROM {}", load::from_of(to, partition));
        Ok(self.session.ask_one::<Count>(&what, &sql)?.rows)
    }
}
