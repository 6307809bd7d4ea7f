//! `backup postgres --physical`.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use strongroom_chunker::ChunkerParams;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{Content, EntryKind, Metadata, TreeEntry};
use strongroom_repository::RepositoryError;
use strongroom_repository::backup::{Lane, Sink};
use strongroom_repository::tree::EntryCursor;

use super::super::error::PostgresError;
use super::super::{Programs, Target};
use super::facts::{Facts, PageChecksums, Tablespace};
use super::label::{lsn, segments};
use super::page::{PAGE_BYTES, PAGES_A_SEGMENT, PageState, state_of};
use super::server::{Backup, Cluster, Ending};
use super::skip::{self, RelationFile};
use super::{DATA, ENGINE, SPACE, STOP};
use crate::engine::{Engine, EngineError};
use crate::files::{OpenFile, Walk, WalkOptions, Walked, WalkedEntry};

/// A chunk is some pages: what changes in one of them does not move the others.
pub(super) const CHUNKS: ChunkerParams = ChunkerParams::Fixed { size: 64 << 10 };
/// Shortest file that may be stored as what differs from what it was, bytes.
pub(super) const DELTA_BYTES: u64 = 64 << 10;
/// What is read and looked at at once, bytes: a whole number of pages.
const READ_BYTES: usize = 256 << 10;
/// A page that looks torn is read so often.
const PAGE_ATTEMPTS: u32 = 3;
/// A file that is written in place is read so often until it is the same twice.
const REST_ATTEMPTS: u32 = 100;
/// A file that was written to so shortly before a backup may have been written to again without a newer time, ns.
const CLOCK_GRAIN_NS: i64 = 2_000_000_000;
/// Damaged pages that are named.
const DAMAGED_NAMED: usize = 100;

/// Reads a cluster, on its server's own host unless that is to send it.
#[derive(Debug, Clone)]
pub struct PhysicalPostgres {
    /// Which.
    pub target: Target,
    /// With what.
    pub programs: Programs,
    /// Read all of it again, also what seems unchanged.
    pub force: bool,
    /// Have the server send it: its files are elsewhere.
    pub is_remote: bool,
}

impl Engine for PhysicalPostgres {
    fn name(&self) -> &'static str {
        ENGINE
    }

    fn backup(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        let monitor = sink.monitor();
        match if self.is_remote { self.back_up_remotely(sink) } else { self.back_up(sink) } {
            // Whatever it looked like to those who were reading.
            Err(_) if monitor.is_cancelled() => Err(RepositoryError::Interrupted.into()),
            done => done,
        }
    }
}

impl PhysicalPostgres {
    fn back_up(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        let mut backup = Backup::start(&self.programs, &self.target, sink.monitor())?;
        let data = canonical(&backup.cluster.data_directory)?;
        let mut run = Run {
            sink,
            lane: sink.ordered_lane(CHUNKS)?,
            parent: None,
            parent_started_ns: i64::MIN,
            bytes: 0,
            start: backup.start,
            checksums: PageChecksums { are_on: backup.cluster.has_checksums, ..PageChecksums::default() },
            model: None,
        };
        if !self.force {
            run.find_parent();
        }
        run.tree(&data, DATA, &skip::of_data)?;
        for tablespace in &backup.tablespaces {
            let folder = canonical(Path::new(&tablespace.path))?;
            let is_left_out = |path: &str| skip::of_tablespace(path, backup.major);
            run.tree(&folder, &format!("{SPACE}/{}", tablespace.oid), &is_left_out)?;
        }
        let ending = backup.stop()?;
        let segment_bytes = backup.cluster.segment_bytes;
        let wal = segments(ending.label.timeline, ending.label.start, ending.stop, segment_bytes);
        let wal: Vec<String> = wal.iter().map(ToString::to_string).collect();
        run.ending(&data, &ending, &wal)?;
        if run.checksums.damaged_pages > 0 {
            sink.monitor().warn(&format!(
                "{} pages of the cluster have a wrong checksum; the server has damaged data: {}",
                run.checksums.damaged_pages,
                run.checksums.damaged.join(", ")
            ));
            sink.count_unreadable();
        }
        let (cluster, spaces, major) = (backup.cluster.clone(), backup.tablespaces.clone(), backup.major);
        sink.facts(facts_of(cluster, major, spaces, &ending, wal, &data, run.checksums)?);
        sink.cut(Vec::new(), CHUNKS, run.bytes);
        Ok(run.lane.finish()?)
    }
}

