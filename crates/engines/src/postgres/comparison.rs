//! What a restored database has less, more, or otherwise than what was backed up.

use std::collections::BTreeMap;

use super::archive::TocEntry;
use super::facts::{BlockFacts, Properties};

/// What one dump says of its database.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    /// How many there are of each kind, schema and name.
    pub(super) objects: BTreeMap<(String, String, String), u64>,
    /// With fingerprints.
    pub(super) blocks: Vec<BlockFacts>,
}

/// Kinds of entries that say how the archive itself is, or what belongs to the database as such.
const NOT_COMPARED: [&str; 7] =
    ["DATABASE", "DATABASE PROPERTIES", "ENCODING", "STDSTRINGS", "SEARCHPATH", "TABLE DATA", "BLOBS"];
/// Those that are not restored for another owner.
const RIGHTS: [&str; 3] = ["ACL", "DEFAULT ACL", "BLOB METADATA"];

/// Those whose SQL comes back as it was, and matters: rights, and where a sequence goes on. A server may say other SQL in other
/// words once it has read it.
const IN_THE_SAME_WORDS: [&str; 3] = ["SEQUENCE SET", "ACL", "DEFAULT ACL"];

/// The objects of an archive; without rights, those that were not restored are left out.
pub(super) fn objects_of(entries: &[TocEntry], with_rights: bool) -> BTreeMap<(String, String, String), u64> {
    let mut objects = BTreeMap::new();
    for entry in entries {
        let kind = entry.kind.as_str();
        let is_of_the_database =
            ["COMMENT", "ACL", "SECURITY LABEL"].contains(&kind) && entry.tag.starts_with("DATABASE ");
        if NOT_COMPARED.contains(&kind) || is_of_the_database || (!with_rights && RIGHTS.contains(&kind)) {
            continue;
        }
        let schema = entry.schema.clone().unwrap_or_default();
        let mut name = entry.tag.clone();
        if let Some(definition) = entry.definition.as_ref().filter(|_| IN_THE_SAME_WORDS.contains(&kind)) {
            let mut lines: Vec<&str> = definition.lines().filter(|line| !line.is_empty()).collect();
            lines.sort_unstable();
            name = format!("{name} ({})", lines.join(" "));
        }
        *objects.entry((entry.kind.clone(), schema, name)).or_default() += 1;
    }
    objects
}

/// What the facts of the snapshot say that its own content does not: nothing, if all is well.
pub(super) fn of_facts(facts: &[BlockFacts], stored: &[BlockFacts]) -> Vec<String> {
    let mut differences = Vec::new();
    for (fact, stored) in facts.iter().zip(stored) {
        let is_same = fact.rows == stored.rows
            && fact.large_objects == stored.large_objects
            && (fact.fingerprint.is_none() || fact.fingerprint == stored.fingerprint);
        if !is_same {
            differences.push(format!("{}: the snapshot's data is not what its facts say", name_of(fact)));
        }
    }
    if facts.len() != stored.len() {
        differences.push(format!("{} tables have data, {} were backed up", stored.len(), facts.len()));
    }
    differences
}

/// What is otherwise in the restored database, in words.
pub(super) fn of_contents(stored: &Contents, restored: &Contents) -> Vec<String> {
    let mut differences = Vec::new();
    let keys: std::collections::BTreeSet<_> = stored.objects.keys().chain(restored.objects.keys()).collect();
    for key in keys {
        let count = |contents: &Contents| contents.objects.get(key).copied().unwrap_or_default();
        let (before, after) = (count(stored), count(restored));
        let (kind, schema, tag) = key;
        let dot = if schema.is_empty() { "" } else { "." };
        if before > after {
            differences.push(format!("{} {schema}{dot}{tag} is missing", kind.to_lowercase()));
        } else if before < after {
            differences.push(format!("{} {schema}{dot}{tag} was not backed up", kind.to_lowercase()));
        }
    }
    let tables = |contents: &Contents| -> BTreeMap<(Option<String>, String), BlockFacts> {
        let tables = contents.blocks.iter().filter(|block| block.rows.is_some());
        tables.map(|block| ((block.schema.clone(), block.name.clone()), block.clone())).collect()
    };
    let (before, mut after) = (tables(stored), tables(restored));
    for (key, block) in &before {
        match after.remove(key) {
            None => differences.push(format!("the rows of {} are missing", name_of(block))),
            Some(other) if other.rows != block.rows => {
                let count = |block: &BlockFacts| block.rows.unwrap_or_default();
                differences.push(format!(
                    "{} has {} rows, {} were backed up",
                    name_of(block),
                    count(&other),
                    count(block)
                ));
            }
            Some(other) if other.fingerprint != block.fingerprint => {
                differences.push(format!("{} has other rows than were backed up", name_of(block)));
            }
            Some(_) => {}
        }
    }
    differences.extend(after.values().map(|block| format!("{} was not backed up", name_of(block))));
    let (before, after) = (large_objects_of(stored), large_objects_of(restored));
    if before.0 != after.0 {
        differences.push(format!("there are {} large objects, {} were backed up", after.0, before.0));
    } else if before != after {
        differences.push("large objects have other bytes than were backed up".into());
    }
    differences
}

