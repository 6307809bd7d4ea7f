//! Walks trees of files in the order of a snapshot's tree.
//!
//! Invariants:
//! - What it yields ascends in the order of [`EntryPath`]: a folder, then all that lies in it, then its next sibling.
//! - Of each folder on the path it holds the names not yet visited, and of the [`OPEN_FOLDERS`] deepest an open
//!   descriptor: memory follows the widest folders on one path, never the tree.
//! - Below a root no symbolic link is followed, on whatever path it was swapped in: names are looked up in the open
//!   folder that listed them.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::vec;

use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{Content, EntryKind, TreeEntry};

use super::exclude::{ExcludeReason, Excludes};
use super::metadata::{Names, Status, XattrReader, open_folder, proc_path};
use super::roots::RootNode;

/// Folders of the path that stay open; those above are opened again on the way back.
const OPEN_FOLDERS: usize = 128;
const LISTING_BUFFER_BYTES: usize = 32 << 10;
const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
/// <https://bford.info/cachedir/>
const CACHE_TAG_SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

const READ_FOLDER: &str = "read folder";
const READ_METADATA: &str = "read metadata of";
const READ_XATTRS: &str = "read extended attributes";
const READ_LINK: &str = "read symbolic link";

/// What a walk leaves out, and what it reads.
#[derive(Debug, Clone)]
pub struct WalkOptions {
    /// Names left out. They apply to roots and what lies below, not to the folders above a root.
    pub excludes: Excludes,
    /// Keep to the file system of each root. A mount point is kept as an empty folder.
    pub one_file_system: bool,
    /// Leave out what lies in folders with a valid `CACHEDIR.TAG`.
    pub exclude_caches: bool,
    /// Leave out what lies in folders that contain one of these names.
    pub exclude_if_present: Vec<OsString>,
    /// Whose extended attributes to read.
    pub xattrs: XattrScope,
}

impl Default for WalkOptions {
    fn default() -> Self {
        Self {
            excludes: Excludes::default(),
            one_file_system: false,
            exclude_caches: false,
            exclude_if_present: Vec::new(),
            xattrs: XattrScope::All,
        }
    }
}

/// Whose extended attributes, access control lists among them, a walk reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XattrScope {
    /// Everything's. That takes about as long as all the rest of the walk.
    #[default]
    All,
    /// Everything's but regular files': of a file whose change time is the parent snapshot's, they are the parent's
    /// too, and [`OpenFile::xattrs`](super::OpenFile::xattrs) reads them of one that must be opened anyway.
    NotOfFiles,
    /// Nothing's.
    None,
}

/// Why a walk cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// There is nothing to walk.
    #[error("no path to back up was given")]
    NoRoots,
    /// A root is relative and the current folder is unknown.
    #[error("the current folder, which {} is relative to, is unknown", root.display())]
    CurrentFolder {
        /// The root.
        root: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// One step of a walk.
#[derive(Debug)]
pub enum Walked {
    /// Something for the snapshot.
    Entry(Box<WalkedEntry>),
    /// Something that was left out. Folders whose contents alone are left out come as `Entry` before.
    Excluded {
        /// Its absolute path.
        path: PathBuf,
        /// Why.
        reason: ExcludeReason,
    },
    /// Something that could not be read; the walk goes on. What could be read of it came as `Entry` before.
    Failed {
        /// Its absolute path.
        path: PathBuf,
        /// What was tried, for a sentence "cannot ... PATH".
        operation: &'static str,
        /// Why.
        error: io::Error,
        /// Whether it was deleted between being listed and being looked at: as good as never seen.
        vanished: bool,
    },
}

/// An entry without its content.
#[derive(Debug)]
pub struct WalkedEntry {
    /// Ready for the tree but for the content of regular files, which is an empty placeholder, and
    /// [`link_to`](TreeEntry::link_to), which [`HardLinks`](super::HardLinks) knows.
    pub entry: TreeEntry,
    /// Length of a regular file when it was looked at, bytes; 0 for all else.
    pub size: u64,
    /// Device it lies on.
    pub device: u64,
    /// Hard links it has.
    pub links: u64,
    /// Where it lies; differs from the entry's path below a symbolic link that leads to a root.
    pub os_path: PathBuf,
    pub(super) status: Status,
}

impl WalkedEntry {
    /// Whether it is a folder.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.status.is_directory()
    }

    /// Whether it is a regular file, whose content is to be read.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.status.kind == FileType::RegularFile
    }

    pub(crate) fn inode(&self) -> u64 {
        self.status.inode
    }
}

