//! What goes wrong while a snapshot is restored into a directory.

use std::io;
use std::path::PathBuf;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::attributes::Attribute;

/// What lies where something else should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A regular file.
    File,
    /// A device, FIFO or socket.
    Special,
}

impl From<FileType> for Found {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::RegularFile => Self::File,
            _ => Self::Special,
        }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Directory => "a directory",
            Self::Symlink => "a symbolic link",
            Self::File => "a file",
            Self::Special => "a device, FIFO or socket",
        })
    }
}

/// Why something is not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The target holds something, and nothing may be overwritten.
    #[error("{} is not empty", path.display())]
    NotEmpty {
        /// The target.
        path: PathBuf,
    },
    /// A folder should be where something else is, or the other way round. It is left alone.
    #[error("{found} is in the way at {}", path.display())]
    InTheWay {
        /// Where: the entry's path or a folder above it.
        path: PathBuf,
        /// What lies there.
        found: Found,
    },
    /// Something is there that was not when the restore began.
    #[error("{} exists already", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The file system or the quota is full: to go on makes no sense.
    #[error("no space is left for {}", path.display())]
    NoSpace {
        /// What was being written.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A system call failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Something about a file that could not be restored, while its content was.
#[derive(Debug, thiserror::Error)]
#[error("{attribute} of {} is not restored", path.display())]
pub struct TargetWarning {
    /// The file.
    pub path: PathBuf,
    /// What it lacks.
    pub attribute: Attribute,
    /// Why.
    pub source: io::Error,
}

/// Warnings since they were taken last.
#[derive(Debug, Default)]
pub struct Warnings {
    /// The first of them.
    pub list: Vec<TargetWarning>,
    /// How many more there were.
    pub more: u64,
}

/// The error of a system call, told apart where it matters to whoever restores.
pub(super) fn refused(operation: &'static str, path: PathBuf, source: io::Error) -> TargetError {
    let full = [Errno::NOSPC, Errno::DQUOT].map(|errno| Some(errno.raw_os_error()));
    if full.contains(&source.raw_os_error()) {
        TargetError::NoSpace { path, source }
    } else if source.raw_os_error() == Some(Errno::EXIST.raw_os_error()) {
        TargetError::Exists { path }
    } else {
        TargetError::Io { operation, path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart() {
        let error = |errno: Errno| refused("write", "/t/a".into(), errno.into());
        assert!(matches!(error(Errno::NOSPC), TargetError::NoSpace { .. }));
        assert!(matches!(error(Errno::DQUOT), TargetError::NoSpace { .. }));
        assert!(matches!(error(Errno::EXIST), TargetError::Exists { .. }));
        assert_eq!(error(Errno::IO).to_string(), "cannot write /t/a");
    }
}
