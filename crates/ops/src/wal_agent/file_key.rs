//! What a file is known by.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use strongroom_repository::wal::ArchivedFile;

/// A file of a log in a folder. Another one that has its name, of another cluster at the same place, say, has another key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileKey {
    path: PathBuf,
    file: ArchivedFile,
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileKey {
    /// Of a file that is open.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn of(path: &Path, file: &ArchivedFile, open: &File) -> io::Result<Self> {
        let status = open.metadata()?;
        Ok(Self {
            path: path.to_owned(),
            file: file.clone(),
            device: status.dev(),
            inode: status.ino(),
            length: status.size(),
            modified: (status.mtime(), status.mtime_nsec()),
            changed: (status.ctime(), status.ctime_nsec()),
        })
    }
}