/// An iterator over what lies under some roots, and over the folders that lead to them.
#[derive(Debug)]
pub struct Walk {
    options: WalkOptions,
    names: Names,
    xattrs: XattrReader,
    has_proc: bool,
    /// The folders of the path, top first.
    frames: Vec<Frame>,
    /// Found and not yet given out.
    ready: VecDeque<Walked>,
}

/// A folder of the path.
#[derive(Debug)]
struct Frame {
    folder: Option<OwnedFd>,
    identity: (u64, u64),
    /// Path in the snapshot, without a slash at either end.
    path: Vec<u8>,
    os_path: PathBuf,
    visits: vec::IntoIter<Visit>,
    /// Device of the root that this lies under.
    root_device: Option<u64>,
}

/// A name to look at.
#[derive(Debug)]
struct Visit {
    name: Vec<u8>,
    /// Where roots are here or below.
    node: Option<RootNode>,
    /// Whether it is part of the snapshot for itself, and not only for roots below it.
    included: bool,
}

/// What was looked at, on its way into the snapshot.
struct Seen {
    path: Vec<u8>,
    os_path: PathBuf,
    status: Status,
    visit: Visit,
    /// A symbolic link stood here and was followed.
    followed: bool,
}

impl Walk {
    /// A walk of `roots`, merged: a root below another, or given twice, is walked once. Relative ones are taken from
    /// the current folder. A root that is a symbolic link is kept as such, unless a slash follows it.
    ///
    /// A root that is missing does not stop it: it comes as [`Walked::Failed`].
    ///
    /// # Errors
    /// `NoRoots`, `CurrentFolder`.
    pub fn new(roots: &[PathBuf], options: WalkOptions) -> Result<Self, WalkError> {
        if roots.is_empty() {
            return Err(WalkError::NoRoots);
        }
        let current = match roots.iter().find(|root| root.is_relative()) {
            Some(root) => std::env::current_dir()
                .map_err(|source| WalkError::CurrentFolder { root: root.clone(), source })?,
            None => PathBuf::from("/"),
        };
        let mut walk = Self {
            options,
            names: Names::default(),
            xattrs: XattrReader::new(),
            has_proc: Path::new("/proc/self/fd").is_dir(),
            frames: Vec::new(),
            ready: VecDeque::new(),
        };
        let node = RootNode::new(roots, &current);
        match Status::at(CWD, c"/") {
            Ok(status) => {
                let visit = Visit { name: Vec::new(), included: node.is_root, node: Some(node) };
                let os_path = PathBuf::from("/");
                walk.enter(Seen { path: Vec::new(), os_path, status, visit, followed: true });
            }
            Err(error) => walk.fail(b"", READ_METADATA, error.into()),
        }
        Ok(walk)
    }

    fn fail(&mut self, path: &[u8], operation: &'static str, error: io::Error) {
        let vanished = error.raw_os_error() == Some(Errno::NOENT.raw_os_error());
        self.ready.push_back(Walked::Failed { path: absolute(path), operation, error, vanished });
    }

    fn exclude(&mut self, path: &[u8], reason: ExcludeReason) {
        self.ready.push_back(Walked::Excluded { path: absolute(path), reason });
    }

