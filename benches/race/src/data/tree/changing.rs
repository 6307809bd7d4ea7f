//! A tree that has two days: on the second, 1% of its files are changed where they lie.
//!
//! A changed copy beside it would not do: tools know a file by its path and inode.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::files::regular_files;

/// One file in so many changes.
const CHANGED_ONE_IN: usize = 100;
const LINE: &[u8] = b"/* changed on the next day */\n";

/// The tree, and the contents to which its changed files go back.
pub(crate) struct ChangingTree {
    folder: PathBuf,
    originals: PathBuf,
    /// Relative to the tree.
    changing: Vec<PathBuf>,
    files: usize,
    bytes: u64,
    day: usize,
}

impl ChangingTree {
    /// What is in the folder is the first day.
    pub(super) fn new(folder: PathBuf, originals: PathBuf) -> Result<Self> {
        let files = regular_files(&folder)?;
        let mut bytes = 0;
        for file in &files {
            let metadata = fs::metadata(folder.join(file));
            bytes += metadata.with_context(|| format!("cannot look at {}", file.display()))?.len();
        }
        let changing: Vec<PathBuf> =
            files.iter().skip(CHANGED_ONE_IN / 2).step_by(CHANGED_ONE_IN).cloned().collect();
        fs::create_dir(&originals).with_context(|| format!("cannot make {}", originals.display()))?;
        for (number, file) in changing.iter().enumerate() {
            fs::copy(folder.join(file), originals.join(number.to_string()))
                .with_context(|| format!("cannot copy {}", file.display()))?;
        }
        Ok(Self { folder, originals, changing, files: files.len(), bytes, day: 0 })
    }

    /// Day 0 is the first; all others are the second.
    pub(crate) fn turn_to(&mut self, day: usize) -> Result<&Path> {
        if day.min(1) != self.day {
            self.day = day.min(1);
            for (number, file) in self.changing.iter().enumerate() {
                let path = self.folder.join(file);
                let changed = match self.day {
                    0 => rewrite(&path, &self.originals.join(number.to_string())),
                    _ if number % 2 == 0 => append(&path),
                    _ => edit(&path),
                };
                changed.with_context(|| format!("cannot change {}", path.display()))?;
            }
        }
        Ok(&self.folder)
    }
}

/// In place: the file stays the same inode.
fn rewrite(path: &Path, original: &Path) -> std::io::Result<()> {
    let content = fs::read(original)?;
    OpenOptions::new().write(true).truncate(true).open(path)?.write_all(&content)
}

fn append(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().append(true).open(path)?.write_all(LINE)
}

/// Overwrites what is in the middle; the length stays, unless the file is shorter than a line.
fn edit(path: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let length = file.metadata()?.len();
    let middle = (length / 2).min(length.saturating_sub(LINE.len() as u64));
    file.seek(SeekFrom::Start(middle))?;
    file.write_all(LINE)
}

impl fmt::Display for ChangingTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (megabytes, changing) = (self.bytes as f64 / 1e6, self.changing.len());
        write!(f, "{} files, {megabytes:.1} MB, of which {changing} change", self.files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(folder: &Path) -> Vec<String> {
        let files = regular_files(folder).unwrap();
        files.iter().map(|file| fs::read_to_string(folder.join(file)).unwrap()).collect()
    }

    #[test]
    fn one_percent_changes_and_changes_back() {
        let folder = tempfile::tempdir().unwrap();
        let tree_folder = folder.path().join("tree");
        fs::create_dir(&tree_folder).unwrap();
        for number in 0..400 {
            let text = "line\n".repeat(number);
            fs::write(tree_folder.join(format!("{number:03}")), text).unwrap();
        }
        let before = contents(&tree_folder);
        let mut tree = ChangingTree::new(tree_folder.clone(), folder.path().join("originals")).unwrap();
        tree.turn_to(1).unwrap();
        let after = contents(&tree_folder);
        let changed: Vec<usize> = (0..400).filter(|number| before[*number] != after[*number]).collect();
        assert_eq!(changed, [50, 150, 250, 350]);
        assert_eq!(after[50].len(), before[50].len() + LINE.len());
        assert_eq!(after[150].len(), before[150].len());
        tree.turn_to(0).unwrap();
        assert_eq!(contents(&tree_folder), before);
    }

    #[test]
    fn an_empty_file_can_be_edited() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty");
        fs::write(&path, "").unwrap();
        edit(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), LINE);
    }
}
