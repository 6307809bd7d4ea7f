//! What the kernel says of a file, as a snapshot records it.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;
use rustix::path::Arg;
use strongroom_format::tree_entry::{ENTRY_LIMIT_BYTES, Metadata};

/// Most bytes of extended attributes that fit an entry beside its longest paths.
const XATTRS_LIMIT_BYTES: usize = ENTRY_LIMIT_BYTES - (256 << 10);
/// Encoding's share of one attribute, bytes: never more.
const XATTR_OVERHEAD_BYTES: usize = 16;
/// The kernel's limit of a list of names and of a value, bytes.
const XATTR_BUFFER_BYTES: usize = 64 << 10;
/// What is tried first, bytes.
const XATTR_USUAL_BYTES: usize = 512;

/// One `statx`, in types that are the same on every architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) kind: FileType,
    /// The low 12 bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    /// Bytes allocated: less than `size` where there are holes.
    pub(super) allocated: u64,
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) links: u64,
    /// Major and minor number of a device node.
    pub(super) node: (u32, u32),
    pub(super) mtime_ns: i64,
    pub(super) ctime_ns: i64,
}

impl Status {
    /// Of `name` in `folder`; of a symbolic link itself.
    pub(super) fn at(folder: BorrowedFd<'_>, name: impl Arg) -> Result<Self, Errno> {
        Self::query(folder, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)
    }

    /// Of what is open as `fd`.
    pub(super) fn of(fd: impl AsFd) -> Result<Self, Errno> {
        Self::query(fd.as_fd(), c"", AtFlags::EMPTY_PATH)
    }

    fn query(folder: BorrowedFd<'_>, name: impl Arg, flags: AtFlags) -> Result<Self, Errno> {
        rustix::fs::statx(folder, name, flags, StatxFlags::BASIC_STATS).map(|raw| Self::new(&raw))
    }

    fn new(raw: &Statx) -> Self {
        Self {
            kind: FileType::from_raw_mode(raw.stx_mode.into()),
            mode: u32::from(raw.stx_mode) & 0o7777,
            uid: raw.stx_uid,
            gid: raw.stx_gid,
            size: raw.stx_size,
            allocated: raw.stx_blocks.saturating_mul(512),
            device: rustix::fs::makedev(raw.stx_dev_major, raw.stx_dev_minor),
            inode: raw.stx_ino,
            links: raw.stx_nlink.into(),
            node: (raw.stx_rdev_major, raw.stx_rdev_minor),
            mtime_ns: nanoseconds(raw.stx_mtime.tv_sec, raw.stx_mtime.tv_nsec),
            ctime_ns: nanoseconds(raw.stx_ctime.tv_sec, raw.stx_ctime.tv_nsec),
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// What tells one file of a host from all others that exist at the same time.
    pub(super) fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

/// Times that do not fit (before 1677, after 2262) become the nearest that does.
fn nanoseconds(seconds: i64, nanoseconds: u32) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds.into())
}

/// The names of owners, asked for once each: a name service may sit behind a network.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: HashMap<u32, Option<String>>,
    groups: HashMap<u32, Option<String>>,
}

impl Names {
    /// All but the extended attributes.
    pub(super) fn metadata(&mut self, status: &Status) -> Metadata {
        let text = |name: &OsStr| name.to_str().map(ToOwned::to_owned);
        let user = self
            .users
            .entry(status.uid)
            .or_insert_with(|| uzers::get_user_by_uid(status.uid).and_then(|user| text(user.name())));
        let group = self
            .groups
            .entry(status.gid)
            .or_insert_with(|| uzers::get_group_by_gid(status.gid).and_then(|group| text(group.name())));
        Metadata {
            mode: status.mode,
            uid: status.uid,
            gid: status.gid,
            user: user.clone(),
            group: group.clone(),
            mtime_ns: status.mtime_ns,
            ctime_ns: status.ctime_ns,
            inode: status.inode,
            xattrs: Vec::new(),
        }
    }
}

/// A path that leads to `name` in the open folder `folder` and nowhere else: there is no `getxattrat` before
/// Linux 6.13. Needs `/proc`.
pub(super) fn proc_path(folder: BorrowedFd<'_>, name: &[u8]) -> PathBuf {
    let folder = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    if name.is_empty() { folder } else { folder.join(OsStr::from_bytes(name)) }
}