    /// Looks at one name of the deepest folder.
    fn visit(&mut self, visit: Visit) {
        let Some(frame) = self.frames.last() else { return };
        let Some(folder) = &frame.folder else { return };
        let path = if frame.path.is_empty() {
            visit.name.clone()
        } else {
            [&frame.path[..], &visit.name].join(&b'/')
        };
        let os_path = frame.os_path.join(OsStr::from_bytes(&visit.name));
        let status = match Status::at(folder.as_fd(), &visit.name[..]) {
            Ok(status) => status,
            Err(error) => return self.fail_visit(&path, &visit, error.into()),
        };
        let mut seen = Seen { path, os_path, status, visit, followed: false };
        let follows = seen.visit.node.as_ref().is_some_and(|node| node.follows);
        if follows
            && seen.status.kind == FileType::Symlink
            && let Err(error) = seen.follow()
        {
            return self.fail_visit(&seen.path, &seen.visit, error);
        }
        self.keep(seen);
    }

    /// A name that is gone takes the roots below it with it: each is reported.
    fn fail_visit(&mut self, path: &[u8], visit: &Visit, error: io::Error) {
        let Some(node) = &visit.node else { return self.fail(path, READ_METADATA, error) };
        let code = error.raw_os_error();
        for root in node.roots() {
            let root = if root.is_empty() { path.to_vec() } else { [path, &root].join(&b'/') };
            let error = code.map_or_else(|| io::Error::from(error.kind()), io::Error::from_raw_os_error);
            let (path, operation) = (absolute(&root), READ_METADATA);
            self.ready.push_back(Walked::Failed { path, operation, error, vanished: false });
        }
    }

    /// Puts what was seen into the snapshot, unless it is excluded, and goes into folders.
    fn keep(&mut self, mut seen: Seen) {
        let Ok(path) = EntryPath::new(&seen.path[..]) else {
            return self.fail(&seen.path, READ_METADATA, Errno::NAMETOOLONG.into());
        };
        let leads_on = seen.visit.node.as_ref().is_some_and(|node| !node.children.is_empty());
        if seen.visit.included && self.options.excludes.matches(&path, seen.status.is_directory()) {
            self.exclude(&seen.path, ExcludeReason::Pattern);
            seen.visit.included = false;
            if !leads_on {
                return;
            }
        }
        if !self.emit(&seen, path) {
            return;
        }
        if seen.status.is_directory() {
            self.enter(seen);
        } else if leads_on {
            let mut below = seen.visit;
            if let Some(node) = &mut below.node {
                node.is_root = false;
            }
            self.fail_visit(&seen.path, &below, Errno::NOTDIR.into());
        }
    }

    /// Returns whether there was an entry to make.
    fn emit(&mut self, seen: &Seen, path: EntryPath) -> bool {
        let Some(folder) = self.frames.last().and_then(|frame| frame.folder.as_ref()) else { return false };
        let kind = match kind_of(&seen.status, folder.as_fd(), &seen.visit.name) {
            Ok(kind) => kind,
            Err(error) => {
                self.fail(&seen.path, READ_LINK, error);
                return false;
            }
        };
        let mut metadata = self.names.metadata(&seen.status);
        let mut failed = None;
        let reads_xattrs = match self.options.xattrs {
            XattrScope::All => true,
            XattrScope::NotOfFiles => seen.status.kind != FileType::RegularFile,
            XattrScope::None => false,
        };
        if reads_xattrs {
            // Through the open folder: at no risk from renames, and no longer than a path may be.
            let read = if self.has_proc && !seen.followed {
                self.xattrs.read(&proc_path(folder.as_fd(), &seen.visit.name))
            } else {
                self.xattrs.read(&seen.os_path)
            };
            match read {
                Ok(xattrs) => metadata.xattrs = xattrs,
                Err(error) => failed = Some(error),
            }
        }
        let is_file = matches!(kind, EntryKind::File(_));
        self.ready.push_back(Walked::Entry(Box::new(WalkedEntry {
            entry: TreeEntry { path, kind, metadata: Some(metadata), link_to: None },
            size: if is_file { seen.status.size } else { 0 },
            device: seen.status.device,
            links: seen.status.links,
            os_path: seen.os_path.clone(),
            status: seen.status,
        })));
        if let Some(error) = failed {
            self.fail(&seen.path, READ_XATTRS, error);
        }
        true
    }

