//! Finds the databases in a data directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::error::LedgerError;
use super::lsm::store::{CURRENT, manifest_of};
use super::node_metadata::METADATA;
use super::sqlite::MAGIC;
use crate::files::{Excludes, Walk, WalkOptions, Walked, XattrScope};

/// The smallest page of SQLite, bytes: no file of it is shorter. A torn one need not be a multiple.
const PAGE_BYTES: u64 = 512;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Files of SQLite.
    pub(super) sqlite: BTreeSet<PathBuf>,
    /// Folders of RocksDB and LevelDB.
    pub(super) stores: BTreeSet<PathBuf>,
    /// Files that are named as a node's metadata; the first is the one that lies highest.
    pub(super) metadata: Vec<PathBuf>,
}

/// Looks at every file below `root`.
///
/// # Errors
/// `Root`, `SeveralNames`.
pub(super) fn scan(root: &Path, excludes: &Excludes) -> Result<Found, LedgerError> {
    let options =
        WalkOptions { xattrs: XattrScope::None, excludes: excludes.clone(), ..WalkOptions::default() };
    let of_root = |source| LedgerError::Root { path: root.to_owned(), source };
    let mut found = Found::default();
    let mut seen = BTreeMap::new();
    for walked in Walk::new(&[root.to_owned()], options).map_err(|error| of_root(io::Error::other(error)))? {
        let walked = match walked {
            Walked::Entry(walked) if walked.is_file() && walked.os_path.starts_with(root) => walked,
            Walked::Failed { path, error, .. } if path == root => return Err(of_root(error)),
            // What cannot be read is told when it is to be stored.
            _ => continue,
        };
        let name = walked.os_path.file_name().unwrap_or_default();
        if name == CURRENT
            && let Some(folder) = walked.os_path.parent().filter(|folder| manifest_of(folder).is_some())
        {
            found.stores.insert(folder.to_owned());
        } else if name == METADATA {
            found.metadata.push(walked.os_path);
        } else if walked.size >= PAGE_BYTES && is_sqlite(&walked.os_path) {
            // Read by its other name, as a file, it would lose the locks by which it is held (POSIX: closing any of a file's
            // descriptors does that).
            if let Some(other) = seen.insert((walked.device, walked.inode()), walked.os_path.clone()) {
                return Err(LedgerError::SeveralNames { path: walked.os_path, other });
            }
            found.sqlite.insert(walked.os_path);
        }
    }
    found.metadata.sort_by_key(|path| path.components().count());
    Ok(found)
}

pub(super) fn is_sqlite(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_with_two_names_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("a.db"), folder.path().join("b.db"));
        rusqlite::Connection::open(&one).unwrap().execute_batch("CREATE TABLE t(x)").unwrap();
        let found = scan(folder.path(), &Excludes::default()).unwrap();
        assert_eq!(found.sqlite.len(), 1);
        std::fs::hard_link(&one, &other).unwrap();
        assert!(matches!(scan(folder.path(), &Excludes::default()), Err(LedgerError::SeveralNames { .. })));
    }
}