/// Extended attributes, sorted by name.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads extended attributes into buffers that it keeps.
#[derive(Debug)]
pub(super) struct XattrReader {
    names: Vec<u8>,
    value: Vec<u8>,
}

impl XattrReader {
    pub(super) fn new() -> Self {
        Self { names: vec![0; XATTR_USUAL_BYTES], value: vec![0; XATTR_USUAL_BYTES] }
    }

    /// Those of `path`, of a symbolic link itself; none where the file system has no such thing.
    pub(super) fn read(&mut self, path: &Path) -> io::Result<Xattrs> {
        self.read_with(
            |names| rustix::fs::llistxattr(path, names),
            |name, value| rustix::fs::lgetxattr(path, name, value),
        )
    }

    /// Those of an open file.
    pub(super) fn read_open(&mut self, file: BorrowedFd<'_>) -> io::Result<Xattrs> {
        self.read_with(
            |names| rustix::fs::flistxattr(file, names),
            |name, value| rustix::fs::fgetxattr(file, name, value),
        )
    }

    fn read_with(
        &mut self,
        list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
        value_of: impl Fn(&CStr, &mut [u8]) -> Result<usize, Errno>,
    ) -> io::Result<Xattrs> {
        let length = match fill(&mut self.names, list) {
            Ok(length) => length,
            Err(Errno::NOTSUP) => 0,
            Err(error) => return Err(error.into()),
        };
        let mut xattrs = Vec::new();
        let mut total = 0_usize;
        for name in self.names[..length].split_inclusive(|byte| *byte == 0) {
            let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
            let value = match fill(&mut self.value, |value| value_of(name, value)) {
                Ok(length) => self.value[..length].to_vec(),
                // Gone since it was listed, or listed by a file system that does not give it out.
                Err(Errno::NODATA | Errno::NOTSUP) => continue,
                Err(error) => return Err(error.into()),
            };
            total += name.count_bytes() + value.len() + XATTR_OVERHEAD_BYTES;
            if total > XATTRS_LIMIT_BYTES {
                return Err(Errno::TOOBIG.into());
            }
            xattrs.push((name.to_bytes().to_vec(), value));
        }
        xattrs.sort_unstable();
        xattrs.dedup_by(|next, first| next.0 == first.0);
        Ok(xattrs)
    }
}

/// Offers a small buffer first, for the kernel allocates as much as it is offered, and the limit to what needs more.
fn fill(buffer: &mut Vec<u8>, read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<usize, Errno> {
    match read(&mut buffer[..XATTR_USUAL_BYTES]) {
        Err(Errno::RANGE) => {
            buffer.resize(XATTR_BUFFER_BYTES, 0);
            read(buffer)
        }
        done => done,
    }
}

/// Opens for reading, without an access time left behind where the kernel allows that (owner and root only).
pub(super) fn open_quietly(
    open: impl Fn(OFlags) -> Result<std::os::fd::OwnedFd, Errno>,
    flags: OFlags,
) -> Result<std::os::fd::OwnedFd, Errno> {
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        done => done,
    }
}

/// Opens a folder for listing; `name` may not be a symbolic link.
pub(super) fn open_folder(
    folder: BorrowedFd<'_>,
    name: impl Arg + Copy,
) -> Result<std::os::fd::OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open_quietly(|flags| rustix::fs::openat(folder, name, flags, Mode::empty()), flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_out_of_range_saturate() {
        assert_eq!(nanoseconds(-1, 999_999_999), -1);
        assert_eq!(nanoseconds(i64::MAX, 5), i64::MAX);
        assert_eq!(nanoseconds(i64::MIN, 0), i64::MIN);
    }

    #[test]
    fn names_are_known_or_absent() {
        let folder = tempfile::tempdir().unwrap();
        let mut status = Status::of(std::fs::File::open(folder.path()).unwrap()).unwrap();
        (status.uid, status.gid) = (0, 3_999_999_999);
        let metadata = Names::default().metadata(&status);
        assert_eq!((metadata.user.as_deref(), metadata.group), (Some("root"), None));
    }
}