/// What a snapshot says of itself, as JSON.
pub(super) fn facts_of(
    cluster: Cluster,
    major: u32,
    tablespaces: Vec<Tablespace>,
    ending: &Ending,
    wal: Vec<String>,
    data: &Path,
    page_checksums: PageChecksums,
) -> Result<Vec<u8>, PostgresError> {
    let facts = Facts {
        engine: ENGINE.into(),
        server_major: major,
        system_identifier: cluster.system_identifier,
        timeline: ending.label.timeline,
        start_lsn: lsn(ending.label.start),
        stop_lsn: lsn(ending.stop),
        stopped_ms: ending.stopped_ms,
        wal,
        wal_segment_bytes: cluster.segment_bytes,
        data_directory: data.to_string_lossy().into_owned(),
        tablespaces,
        size: cluster.size,
        databases: cluster.databases,
        superuser: cluster.superuser,
        page_checksums,
    };
    serde_json::to_vec(&facts).map_err(|error| PostgresError::Answer { what: error.to_string() })
}

fn canonical(folder: &Path) -> Result<PathBuf, PostgresError> {
    folder.canonicalize().map_err(|source| PostgresError::ReadFile { path: folder.to_owned(), source })
}

struct Run<'s, 'scope, 'env> {
    sink: &'s Sink<'scope, 'env>,
    lane: Lane<'env>,
    parent: Option<EntryCursor<'env>>,
    parent_started_ns: i64,
    bytes: u64,
    start: u64,
    checksums: PageChecksums,
    /// The data directory's own metadata: what files look like that are made here.
    model: Option<Metadata>,
}

