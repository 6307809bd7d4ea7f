//! Which entries of an archive make a part of it: the rows of tables, and what belongs to them alone.

use std::collections::{BTreeMap, BTreeSet};

use super::archive::TocEntry;

/// What has rows, or looks as if.
const RELATIONS: [&str; 4] = ["TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE"];

/// What belongs to a relation, or to something that does, and is nothing without it.
const BELONGING: [&str; 16] = [
    "TABLE DATA",
    "MATERIALIZED VIEW DATA",
    "SEQUENCE SET",
    "SEQUENCE OWNED BY",
    "DEFAULT",
    "CONSTRAINT",
    "CHECK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "TRIGGER",
    "RULE",
    "POLICY",
    "ROW SECURITY",
    "STATISTICS",
    "COMMENT",
    "ACL",
];

/// Entries that are restored together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// Their numbers, in the archive's order.
    pub(super) ids: Vec<i64>,
    /// Foreign keys that are left out, because what they refer to is.
    pub(super) left_out: Vec<String>,
}

/// Whether an entry goes by this name: `TABLE`, or `SCHEMA.TABLE`.
fn is_called(entry: &TocEntry, name: &str) -> bool {
    let qualified = || entry.schema.as_ref().map(|schema| format!("{schema}.{}", entry.tag));
    entry.tag == name || qualified().is_some_and(|qualified| qualified == name)
}

/// What is wanted of a database, by names that are not quoted: `TABLE` or `SCHEMA.TABLE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// These tables, with what belongs to them.
    pub tables: Vec<String>,
    /// All that lies in these schemas.
    pub schemas: Vec<String>,
    /// All but these tables, and what is nothing without them.
    pub exclude_tables: Vec<String>,
}

impl Wanted {
    /// Whether all of it is.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// The entries that this comes to.
    ///
    /// # Errors
    /// The first name that nothing has.
    pub(super) fn select(&self, entries: &[TocEntry]) -> Result<Selection, String> {
        let mut selection = if self.tables.is_empty() && self.schemas.is_empty() {
            let ids = entries.iter().map(|entry| entry.dump_id).collect();
            Selection { ids, left_out: Vec::new() }
        } else {
            of_tables(entries, &self.tables, &self.schemas)?
        };
        if !self.exclude_tables.is_empty() {
            exclude(entries, &self.exclude_tables, &mut selection)?;
        }
        Ok(selection)
    }
}

/// Takes tables away, and what needs them.
fn exclude(entries: &[TocEntry], names: &[String], selection: &mut Selection) -> Result<(), String> {
    let mut gone = BTreeSet::new();
    for name in names {
        let found =
            entries.iter().filter(|entry| RELATIONS.contains(&entry.kind.as_str()) && is_called(entry, name));
        let found: Vec<i64> = found.map(|entry| entry.dump_id).collect();
        if found.is_empty() {
            return Err(name.clone());
        }
        gone.extend(found);
    }
    add_partitions(entries, &mut gone);
    loop {
        let before = gone.len();
        let need = entries.iter().filter(|entry| entry.needs.iter().any(|needed| gone.contains(needed)));
        let need: Vec<i64> = need.map(|entry| entry.dump_id).collect();
        gone.extend(need);
        if gone.len() == before {
            break;
        }
    }
    let is_worth_telling =
        |kind: &str| !["TABLE", "TABLE ATTACH", "SEQUENCE"].contains(&kind) && !BELONGING.contains(&kind);
    let was_wanted =
        |entry: &&TocEntry| gone.contains(&entry.dump_id) && selection.ids.contains(&entry.dump_id);
    let told = entries.iter().filter(was_wanted).filter(|entry| is_worth_telling(&entry.kind));
    let told: Vec<String> =
        told.map(|entry| format!("{} {}", entry.kind.to_lowercase(), entry.tag)).collect();
    selection.left_out.extend(told);
    selection.ids.retain(|id| !gone.contains(id));
    Ok(())
}

