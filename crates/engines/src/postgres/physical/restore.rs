//! A snapshot of a cluster into a data directory, ready to start.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{EntryKind, TreeEntry};
use strongroom_format::wal_file::Segment;
use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use super::super::error::PostgresError;
use super::facts::{Facts, Tablespace};
use super::label::{parse_lsn, segments};
use super::recovery::Recovery;
use super::{DATA, ENGINE, SPACE, STOP, TABLESPACES, stopped};
use crate::engine::EngineError;
use crate::files::{DirectoryTarget, FilesReport, Filter, Overwrite, RestoreOptions, TargetOptions, restore};

/// A snapshot of a cluster.
pub struct PhysicalSnapshot<'r> {
    pub(super) reader: &'r Reader<'r>,
    pub(super) snapshot: &'r Snapshot,
    pub(super) facts: Facts,
}

/// The end of a backup.
#[derive(Debug, Clone, Copy)]
pub struct BackupEnd<'f> {
    /// The server's major version.
    pub server_major: u32,
    /// The timeline it was on.
    pub timeline: u32,
    /// The position in its log, `0/2000100`.
    pub lsn: &'f str,
    /// When that was, by the server's clock, ms since 1970.
    pub time_ms: i64,
}

/// A tablespace, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedTablespace {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    oid: u32,
}

/// What was restored.
#[derive(Debug)]
pub struct RestoredCluster {
    /// Its major version.
    pub server_major: u32,
    /// What recovery reaches by itself.
    pub stop_lsn: String,
    /// Plain bytes.
    pub bytes: u64,
    /// Files.
    pub files: u64,
    /// Plain bytes that were not there before.
    pub written: u64,
    /// What was there and is not in the snapshot.
    pub deleted: u64,
    /// Of what was not restored: a cluster without it must not be started.
    pub troubles: Vec<String>,
}

/// All but links that are made here instead, or not at all: to tablespaces, and to where the WAL lay.
struct NoLinks;

impl Filter for NoLinks {
    fn wants(&self, entry: &TreeEntry) -> bool {
        let path = entry.path.as_bytes();
        let below =
            path.strip_prefix(DATA.as_bytes()).and_then(|path| path.strip_prefix(b"/")).unwrap_or_default();
        let is_ours = below == b"pg_wal" || below.starts_with(TABLESPACES.as_bytes());
        !(is_ours && matches!(entry.kind, EntryKind::Symlink { .. }))
    }
}

impl<'r> PhysicalSnapshot<'r> {
    /// Reads what the snapshot says of itself.
    ///
    /// # Errors
    /// `NotPostgres`; what reading the facts fails with.
    pub fn open(reader: &'r Reader<'r>, snapshot: &'r Snapshot) -> Result<Self, EngineError> {
        let not_postgres = || PostgresError::NotPostgres { snapshot: snapshot.id() };
        let facts = snapshot.manifest.facts.as_ref().filter(|_| snapshot.manifest.engine == ENGINE);
        let json = reader.blob(facts.ok_or_else(not_postgres)?.node)?;
        let facts = serde_json::from_slice(&json).map_err(|_| not_postgres())?;
        Ok(Self { reader, snapshot, facts })
    }

    /// Restores it into an empty folder, or as a delta over another state of a cluster that is not running; tablespaces into
    /// folders that are named, or where they were.
    ///
    /// # Errors
    /// `NoTablespace` for one that is named and not there; `InUse` and `NoCluster` for what is no stopped cluster; what writing and reading fails with. What cannot be restored is in
    /// the report.
    pub fn restore(
        &self,
        into: &Path,
        options: TargetOptions,
        tablespaces: &BTreeMap<String, PathBuf>,
        recovery: Option<&Recovery>,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<RestoredCluster, EngineError> {
        let spaces = self.plan(tablespaces, recovery)?;
        if options.overwrite == Overwrite::Delta {
            stopped::check_data(into)?;
            spaces.iter().try_for_each(|space| stopped::check_tablespace(&space.folder))?;
        }
        let target = DirectoryTarget::open(into, options)?;
        // Without it, no server starts on what is half of one state and half of another.
        target.remove(&path_of("global/pg_control")?)?;
        let mut done = RestoredCluster {
            server_major: self.facts.server_major,
            stop_lsn: self.facts.stop_lsn.clone(),
            bytes: 0,
            files: 0,
            written: 0,
            deleted: 0,
            troubles: Vec::new(),
        };
        let part = |name: &str, target: &DirectoryTarget| -> Result<FilesReport, EngineError> {
            let options = RestoreOptions { filter: Some(&NoLinks), subtree: Some(path_of(name)?), workers };
            Ok(restore(self.reader, self.snapshot, target, &options, monitor)?)
        };
        done.add(part(DATA, &target)?);
        for space in &spaces {
            let target = DirectoryTarget::open(&space.folder, options)?;
            done.add(part(&format!("{SPACE}/{}", space.oid), &target)?);
        }
        done.add(part(STOP, &target)?);
        Self::link(into, &spaces)?;
        if let Some(recovery) = recovery {
            let own = into.join("postgresql.auto.conf");
            let before = if own.exists() {
                std::fs::read_to_string(&own).map_err(wrong(&own))?
            } else {
                String::new()
            };
            write_like(into, "postgresql.auto.conf", &recovery.amend(&before))?;
            write_like(into, "recovery.signal", "")?;
        }
        Ok(done)
    }

    /// Where tablespaces would go, if the cluster can be restored so.
    ///
    /// # Errors
    /// `NoTablespace` for one that is named and not there; `Unreachable` and `Target` for a recovery that ends before it could.
    pub fn plan(
        &self,
        tablespaces: &BTreeMap<String, PathBuf>,
        recovery: Option<&Recovery>,
    ) -> Result<Vec<PlacedTablespace>, EngineError> {
        let there = &self.facts.tablespaces;
        if let Some(unknown) = tablespaces.keys().find(|name| !there.iter().any(|one| one.name == **name)) {
            let there = there.iter().map(|one| one.name.clone()).collect();
            return Err(PostgresError::NoTablespace { name: unknown.clone(), there }.into());
        }
        if let Some(recovery) = recovery {
            recovery.check(&self.facts)?;
        }
        let place = |tablespace: &Tablespace| {
            let folder = tablespaces.get(&tablespace.name);
            let folder = folder.cloned().unwrap_or_else(|| PathBuf::from(&tablespace.path));
            let folder = std::path::absolute(&folder)
                .map_err(|source| PostgresError::ReadFile { path: folder.clone(), source })?;
            Ok(PlacedTablespace { oid: tablespace.oid, name: tablespace.name.clone(), folder })
        };
        there.iter().map(place).collect()
    }

    /// What it is of, and what it recovers to by itself.
    #[must_use]
    pub fn end(&self) -> BackupEnd<'_> {
        let facts = &self.facts;
        BackupEnd {
            server_major: facts.server_major,
            timeline: facts.timeline,
            lsn: &facts.stop_lsn,
            time_ms: facts.stopped_ms,
        }
    }

