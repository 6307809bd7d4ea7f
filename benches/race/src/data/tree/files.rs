//! What is in a tree, and whether another has the same.

use std::collections::BTreeMap;
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The regular files below a folder, relative to it, in order.
pub(super) fn regular_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(path) = left.pop() {
        for (name, kind) in entries(&folder.join(&path))? {
            if kind.is_dir() {
                left.push(path.join(name));
            } else if kind.is_file() {
                files.push(path.join(name));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Fails unless both folders hold the same names, contents and links. Files are read whole: a tree's are small.
pub(crate) fn ensure_same(expected: &Path, found: &Path) -> Result<()> {
    let (names, other_names) = (entries(expected)?, entries(found)?);
    let unlike = || format!("{} is not as {}", found.display(), expected.display());
    ensure!(names.keys().eq(other_names.keys()), "{}: other names", unlike());
    for (name, kind) in names {
        let (path, other) = (expected.join(&name), found.join(&name));
        let unlike = || format!("{} is not as {}", other.display(), path.display());
        ensure!(other_names.get(&name) == Some(&kind), "{}: another kind of file", unlike());
        if kind.is_dir() {
            ensure_same(&path, &other)?;
        } else if kind.is_symlink() {
            let targets = (fs::read_link(&path)?, fs::read_link(&other)?);
            ensure!(targets.0 == targets.1, "{}: another target", unlike());
        } else if kind.is_file() {
            let read =
                |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
            ensure!(read(&path)? == read(&other)?, "{}: another content", unlike());
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<BTreeMap<PathBuf, FileType>> {
    let cannot = || format!("cannot list {}", folder.display());
    let mut entries = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        entries.insert(entry.file_name().into(), entry.file_type().with_context(cannot)?);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(change: impl FnOnce(&Path)) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/c"), "content").unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("link")).unwrap();
        change(folder.path());
        folder
    }

    #[test]
    fn what_differs_is_seen() {
        let original = tree(|_| ());
        assert!(ensure_same(original.path(), tree(|_| ()).path()).is_ok());
        let changes: [fn(&Path); 5] = [
            |folder| fs::write(folder.join("a/b/c"), "Content").unwrap(),
            |folder| fs::write(folder.join("a/b/c"), "content more").unwrap(),
            |folder| fs::write(folder.join("a/new"), "").unwrap(),
            |folder| fs::remove_file(folder.join("a/b/c")).unwrap(),
            |folder| {
                fs::remove_file(folder.join("link")).unwrap();
                std::os::unix::fs::symlink("b", folder.join("link")).unwrap();
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let changed = tree(change);
            assert!(ensure_same(original.path(), changed.path()).is_err(), "{number}");
            assert!(ensure_same(changed.path(), original.path()).is_err(), "{number}");
        }
    }

    #[test]
    fn files_are_listed_in_order() {
        let folder = tree(|folder| fs::write(folder.join("a/a"), "").unwrap());
        assert_eq!(regular_files(folder.path()).unwrap(), [Path::new("a/a"), Path::new("a/b/c")]);
    }
}
