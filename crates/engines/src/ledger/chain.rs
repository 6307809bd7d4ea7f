//! The table of blocks: height, head, and whether each block names the hash of the one before it.

use std::path::PathBuf;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::facts::{BrokenLink, ChainFacts, Links};
use super::sqlite::quoted;

const TABLES: [&str; 3] = ["blocks", "block", "chain"];
const HEIGHTS: [&str; 5] = ["height", "block_height", "number", "block_number", "idx"];
const HASHES: [&str; 3] = ["hash", "block_hash", "id_hash"];
const PREVIOUS: [&str; 7] = [
    "prev_hash",
    "parent_hash",
    "previous_hash",
    "prev_block_hash",
    "previous_block_hash",
    "parent_block_hash",
    "parent",
];
/// Broken links that are named.
const NAMED: usize = 20;

/// Where the chain is.
#[derive(Debug, Clone, Default)]
pub struct ChainOptions {
    /// The SQLite file, absolute; none is the first that has such a table.
    pub database: Option<PathBuf>,
    /// Gives the height, and the head in a second column, in place of the table.
    pub height_query: Option<String>,
    /// The table; none is one that is called as usual.
    pub table: Option<String>,
    /// Its columns: height, hash, previous hash; none is those that are called as usual.
    pub columns: Option<[String; 3]>,
    /// How many blocks, the highest ones, are compared with the one before each.
    pub links: u64,
}

/// Height and head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) height: Option<u64>,
    pub(super) head: Option<String>,
}

/// Where blocks are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) table: String,
    pub(super) columns: [String; 3],
}

impl Blocks {
    /// The table in this database, if it has one.
    pub(super) fn find(connection: &Connection, options: &ChainOptions) -> rusqlite::Result<Option<Self>> {
        let wanted: Vec<&str> = options.table.as_deref().map_or(TABLES.to_vec(), |table| vec![table]);
        for table in wanted {
            let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
            let there =
                statement.query_map([table], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
            let find = |names: &[&str]| {
                names
                    .iter()
                    .find_map(|name| there.iter().find(|column| column.eq_ignore_ascii_case(name)))
                    .cloned()
            };
            let columns = match &options.columns {
                Some([height, hash, previous]) => [find(&[height]), find(&[hash]), find(&[previous])],
                None => [find(&HEIGHTS), find(&HASHES), find(&PREVIOUS)],
            };
            if let [Some(height), Some(hash), Some(previous)] = columns {
                return Ok(Some(Self { table: table.to_owned(), columns: [height, hash, previous] }));
            }
        }
        Ok(None)
    }

    pub(super) fn of(facts: &ChainFacts) -> Option<Self> {
        Some(Self { table: facts.table.clone()?, columns: facts.columns.clone()? })
    }

    /// The highest block.
    pub(super) fn tip(&self, connection: &Connection) -> rusqlite::Result<Tip> {
        let [height, hash, _] = self.columns.each_ref().map(|column| quoted(column));
        let sql =
            format!("SELECT {height}, {hash} FROM {} ORDER BY {height} DESC LIMIT 1", quoted(&self.table));
        tip(connection, &sql)
    }

    /// Compares blocks with the one before each, the highest so many, or all.
    pub(super) fn links(&self, connection: &Connection, limit: Option<u64>) -> rusqlite::Result<Links> {
        let [height, hash, previous] = self.columns.each_ref().map(|column| quoted(column));
        let table = quoted(&self.table);
        let lowest = match limit {
            Some(limit) => format!("WHERE {height} >= (SELECT max({height}) FROM {table}) - {limit}"),
            None => String::new(),
        };
        let sql = format!("SELECT {height}, {hash}, {previous} FROM {table} {lowest} ORDER BY {height} DESC");
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let (mut links, mut above, mut here) = (Links::default(), Level::default(), Level::default());
        while let Some(row) = rows.next()? {
            let height: i64 = row.get(0)?;
            if here.blocks.is_empty() || here.height != height {
                let below = Level { height, blocks: Vec::new() };
                above.compare(&here, &mut links);
                above = std::mem::replace(&mut here, below);
            }
            here.blocks.push((text(row, 1)?.unwrap_or_default(), text(row, 2)?.unwrap_or_default()));
        }
        above.compare(&here, &mut links);
        Ok(links)
    }
}

/// Height, and head where there is a second column.
pub(super) fn tip(connection: &Connection, sql: &str) -> rusqlite::Result<Tip> {
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok(Tip::default()) };
    let height = text(row, 0)?.and_then(|height| height.parse().ok());
    let head = if columns > 1 { text(row, 1)? } else { None };
    Ok(Tip { height, head })
}