impl Run<'_, '_, '_> {
    fn find_parent(&mut self) {
        let Some(parent) = self.sink.parent() else { return };
        match EntryCursor::new(self.sink.reader(), &parent.manifest.tree) {
            Ok(cursor) => {
                self.parent = Some(cursor);
                self.parent_started_ns = parent.manifest.started_ns;
            }
            Err(error) => self.sink.monitor().warn(&format!(
                "the parent snapshot {} cannot be read ({error}); every file is read again",
                parent.id().short()
            )),
        }
    }

    /// All below a folder, as if it were called `name`.
    fn tree(
        &mut self,
        folder: &Path,
        name: &str,
        is_left_out: &dyn Fn(&str) -> bool,
    ) -> Result<(), EngineError> {
        let prefix = folder.as_os_str().as_bytes().get(1..).unwrap_or_default().to_vec();
        for walked in Walk::new(&[folder.to_owned()], WalkOptions::default())? {
            let mut walked = match walked {
                Walked::Entry(walked) => *walked,
                Walked::Excluded { .. } | Walked::Failed { vanished: true, .. } => continue,
                Walked::Failed { path, error, .. } => {
                    return Err(PostgresError::ReadFile { path, source: error }.into());
                }
            };
            let below = walked.entry.path.as_bytes().strip_prefix(&*prefix);
            // Folders above it.
            let Some(below) = below.filter(|below| below.is_empty() || below.starts_with(b"/")) else {
                continue;
            };
            let relative = String::from_utf8_lossy(below.get(1..).unwrap_or_default()).into_owned();
            if is_left_out(&relative) {
                continue;
            }
            walked.entry.path = path_of([name.as_bytes(), below].concat())?;
            self.entry(walked, &relative)?;
        }
        Ok(())
    }

    fn entry(&mut self, walked: WalkedEntry, relative: &str) -> Result<(), EngineError> {
        if relative.is_empty() && self.model.is_none() {
            self.model.clone_from(&walked.entry.metadata);
        }
        if !walked.is_file() {
            return Ok(self.lane.entry(walked.entry)?);
        }
        let name = relative.rsplit('/').next().unwrap_or(relative);
        let relation = RelationFile::parse(name).filter(|_| holds_relations(relative));
        if relation.is_some_and(|relation| relation.is_unlogged(&walked.os_path)) {
            return Ok(());
        }
        if let Some(known) = self.unchanged(&walked) {
            self.sink.monitor().advance(known.bytes());
            self.bytes += known.bytes();
            return Ok(self.lane.entry(known)?);
        }
        self.file(walked, relation)
    }

    /// The parent's entry, if the file has not been touched since.
    fn unchanged(&mut self, walked: &WalkedEntry) -> Option<TreeEntry> {
        let found = match self.parent.as_mut()?.seek(&walked.entry.path) {
            Ok(found) => found?,
            Err(error) => {
                self.sink.monitor().warn(&format!(
                    "a part of the parent snapshot cannot be read ({error}); files are read again from here on"
                ));
                self.parent = None;
                return None;
            }
        };
        let (then, now) = (found.metadata.as_ref()?, walked.entry.metadata.as_ref()?);
        let is_same = (then.inode, then.mtime_ns, then.ctime_ns) == (now.inode, now.mtime_ns, now.ctime_ns)
            && found.bytes() == walked.size;
        let was_quiet = then.mtime_ns < self.parent_started_ns.saturating_sub(CLOCK_GRAIN_NS);
        (is_same && was_quiet && matches!(found.kind, EntryKind::File(_))).then(|| found.clone())
    }

    fn file(&mut self, walked: WalkedEntry, relation: Option<RelationFile<'_>>) -> Result<(), EngineError> {
        let unreadable = |source| PostgresError::ReadFile { path: walked.os_path.clone(), source };
        let file = match OpenFile::open(&walked) {
            Ok(file) => file,
            // Dropped or made anew meanwhile: the WAL has it.
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_stale(&error) => return Ok(()),
            Err(error) => return Err(unreadable(error).into()),
        };
        if walked.size >= DELTA_BYTES {
            self.lane.against(self.sink.base(&walked.entry.path))?;
        }
        let first_block = relation
            .filter(|_| self.checksums.are_on)
            .map(|relation| relation.segment.saturating_mul(PAGES_A_SEGMENT));
        let mut reader = PageReader {
            file: &file,
            path: &walked.os_path,
            offset: 0,
            pages: vec![0; READ_BYTES],
            used: 0,
            filled: 0,
            first_block,
            start: self.start,
            checksums: &mut self.checksums,
        };
        match self.lane.content(&walked.os_path.display(), &mut reader) {
            Ok(bytes) => self.bytes += bytes,
            Err(RepositoryError::Read { source, .. }) => return Err(unreadable(source).into()),
            Err(error) => return Err(error.into()),
        }
        Ok(self.lane.end(walked.entry)?)
    }

    /// What is only there once the server has left backup mode.
    fn ending(&mut self, data: &Path, ending: &Ending, wal: &[String]) -> Result<(), EngineError> {
        self.folder(STOP)?;
        self.small_file("backup_label", &mut ending.label_file.as_bytes())?;
        self.folder(&format!("{STOP}/global"))?;
        let control = read_at_rest(&data.join("global/pg_control"))?;
        self.small_file("global/pg_control", &mut &*control)?;
        self.folder(&format!("{STOP}/pg_wal"))?;
        for segment in wal {
            let gone = |error| match error {
                EngineError::Postgres(PostgresError::ReadFile { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    PostgresError::SegmentGone { segment: segment.clone() }.into()
                }
                error => error,
            };
            self.copied_file(data, &format!("pg_wal/{segment}")).map_err(gone)?;
        }
        if let Some(map) = &ending.map_file {
            self.small_file("tablespace_map", &mut map.as_bytes())?;
        }
        Ok(())
    }

    fn folder(&mut self, path: &str) -> Result<(), EngineError> {
        let path = path_of(path.into())?;
        Ok(self.lane.entry(TreeEntry {
            path,
            kind: EntryKind::Directory,
            metadata: self.model.clone(),
            link_to: None,
        })?)
    }

    fn copied_file(&mut self, data: &Path, name: &str) -> Result<(), EngineError> {
        let path = data.join(name);
        let mut file =
            std::fs::File::open(&path).map_err(|source| PostgresError::ReadFile { path, source })?;
        self.small_file(name, &mut file)
    }

    fn small_file(&mut self, name: &str, content: &mut dyn Read) -> Result<(), EngineError> {
        let path = path_of(format!("{STOP}/{name}").into_bytes())?;
        self.lane.against(self.sink.base(&path))?;
        self.bytes += self.lane.content(&name, content)?;
        let metadata = self.model.clone().map(|model| Metadata { mode: model.mode & 0o666, ..model });
        let kind = EntryKind::File(Content::Inline(Vec::new()));
        Ok(self.lane.end(TreeEntry { path, kind, metadata, link_to: None })?)
    }
}

