//! The folders of a target, opened so that no path leads out of it.
//!
//! Invariant: a folder is reached from the target's own descriptor, one component at a time, none of them a symbolic
//! link. Entry paths have no `..`, so what is reached lies below the target, whatever lies in it already.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use strongroom_format::path::EntryPath;

use super::metadata::Status;

/// Folders kept open; consecutive entries share theirs.
const OPEN_FOLDERS: usize = 32;
/// Mode of everything until its own is set: nobody else reads half a restore.
pub(super) const FOLDER_MODE: Mode = Mode::RWXU;

/// Why a folder cannot be reached.
#[derive(Debug)]
pub(super) struct FolderError {
    /// The first component that is not to be passed.
    pub(super) path: EntryPath,
    pub(super) reason: FolderReason,
}

#[derive(Debug)]
pub(super) enum FolderReason {
    /// Something other than a folder lies there.
    InTheWay(FileType),
    /// The kernel refuses.
    Refused(Errno),
}

/// The target and the folders below it that were used last.
#[derive(Debug)]
pub(super) struct Folders {
    root: Arc<OwnedFd>,
    cache: Mutex<VecDeque<(EntryPath, Arc<OwnedFd>)>>,
    /// One readable folder of each file system written to, or `None` where there is none, for the sync at the end.
    devices: Mutex<HashMap<u64, Option<OwnedFd>>>,
}

impl Folders {
    /// `root` must be open for reading.
    pub(super) fn new(root: OwnedFd) -> Result<Self, Errno> {
        let folders = Self { root: Arc::new(root), cache: Mutex::default(), devices: Mutex::default() };
        folders.note_device(&folders.root)?;
        Ok(folders)
    }

    /// The target itself, open for reading.
    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// The folder that `path` lies in. It is made if it is missing and `create` says so.
    pub(super) fn parent_of(&self, path: &EntryPath, create: bool) -> Result<Arc<OwnedFd>, FolderError> {
        match path.parent() {
            Some(parent) => self.open(&parent, create),
            None => Ok(Arc::clone(&self.root)),
        }
    }

    /// For use with `*at` calls only: it is not open for reading.
    fn open(&self, path: &EntryPath, create: bool) -> Result<Arc<OwnedFd>, FolderError> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let nearest = cache
            .iter()
            .filter(|(open, _)| path.is_within(open))
            .max_by_key(|(open, _)| open.as_bytes().len());
        let (mut folder, mut length) = match nearest {
            Some((open, folder)) => (Arc::clone(folder), open.as_bytes().len()),
            None => (Arc::clone(&self.root), 0),
        };
        while length < path.as_bytes().len() {
            let start = if length == 0 { 0 } else { length + 1 };
            let rest = &path.as_bytes()[start..];
            length = start + rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let (here, name) = (&path.as_bytes()[..length], &path.as_bytes()[start..length]);
            folder = self.step(&folder, name, create).map(Arc::new).map_err(|reason| FolderError {
                // The front of a path, cut at a slash, is a path.
                path: EntryPath::new(here).unwrap_or_else(|_| path.clone()),
                reason,
            })?;
        }
        cache.retain(|(open, _)| open != path);
        cache.push_back((path.clone(), Arc::clone(&folder)));
        if cache.len() > OPEN_FOLDERS {
            cache.pop_front();
        }
        Ok(folder)
    }

    fn step(&self, folder: &OwnedFd, name: &[u8], create: bool) -> Result<OwnedFd, FolderReason> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(folder, name, flags, Mode::empty());
        let opened = match open() {
            Err(Errno::NOENT) if create => {
                match rustix::fs::mkdirat(folder, name, FOLDER_MODE) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(FolderReason::Refused(error)),
                }
                open()
            }
            done => done,
        };
        let opened = opened.map_err(|error| match (error, Status::at(folder.as_fd(), name)) {
            (Errno::NOTDIR | Errno::LOOP, Ok(status)) if !status.is_directory() => {
                FolderReason::InTheWay(status.kind)
            }
            _ => FolderReason::Refused(error),
        })?;
        self.note_device(&opened).map_err(FolderReason::Refused)?;
        Ok(opened)
    }

    fn note_device(&self, folder: &OwnedFd) -> Result<(), Errno> {
        let device = Status::of(folder)?.device;
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.entry(device).or_insert_with(|| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(folder, c".", flags, Mode::empty()).ok()
        });
        Ok(())
    }

    /// Returns once all that was written, to every file system that paths led to, is on the medium.
    pub(super) fn sync(&self) -> Result<(), Errno> {
        let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in devices.values() {
            match folder {
                Some(folder) => rustix::fs::syncfs(folder)?,
                None => rustix::fs::sync(),
            }
        }
        Ok(())
    }
}
