//! What of the old directory a restore in place keeps: it goes into the new one before that takes its place.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{EntryKind, TreeEntry};

use super::error::LedgerError;
use super::sqlite::COMPANIONS;
use crate::files::{Filter, Walk, WalkOptions, Walked, WalkedEntry, XattrScope};

/// The state that an error leaves behind, in words.
pub(super) const UNTOUCHED: &str = "the target was not touched";

/// Puts all of `old` that the filter does not want restored into `new`, and gives how many files that were. `root` is where the
/// old directory lay in the snapshot, for which the filter was made.
///
/// # Errors
/// `Place`.
pub(super) fn keep(
    old: &Path,
    new: &Path,
    root: &str,
    filter: Option<&dyn Filter>,
) -> Result<u64, LedgerError> {
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| LedgerError::Place { operation, path, state: UNTOUCHED, source }
    };
    let options = WalkOptions { xattrs: XattrScope::None, ..WalkOptions::default() };
    let walk = Walk::new(&[old.to_owned()], options)
        .map_err(|error| failed("read", old)(io::Error::other(error)))?;
    let (mut kept, mut device) = (0, None);
    // Their times, once nothing more is put into them.
    let mut folders = Vec::new();
    for walked in walk {
        let walked = match walked {
            Walked::Entry(walked) => walked,
            Walked::Excluded { .. } | Walked::Failed { vanished: true, .. } => continue,
            Walked::Failed { path, operation, error, .. } => return Err(failed(operation, &path)(error)),
        };
        let Ok(below) = walked.os_path.strip_prefix(old) else { continue };
        // What is mounted there would be deleted with the old directory.
        if *device.get_or_insert(walked.device) != walked.device {
            let source = io::Error::other("another file system is mounted there");
            return Err(failed("replace a directory with", &walked.os_path)(source));
        }
        let Some(filter) = filter.filter(|_| !below.as_os_str().is_empty()) else { continue };
        if filter.wants(&as_stored(&walked, root, below)) {
            continue;
        }
        let place = new.join(below);
        if walked.is_directory() {
            if make_folder(&place, old, below).map_err(failed("make", &place))? {
                folders.push((place, walked));
            }
            continue;
        }
        if let Some(parent) = below.parent() {
            make_folder(&new.join(parent), old, parent).map_err(failed("make", &place))?;
        }
        link_or_copy(&walked, &place).map_err(failed("keep", &walked.os_path))?;
        kept += 1;
    }
    for (place, walked) in folders.iter().rev() {
        restore_attributes(place, walked).map_err(failed("set attributes of", place))?;
    }
    Ok(kept)
}

/// As the snapshot would have it. What belongs to a database is kept with it, and goes with it.
fn as_stored(walked: &WalkedEntry, root: &str, below: &Path) -> TreeEntry {
    let bytes = below.as_os_str().as_bytes();
    let of_database = COMPANIONS.iter().find_map(|suffix| bytes.strip_suffix(suffix.as_bytes()));
    let of_database =
        of_database.filter(|base| walked.is_file() && is_file(&walked.os_path, bytes.len() - base.len()));
    let path = [root.trim_start_matches('/').as_bytes(), of_database.unwrap_or(bytes)].join(&b'/');
    let path = EntryPath::new(path).unwrap_or_else(|_| walked.entry.path.clone());
    TreeEntry { path, ..walked.entry.clone() }
}

fn is_file(companion: &Path, suffix: usize) -> bool {
    let bytes = companion.as_os_str().as_bytes();
    Path::new(std::ffi::OsStr::from_bytes(&bytes[..bytes.len() - suffix])).is_file()
}

/// Makes a folder and those above it, as they are in the old directory; `false` if it is there.
fn make_folder(place: &Path, old: &Path, below: &Path) -> io::Result<bool> {
    if place.is_dir() {
        return Ok(false);
    }
    if let (Some(above), Some(below)) = (place.parent(), below.parent()) {
        make_folder(above, old, below)?;
    }
    DirBuilder::new().mode(0o700).create(place)?;
    let mode = std::fs::metadata(old.join(below))?.permissions().mode();
    std::fs::set_permissions(place, Permissions::from_mode(mode))?;
    Ok(true)
}

fn link_or_copy(walked: &WalkedEntry, place: &PathBuf) -> io::Result<()> {
    match rustix::fs::linkat(CWD, &walked.os_path, CWD, place, AtFlags::empty()) {
        Ok(()) => Ok(()),
        Err(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP)
            if matches!(walked.entry.kind, EntryKind::File(_)) =>
        {
            std::fs::copy(&walked.os_path, place)?;
            std::fs::File::open(place)?.sync_all()?;
            restore_attributes(place, walked)
        }
        Err(error) => Err(error.into()),
    }
}

fn restore_attributes(place: &Path, walked: &WalkedEntry) -> io::Result<()> {
    let Some(metadata) = &walked.entry.metadata else { return Ok(()) };
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(place, Some(metadata.uid), Some(metadata.gid))?;
    }
    std::fs::set_permissions(place, Permissions::from_mode(metadata.mode))?;
    let second = 1_000_000_000;
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: metadata.mtime_ns.div_euclid(second),
            tv_nsec: metadata.mtime_ns.rem_euclid(second),
        },
    };
    Ok(rustix::fs::utimensat(CWD, place, &times, AtFlags::empty())?)
}
