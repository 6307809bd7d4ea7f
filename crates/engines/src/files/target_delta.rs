//! Restoring over another state of the same files: what differs is written, and what does not belong there is deleted.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::AtomicU64;

use rustix::fs::{AtFlags, Dir, FallocateFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::TreeEntry;

use super::super::folders::{FolderError, FolderReason};
use super::super::metadata::Status;
use super::{DirectoryTarget, Overwrite, Place, TargetError, TargetFile, ZERO_BLOCK, refused};

impl DirectoryTarget {
    /// Reads what a file had there before; `false` if that is not `length` bytes.
    pub fn read_there(&self, file: &TargetFile, offset: u64, length: usize, out: &mut Vec<u8>) -> bool {
        let end = offset.saturating_add(length as u64);
        if file.was.is_none_or(|was| end > was) {
            return false;
        }
        out.resize(length, 0);
        file.file.read_exact_at(out, offset).is_ok()
    }

    /// Has a part of a file read as zeros: what was there before goes.
    ///
    /// # Errors
    /// `NoSpace`, `Io`.
    pub fn hole(&self, file: &TargetFile, offset: u64, length: u64) -> Result<(), TargetError> {
        let end = file.was.unwrap_or_default().min(offset.saturating_add(length));
        let Some(length) = end.checked_sub(offset).filter(|length| *length > 0) else { return Ok(()) };
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if rustix::fs::fallocate(&file.file, flags, offset, length).is_ok() {
            return Ok(());
        }
        let mut at = offset;
        while at < end {
            let zeros = &ZERO_BLOCK[..ZERO_BLOCK.len().min(usize::try_from(end - at).unwrap_or(usize::MAX))];
            file.file.write_all_at(zeros, at).map_err(|error| self.refused("write", &file.path, error))?;
            at += zeros.len() as u64;
        }
        Ok(())
    }

    /// Deletes what was there before and does not belong there, unless only a delta would. Gives how much it was.
    ///
    /// # Errors
    /// `Io`.
    pub fn delete_others(&self) -> Result<u64, TargetError> {
        if self.options.overwrite != Overwrite::Delta {
            return Ok(0);
        }
        let mut deleted = 0;
        let mut folders = vec![None];
        while let Some(folder) = folders.pop() {
            self.delete_others_in(folder.as_ref(), &mut folders, &mut deleted).map_err(|error| {
                let path = folder.as_ref().map_or_else(|| self.path.clone(), |folder| self.shown(folder));
                refused("clear directory", path, error.into())
            })?;
        }
        Ok(deleted)
    }

    /// Deletes what lies at `path`, durably; nothing may.
    ///
    /// # Errors
    /// `InTheWay`, `Io`.
    pub fn remove(&self, path: &EntryPath) -> Result<(), TargetError> {
        let folder = match self.folders.parent_of(path, false) {
            Ok(folder) => folder,
            Err(FolderError { reason: FolderReason::Refused(Errno::NOENT), .. }) => return Ok(()),
            Err(error) => return Err(self.no_folder(&error)),
        };
        match remove(&folder, path.file_name()) {
            Ok(()) => self.sync(),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.refused("delete", path, error.into())),
        }
    }

    fn delete_others_in(
        &self,
        folder: Option<&EntryPath>,
        folders: &mut Vec<Option<EntryPath>>,
        deleted: &mut u64,
    ) -> Result<(), Errno> {
        let open = match folder {
            None => open_folder(self.folders.root(), c".")?,
            Some(path) => {
                let parent = self.folders.parent_of(path, false).map_err(|_| Errno::NOTDIR)?;
                open_folder(&parent, path.file_name())?
            }
        };
        for name in names(&open)? {
            let mut path = folder.map(|folder| [folder.as_bytes(), b"/"].concat()).unwrap_or_default();
            path.extend_from_slice(&name);
            if folder.is_none() && name == b"lost+found" {
                continue;
            }
            let path = EntryPath::new(path).ok().filter(|path| self.was_restored(path));
            match path {
                Some(path) if Status::at(open.as_fd(), &*name)?.is_directory() => folders.push(Some(path)),
                Some(_) => {}
                None => {
                    remove(&open, &*name)?;
                    *deleted += 1;
                }
            }
        }
        Ok(())
    }

    /// A file that was there before, to be written into: one that has no other name, and that belongs to whom it will
    /// belong, so that nobody else gets to hold it open.
    pub(super) fn reopen(&self, place: &Place<'_>, entry: &TreeEntry, there: &Status) -> Option<TargetFile> {
        let owner = match &entry.metadata {
            Some(metadata) if self.changes_owner() => self.owners.resolve(metadata).0,
            _ => rustix::process::geteuid().as_raw(),
        };
        if there.kind != FileType::RegularFile || there.links != 1 || there.uid != owner {
            return None;
        }
        let name = place.path.file_name();
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&place.folder, name, flags, Mode::empty()).ok()?;
        let now = Status::of(&opened).ok()?;
        if now.identity() != there.identity() || (now.links, now.uid) != (1, owner) {
            return None;
        }
        rustix::fs::fchmod(&opened, Mode::RUSR | Mode::WUSR).ok()?;
        Some(TargetFile {
            file: File::from(opened),
            path: place.path.clone(),
            end: AtomicU64::new(now.size),
            was: Some(now.size),
        })
    }
}

/// Deletes whatever has this name, and all below it; no symbolic link is followed.
pub(super) fn remove(folder: &OwnedFd, name: impl Arg + Copy) -> Result<(), Errno> {
    if !Status::at(folder.as_fd(), name)?.is_directory() {
        return rustix::fs::unlinkat(folder, name, AtFlags::empty());
    }
    let open = open_folder(folder, name)?;
    for name in names(&open)? {
        remove(&open, &*name)?;
    }
    rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)
}

fn open_folder(folder: &OwnedFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

fn names(folder: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name: &CStr = entry.file_name();
        if ![&b"."[..], b".."].contains(&name.to_bytes()) {
            names.push(name.to_bytes().to_vec());
        }
    }
    Ok(names)
}

#[cfg(test)]
#[path = "target_delta_tests.rs"]
mod tests;