/// The entries of these tables, with their partitions, sequences, keys, indexes, triggers and rights; and of all that lies in
/// these schemas.
///
/// # Errors
/// The first name that nothing has.
fn of_tables(entries: &[TocEntry], names: &[String], schemas: &[String]) -> Result<Selection, String> {
    let by_id: BTreeMap<i64, &TocEntry> = entries.iter().map(|entry| (entry.dump_id, entry)).collect();
    let is_relation = |entry: &TocEntry| RELATIONS.contains(&entry.kind.as_str());
    let mut chosen = BTreeSet::new();
    for name in names {
        let before = chosen.len();
        let found = entries.iter().filter(|entry| is_relation(entry) && is_called(entry, name));
        chosen.extend(found.map(|entry| entry.dump_id));
        if chosen.len() == before && !entries.iter().any(|entry| is_relation(entry) && is_called(entry, name))
        {
            return Err(name.clone());
        }
    }
    for schema in schemas {
        let is_in = |entry: &TocEntry| {
            let is_it = entry.kind == "SCHEMA" && entry.tag == *schema;
            is_it || entry.schema.as_ref().is_some_and(|own| own == schema && entry.kind != "FK CONSTRAINT")
        };
        let found: Vec<i64> =
            entries.iter().filter(|entry| is_in(entry)).map(|entry| entry.dump_id).collect();
        if found.is_empty() {
            return Err(schema.clone());
        }
        chosen.extend(found);
    }
    add_partitions(entries, &mut chosen);
    // Each round may bring what something else belongs to.
    loop {
        let before = chosen.len();
        for entry in entries {
            let belongs = entry.needs.iter().any(|needed| chosen.contains(needed));
            let is_sequence = entry.kind == "SEQUENCE";
            if belongs && (is_sequence || BELONGING.contains(&entry.kind.as_str())) {
                chosen.insert(entry.dump_id);
            }
            // The sequences that columns take their numbers from.
            if chosen.contains(&entry.dump_id) {
                let needed = entry.needs.iter().filter_map(|needed| by_id.get(needed));
                chosen.extend(needed.filter(|needed| needed.kind == "SEQUENCE").map(|needed| needed.dump_id));
            }
        }
        if chosen.len() == before {
            break;
        }
    }
    let mut left_out = Vec::new();
    for entry in
        entries.iter().filter(|entry| ["FK CONSTRAINT", "TABLE ATTACH"].contains(&entry.kind.as_str()))
    {
        let is_whole = entry.needs.iter().all(|needed| {
            let is_other =
                by_id.get(needed).is_some_and(|needed| is_relation(needed) || needed.kind == "CONSTRAINT");
            !is_other || chosen.contains(needed)
        });
        let is_ours = entry.needs.iter().any(|needed| chosen.contains(needed));
        if is_ours && is_whole {
            chosen.insert(entry.dump_id);
        } else if is_ours && entry.kind == "FK CONSTRAINT" {
            left_out.push(format!("fk constraint {}", entry.tag));
        }
    }
    let ids = entries.iter().map(|entry| entry.dump_id).filter(|id| chosen.contains(id)).collect();
    Ok(Selection { ids, left_out })
}

