//! What rows come to, in any order: worked out by the server, and the same in all its versions.

use serde::Deserialize;

use super::error::ClickHouseError;
use super::facts::Column;
use super::session::{Session, quoted};

/// How many rows there are, and what they come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) rows: u64,
    pub(super) fingerprint: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    rows: u64,
    #[serde(default)]
    fingerprint: Option<String>,
}

/// Types that are hashed as they are, in every version alike.
const PLAIN: [&str; 24] = [
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt128",
    "Int128",
    "UInt256",
    "Int256",
    "Float32",
    "Float64",
    "String",
    "Date",
    "Date32",
    "DateTime",
    "Bool",
    "IPv4",
    "IPv6",
    "FixedString(",
    "Enum8(",
    "Enum16(",
];

/// Counts the rows of a table where `condition` holds.
///
/// # Errors
/// What the server says, also without fingerprints.
pub(super) fn count(
    session: &Session,
    what: &str,
    from: &str,
    columns: &[&Column],
    wants_fingerprint: bool,
) -> Result<Counted, ClickHouseError> {
    let hashed: Vec<String> = columns.iter().filter_map(|column| hashed(column)).collect();
    let what = format!("the count of {what}");
    if wants_fingerprint && !hashed.is_empty() {
        let sql = format!(
            "SELECT count() AS rows, concat(toString(groupBitXor(hash)), '-', toString(sum(hash))) AS fingerprint \
            FROM (SELECT cityHash64({}) AS hash FROM {from})",
            hashed.join(", ")
        );
        match session.ask_settled::<Row>(&what, &sql) {
            Ok(row) => return Ok(Counted { rows: row.rows, fingerprint: row.fingerprint }),
            // It may not be able to hash or write one of the types; then it cannot, but still count.
            Err(error)
                if error.said().is_some_and(|said| CANNOT_HASH.iter().any(|code| said.starts_with(code))) => {
            }
            Err(error) => return Err(error),
        }
    }
    let row: Row = session.ask_settled(&what, &format!("SELECT count() AS rows FROM {from}"))?;
    Ok(Counted { rows: row.rows, fingerprint: None })
}

/// Wrong type of an argument, type not supported, not implemented.
const CANNOT_HASH: [&str; 4] = ["Code: 43,", "Code: 43.", "Code: 48", "Code: 70"];

/// What of a column is hashed: nulls of its own, since a hash of null is null, and what versions hash differently as text.
fn hashed(column: &Column) -> Option<String> {
    let (name, kind) = (quoted(&column.name), column.kind.as_str());
    if kind.contains("AggregateFunction(") && !kind.starts_with("SimpleAggregateFunction(") {
        return None;
    }
    Some(if is_plain(kind) { name } else { format!("ifNull(toString({name}), '\\\\N'), isNull({name})") })
}

fn is_plain(kind: &str) -> bool {
    let inside = |head: &str| kind.strip_prefix(head)?.strip_suffix(')');
    if let Some(inner) = inside("LowCardinality(").or_else(|| inside("Array(")) {
        return is_plain(inner);
    }
    let is_of = |plain: &str| kind == plain || (plain.ends_with('(') && kind.starts_with(plain));
    PLAIN.iter().any(|plain| is_of(plain)) || kind.starts_with("DateTime('")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_are_hashed_too() {
        let hashed =
            |kind: &str| hashed(&Column { name: "c".into(), kind: kind.into(), default: String::new() });
        assert_eq!(hashed("UInt8").unwrap(), "`c`");
        assert_eq!(hashed("Array(LowCardinality(String))").unwrap(), "`c`");
        assert_eq!(hashed("DateTime('UTC')").unwrap(), "`c`");
        for kind in ["Nullable(UInt8)", "Array(Nullable(UInt8))", "UUID", "Decimal(9, 2)", "Tuple(a UInt8)"] {
            assert_eq!(hashed(kind).unwrap(), "ifNull(toString(`c`), '\\\\N'), isNull(`c`)", "{kind}");
        }
        assert_eq!(hashed("AggregateFunction(uniq, UInt64)"), None);
    }
}
