//! A directory takes the place of another in one step.
//!
//! The new one is made beside the old one, under a name of its own, and made durable. Then a note is written that says which of
//! the two is the new one, and their names are exchanged. Whoever comes after a crash sees by the note and the directories
//! themselves which of them is in place; what is left beside it is deleted. Where a file system cannot exchange names, the old
//! directory is renamed and then the new one: for that moment nothing is in place, and whoever comes next ends it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with, syncfs};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::error::LedgerError;
use super::kept::UNTOUCHED;

const REPLACED: &str = "the new directory is in its place";
const UNKNOWN: &str = "run the restore again: it says which directory is in place";

/// What a restore before this one left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftover {
    /// It did not get to the exchange: the old directory is in place.
    Unfinished,
    /// It did: what that snapshot restored to is in place.
    Finished {
        /// The snapshot.
        snapshot: String,
    },
}

/// Which of the two directories is the new one.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    snapshot: String,
    device: u64,
    inode: u64,
}

/// The directory and what lies beside it, while nobody else replaces anything there.
#[derive(Debug)]
pub(super) struct Exchange {
    target: PathBuf,
    above: File,
    pub(super) new: PathBuf,
    old: PathBuf,
    note: PathBuf,
}

impl Exchange {
    /// Begins to replace `target`, which is absolute and no symbolic link.
    ///
    /// # Errors
    /// `Restoring`, `Place`.
    pub(super) fn begin(target: &Path) -> Result<Self, LedgerError> {
        let (Some(above), Some(name)) = (target.parent(), target.file_name()) else {
            let source = io::Error::other("the root of the file system cannot be replaced");
            return Err(failed("replace", target, UNTOUCHED)(source));
        };
        let beside = |suffix: &str| {
            let mut beside = std::ffi::OsString::from(".");
            beside.push(name);
            beside.push(suffix);
            above.join(beside)
        };
        let open = File::open(above).map_err(failed("open", above, UNTOUCHED))?;
        match flock(&open, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(LedgerError::Restoring { folder: above.to_owned() }),
            Err(error) => return Err(failed("lock", above, UNTOUCHED)(error.into())),
        }
        Ok(Self {
            target: target.to_owned(),
            above: open,
            new: beside(".strongroom-new"),
            old: beside(".strongroom-old"),
            note: beside(".strongroom-note"),
        })
    }

    /// Says what an earlier one left, ends it, and deletes what it left.
    ///
    /// # Errors
    /// `Place`.
    pub(super) fn recover(&self) -> Result<Option<Leftover>, LedgerError> {
        let note = self.read_note()?;
        if note.is_none() && !self.new.exists() && !self.old.exists() {
            return Ok(None);
        }
        let is_new = |path: &Path| {
            let there = fs::symlink_metadata(path).ok();
            there
                .zip(note.as_ref())
                .is_some_and(|(there, note)| (there.dev(), there.ino()) == (note.device, note.inode))
        };
        if !self.target.exists() && self.old.exists() {
            // Between the two renames.
            let from = if is_new(&self.new) { &self.new } else { &self.old };
            fs::rename(from, &self.target).map_err(failed("rename", from, UNKNOWN))?;
            self.sync()?;
        }
        let leftover = match &note {
            Some(note) if is_new(&self.target) => Leftover::Finished { snapshot: note.snapshot.clone() },
            _ => Leftover::Unfinished,
        };
        self.clean()?;
        Ok(Some(leftover))
    }

    /// Deletes what is beside the target.
    ///
    /// # Errors
    /// `Place`.
    pub(super) fn clean(&self) -> Result<(), LedgerError> {
        let state = "what is in place is whole; what is left beside it may be deleted";
        for folder in [&self.new, &self.old] {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("delete", folder, state)(error));
                }
                _ => {}
            }
        }
        // Last: it says what the others are.
        match fs::remove_file(&self.note) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("delete", &self.note, state)(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes the new directory durable, and notes which it is.
    ///
    /// # Errors
    /// `Place`.
    pub(super) fn prepare(&self, snapshot: &str) -> Result<(), LedgerError> {
        let new = File::open(&self.new).map_err(failed("open", &self.new, UNTOUCHED))?;
        syncfs(&new).map_err(|error| failed("sync", &self.new, UNTOUCHED)(error.into()))?;
        let metadata = new.metadata().map_err(failed("read", &self.new, UNTOUCHED))?;
        let note = Note { snapshot: snapshot.to_owned(), device: metadata.dev(), inode: metadata.ino() };
        let write = || {
            let mut file = File::create(&self.note)?;
            serde_json::to_writer(&mut file, &note)?;
            file.sync_all()
        };
        write().map_err(failed("write", &self.note, UNTOUCHED))?;
        self.above.sync_all().map_err(failed("sync", &self.note, UNTOUCHED))
    }

    /// Puts the new directory in place.
    ///
    /// # Errors
    /// `Place`.
    pub(super) fn exchange(&self) -> Result<(), LedgerError> {
        if !self.target.exists() {
            fs::rename(&self.new, &self.target).map_err(failed("make", &self.target, UNTOUCHED))?;
            return self.sync();
        }
        match renameat_with(CWD, &self.new, CWD, &self.target, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.rename_both()?,
            Err(error) => return Err(failed("replace", &self.target, UNTOUCHED)(error.into())),
        }
        self.sync()
    }

    /// For file systems that know no exchange.
    fn rename_both(&self) -> Result<(), LedgerError> {
        fs::rename(&self.target, &self.old).map_err(failed("replace", &self.target, UNTOUCHED))?;
        fs::rename(&self.new, &self.target).map_err(|error| {
            let is_back = fs::rename(&self.old, &self.target).is_ok();
            failed("replace", &self.target, if is_back { UNTOUCHED } else { UNKNOWN })(error)
        })
    }

    fn sync(&self) -> Result<(), LedgerError> {
        self.above.sync_all().map_err(failed("sync", &self.target, REPLACED))
    }

    fn read_note(&self) -> Result<Option<Note>, LedgerError> {
        match fs::read(&self.note) {
            // One that was not written to its end came before the exchange.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &self.note, UNTOUCHED)(error)),
        }
    }
}

