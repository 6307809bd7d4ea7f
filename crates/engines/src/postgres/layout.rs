//! Where what lies in a snapshot.
//!
//! ```text
//! globals.sql               roles and tablespaces
//! databases/DATABASE/head   the archive up to its first block: what there is, and the SQL that makes it
//! databases/DATABASE/data/SCHEMA.TABLE   the block of a table
//! ```
//! The facts say in which order the blocks were, so that all of it is the archive again.

use crate::stored::part;

/// Roles and tablespaces.
pub(super) const GLOBALS: &str = "globals.sql";

/// The archive's head.
pub(super) fn head(database: &str) -> String {
    format!("databases/{}/head", part(database))
}

/// The block of a table, or of anything else that has no schema.
pub(super) fn block(database: &str, schema: Option<&str>, name: &str) -> String {
    let schema = schema.map(|schema| format!("{}.", part(schema))).unwrap_or_default();
    format!("databases/{}/data/{schema}{}", part(database), part(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_part_of_a_path_each() {
        assert_eq!(head("shop"), "databases/shop/head");
        assert_eq!(block("a/b", Some("public"), "x%y"), "databases/a%2Fb/data/public.x%25y");
        assert_eq!(block("..", None, "BLOBS"), "databases/%2E./data/BLOBS");
    }
}
