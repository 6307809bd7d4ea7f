//! What a server has ready: `pg_wal/archive_status/*.ready`.

use std::path::Path;

use strongroom_format::wal_file::LogFile;

/// What a server calls a file that is to be archived.
const READY: &str = ".ready";

/// What the server of the folder `pg_wal` has ready, segments first and in order; nothing where that cannot be read.
#[must_use]
pub fn ready(pg_wal: &Path) -> Vec<LogFile> {
    let Ok(entries) = pg_wal.join("archive_status").read_dir() else { return Vec::new() };
    let file_of = |entry: std::fs::DirEntry| -> Option<LogFile> {
        entry.file_name().to_str()?.strip_suffix(READY)?.parse().ok()
    };
    let mut files: Vec<LogFile> = entries.flatten().filter_map(file_of).collect();
    files.sort_unstable();
    files
}

/// The length of files in a folder, of those that are there.
#[must_use]
pub fn bytes_of(pg_wal: &Path, files: &[LogFile]) -> u64 {
    let length = |file: &LogFile| pg_wal.join(file.to_string()).metadata().map_or(0, |status| status.len());
    files.iter().map(length).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ready_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ready(folder.path()), []);
        std::fs::create_dir(folder.path().join("archive_status")).unwrap();
        for (name, length, status) in [
            ("000000010000000000000002", 200, "ready"),
            ("000000010000000000000001", 100, "ready"),
            ("000000010000000000000003", 300, "done"),
            ("00000002.history", 7, "ready"),
            ("notes", 5, "ready"),
        ] {
            std::fs::write(folder.path().join(name), vec![0; length]).unwrap();
            std::fs::write(folder.path().join(format!("archive_status/{name}.{status}")), "").unwrap();
        }
        // Recycled already.
        std::fs::write(folder.path().join("archive_status/000000010000000000000000.ready"), "").unwrap();
        let found = ready(folder.path());
        let names: Vec<_> = found.iter().map(LogFile::to_string).collect();
        assert_eq!(names.len(), 4);
        assert_eq!(
            names[..3],
            ["000000010000000000000000", "000000010000000000000001", "000000010000000000000002"]
        );
        assert_eq!(bytes_of(folder.path(), &found), 307);
    }
}
