//! Gives restored files their owner, extended attributes, mode and times.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;
use strongroom_format::tree_entry::Metadata;

use super::metadata::{Status, proc_path};

const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";
const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

/// Something about a file that could not be restored, while its content was.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attribute {
    /// Its owner and group.
    Owner,
    /// Its permission bits.
    Mode,
    /// Its modification time.
    Time,
    /// The extended attribute of this name.
    Xattr(Vec<u8>),
    /// That it is a hard link: its content was written again instead.
    HardLink,
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("owner"),
            Self::Mode => f.write_str("mode"),
            Self::Time => f.write_str("modification time"),
            Self::Xattr(name) => write!(f, "extended attribute {}", name.escape_ascii()),
            Self::HardLink => f.write_str("hard link"),
        }
    }
}

/// The file to be changed, however it is named now.
#[derive(Debug, Clone, Copy)]
pub(super) enum Handle<'a> {
    /// Open for reading or writing.
    Open(BorrowedFd<'a>),
    /// Opened with `O_PATH`: for what opening would block, wake up or follow. Needs `/proc`.
    Path(BorrowedFd<'a>),
}

impl Handle<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Open(fd) | Self::Path(fd) => fd.as_fd(),
        }
    }

    fn set_owner(self, user: u32, group: u32) -> Result<(), Errno> {
        // All ones mean "leave it" to the kernel, and no owner.
        let user = (user != u32::MAX).then(|| Uid::from_raw(user));
        let group = (group != u32::MAX).then(|| Gid::from_raw(group));
        match self {
            Self::Open(fd) => rustix::fs::fchown(fd, user, group),
            Self::Path(fd) => rustix::fs::chownat(fd, c"", user, group, AtFlags::EMPTY_PATH),
        }
    }

    /// Whether the owner is this one already. A file that was there before is not asked: giving it to its owner again
    /// takes its privileges away.
    fn is_owned_by(self, owner: (u32, u32)) -> bool {
        matches!(self, Self::Open(fd) if Status::of(fd).is_ok_and(|status| (status.uid, status.gid) == owner))
    }

    /// Whether there is an extended attribute of this name; where that cannot be told, there may be.
    fn may_have_xattr(self, name: &[u8]) -> bool {
        match self {
            Self::Open(fd) => {
                let no_room: &mut [u8] = &mut [];
                rustix::fs::fgetxattr(fd, name, no_room).map_or_else(|error| error != Errno::NODATA, |_| true)
            }
            Self::Path(_) => true,
        }
    }

    fn set_xattr(self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Path(fd) => rustix::fs::setxattr(proc_path(fd, b""), name, value, XattrFlags::empty()),
        }
    }

    fn remove_xattr(self, name: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => rustix::fs::fremovexattr(fd, name),
            Self::Path(fd) => rustix::fs::removexattr(proc_path(fd, b""), name),
        }
    }

    pub(super) fn set_mode(self, mode: u32) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(mode);
        match self {
            Self::Open(fd) => rustix::fs::fchmod(fd, mode),
            Self::Path(fd) => rustix::fs::chmodat(CWD, proc_path(fd, b""), mode, AtFlags::empty()),
        }
    }

    fn set_mtime(self, mtime_ns: i64) -> Result<(), Errno> {
        let nanoseconds = mtime_ns.rem_euclid(1_000_000_000);
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime_ns.div_euclid(1_000_000_000), tv_nsec: nanoseconds },
        };
        match self {
            Self::Open(fd) => rustix::fs::futimens(fd, &times),
            Self::Path(fd) => rustix::fs::utimensat(CWD, proc_path(fd, b""), &times, AtFlags::empty()),
        }
    }
}

/// What kind of thing gets its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Directory,
    Symlink,
    Other,
}

/// Sets all of `metadata` that can be set; `owner` only where there is one. What fails goes to `warn`.
///
/// The order matters: changing the owner clears setuid and file capabilities, so it comes first; extended attributes
/// need write permission, so they come before the mode; all of it changes times, so they come last.
pub(super) fn apply(
    handle: Handle<'_>,
    subject: Subject,
    metadata: &Metadata,
    (wanted, changes_owner): ((u32, u32), bool),
    mut warn: impl FnMut(Attribute, Errno),
) {
    let mut owned = false;
    // Asking is several times as cheap as changing, which a file system writes to its journal.
    if changes_owner && handle.is_owned_by(wanted) {
        owned = true;
    } else if changes_owner {
        match handle.set_owner(wanted.0, wanted.1) {
            Ok(()) => owned = true,
            Err(error) => warn(Attribute::Owner, error),
        }
    }
    let inherited = [(ACCESS_ACL, subject != Subject::Symlink), (DEFAULT_ACL, subject == Subject::Directory)];
    for (name, _) in inherited.into_iter().filter(|(_, possible)| *possible) {
        if !metadata.xattrs.iter().any(|(own, _)| own == name) && handle.may_have_xattr(name) {
            // Most have none, or lie where there are none.
            let _ = handle.remove_xattr(name);
        }
    }
    for (name, value) in &metadata.xattrs {
        if let Err(error) = handle.set_xattr(name, value) {
            warn(Attribute::Xattr(name.clone()), error);
        }
    }
    if subject != Subject::Symlink {
        let mode = if owned { metadata.mode } else { harmless_mode(handle, subject, metadata.mode, wanted) };
        if let Err(error) = handle.set_mode(mode) {
            warn(Attribute::Mode, error);
        }
    }
    if let Err(error) = handle.set_mtime(metadata.mtime_ns) {
        warn(Attribute::Time, error);
    }
}

/// A program that ran as its owner must not run as whoever restored it: like `cp -p`, setuid and setgid go where
/// the owner or group is not the recorded one.
fn harmless_mode(handle: Handle<'_>, subject: Subject, mode: u32, wanted: (u32, u32)) -> u32 {
    if mode & (SETUID | SETGID) == 0 || subject == Subject::Directory {
        return mode;
    }
    let Ok(status) = Status::of(handle.fd()) else { return mode & !(SETUID | SETGID) };
    let user = if status.uid == wanted.0 { 0 } else { SETUID };
    let group = if status.gid == wanted.1 { 0 } else { SETGID };
    mode & !user & !group
}