    /// Goes into a folder: lists it where it is part of the snapshot, else only leads on to the roots below.
    fn enter(&mut self, seen: Seen) {
        let Seen { path, os_path, mut status, visit, followed } = seen;
        let node = visit.node.unwrap_or_default();
        let parent = self.frames.last();
        let within = parent.and_then(|frame| frame.root_device).filter(|_| !node.is_root);
        let crosses = |status: &Status| {
            self.options.one_file_system && within.is_some_and(|device| device != status.device)
        };
        let at = match parent.and_then(|frame| frame.folder.as_ref()).filter(|_| !followed) {
            Some(folder) => (folder.as_fd(), OsStr::from_bytes(&visit.name)),
            None => (CWD, os_path.as_os_str()),
        };
        let mut folder = None;
        let mut listing = Vec::new();
        let mut left_out = None;
        let mut error = None;
        if visit.included && crosses(&status) {
            left_out = Some(ExcludeReason::OtherDevice);
        } else if visit.included {
            match open_folder(at.0, at.1).and_then(|folder| Ok((Status::of(&folder)?, folder))) {
                Ok((opened, folder_opened)) => {
                    // Opening may have mounted what belongs here.
                    status = opened;
                    if crosses(&status) {
                        left_out = Some(ExcludeReason::OtherDevice);
                    } else {
                        let (names, failed) = list(folder_opened.as_fd());
                        (listing, error) = (names, failed);
                        left_out = self.keep_tag_only(folder_opened.as_fd(), &mut listing);
                    }
                    folder = Some(folder_opened);
                }
                Err(failed) => error = Some(failed),
            }
        }
        if folder.is_none() && !node.children.is_empty() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            match rustix::fs::openat(at.0, at.1, flags, Mode::empty()) {
                Ok(opened) => folder = Some(opened),
                Err(failed) => error = error.or(Some(failed)),
            }
        }
        let root_device = if visit.included { within.or(Some(status.device)) } else { None };
        if let Some(reason) = left_out {
            self.exclude(&path, reason);
        }
        if let Some(error) = error {
            self.fail(&path, READ_FOLDER, error.into());
        }
        if folder.is_some() {
            let visits = merge(listing, node).into_iter();
            let identity = status.identity();
            self.frames.push(Frame { folder, identity, path, os_path, visits, root_device });
            if let Some(above) = self.frames.len().checked_sub(OPEN_FOLDERS + 1) {
                self.frames[above].folder = None;
            }
        }
    }

    /// Cuts the listing of a tagged folder down to the tag. `listing` is sorted.
    fn keep_tag_only(&self, folder: BorrowedFd<'_>, listing: &mut Vec<Vec<u8>>) -> Option<ExcludeReason> {
        let lists = |name: &[u8]| listing.binary_search_by(|listed| listed[..].cmp(name)).is_ok();
        let (tag, reason) = if self.options.exclude_caches && lists(CACHE_TAG) && has_cache_tag(folder) {
            (CACHE_TAG.to_vec(), ExcludeReason::CacheTag)
        } else {
            let mut markers = self.options.exclude_if_present.iter().map(|marker| marker.as_bytes());
            (markers.find(|marker| lists(marker))?.to_vec(), ExcludeReason::Marker)
        };
        *listing = vec![tag];
        Some(reason)
    }

    /// Goes back up, to a folder that may have been closed meanwhile.
    fn leave(&mut self) {
        let left = self.frames.pop();
        let Some(frame) = self.frames.last_mut() else { return };
        if frame.folder.is_some() {
            return;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let below = left.and_then(|left| left.folder);
        let above = below.and_then(|below| rustix::fs::openat(below, c"..", flags, Mode::empty()).ok());
        match above {
            Some(above) if Status::of(&above).is_ok_and(|now| now.identity() == frame.identity) => {
                frame.folder = Some(above);
            }
            _ => {
                let path = std::mem::take(&mut frame.path);
                frame.visits = Vec::new().into_iter();
                // It was moved while the walk was deep below it: its other names are out of reach.
                self.fail(&path, READ_FOLDER, Errno::STALE.into());
            }
        }
    }
}

