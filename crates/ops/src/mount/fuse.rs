//! What the kernel asks, answered out of a [`View`].

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyXattr, Request,
};
use strongroom_format::tree_entry::{EntryKind, TreeEntry};
use strongroom_repository::RepositoryError;
use strongroom_repository::reader::Reader;

use super::file::{Ahead, OpenFile};
use super::inodes::{Inodes, number};
use super::view::{Child, Node, Place, View};

/// Snapshots never change: the kernel may remember what it was told.
const REMEMBERED: Duration = Duration::from_secs(3600);
const BLOCK_BYTES: u32 = 4096;
const SECTOR_BYTES: u64 = 512;
const SELF: &[u8] = b".";
const ABOVE: &[u8] = b"..";
const NS: u64 = 1_000_000_000;

/// Snapshots, as a file system that nothing can be written to.
pub(super) struct Snapshots {
    pub(super) view: View,
    pub(super) reader: &'static Reader<'static>,
    pub(super) say: Box<dyn Fn(&RepositoryError) + Send + Sync>,
    pub(super) ahead: Ahead,
    pub(super) inodes: Inodes,
    pub(super) open: Handles<OpenFile>,
    pub(super) listings: Handles<Mutex<Listing>>,
    /// Whose streams, and the folders that no snapshot has, are.
    pub(super) owner: (u32, u32),
}

/// What the kernel has opened and not closed.
pub(super) struct Handles<T> {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<T>>>,
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self { next: AtomicU64::new(1), open: Mutex::default() }
    }
}

impl<T> Handles<T> {
    fn add(&self, value: T) -> FileHandle {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Arc::new(value));
        FileHandle(number)
    }

    fn get(&self, handle: FileHandle) -> Result<Arc<T>, Errno> {
        self.lock().get(&handle.0).cloned().ok_or(Errno::EBADF)
    }

    fn remove(&self, handle: FileHandle) {
        self.lock().remove(&handle.0);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<T>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A folder that is being listed: what was read of it and not told yet.
#[derive(Default)]
pub(super) struct Listing {
    /// The offset of the first child at hand: the number of those before it.
    at: u64,
    children: std::collections::VecDeque<Child>,
    last: Option<Vec<u8>>,
    has_ended: bool,
}

impl Snapshots {
    fn node(&self, ino: INodeNo) -> Result<Node, Errno> {
        self.inodes.get(ino.0).ok_or(Errno::ESTALE)
    }

    fn attributes(&self, node: &Node, ino: u64) -> FileAttr {
        let entry = node.entry.as_deref();
        let made = self.view.snapshot(&node.place).map_or(0, |snapshot| snapshot.started_ns);
        let metadata = entry.and_then(|entry| entry.metadata.as_ref());
        let size = match &node.place {
            Place::Link(target) => target.len() as u64,
            _ => entry.map_or(0, |entry| match &entry.kind {
                EntryKind::Symlink { target } => target.len() as u64,
                _ => entry.bytes(),
            }),
        };
        let kind = kind(node);
        let bare_mode = match kind {
            FileType::Directory => 0o555,
            FileType::Symlink => 0o777,
            _ => 0o444,
        };
        let (uid, gid) = metadata.map_or(self.owner, |metadata| (metadata.uid, metadata.gid));
        FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(SECTOR_BYTES),
            atime: time(metadata.map_or(made, |metadata| metadata.mtime_ns)),
            mtime: time(metadata.map_or(made, |metadata| metadata.mtime_ns)),
            ctime: time(metadata.map_or(made, |metadata| metadata.ctime_ns)),
            crtime: UNIX_EPOCH,
            kind,
            perm: metadata
                .map_or(bare_mode, |metadata| u16::try_from(metadata.mode & 0o7777).unwrap_or(bare_mode)),
            nlink: if kind == FileType::Directory { 2 } else { 1 },
            uid,
            gid,
            rdev: entry.map_or(0, device),
            blksize: BLOCK_BYTES,
            flags: 0,
        }
    }

    /// Says what happened where people see it.
    fn told(&self, error: &RepositoryError) -> Errno {
        (self.say)(error);
        match error {
            RepositoryError::DataKey { .. } => Errno::EACCES,
            _ => Errno::EIO,
        }
    }

    fn look_up(&self, parent: INodeNo, name: &OsStr) -> Result<FileAttr, Errno> {
        let parent = self.node(parent)?;
        let found = self
            .view
            .child(self.reader, &parent.place, name.as_bytes())
            .map_err(|error| self.told(&error))?;
        let node = found.ok_or(Errno::ENOENT)?;
        let ino = self.inodes.looked_up(node.clone());
        Ok(self.attributes(&node, ino))
    }

    /// Adds what a folder has from that offset on, each with the offset behind it, until `add` says that no more fits.
    fn list(
        &self,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut add: impl FnMut(&OsStr, &Node, u64) -> bool,
    ) -> Result<(), Errno> {
        let folder = self.node(ino)?;
        let listing = self.listings.get(handle)?;
        let mut listing = listing.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, name) in [(0, SELF), (1, ABOVE)] {
            if offset <= at && add(OsStr::from_bytes(name), &folder, at + 1) {
                return Ok(());
            }
        }
        let wanted = offset.saturating_sub(2);
        if wanted < listing.at {
            *listing = Listing::default();
        }
        loop {
            if listing.children.is_empty() {
                if listing.has_ended {
                    return Ok(());
                }
                let read = self.view.children(self.reader, &folder.place, listing.last.as_deref());
                listing.children = read.map_err(|error| self.told(&error))?.into();
                match listing.children.back() {
                    Some(child) => listing.last = Some(child.name.clone()),
                    None => listing.has_ended = true,
                }
                continue;
            }
            if listing.at >= wanted
                && let Some(child) = listing.children.front()
                && add(OsStr::from_bytes(&child.name), &child.node, listing.at + 3)
            {
                return Ok(());
            }
            listing.children.pop_front();
            listing.at += 1;
        }
    }

    fn xattr(
        &self,
        ino: INodeNo,
        wanted: impl Fn(&[(Vec<u8>, Vec<u8>)]) -> Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Errno> {
        let node = self.node(ino)?;
        let metadata = node.entry.as_deref().and_then(|entry| entry.metadata.as_ref());
        wanted(metadata.map_or(&[], |metadata| &metadata.xattrs)).ok_or(Errno::NO_XATTR)
    }
}