fn failed(
    operation: &'static str,
    path: &Path,
    state: &'static str,
) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::Place { operation, path, state, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0a1b";

    /// An old directory, and a new one that is ready.
    fn ready(folder: &Path) -> (PathBuf, Exchange) {
        let target = folder.join("data");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("which"), "old").unwrap();
        let exchange = Exchange::begin(&target).unwrap();
        fs::create_dir(&exchange.new).unwrap();
        fs::write(exchange.new.join("which"), "new").unwrap();
        (target, exchange)
    }

    fn which(target: &Path) -> String {
        fs::read_to_string(target.join("which")).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// What somebody finds who comes after a crash: what is in place, and what he is told.
    fn after_crash(steps: impl FnOnce(&Exchange)) -> (String, Option<Leftover>) {
        let folder = tempfile::tempdir().unwrap();
        let (target, exchange) = ready(folder.path());
        steps(&exchange);
        drop(exchange);
        let told = Exchange::begin(&target).unwrap().recover().unwrap();
        assert_eq!(names(folder.path()), ["data"]);
        (which(&target), told)
    }

    #[test]
    fn a_crash_at_any_moment_leaves_one_of_them_and_says_which() {
        let finished = Some(Leftover::Finished { snapshot: ID.into() });
        let unfinished = ("old".to_owned(), Some(Leftover::Unfinished));
        assert_eq!(after_crash(|_| {}), unfinished);
        assert_eq!(after_crash(|exchange| exchange.prepare(ID).unwrap()), unfinished);
        let exchanged = |exchange: &Exchange| {
            exchange.prepare(ID).unwrap();
            exchange.exchange().unwrap();
        };
        assert_eq!(after_crash(exchanged), ("new".to_owned(), finished.clone()));
        let half_deleted = |exchange: &Exchange| {
            exchanged(exchange);
            fs::remove_file(exchange.new.join("which")).unwrap();
        };
        assert_eq!(after_crash(half_deleted), ("new".to_owned(), finished.clone()));
        let between_renames = |exchange: &Exchange| {
            exchange.prepare(ID).unwrap();
            fs::rename(&exchange.target, &exchange.old).unwrap();
        };
        assert_eq!(after_crash(between_renames), ("new".to_owned(), finished.clone()));
        let both_renamed = |exchange: &Exchange| {
            exchange.prepare(ID).unwrap();
            exchange.rename_both().unwrap();
        };
        assert_eq!(after_crash(both_renamed), ("new".to_owned(), finished));
        let half_a_note = |exchange: &Exchange| fs::write(&exchange.note, "{").unwrap();
        assert_eq!(after_crash(half_a_note), unfinished);
    }

    #[test]
    fn nothing_is_left_and_two_do_not_meet() {
        let folder = tempfile::tempdir().unwrap();
        let (target, exchange) = ready(folder.path());
        assert!(matches!(Exchange::begin(&target), Err(LedgerError::Restoring { .. })));
        exchange.prepare(ID).unwrap();
        exchange.exchange().unwrap();
        exchange.clean().unwrap();
        assert_eq!((which(&target).as_str(), names(folder.path())), ("new", vec!["data".to_owned()]));
        assert_eq!(exchange.recover().unwrap(), None);
    }

    #[test]
    fn a_target_that_is_not_there_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let (target, exchange) = ready(folder.path());
        fs::remove_dir_all(&target).unwrap();
        exchange.prepare(ID).unwrap();
        exchange.exchange().unwrap();
        exchange.clean().unwrap();
        assert_eq!(which(&target), "new");
    }
}
