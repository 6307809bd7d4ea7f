//! A snapshot of a cluster into a data directory, ready to start.

use std::collections::BTreeMap;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};

use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{EntryKind, TreeEntry};
use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use super::super::error::PostgresError;
use super::facts::Facts;
use super::{DATA, ENGINE, SPACE, STOP, TABLESPACES};
use crate::engine::EngineError;
use crate::files::{DirectoryTarget, FilesReport, Filter, RestoreOptions, TargetOptions, restore};

/// A snapshot of a cluster.
pub struct PhysicalSnapshot<'r> {
    pub(super) reader: &'r Reader<'r>,
    pub(super) snapshot: &'r Snapshot,
    pub(super) facts: Facts,
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

    /// Restores it into an empty folder; tablespaces into folders that are named, or where they were.
    ///
    /// # Errors
    /// `Tablespace` for one that is named and not there; what writing and reading fails with. What cannot be restored is in
    /// the report.
    pub fn restore(
        &self,
        into: &Path,
        options: TargetOptions,
        tablespaces: &BTreeMap<String, PathBuf>,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<RestoredCluster, EngineError> {
        if let Some(unknown) =
            tablespaces.keys().find(|name| !self.facts.tablespaces.iter().any(|one| one.name == **name))
        {
            let there = self.facts.tablespaces.iter().map(|one| one.name.clone()).collect();
            return Err(PostgresError::NoTablespace { name: unknown.clone(), there }.into());
        }
        let target = DirectoryTarget::open(into, options)?;
        let mut done = RestoredCluster {
            server_major: self.facts.server_major,
            stop_lsn: self.facts.stop_lsn.clone(),
            bytes: 0,
            files: 0,
            troubles: Vec::new(),
        };
        let part = |name: &str, target: &DirectoryTarget| -> Result<FilesReport, EngineError> {
            let subtree = EntryPath::new(name)
                .map_err(|source| EngineError::StreamName { name: name.into(), source })?;
            let options = RestoreOptions { filter: Some(&NoLinks), subtree: Some(subtree), workers };
            Ok(restore(self.reader, self.snapshot, target, &options, monitor)?)
        };
        done.add(part(DATA, &target)?);
        let mut links = Vec::new();
        for tablespace in &self.facts.tablespaces {
            let folder =
                tablespaces.get(&tablespace.name).cloned().unwrap_or_else(|| PathBuf::from(&tablespace.path));
            let folder = std::path::absolute(&folder)
                .map_err(|source| PostgresError::ReadFile { path: folder.clone(), source })?;
            done.add(part(
                &format!("{SPACE}/{}", tablespace.oid),
                &DirectoryTarget::open(&folder, options)?,
            )?);
            links.push((tablespace.oid, folder));
        }
        done.add(part(STOP, &target)?);
        self.link(into, &links)?;
        Ok(done)
    }

    /// Where tablespaces lie now: `tablespace_map` would lead to where they were.
    fn link(&self, into: &Path, links: &[(u32, PathBuf)]) -> Result<(), EngineError> {
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |source| {
                EngineError::from(RepositoryError::Write {
                    source: std::io::Error::other(format!("{}: {source}", path.display())),
                })
            }
        };
        let mut map = String::new();
        for (oid, folder) in links {
            let link = into.join(TABLESPACES).join(oid.to_string());
            let _ = std::fs::remove_file(&link);
            symlink(folder, &link).map_err(wrong(&link))?;
            let path = folder.to_string_lossy().replace('\\', "\\\\").replace('\n', "\\\n");
            map.push_str(&format!("{oid} {path}\n"));
        }
        let file = into.join("tablespace_map");
        if !links.is_empty() {
            let owner = std::fs::metadata(into).map_err(wrong(into))?;
            std::fs::write(&file, map).map_err(wrong(&file))?;
            use std::os::unix::fs::MetadataExt as _;
            if rustix::process::geteuid().is_root() {
                chown(&file, Some(owner.uid()), Some(owner.gid())).map_err(wrong(&file))?;
            }
        }
        Ok(())
    }
}

impl RestoredCluster {
    fn add(&mut self, report: FilesReport) {
        self.bytes += report.bytes;
        self.files += report.files;
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