impl Iterator for Walk {
    type Item = Walked;

    fn next(&mut self) -> Option<Walked> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            match self.frames.last_mut()?.visits.next() {
                Some(visit) => self.visit(visit),
                None => self.leave(),
            }
        }
    }
}

impl Seen {
    fn follow(&mut self) -> io::Result<()> {
        self.os_path = std::fs::canonicalize(&self.os_path)?;
        self.status = Status::at(CWD, &self.os_path)?;
        self.followed = true;
        Ok(())
    }
}

fn absolute(path: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec([b"/", path].concat()))
}

fn kind_of(status: &Status, folder: BorrowedFd<'_>, name: &[u8]) -> io::Result<EntryKind> {
    let (major, minor) = status.node;
    Ok(match status.kind {
        FileType::RegularFile => EntryKind::File(Content::Inline(Vec::new())),
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => {
            EntryKind::Symlink { target: rustix::fs::readlinkat(folder, name, Vec::new())?.into_bytes() }
        }
        FileType::CharacterDevice => EntryKind::CharacterDevice { major, minor },
        FileType::BlockDevice => EntryKind::BlockDevice { major, minor },
        FileType::Fifo => EntryKind::Fifo,
        FileType::Socket => EntryKind::Socket,
        FileType::Unknown => return Err(io::ErrorKind::Unsupported.into()),
    })
}

/// The names in a folder, sorted; those read before an error count.
fn list(folder: BorrowedFd<'_>) -> (Vec<Vec<u8>>, Option<Errno>) {
    let mut buffer = Vec::with_capacity(LISTING_BUFFER_BYTES);
    let mut entries = RawDir::new(folder, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    let mut failed = None;
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => names.push(entry.file_name().to_bytes().to_vec()),
            Err(Errno::INTR) => {}
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    names.retain(|name| name != b"." && name != b"..");
    names.sort_unstable();
    // A folder that changes while it is listed may give a name twice.
    names.dedup();
    (names, failed)
}

/// What to look at in a folder: its listing, and the way to roots whether listed or not.
fn merge(listing: Vec<Vec<u8>>, mut node: RootNode) -> Vec<Visit> {
    let listed = listing.into_iter().map(|name| {
        let node = if node.children.is_empty() { None } else { node.children.remove(&name) };
        Visit { name, node, included: true }
    });
    let mut visits: Vec<_> = listed.collect();
    if !node.children.is_empty() {
        visits.extend(node.children.into_iter().map(|(name, node)| Visit {
            name,
            included: node.is_root,
            node: Some(node),
        }));
        visits.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }
    visits
}

fn has_cache_tag(folder: BorrowedFd<'_>) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(status) = Status::at(folder, CACHE_TAG) else { return false };
    if status.kind != FileType::RegularFile {
        return false;
    }
    let Ok(tag) = rustix::fs::openat(folder, CACHE_TAG, flags, Mode::empty()) else { return false };
    let mut start = Vec::new();
    let read = io::Read::read_to_end(
        &mut io::Read::take(std::fs::File::from(tag), CACHE_TAG_SIGNATURE.len() as u64),
        &mut start,
    );
    read.is_ok() && start == CACHE_TAG_SIGNATURE
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
