//! Where what lies in a snapshot.
//!
//! ```text
//! functions.sql                          functions that were made with SQL
//! databases/DATABASE/create.sql          what makes the database
//! databases/DATABASE/TABLE/create.sql    what makes the table, view or dictionary
//! databases/DATABASE/TABLE/partitions/ID the rows of a partition, in Native format
//! databases/DATABASE/TABLE/data          the rows of a table without partitions
//! ```
//!
//! Of a cluster whose shards have a worker each, all of worker I lies in `shards/I/`.

use strongroom_repository::share::Share;

use crate::stored::part;

/// Functions that were made with SQL.
pub(super) const FUNCTIONS: &str = "functions.sql";

/// Where a worker has what lies there otherwise.
pub(super) fn of_share(share: Option<Share>, path: String) -> String {
    match share {
        Some(share) => format!("shards/{}/{path}", share.number),
        None => path,
    }
}

/// What makes a database. No table is in the way: its folder has another name.
pub(super) fn database(database: &str) -> String {
    format!("databases/{}/create.sql", part(database))
}

/// What makes a table.
pub(super) fn table(database: &str, table: &str) -> String {
    format!("{}/create.sql", folder(database, table))
}

/// The rows of a partition; without one, of a table that has none.
pub(super) fn rows(database: &str, table: &str, partition: Option<&str>) -> String {
    let folder = folder(database, table);
    match partition {
        Some(id) => format!("{folder}/partitions/{}", part(id)),
        None => format!("{folder}/data"),
    }
}

fn folder(database: &str, table: &str) -> String {
    // A table may be called as the file beside it.
    let table = if table == "create.sql" { "%63reate.sql".into() } else { part(table) };
    format!("databases/{}/{table}", part(database))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_part_of_a_path_each() {
        assert_eq!(table("a/b", "x%y"), "databases/a%2Fb/x%25y/create.sql");
        assert_eq!(rows("..", "t", Some("202001")), "databases/%2E./t/partitions/202001");
        assert_eq!(rows("d", "", None), "databases/d/%/data");
        assert_ne!(table("d", "create.sql"), format!("{}/create.sql", database("d")));
    }
}
