//! What a server has, or may get in a moment, and a backup of it has not: said by name.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use strongroom_repository::monitor::Monitor;

use super::catalog::columns_of_system;
use super::error::ClickHouseError;
use super::facts::Table;
use super::session::Session;

/// Engines of tables that keep rows where no backup reads them.
const UNREAD: [&str; 3] = ["Set", "File", "KeeperMap"];

/// What a table hands on later.
#[derive(Deserialize)]
struct Queue {
    database: String,
    table: String,
    files: u64,
}

/// How far a replica is.
#[derive(Debug, Deserialize)]
struct Replica {
    database: String,
    table: String,
    is_readonly: u8,
    delay_seconds: u64,
    inserts: u64,
}

/// Tells it of these tables.
///
/// # Errors
/// When the server cannot be asked. What it may not tell is a warning.
pub(super) fn tell(
    session: &Session,
    tables: &[Table],
    monitor: &dyn Monitor,
) -> Result<(), ClickHouseError> {
    for table in tables.iter().filter(|table| UNREAD.contains(&table.engine.as_str())) {
        let (name, engine) = (table.full_name(), &table.engine);
        monitor.warn(&format!("the rows of {name} ({engine}) are not backed up, only what makes it"));
    }
    for table in tables.iter().filter(|table| table.engine == "Buffer") {
        let name = table.full_name();
        monitor.note(&format!(
            "what waits in {name} (Buffer) is not backed up; `OPTIMIZE TABLE {name}` hands it on"
        ));
    }
    let is_of = |table: &Table, name: (&str, &str)| (table.database.as_str(), table.name.as_str()) == name;
    if tables.iter().any(|table| table.engine == "Distributed")
        && columns_of_system(session, "distribution_queue")?.contains("data_files")
    {
        let sql = "SELECT database, table, sum(data_files) AS files FROM system.distribution_queue GROUP BY database, table HAVING files > 0 ORDER BY database, table";
        for queue in allowed::<Queue>(session, monitor, "what waits in Distributed tables", sql)? {
            let Queue { database, table, files } = &queue;
            if tables.iter().any(|one| is_of(one, (database, table))) {
                monitor.warn(&format!("{files} files of rows wait in {database}.{table} (Distributed) for their shards: they are not backed up; `SYSTEM FLUSH DISTRIBUTED {database}.{table}` hands them on"));
            }
        }
    }
    let is_replicated = |table: &&Table| {
        table.storage.as_ref().is_some_and(|storage| storage.engine.starts_with("Replicated"))
    };
    if tables.iter().any(|table| is_replicated(&table)) {
        let sql = "SELECT database, table, is_readonly, toUInt64(absolute_delay) AS delay_seconds, toUInt64(inserts_in_queue) AS inserts FROM system.replicas ORDER BY database, table";
        for replica in allowed::<Replica>(session, monitor, "how far its replicas are", sql)? {
            let is_it = |table: &&Table| {
                let storage = table.storage.as_ref().map(|storage| storage.table.as_str());
                table.database == replica.database && storage == Some(replica.table.as_str())
            };
            if let Some(table) = tables.iter().filter(is_replicated).find(is_it)
                && let Some(why) = replica.lags()
            {
                monitor
                    .warn(&format!("{} is backed up as this replica has it, which {why}", table.full_name()));
            }
        }
    }
    Ok(())
}

impl Replica {
    /// What it has not, in words.
    fn lags(&self) -> Option<String> {
        let mut found = Vec::new();
        if self.is_readonly != 0 {
            found.push("is read-only, without a connection to the others".to_owned());
        }
        if self.inserts > 0 {
            found.push(format!("has {} inserts of others still to fetch", self.inserts));
        }
        if self.delay_seconds > 0 {
            found.push(format!("is {} seconds behind", self.delay_seconds));
        }
        (!found.is_empty()).then(|| found.join(", "))
    }
}

/// Rows that a user may not be allowed to see.
fn allowed<T: DeserializeOwned>(
    session: &Session,
    monitor: &dyn Monitor,
    what: &str,
    sql: &str,
) -> Result<Vec<T>, ClickHouseError> {
    match session.ask(what, sql) {
        Err(error) if error.said().is_some() => {
            monitor.warn(&format!("the server does not say {what}: {}", error.said().unwrap_or_default()));
            Ok(Vec::new())
        }
        asked => asked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_has_all_is_not_spoken_of() {
        let replica = |is_readonly, delay_seconds, inserts| Replica {
            database: "d".into(),
            table: "t".into(),
            is_readonly,
            delay_seconds,
            inserts,
        };
        assert_eq!(replica(0, 0, 0).lags(), None);
        assert_eq!(
            replica(0, 7, 2).lags().unwrap(),
            "has 2 inserts of others still to fetch, is 7 seconds behind"
        );
        assert!(replica(1, 0, 0).lags().unwrap().contains("read-only"));
    }
}
