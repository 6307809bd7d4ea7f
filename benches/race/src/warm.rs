//! Reading what a command is about to read, so that nobody has to wait for the disk.

use std::fs::File;
use std::io::{copy, sink};
use std::path::Path;

use anyhow::{Context, Result};

/// Reads a file, or everything below a folder; links are not followed.
///
/// # Errors
/// When something cannot be listed or read.
pub(crate) fn read_all(path: &Path) -> Result<()> {
    let metadata = path.symlink_metadata().with_context(|| format!("cannot look at {}", path.display()))?;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))? {
            read_all(&entry.with_context(|| format!("cannot list {}", path.display()))?.path())?;
        }
    } else if metadata.is_file() {
        File::open(path)
            .and_then(|mut file| copy(&mut file, &mut sink()))
            .with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_files_and_folders_and_follows_no_links() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::write(folder.path().join("a/b/c"), "123").unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("a/link")).unwrap();
        read_all(folder.path()).unwrap();
        read_all(&folder.path().join("a/b/c")).unwrap();
        assert!(read_all(&folder.path().join("gone")).unwrap_err().to_string().contains("cannot look at"));
    }
}