    /// Which cluster it is.
    #[must_use]
    pub fn system_identifier(&self) -> Option<u64> {
        self.facts.system_identifier.parse().ok()
    }

    /// The last segment of the log that the snapshot has, and the bytes of each.
    #[must_use]
    pub fn last_segment(&self) -> Option<(Segment, u64)> {
        let (bytes, stop) = (self.facts.wal_segment_bytes, parse_lsn(&self.facts.stop_lsn)?);
        let last = stop.saturating_sub(1);
        segments(self.facts.timeline, last, stop, bytes).last().map(|segment| (*segment, bytes))
    }

    /// The segment of the log that recovery begins in.
    #[must_use]
    pub fn first_segment(&self) -> Option<Segment> {
        let start = parse_lsn(&self.facts.start_lsn)?;
        segments(self.facts.timeline, start, start, self.facts.wal_segment_bytes).first().copied()
    }

    /// What recovery begins at, and what it must reach.
    #[must_use]
    pub fn range(&self) -> (&str, &str) {
        (&self.facts.start_lsn, &self.facts.stop_lsn)
    }

    /// Where tablespaces lie now: `tablespace_map` would lead to where they were.
    fn link(into: &Path, spaces: &[PlacedTablespace]) -> Result<(), EngineError> {
        let mut map = String::new();
        for PlacedTablespace { oid, folder, .. } in spaces {
            let link = into.join(TABLESPACES).join(oid.to_string());
            let _ = std::fs::remove_file(&link);
            symlink(folder, &link).map_err(wrong(&link))?;
            let path = folder.to_string_lossy().replace('\\', "\\\\").replace('\n', "\\\n");
            map.push_str(&format!("{oid} {path}\n"));
        }
        match spaces {
            [] => Ok(()),
            _ => write_like(into, "tablespace_map", &map),
        }
    }
}

fn path_of(name: &str) -> Result<EntryPath, EngineError> {
    EntryPath::new(name).map_err(|source| EngineError::StreamName { name: name.into(), source })
}

fn wrong(path: &Path) -> impl Fn(std::io::Error) -> EngineError {
    let path = path.to_owned();
    move |source| {
        RepositoryError::Write { source: std::io::Error::other(format!("{}: {source}", path.display())) }
            .into()
    }
}

/// A file in a folder, of the folder's owner, and durable.
fn write_like(folder: &Path, name: &str, text: &str) -> Result<(), EngineError> {
    let file = folder.join(name);
    let owner = std::fs::metadata(folder).map_err(wrong(folder))?;
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&file);
    let mut opened = opened.map_err(wrong(&file))?;
    opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all()).map_err(wrong(&file))?;
    if rustix::process::geteuid().is_root() {
        chown(&file, Some(owner.uid()), Some(owner.gid())).map_err(wrong(&file))?;
    }
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(wrong(folder))
}

impl RestoredCluster {
    fn add(&mut self, report: FilesReport) {
        self.bytes += report.bytes;
        self.files += report.files;
        self.written += report.written;
        self.deleted += report.deleted;
        let more = report.more_troubles;
        self.troubles.extend(report.troubles.into_iter().map(|trouble| match trouble.path {
            Some(path) => format!("/{path}: {}", trouble.message),
            None => trouble.message,
        }));
        if more > 0 {
            self.troubles.push(format!("and {more} more"));
        }
    }
}
