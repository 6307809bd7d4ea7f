//! The engine `files`: trees of files, and what is unchanged since the parent snapshot taken over unread.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use strongroom_chunker::ChunkerParams;
use strongroom_format::tree_entry::{EntryKind, TreeEntry};
use strongroom_repository::RepositoryError;
use strongroom_repository::backup::{Lane, Sink};
use strongroom_repository::tree::EntryCursor;

use super::{Extent, HardLinks, OpenFile, Walk, WalkOptions, Walked, WalkedEntry, XattrScope};
use crate::engine::{Engine, EngineError};

/// How often a file that changes while it is read is read.
const ATTEMPTS: u32 = 2;

/// Backs up files.
#[derive(Debug, Clone)]
pub struct Files {
    /// Files and folders.
    pub roots: Vec<PathBuf>,
    /// What is left out.
    pub options: WalkOptions,
}

impl Engine for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn backup(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        // A file's attributes are read when it is opened, or taken over from the parent.
        let walk =
            Walk::new(&self.roots, WalkOptions { xattrs: XattrScope::NotOfFiles, ..self.options.clone() })?;
        let mut run = FilesRun::new(sink, &self.roots, ChunkerParams::default())?;
        for walked in walk {
            match walked {
                Walked::Entry(walked) => run.entry(*walked)?,
                Walked::Excluded { .. } | Walked::Failed { vanished: true, .. } => {}
                Walked::Failed { path, operation, error, .. } => {
                    run.failed(&format!("cannot {operation} {}: {error}", path.display()))
                }
            }
        }
        if run.failed_any && !run.read_any {
            return Err(EngineError::NothingReadable);
        }
        run.finish(ChunkerParams::default())
    }
}

/// The tree of the parent snapshot, in which files are looked for in the order of their paths.
pub(crate) struct ParentTree<'env>(EntryCursor<'env>);

impl<'env> ParentTree<'env> {
    /// That of the parent, if there is one that may be taken from and can be read.
    pub(crate) fn of(sink: &Sink<'_, 'env>) -> Option<Self> {
        let parent = sink.parent()?;
        match EntryCursor::new(sink.reader(), &parent.manifest.tree) {
            Ok(cursor) => Some(Self(cursor)),
            Err(error) => {
                sink.monitor().warn(&format!(
                    "the parent snapshot {} cannot be read ({error}); every file is read again",
                    parent.id().short()
                ));
                None
            }
        }
    }

    /// The parent's entry, if the file has not been touched since: same inode, length and times.
    ///
    /// # Errors
    /// What reading the parent fails with.
    pub(crate) fn unchanged(&mut self, walked: &WalkedEntry) -> Result<Option<TreeEntry>, RepositoryError> {
        Ok(self.0.seek(&walked.entry.path)?.and_then(|found| if_unchanged(found, walked)))
    }
}

fn if_unchanged(found: TreeEntry, walked: &WalkedEntry) -> Option<TreeEntry> {
    let EntryKind::File(_) = &found.kind else { return None };
    let (then, now) = (found.metadata.as_ref()?, walked.entry.metadata.as_ref()?);
    let same = then.inode == now.inode
        && then.mtime_ns == now.mtime_ns
        && then.ctime_ns == now.ctime_ns
        && found.bytes() == walked.size;
    // An entry whose names of owners changed is new, its content is not; ctime says that attributes are the same.
    same.then(|| {
        let mut metadata = now.clone();
        metadata.xattrs.clone_from(&then.xattrs);
        TreeEntry { metadata: Some(metadata), ..found }
    })
}

/// A run that stores files in the order of their paths.
pub(crate) struct FilesRun<'s, 'scope, 'env> {
    sink: &'s Sink<'scope, 'env>,
    lane: Lane<'env>,
    parent: Option<ParentTree<'env>>,
    hard_links: HardLinks,
    /// Plain bytes up to here.
    pub(crate) bytes: u64,
    /// Whether something other than folders above a root was read.
    read_any: bool,
    roots: Vec<PathBuf>,
    failed_any: bool,
}

/// What became of reading a file.
enum Outcome {
    Read(Vec<(Vec<u8>, Vec<u8>)>),
    Changed(Vec<(Vec<u8>, Vec<u8>)>),
}