/// A partition says which table it is attached to.
fn add_partitions(entries: &[TocEntry], chosen: &mut BTreeSet<i64>) {
    loop {
        let before = chosen.len();
        for attach in entries.iter().filter(|entry| entry.kind == "TABLE ATTACH") {
            if !attach.needs.iter().any(|needed| chosen.contains(needed)) {
                continue;
            }
            let is_child = |entry: &&TocEntry| {
                RELATIONS.contains(&entry.kind.as_str())
                    && entry.tag == attach.tag
                    && entry.schema == attach.schema
            };
            let child = entries.iter().find(is_child).map(|child| child.dump_id);
            // Not the other way round: a partition alone is a table of its own.
            let parents = attach.needs.iter().filter(|needed| Some(**needed) != child);
            if parents.into_iter().any(|parent| chosen.contains(parent)) {
                chosen.extend(child);
            }
        }
        if chosen.len() == before {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::archive::Section;

    fn entry(dump_id: i64, kind: &str, tag: &str, needs: &[i64]) -> TocEntry {
        TocEntry {
            dump_id,
            has_data: kind == "TABLE DATA",
            tag: tag.into(),
            kind: kind.into(),
            section: Section::PreData,
            definition: None,
            schema: Some("public".into()),
            owner: None,
            needs: needs.to_vec(),
            ..TocEntry::default()
        }
    }

    /// Customers, with a serial; orders that refer to them; events in two partitions.
    fn archive() -> Vec<TocEntry> {
        vec![
            entry(1, "TABLE", "customers", &[]),
            entry(2, "SEQUENCE", "customers_id_seq", &[1]),
            entry(3, "SEQUENCE OWNED BY", "customers_id_seq", &[2, 1]),
            entry(4, "TABLE", "orders", &[]),
            entry(5, "TABLE", "events", &[]),
            entry(6, "TABLE", "events_2024", &[]),
            entry(7, "TABLE ATTACH", "events_2024", &[6, 5]),
            entry(8, "DEFAULT", "customers id", &[1, 2]),
            entry(9, "TABLE DATA", "customers", &[1]),
            entry(10, "TABLE DATA", "orders", &[4]),
            entry(11, "TABLE DATA", "events_2024", &[6]),
            entry(12, "SEQUENCE SET", "customers_id_seq", &[2]),
            entry(13, "CONSTRAINT", "customers customers_pkey", &[1]),
            entry(14, "INDEX", "orders_at", &[4]),
            entry(15, "FK CONSTRAINT", "orders orders_customer_fkey", &[4, 13, 1]),
            entry(16, "COMMENT", "INDEX orders_at", &[14]),
            entry(17, "FUNCTION", "noted()", &[]),
            entry(18, "TRIGGER", "orders noted", &[4, 17]),
        ]
    }

    fn of(names: &[&str]) -> Selection {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Wanted { tables: names, ..Wanted::default() }.select(&archive()).unwrap()
    }

    #[test]
    fn what_belongs_to_a_table_comes_with_it() {
        assert_eq!(of(&["customers"]).ids, [1, 2, 3, 8, 9, 12, 13]);
        let orders = of(&["public.orders"]);
        assert_eq!(orders.ids, [4, 10, 14, 16, 18]);
        assert_eq!(orders.left_out, ["fk constraint orders orders_customer_fkey"]);
        let both = of(&["orders", "customers"]);
        assert!(both.ids.contains(&15) && both.left_out.is_empty());
    }

    #[test]
    fn partitions_come_with_their_table_and_without_it() {
        assert_eq!(of(&["events"]).ids, [5, 6, 7, 11]);
        assert_eq!(of(&["events_2024"]).ids, [6, 11]);
    }

    #[test]
    fn a_name_that_nothing_has_is_told() {
        let all = Wanted::default();
        let tables = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (wanted, missing) in [
            (Wanted { tables: tables(&["customers", "typo"]), ..all.clone() }, "typo"),
            (Wanted { tables: tables(&["customers_id_seq"]), ..all.clone() }, "customers_id_seq"),
            (Wanted { schemas: tables(&["nowhere"]), ..all.clone() }, "nowhere"),
            (Wanted { exclude_tables: tables(&["typo"]), ..all }, "typo"),
        ] {
            assert_eq!(wanted.select(&archive()).unwrap_err(), missing);
        }
    }

    #[test]
    fn what_needs_an_excluded_table_goes_with_it() {
        let wanted = Wanted { exclude_tables: vec!["public.customers".into()], ..Wanted::default() };
        let selection = wanted.select(&archive()).unwrap();
        assert_eq!(selection.ids, [4, 5, 6, 7, 10, 11, 14, 16, 17, 18]);
        assert_eq!(selection.left_out, ["fk constraint orders orders_customer_fkey"]);
        let wanted = Wanted { exclude_tables: vec!["events".into()], ..Wanted::default() };
        assert!(![5, 6, 7, 11].iter().any(|id| wanted.select(&archive()).unwrap().ids.contains(id)));
    }

    #[test]
    fn a_schema_is_all_that_lies_in_it() {
        let wanted = Wanted { schemas: vec!["public".into()], ..Wanted::default() };
        let selection = wanted.select(&archive()).unwrap();
        assert_eq!(selection.ids.len(), archive().len());
        assert!(selection.left_out.is_empty());
    }
}