impl Filesystem for Snapshots {
    /// A walk through a folder takes the attributes with the names, and looks nothing up, where the kernel can do so.
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let _older_kernel = config.add_capabilities(InitFlags::FUSE_DO_READDIRPLUS);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.look_up(parent, name) {
            Ok(attributes) => reply.entry(&REMEMBERED, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn forget(&self, _: &Request, ino: INodeNo, lookups: u64) {
        self.inodes.forget(ino.0, lookups);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.node(ino) {
            Ok(node) => reply.attr(&REMEMBERED, &self.attributes(&node, ino.0)),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.node(ino) {
            Ok(Node { place: Place::Link(target), .. }) => reply.data(target.as_bytes()),
            Ok(Node { entry: Some(entry), .. }) => match &entry.kind {
                EntryKind::Symlink { target } => reply.data(target),
                _ => reply.error(Errno::EINVAL),
            },
            Ok(_) => reply.error(Errno::EINVAL),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let content = self.node(ino).map(|node| node.entry.and_then(|entry| entry.content().cloned()));
        match content {
            Ok(Some(content)) => {
                reply.opened(self.open.add(OpenFile::new(content)), FopenFlags::FOPEN_KEEP_CACHE)
            }
            Ok(None) => reply.error(Errno::EINVAL),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.open.get(handle).and_then(|file| {
            file.read(self.reader, &self.ahead, offset, size).map_err(|error| self.told(&error))
        });
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.open.remove(handle);
        reply.ok();
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(self.listings.add(Mutex::default()), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.list(ino, handle, offset, |name, node, next| {
            // What lies above is what the kernel knows better.
            let number = if is_dots(name) { ino } else { INodeNo(number(&node.place)) };
            reply.add(number, next, kind(node), name)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listed = self.list(ino, handle, offset, |name, node, next| {
            // Each is looked up with it, but for these two.
            let is_dots = is_dots(name);
            let number = if is_dots { ino.0 } else { self.inodes.looked_up(node.clone()) };
            let attributes = self.attributes(node, number);
            let is_full = reply.add(INodeNo(number), next, name, &REMEMBERED, &attributes, Generation(0));
            if is_full && !is_dots {
                self.inodes.forget(number, 1);
            }
            is_full
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.listings.remove(handle);
        reply.ok();
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let value = self.xattr(ino, |xattrs| {
            xattrs.iter().find(|(known, _)| known == name.as_bytes()).map(|(_, value)| value.clone())
        });
        answer_xattr(value, size, reply);
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let names = self.xattr(ino, |xattrs| {
            Some(xattrs.iter().flat_map(|(name, _)| name.iter().copied().chain([0])).collect())
        });
        answer_xattr(names, size, reply);
    }
}

fn is_dots(name: &OsStr) -> bool {
    [SELF, ABOVE].contains(&name.as_bytes())
}

fn answer_xattr(value: Result<Vec<u8>, Errno>, size: u32, reply: ReplyXattr) {
    match value {
        Err(error) => reply.error(error),
        Ok(value) => match u32::try_from(value.len()) {
            Ok(length) if size == 0 => reply.size(length),
            Ok(length) if length <= size => reply.data(&value),
            _ => reply.error(Errno::ERANGE),
        },
    }
}

fn kind(node: &Node) -> FileType {
    match (&node.place, node.entry.as_deref().map(|entry| &entry.kind)) {
        (Place::Link(_), _) | (_, Some(EntryKind::Symlink { .. })) => FileType::Symlink,
        (_, None | Some(EntryKind::Directory)) => FileType::Directory,
        (_, Some(EntryKind::File(_) | EntryKind::Stream(_))) => FileType::RegularFile,
        (_, Some(EntryKind::CharacterDevice { .. })) => FileType::CharDevice,
        (_, Some(EntryKind::BlockDevice { .. })) => FileType::BlockDevice,
        (_, Some(EntryKind::Fifo)) => FileType::NamedPipe,
        (_, Some(EntryKind::Socket)) => FileType::Socket,
    }
}

fn device(entry: &TreeEntry) -> u32 {
    match entry.kind {
        EntryKind::CharacterDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
            u32::try_from(rustix::fs::makedev(major, minor)).unwrap_or_default()
        }
        _ => 0,
    }
}

fn time(ns: i64) -> SystemTime {
    let span = |ns: u64| Duration::new(ns / NS, u32::try_from(ns % NS).unwrap_or_default());
    if ns < 0 { UNIX_EPOCH - span(ns.unsigned_abs()) } else { UNIX_EPOCH + span(ns.unsigned_abs()) }
}
