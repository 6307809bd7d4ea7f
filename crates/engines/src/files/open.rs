//! Reads a regular file that a walk found.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Advice, CWD, FileType, Mode, OFlags, ResolveFlags, SeekFrom};
use rustix::io::Errno;

use super::metadata::{Status, XattrReader, open_quietly};
use super::walk::WalkedEntry;

/// Files below this are read with the kernel's usual readahead.
const READAHEAD_FROM_BYTES: u64 = 1 << 20;
/// Where a path too long for one system call is split, bytes: below `PATH_MAX`.
const PATH_STEP_BYTES: usize = 4000;

/// A run of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Bytes to be read.
    Data {
        /// Where it starts, bytes.
        offset: u64,
        /// Its length, bytes.
        length: u64,
    },
    /// Zeros that the file system does not store.
    Hole {
        /// Where it starts, bytes.
        offset: u64,
        /// Its length, bytes.
        length: u64,
    },
}

/// A regular file, open for reading.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    size: u64,
    /// Start of the next extent, bytes.
    position: u64,
    has_holes: bool,
}

impl OpenFile {
    /// Opens the regular file that the walk saw, or nothing: a symbolic link, FIFO or device that took its place is
    /// neither followed nor waited for. No access time is left behind where that can be helped.
    ///
    /// # Errors
    /// `ESTALE` if another file lies there now, and what the kernel says.
    pub fn open(walked: &WalkedEntry) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = open_without_links(&walked.os_path, flags)?;
        let status = Status::of(&opened)?;
        if status.kind != FileType::RegularFile || status.identity() != walked.status.identity() {
            return Err(Errno::STALE.into());
        }
        if status.size >= READAHEAD_FROM_BYTES {
            // Only advice: without it reading is slower.
            let _ = rustix::fs::fadvise(&opened, 0, None, Advice::Sequential);
        }
        let has_holes = status.allocated < status.size;
        Ok(Self { file: opened.into(), size: status.size, position: 0, has_holes })
    }

    /// Length when it was opened, bytes: where the extents end.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next run; runs follow each other without a gap up to [`size`](Self::size).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn next_extent(&mut self) -> io::Result<Option<Extent>> {
        let offset = self.position;
        if offset >= self.size {
            return Ok(None);
        }
        let data = if self.has_holes { self.seek(SeekFrom::Data(offset))? } else { offset };
        if data > offset {
            self.position = data;
            return Ok(Some(Extent::Hole { offset, length: data - offset }));
        }
        let end = if self.has_holes { self.seek(SeekFrom::Hole(offset))? } else { self.size };
        // An extent is never empty, whatever a file system answers.
        self.position = if end > offset { end } else { self.size };
        Ok(Some(Extent::Data { offset, length: self.position - offset }))
    }

    /// Where the next data or hole starts, at most the file's size.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match rustix::fs::seek(&self.file, to) {
            Ok(at) => Ok(at.min(self.size)),
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => Ok(self.size),
            Err(Errno::INVAL) => {
                self.has_holes = false;
                Ok(match to {
                    SeekFrom::Data(offset) => offset,
                    _ => self.size,
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Fills `buffer` from `offset` on, and returns how much there was: less only at the end, which comes early if
    /// the file shrinks.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Its extended attributes, sorted by name: for entries of a walk that left them out
    /// ([`XattrScope::NotOfFiles`](super::XattrScope::NotOfFiles)).
    ///
    /// # Errors
    /// What the kernel says; `E2BIG` if there are more than an entry holds.
    pub fn xattrs(&self) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        XattrReader::new().read_open(self.file.as_fd())
    }

    /// Brings what the walk saw up to date, before the file is read again.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn refresh(&self, walked: &mut WalkedEntry) -> io::Result<()> {
        let now = Status::of(&self.file)?;
        walked.size = now.size;
        if let Some(metadata) = &mut walked.entry.metadata {
            (metadata.mode, metadata.mtime_ns, metadata.ctime_ns) = (now.mode, now.mtime_ns, now.ctime_ns);
            if (metadata.uid, metadata.gid) != (now.uid, now.gid) {
                (metadata.uid, metadata.gid, metadata.user, metadata.group) = (now.uid, now.gid, None, None);
            }
        }
        walked.status = now;
        Ok(())
    }

    /// Whether the file was written to since the walk saw it; to be asked once all of it was read. The content is
    /// then a mixture of two moments.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn changed_since(&self, walked: &WalkedEntry) -> io::Result<bool> {
        let now = Status::of(&self.file)?;
        let seen = &walked.status;
        Ok((now.size, now.mtime_ns, now.ctime_ns) != (seen.size, seen.mtime_ns, seen.ctime_ns))
    }
}

/// Opens `path`, no component of which may be a symbolic link: a walk has none in its paths.
fn open_without_links(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::NO_SYMLINKS;
    let opened = open_quietly(|flags| rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve), flags);
    match opened {
        // No openat2: before Linux 5.6, or a sandbox forbids it. The last component is still not followed, and the
        // caller compares what was opened with what was seen.
        Err(Errno::NOSYS | Errno::PERM) => {
            open_quietly(|flags| rustix::fs::openat(CWD, path, flags, Mode::empty()), flags)
        }
        Err(Errno::NAMETOOLONG) => open_long(path, flags),
        done => done,
    }
}

/// Opens a path longer than the kernel takes, folder by folder.
fn open_long(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut rest = path.as_os_str().as_bytes();
    let mut folder = rustix::fs::openat(CWD, c"/", through, Mode::empty())?;
    while rest.len() > PATH_STEP_BYTES {
        let slash = rest.iter().position(|byte| *byte == b'/').ok_or(Errno::NAMETOOLONG)?;
        if slash > 0 {
            folder = rustix::fs::openat(&folder, &rest[..slash], through, Mode::empty())?;
        }
        rest = &rest[slash + 1..];
    }
    open_quietly(|flags| rustix::fs::openat(&folder, rest, flags, Mode::empty()), flags)
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