pub(super) fn path_of(bytes: Vec<u8>) -> Result<EntryPath, EngineError> {
    let name = String::from_utf8_lossy(&bytes).into_owned();
    EntryPath::new(bytes).map_err(|source| EngineError::StreamName { name, source })
}

/// Whether files named by numbers are relations there: those of the commit log are named alike.
fn holds_relations(relative: &str) -> bool {
    relative.starts_with("base/") || relative.starts_with("global/") || relative.starts_with("PG_")
}

/// A small file that the server writes in place: as it is twice in a row.
fn read_at_rest(path: &Path) -> Result<Vec<u8>, PostgresError> {
    let read =
        || std::fs::read(path).map_err(|source| PostgresError::ReadFile { path: path.to_owned(), source });
    let mut before = read()?;
    for _ in 0..REST_ATTEMPTS {
        let now = read()?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
    let source = io::Error::other("the server writes to it all the time");
    Err(PostgresError::ReadFile { path: path.to_owned(), source })
}

fn is_stale(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::STALE.raw_os_error())
}

/// Reads a file that the server writes to, and looks at its pages.
struct PageReader<'a> {
    file: &'a OpenFile,
    path: &'a Path,
    /// Of what is read next, bytes.
    offset: u64,
    pages: Vec<u8>,
    used: usize,
    filled: usize,
    /// Of the file, in its relation; none where pages have no checksums.
    first_block: Option<u64>,
    start: u64,
    checksums: &'a mut PageChecksums,
}

impl PageReader<'_> {
    fn fill(&mut self) -> io::Result<()> {
        self.filled = self.file.read_at(&mut self.pages, self.offset)?;
        self.used = 0;
        if let Some(first_block) = self.first_block {
            let first = first_block + self.offset / PAGE_BYTES as u64;
            let (pages, _) = self.pages[..self.filled].as_chunks_mut::<PAGE_BYTES>();
            for (page, number) in pages.iter_mut().zip(0_u64..) {
                self.checksums.pages += 1;
                let offset = self.offset + number * PAGE_BYTES as u64;
                if !is_good(page, first + number, self.start, |page| self.file.read_at(page, offset))? {
                    self.checksums.damaged_pages += 1;
                    if self.checksums.damaged.len() < DAMAGED_NAMED {
                        self.checksums.damaged.push(format!(
                            "{} block {}",
                            self.path.display(),
                            first + number
                        ));
                    }
                }
            }
        }
        self.offset += self.filled as u64;
        Ok(())
    }
}

/// Looks at a page, and reads it again while it looks torn.
fn is_good(
    page: &mut [u8; PAGE_BYTES],
    block: u64,
    start: u64,
    mut again: impl FnMut(&mut [u8]) -> io::Result<usize>,
) -> io::Result<bool> {
    let block = u32::try_from(block).unwrap_or(u32::MAX);
    for _ in 1..PAGE_ATTEMPTS {
        if state_of(page, block, start) != PageState::Bad {
            return Ok(true);
        }
        // Less when the file was cut meanwhile: the WAL says so too.
        if again(page)? < PAGE_BYTES {
            return Ok(true);
        }
    }
    Ok(state_of(page, block, start) != PageState::Bad)
}

impl Read for PageReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.used == self.filled {
            self.fill()?;
        }
        let length = out.len().min(self.filled - self.used);
        out[..length].copy_from_slice(&self.pages[self.used..self.used + length]);
        self.used += length;
        Ok(length)
    }
}