impl<'s, 'scope, 'env> FilesRun<'s, 'scope, 'env> {
    /// Begins to store what lies below `roots`.
    ///
    /// # Errors
    /// As [`Sink::ordered_lane`].
    pub(crate) fn new(
        sink: &'s Sink<'scope, 'env>,
        roots: &[PathBuf],
        parameters: ChunkerParams,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            sink,
            lane: sink.ordered_lane(parameters)?,
            parent: ParentTree::of(sink),
            hard_links: HardLinks::default(),
            bytes: 0,
            read_any: false,
            roots: roots.iter().filter_map(|root| std::path::absolute(root).ok()).collect(),
            failed_any: false,
        })
    }

    /// Ends it.
    ///
    /// # Errors
    /// As [`Lane::finish`].
    pub(crate) fn finish(self, parameters: ChunkerParams) -> Result<(), EngineError> {
        self.sink.cut(Vec::new(), parameters, self.bytes);
        Ok(self.lane.finish()?)
    }

    /// A file whose content the parent has.
    pub(crate) fn known(&mut self, known: TreeEntry) -> Result<(), RepositoryError> {
        self.read_any = true;
        self.sink.monitor().advance(known.bytes());
        self.bytes += known.bytes();
        self.lane.entry(known)
    }

    /// A file whose content, as it is to be stored, somebody else reads.
    pub(crate) fn content(
        &mut self,
        walked: WalkedEntry,
        reader: &mut dyn Read,
    ) -> Result<(), RepositoryError> {
        self.read_any = true;
        self.lane.against(self.sink.base(&walked.entry.path))?;
        self.bytes += self.lane.content(&walked.os_path.display(), reader)?;
        self.lane.end(walked.entry)
    }

    /// Counts and names what cannot be stored.
    pub(crate) fn failed(&mut self, message: &str) {
        self.failed_any = true;
        self.sink.count_unreadable();
        self.sink.monitor().warn(message);
    }

    fn is_asked_for(&self, walked: &WalkedEntry) -> bool {
        let path = Path::new("/").join(OsStr::from_bytes(walked.entry.path.as_bytes()));
        self.roots.iter().any(|root| path.starts_with(root))
    }

    /// A file or folder as it lies there.
    ///
    /// # Errors
    /// That of the run, never that of a file.
    pub(crate) fn entry(&mut self, mut walked: WalkedEntry) -> Result<(), EngineError> {
        walked.entry.link_to = self.hard_links.first_path(&walked);
        if !walked.is_file() {
            // Folders above a root are none of what was asked for.
            self.read_any |= !walked.is_directory() || self.is_asked_for(&walked);
            return Ok(self.lane.entry(walked.entry)?);
        }
        if let Some(known) = self.unchanged(&walked) {
            let link_to = walked.entry.link_to.take();
            return Ok(self.known(TreeEntry { link_to, ..known })?);
        }
        self.file(walked)
    }

    fn unchanged(&mut self, walked: &WalkedEntry) -> Option<TreeEntry> {
        match self.parent.as_mut()?.unchanged(walked) {
            Ok(found) => found,
            Err(error) => {
                self.sink.monitor().warn(&format!("a part of the parent snapshot cannot be read ({error}); files are read again from here on"));
                self.parent = None;
                None
            }
        }
    }

    fn file(&mut self, mut walked: WalkedEntry) -> Result<(), EngineError> {
        for attempt in 1..=ATTEMPTS {
            let is_last = attempt == ATTEMPTS;
            match self.read(&mut walked, attempt > 1) {
                Ok(Outcome::Changed(_)) if !is_last => self.lane.discard()?,
                Ok(Outcome::Read(xattrs) | Outcome::Changed(xattrs)) if !is_last => {
                    return self.end(walked, xattrs);
                }
                Ok(Outcome::Read(xattrs)) => return self.end(walked, xattrs),
                Ok(Outcome::Changed(xattrs)) => {
                    let path = walked.os_path.display().to_string();
                    self.failed(&format!(
                        "{path} changed while it was read, also the second time; what was read is kept"
                    ));
                    return self.end(walked, xattrs);
                }
                Err(FileError::Vanished) => return Ok(self.lane.discard()?),
                Err(FileError::Unreadable(message)) => {
                    self.lane.discard()?;
                    self.failed(&message);
                    return Ok(());
                }
                Err(FileError::Run(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn end(&mut self, mut walked: WalkedEntry, xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), EngineError> {
        self.read_any = true;
        if let Some(metadata) = &mut walked.entry.metadata {
            metadata.xattrs = xattrs;
        }
        Ok(self.lane.end(walked.entry)?)
    }

    fn read(&mut self, walked: &mut WalkedEntry, again: bool) -> Result<Outcome, FileError> {
        let path = walked.os_path.clone();
        let unreadable = |operation: &str, error: &io::Error| {
            FileError::Unreadable(format!("cannot {operation} {}: {error}", path.display()))
        };
        let mut file = match OpenFile::open(walked) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(FileError::Vanished),
            Err(error) => return Err(unreadable("open", &error)),
        };
        if again {
            file.refresh(walked).map_err(|error| unreadable("read metadata of", &error))?;
        }
        let xattrs = file.xattrs().map_err(|error| unreadable("read extended attributes of", &error))?;
        if walked.size >= DELTA_BYTES {
            self.lane.against(self.sink.base(&walked.entry.path)).map_err(FileError::Run)?;
        }
        while let Some(extent) = file.next_extent().map_err(|error| unreadable("find holes of", &error))? {
            match extent {
                Extent::Hole { length, .. } => self.lane.hole(length).map_err(FileError::Run)?,
                Extent::Data { offset, length } => {
                    let mut reader = ExtentReader { file: &file, offset, end: offset + length };
                    match self.lane.content(&path.display(), &mut reader) {
                        Ok(bytes) => self.bytes += bytes,
                        Err(RepositoryError::Read { source, .. }) => return Err(unreadable("read", &source)),
                        Err(error) => return Err(FileError::Run(error)),
                    }
                }
            }
        }
        let changed = file.changed_since(walked).map_err(|error| unreadable("read metadata of", &error))?;
        Ok(if changed { Outcome::Changed(xattrs) } else { Outcome::Read(xattrs) })
    }
}

/// Shortest file that may be stored as what differs from what it was, bytes: for less it is not worth looking that up.
const DELTA_BYTES: u64 = 64 << 10;

enum FileError {
    Vanished,
    Unreadable(String),
    Run(RepositoryError),
}

struct ExtentReader<'a> {
    file: &'a OpenFile,
    offset: u64,
    end: u64,
}

impl Read for ExtentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
