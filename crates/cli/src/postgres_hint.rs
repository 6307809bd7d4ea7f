//! What to do next when PostgreSQL or one of its programs refused.

use strongroom_engines::postgres::PostgresError;

/// By what they say in English; servers that speak another language get no hint.
const HINTS: [(&str, &str); 14] = [
    (
        "password authentication failed",
        "give the right password: in PGPASSWORD, in ~/.pgpass, or in the connection string",
    ),
    (
        "no password supplied",
        "give a password: in PGPASSWORD, in ~/.pgpass, or in the connection string; nobody is asked for one",
    ),
    ("no pg_hba.conf entry", "let this host and role in, in the server's pg_hba.conf"),
    (
        "is being accessed by other users",
        "end their sessions first, or restore into another database with --into",
    ),
    ("terminating connection", "nothing was committed; run it again"),
    ("server closed the connection", "nothing was committed; run it again when the server is well"),
    ("SET TRANSACTION SNAPSHOT", "the session that held the snapshot was ended; run it again"),
    ("connection to server", "is the server up, and are host, port and database right?"),
    (
        "permission denied",
        "give the role the right to read it (GRANT pg_read_all_data TO ...), or leave it out with --exclude-table",
    ),
    // Of a session it is FATAL: who logs in.
    (
        "ERROR:  role \"",
        "make that role first (CREATE ROLE): a snapshot of databases by their names has none, one of the whole server has them in globals.sql; or give --no-owner and --no-privileges",
    ),
    (
        "does not exist",
        "it may have been dropped or renamed meanwhile, or belong to what is not restored here; run it again",
    ),
    ("already exists", "--drop-existing drops it first; --into restores into another database"),
    ("server version mismatch", "name the folder of the programs of the server's version with --pg-bin"),
    ("No space left on device", NO_SPACE),
];

const NO_SPACE: &str = "free some space, or choose another place: --scratch-dir for a test of a restore, TMPDIR for restore --jobs";

pub(crate) fn hint(error: &PostgresError) -> Option<&'static str> {
    match error {
        PostgresError::Failed { stderr, .. } => {
            let is_said = |part: &str| stderr.iter().any(|line| line.contains(part));
            HINTS.iter().find(|(part, _)| is_said(part)).map(|(_, hint)| *hint)
        }
        PostgresError::InTheWay { .. } => Some(
            "--drop-existing drops it first; --into restores into another database; --data-only adds rows to what is there",
        ),
        PostgresError::Needed { .. } => Some(
            "name with --table what needs it as well; or restore it with --into into another database, and take the rows from there",
        ),
        PostgresError::Temporary { .. } => Some(NO_SPACE),
        PostgresError::Scratch { why, .. } if why.contains("No space left on device") => Some(NO_SPACE),
        PostgresError::NoDatabase { .. } => {
            Some("names are as the server has them, upper and lower case told apart")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_is_missing_is_told_apart_from_what_is_gone() {
        let of = |said: &str| {
            hint(&PostgresError::Failed {
                program: "pg_restore".into(),
                status: "exit status: 1".into(),
                stderr: vec![format!("pg_restore: error: could not execute query: {said}")],
            })
        };
        assert!(of("ERROR:  role \"shop\" does not exist").unwrap().contains("CREATE ROLE"));
        assert!(of("ERROR:  table \"shop\" does not exist").unwrap().contains("dropped or renamed"));
    }
}
