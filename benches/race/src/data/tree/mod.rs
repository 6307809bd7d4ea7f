//! A tree of many files: the Linux sources, or one that is generated.

pub(crate) mod changing;
pub(crate) mod files;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use strongroom_tests::dump::Dump;

use super::Data;
use super::chance::Chance;
use crate::contender::output;
use changing::ChangingTree;

const FILES_PER_FOLDER: usize = 40;
const FOLDERS_PER_FOLDER: usize = 25;

/// The tree that an archive of one folder holds.
pub(crate) fn unpack(archive: &Path, folder: &Path) -> Result<Data> {
    let tree = make_folder(folder)?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--no-same-owner", "--strip-components=1", "--file"]);
    output(tar.arg(archive).arg("--directory").arg(&tree))?;
    ChangingTree::new(tree, folder.join("originals")).map(Data::Tree)
}

/// A tree of about so many megabytes, in files of 1 to 127 KiB: the text of a dump, cut to pieces.
pub(crate) fn generate(megabytes: u32, folder: &Path) -> Result<Data> {
    let tree = make_folder(folder)?;
    let mut files = CutToFiles::new(tree.clone());
    Dump::new(u64::from(megabytes) * 1_000_000).write_to(&mut files).context("cannot generate a tree")?;
    ChangingTree::new(tree, folder.join("originals")).map(Data::Tree)
}

fn make_folder(folder: &Path) -> Result<PathBuf> {
    let tree = folder.join("tree");
    std::fs::create_dir(&tree).with_context(|| format!("cannot make {}", tree.display()))?;
    Ok(tree)
}

/// Writes a stream as a tree of small files.
struct CutToFiles {
    folder: PathBuf,
    chance: Chance,
    count: usize,
    current: Option<File>,
    left_bytes: usize,
}

impl CutToFiles {
    fn new(folder: PathBuf) -> Self {
        Self { folder, chance: Chance::new(1), count: 0, current: None, left_bytes: 0 }
    }

    fn next_file(&mut self) -> io::Result<File> {
        let parent = self.count / FILES_PER_FOLDER;
        let folder = self.folder.join(format!("{}/{parent}", parent / FOLDERS_PER_FOLDER));
        std::fs::create_dir_all(&folder)?;
        // As many of each power of two: few are large, and they hold most of the bytes.
        let smallest = 1024_u64 << self.chance.below(7);
        let length = smallest + self.chance.below(smallest);
        self.left_bytes = usize::try_from(length).map_err(io::Error::other)?;
        self.count += 1;
        File::create(folder.join(format!("{}.txt", self.count)))
    }
}

impl Write for CutToFiles {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = match self.current.take() {
            Some(file) => file,
            None => self.next_file()?,
        };
        let part = bytes.len().min(self.left_bytes);
        file.write_all(&bytes[..part])?;
        self.left_bytes -= part;
        if self.left_bytes > 0 {
            self.current = Some(file);
        }
        Ok(part)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_becomes_files_and_none_of_it_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = CutToFiles::new(folder.path().to_owned());
        let text: Vec<u8> = (0..=255).cycle().take(700_000).collect();
        files.write_all(&text).unwrap();
        let mut all = Vec::new();
        for number in 1..=files.count {
            let parent = (number - 1) / FILES_PER_FOLDER;
            let path = folder.path().join(format!("{}/{parent}/{number}.txt", parent / FOLDERS_PER_FOLDER));
            let content = std::fs::read(path).unwrap();
            assert!((1..128 << 10).contains(&content.len()), "{number}: {}", content.len());
            all.extend(content);
        }
        assert!(files.count > 10 && all == text, "{}", files.count);
    }
}