/// The blocks of one height: more than one where a chain keeps forks.
#[derive(Default)]
struct Level {
    height: i64,
    /// Hash and previous hash.
    blocks: Vec<(String, String)>,
}

impl Level {
    fn compare(&self, below: &Self, links: &mut Links) {
        if below.blocks.is_empty() {
            return;
        }
        let follows = below.height.checked_add(1) == Some(self.height);
        for (_, names) in &self.blocks {
            links.checked += 1;
            if follows && below.blocks.iter().any(|(hash, _)| hash == names) {
                continue;
            }
            links.broken += 1;
            if links.named.len() < NAMED {
                let is = below.blocks.first().filter(|_| follows).map(|(hash, _)| hash.clone());
                links.named.push(BrokenLink { height: self.height, names: names.clone(), is });
            }
        }
    }
}

/// A value as text; bytes as hexadecimal digits.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(rows: &[(i64, &str, &str)]) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE TABLE Blocks (Height INTEGER, hash TEXT, parent_hash TEXT)")
            .unwrap();
        for (height, hash, previous) in rows {
            connection.execute("INSERT INTO blocks VALUES (?1, ?2, ?3)", (height, hash, previous)).unwrap();
        }
        connection
    }

    fn blocks(connection: &Connection) -> Blocks {
        Blocks::find(connection, &ChainOptions::default()).unwrap().unwrap()
    }

    #[test]
    fn links_that_hold_and_links_that_do_not() {
        let good = chain(&[(0, "a", ""), (1, "b", "a"), (2, "c", "b"), (3, "d", "c")]);
        let found = blocks(&good);
        assert_eq!(found.tip(&good).unwrap(), Tip { height: Some(3), head: Some("d".into()) });
        assert_eq!(found.links(&good, None).unwrap(), Links { checked: 3, ..Links::default() });
        assert_eq!(found.links(&good, Some(2)).unwrap().checked, 2);

        good.execute("UPDATE blocks SET parent_hash = 'x' WHERE height = 1", ()).unwrap();
        let links = found.links(&good, None).unwrap();
        let link = BrokenLink { height: 1, names: "x".into(), is: Some("a".into()) };
        assert_eq!((links.checked, links.broken, &links.named[..]), (3, 1, &[link][..]));
        assert_eq!(found.links(&good, Some(2)).unwrap().broken, 0);

        good.execute("DELETE FROM blocks WHERE height = 2", ()).unwrap();
        let links = found.links(&good, None).unwrap();
        assert_eq!((links.broken, &links.named[0].is), (2, &None));
    }

    #[test]
    fn forks_follow_any_block_of_the_height_below() {
        let forked = chain(&[(1, "a", ""), (2, "b", "a"), (2, "B", "a"), (3, "c", "B")]);
        assert_eq!(blocks(&forked).links(&forked, None).unwrap(), Links { checked: 3, ..Links::default() });
    }

    #[test]
    fn tables_and_columns_may_be_named() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE \"my \"\"chain\" (n, h BLOB, p BLOB); INSERT INTO \"my \"\"chain\" VALUES (5, x'00ff', x'')").unwrap();
        assert_eq!(Blocks::find(&connection, &ChainOptions::default()).unwrap(), None);
        let options = ChainOptions {
            table: Some("my \"chain".into()),
            columns: Some(["n".into(), "h".into(), "p".into()]),
            ..ChainOptions::default()
        };
        let found = Blocks::find(&connection, &options).unwrap().unwrap();
        assert_eq!(found.tip(&connection).unwrap(), Tip { height: Some(5), head: Some("00ff".into()) });
        assert_eq!(tip(&connection, "SELECT 7").unwrap(), Tip { height: Some(7), head: None });
        assert_eq!(tip(&connection, "SELECT 1 WHERE 0").unwrap(), Tip::default());
    }
}