/// What is otherwise in the database itself.
pub(super) fn of_properties(stored: &Properties, restored: &Properties) -> Vec<String> {
    let mut differences = Vec::new();
    if stored.encoding != restored.encoding {
        differences.push(format!("the encoding is {}, it was {}", restored.encoding, stored.encoding));
    }
    for extension in &stored.extensions {
        let there = restored.extensions.iter().find(|one| one.name == extension.name);
        if there.is_none() {
            differences.push(format!("extension {} is missing", extension.name));
        }
    }
    differences
}

/// How many, and what they come to however they are spread over blocks.
fn large_objects_of(contents: &Contents) -> (u64, u128) {
    let blocks = contents.blocks.iter().filter(|block| block.large_objects.is_some());
    blocks.fold((0, 0_u128), |(count, sum), block| {
        let fingerprint = block.fingerprint.as_deref().unwrap_or_default();
        let own = u128::from_str_radix(fingerprint, 16).unwrap_or_default();
        (count + block.large_objects.unwrap_or_default(), sum.wrapping_add(own))
    })
}

fn name_of(block: &BlockFacts) -> String {
    match &block.schema {
        Some(schema) => format!("table {schema}.{}", block.name),
        None => block.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, rows: u64, fingerprint: &str) -> BlockFacts {
        BlockFacts {
            id: 1,
            path: name.into(),
            schema: Some("public".into()),
            name: name.into(),
            rows: Some(rows),
            large_objects: None,
            bytes: 1,
            fingerprint: Some(fingerprint.into()),
        }
    }

    fn large_objects(count: u64, fingerprint: &str) -> BlockFacts {
        BlockFacts { rows: None, large_objects: Some(count), schema: None, ..table("BLOBS", 0, fingerprint) }
    }

    fn contents(objects: &[&str], blocks: &[BlockFacts]) -> Contents {
        let objects =
            objects.iter().map(|tag| (("TABLE".into(), "public".into(), (*tag).into()), 1)).collect();
        Contents { objects, blocks: blocks.to_vec() }
    }

    #[test]
    fn equal_contents_have_no_differences() {
        let one = contents(&["a"], &[table("a", 3, "0a"), large_objects(3, "06")]);
        // Spread over blocks otherwise.
        let other = contents(&["a"], &[large_objects(1, "01"), table("a", 3, "0a"), large_objects(2, "05")]);
        assert!(of_contents(&one, &other).is_empty());
    }

    #[test]
    fn each_difference_is_told() {
        let before =
            contents(&["a", "b", "c"], &[table("a", 3, "0a"), table("b", 1, "0b"), table("c", 1, "0c")]);
        let after =
            contents(&["a", "b", "d"], &[table("a", 2, "0a"), table("b", 1, "0d"), table("d", 1, "0c")]);
        let told = of_contents(&before, &after).join("; ");
        for said in [
            "table public.c is missing",
            "table public.d was not backed up",
            "table public.a has 2 rows, 3 were backed up",
            "table public.b has other rows than were backed up",
            "the rows of table public.c are missing",
        ] {
            assert!(told.contains(said), "{told}");
        }
        let objects = contents(&[], &[large_objects(2, "03")]);
        assert_eq!(
            of_contents(&objects, &contents(&[], &[])),
            ["there are 0 large objects, 2 were backed up"]
        );
        assert_eq!(of_contents(&objects, &contents(&[], &[large_objects(2, "04")])).len(), 1);
    }

    #[test]
    fn facts_are_held_against_what_is_stored() {
        let stored = [table("a", 3, "0a")];
        let without = BlockFacts { fingerprint: None, ..table("a", 3, "") };
        assert!(of_facts(&[without], &stored).is_empty());
        assert_eq!(of_facts(&[table("a", 3, "0b")], &stored).len(), 1);
        assert_eq!(of_facts(&[table("a", 4, "0a")], &stored).len(), 1);
        assert_eq!(of_facts(&[], &stored).len(), 1);
    }
}
