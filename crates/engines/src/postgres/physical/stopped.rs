//! Whether a folder may be restored over: it holds a cluster, and nobody runs it.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};

use super::super::error::PostgresError;

/// Left alone in any folder.
const LOST_AND_FOUND: &str = "lost+found";

/// A data directory: missing, empty, or of a server that does not run.
///
/// # Errors
/// `NoCluster`, `InUse`, `ReadFile`.
pub(super) fn check_data(folder: &Path) -> Result<(), PostgresError> {
    let names = names(folder)?;
    if !names.is_empty() && !names.iter().any(|name| name == "PG_VERSION") {
        return Err(PostgresError::NoCluster {
            folder: folder.to_owned(),
            why: "it has no PG_VERSION".into(),
        });
    }
    let file = folder.join("postmaster.pid");
    let text = match std::fs::read(&file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(PostgresError::ReadFile { path: file, source }),
    };
    // A single-user server writes its own number with a minus.
    let process = text.lines().next().and_then(|line| line.trim().trim_start_matches('-').parse().ok());
    let process: Option<i32> = process.filter(|process| *process > 0);
    match process.and_then(Pid::from_raw) {
        Some(pid) if test_kill_process(pid) != Err(rustix::io::Errno::SRCH) => {
            Err(PostgresError::InUse { folder: folder.to_owned(), process: pid.as_raw_nonzero().get() })
        }
        _ => Ok(()),
    }
}

/// A tablespace: missing, empty, or nothing but folders of servers.
///
/// # Errors
/// `NoCluster`, `ReadFile`.
pub(super) fn check_tablespace(folder: &Path) -> Result<(), PostgresError> {
    let other = names(folder)?.into_iter().find(|name| !name.starts_with("PG_"));
    let no_cluster = |name| PostgresError::NoCluster {
        folder: folder.to_owned(),
        why: format!("{name} does not belong in a tablespace"),
    };
    other.map_or(Ok(()), |name| Err(no_cluster(name)))
}

fn names(folder: &Path) -> Result<Vec<String>, PostgresError> {
    let failed = |source| PostgresError::ReadFile { path: PathBuf::from(folder), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let names: io::Result<Vec<String>> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
    let mut names = names.map_err(failed)?;
    names.retain(|name| name != LOST_AND_FOUND);
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cluster_that_stands_still_is_restored_over() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        assert!(check_data(&folder.path().join("missing")).is_ok());
        assert!(check_data(folder.path()).is_ok());
        write("letters.txt", "");
        assert!(matches!(check_data(folder.path()), Err(PostgresError::NoCluster { .. })));
        assert!(matches!(check_tablespace(folder.path()), Err(PostgresError::NoCluster { .. })));
        write("PG_VERSION", "15");
        assert!(check_data(folder.path()).is_ok());
        write("postmaster.pid", &format!("{}\n", std::process::id()));
        assert!(matches!(check_data(folder.path()), Err(PostgresError::InUse { .. })));
        // More than any kernel hands out.
        write("postmaster.pid", "2147483647\n");
        assert!(check_data(folder.path()).is_ok());
    }
}
