//! `backup postgres --physical --remote`: the cluster as its server sends it to `pg_basebackup`, from wherever that may connect.

use std::io::{self, Read, Write as _};
use std::process::Command;

use strongroom_format::node::TreeRef;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{Content, EntryKind, Metadata, TreeEntry};
use strongroom_format::wal_file::LogFile;
use strongroom_repository::RepositoryError;
use strongroom_repository::backup::{Lane, Sink};
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;
use strongroom_repository::tree::EntryCursor;
use tempfile::NamedTempFile;

use super::super::error::PostgresError;
use super::super::process::{Process, output_of};
use super::super::session::Session;
use super::backup::{CHUNKS, DELTA_BYTES, PhysicalPostgres, facts_of, path_of};
use super::facts::{Facts, PageChecksums};
use super::incremental::{self, Changes, Stored};
use super::label::{Label, parse_lsn};
use super::server::{Cluster, Ending, tablespaces_of};
use super::{DATA, STOP, skip};
use crate::engine::EngineError;

const PROGRAM: &str = "pg_basebackup";
/// From this version on a server can send what changed since an earlier backup.
const INCREMENTAL_SINCE: u32 = 17;
/// Where in a snapshot the server's own manifest of the backup lies; no restore needs it.
const MANIFEST: &str = "manifest";
const COPY_BYTES: usize = 64 << 10;
/// Longest label, bytes.
const LABEL_LIMIT_BYTES: u64 = 64 << 10;
/// Lines of a label of which a server says that its files are only changes.
const OF_CHANGES: &str = "INCREMENTAL FROM ";
/// What it says where the log ends that the backup needs.
const END_POINT: &str = "write-ahead log end point: ";
/// What it says behind pages that the server found damaged.
const CHECKSUM_ERROR: &str = "checksum error occurred";

impl PhysicalPostgres {
    /// Reads it. The server looks at the checksums.
    pub(super) fn back_up_remotely(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        let monitor = sink.monitor();
        let mut session = Session::open(&self.programs, &self.target, None, monitor)?;
        let major = session.server_major()?;
        let cluster = Cluster::ask(&mut session)?;
        let tablespaces = tablespaces_of(&mut session)?;
        if !tablespaces.is_empty() {
            let names = tablespaces.into_iter().map(|tablespace| tablespace.name).collect();
            return Err(PostgresError::RemoteTablespaces { names }.into());
        }
        let mut run = Run {
            sink,
            lane: sink.stream_lane(CHUNKS)?,
            bytes: 0,
            label_file: String::new(),
            map_file: None,
            wal: Vec::new(),
            model: None,
            since: None,
            files: 0,
        };
        if major >= INCREMENTAL_SINCE && !self.force && session.ask_one("SHOW summarize_wal")? == "on" {
            run.since = Since::find(sink, &cluster.system_identifier)?;
        }
        let said = match self.receive(&mut run, major) {
            // Such as when the server has forgotten what changed since.
            Err(EngineError::Postgres(error @ PostgresError::Failed { .. }))
                if run.files == 0 && run.since.is_some() && !monitor.is_cancelled() =>
            {
                monitor
                    .note(&format!("the server does not send only what changed, so it sends all: {error}"));
                run.since = None;
                self.receive(&mut run, major)?
            }
            received => received?,
        };
        run.folders()?;
        let ending = run.ending(&said, session.clock_ms()?)?;
        let mut checksums = PageChecksums { are_on: cluster.has_checksums, ..PageChecksums::default() };
        if is_checksum_error(&said) {
            checksums.damaged = said.into_iter().filter(|line| line.contains("checksum")).collect();
            checksums.damaged_pages = checksums.damaged.len() as u64;
            monitor.warn(&format!("the server has damaged data: {}", checksums.damaged.join(" / ")));
            sink.count_unreadable();
        }
        run.wal.sort();
        let data = cluster.data_directory.clone();
        sink.facts(facts_of(cluster, major, tablespaces, &ending, run.wal, &data, checksums)?);
        sink.cut(Vec::new(), CHUNKS, run.bytes);
        Ok(run.lane.finish()?)
    }

    /// Has the server send it, and gives the last of what `pg_basebackup` said.
    fn receive(&self, run: &mut Run<'_, '_, '_>, major: u32) -> Result<Vec<String>, EngineError> {
        let monitor = run.sink.monitor();
        let mut command = Command::new(self.programs.find(PROGRAM, Some(major))?);
        self.target.connect(&mut command, None);
        command.args(["--pgdata=-", "--format=tar", "--wal-method=fetch", "--checkpoint=fast"]);
        command.args(["--label=strongroom", "--verbose"]).env("LC_ALL", "C");
        match &run.since {
            Some(since) => drop(command.arg("--incremental").arg(since.manifest.path())),
            None if major < INCREMENTAL_SINCE => drop(command.arg("--no-manifest")),
            None => {}
        }
        let (process, stdout) = Process::start(PROGRAM.into(), &mut command)?;
        let read = run.archive(output_of(stdout, monitor));
        // Why it wrote no good archive, it says itself.
        let said = match (&read, process.finish_saying(monitor)) {
            (Ok(()), Ok(said)) => said,
            (Ok(()), Err(PostgresError::Failed { stderr, .. })) if is_checksum_error(&stderr) => stderr,
            (Ok(()) | Err(EngineError::Postgres(_)), Err(error)) => return Err(error.into()),
            (Err(_), _) => Vec::new(),
        };
        read.map(|()| said)
    }
}

/// The snapshot that the server is to send what changed since.
struct Since<'env> {
    reader: &'env Reader<'env>,
    tree: TreeRef,
    /// Of its backup, as the server wrote it.
    manifest: NamedTempFile,
}

impl<'env> Since<'env> {
    /// The parent, if its server sent it and this host may read it.
    fn find(sink: &Sink<'_, 'env>, system: &str) -> Result<Option<Self>, EngineError> {
        let Some(parent) = sink.parent() else { return Ok(None) };
        let reader = sink.reader();
        if !reader.repository().may_read_bases() || system_of(reader, parent).as_deref() != Some(system) {
            return Ok(None);
        }
        let tree = parent.manifest.tree;
        let Some(entry) = EntryCursor::new(reader, &tree)?.seek(&path_of(MANIFEST.into())?)? else {
            return Ok(None);
        };
        let Some(content) = entry.content() else { return Ok(None) };
        let cannot = |source| PostgresError::List(source);
        let mut manifest = NamedTempFile::new().map_err(cannot)?;
        let (mut stored, mut left) = (Stored::new(reader, content)?, entry.bytes());
        let mut buffer = vec![0; COPY_BYTES];
        while left > 0 {
            let length = usize::try_from(left).map_or(COPY_BYTES, |left| left.min(COPY_BYTES));
            stored.take(Some(&mut buffer[..length]), length)?;
            manifest.write_all(&buffer[..length]).map_err(cannot)?;
            left -= length as u64;
        }
        Ok(Some(Self { reader, tree, manifest }))
    }

    /// A file as it was then.
    fn file(&self, path: &EntryPath) -> Result<TreeEntry, EngineError> {
        let found = EntryCursor::new(self.reader, &self.tree)?.seek(path)?;
        let what = || format!("it sends changes of {path}, which the snapshot before does not have");
        found.ok_or_else(|| PostgresError::Answer { what: what() }.into())
    }
}

/// The cluster that a snapshot is of.
fn system_of(reader: &Reader<'_>, snapshot: &Snapshot) -> Option<String> {
    let facts = reader.blob(snapshot.manifest.facts.as_ref()?.node).ok()?;
    serde_json::from_slice::<Facts>(&facts).ok().map(|facts| facts.system_identifier)
}

fn is_checksum_error(said: &[String]) -> bool {
    said.iter().any(|line| line.contains(CHECKSUM_ERROR))
}

struct Run<'s, 'scope, 'env> {
    sink: &'s Sink<'scope, 'env>,
    lane: Lane<'env>,
    since: Option<Since<'env>>,
    /// That came.
    files: u64,
    bytes: u64,
    label_file: String,
    map_file: Option<String>,
    wal: Vec<String>,
    /// What files look like that are made here.
    model: Option<Metadata>,
}

impl Run<'_, '_, '_> {
    fn archive(&mut self, stdout: impl Read) -> Result<(), EngineError> {
        let mut archive = tar::Archive::new(stdout);
        for file in archive.entries().map_err(broken)? {
            self.file(file.map_err(broken)?)?;
        }
        // What lies behind its end is read too, or its writer fails of that.
        io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
        Ok(())
    }

    /// Those that the server does not send, or in other places.
    fn folders(&mut self) -> Result<(), EngineError> {
        for folder in [DATA, STOP, &format!("{STOP}/global"), &format!("{STOP}/pg_wal")] {
            let metadata = self.model.clone();
            let path = path_of(folder.into())?;
            self.lane.entry(TreeEntry { path, kind: EntryKind::Directory, metadata, link_to: None })?;
        }
        Ok(())
    }

    fn file(&mut self, mut file: tar::Entry<'_, impl Read>) -> Result<(), EngineError> {
        self.files += 1;
        let name = file.path_bytes().into_owned();
        let name = name.strip_prefix(b"./").unwrap_or(&name);
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let metadata = metadata_of(file.header()).map_err(broken)?;
        self.model.get_or_insert_with(|| Metadata { mode: 0o700, ..metadata.clone() });
        let text = String::from_utf8_lossy(name).into_owned();
        let changed = changes_of(&text).filter(|_| self.since.is_some());
        let name = changed.as_ref().map_or(name, |changed| changed.as_bytes());
        let folder = self.folder_of(&String::from_utf8_lossy(name));
        let path = match folder {
            _ if text == "backup_manifest" => path_of(MANIFEST.into())?,
            Some(folder) => path_of([folder.as_bytes(), b"/", name].concat())?,
            None => return Ok(()),
        };
        if changed.is_some() {
            return self.changed(path, metadata, file);
        }
        let entry = |kind| TreeEntry { path: path.clone(), kind, metadata: Some(metadata), link_to: None };
        match file.header().entry_type() {
            tar::EntryType::Directory => Ok(self.lane.entry(entry(EntryKind::Directory))?),
            tar::EntryType::Symlink => {
                let target = file.link_name_bytes().unwrap_or_default().into_owned();
                Ok(self.lane.entry(entry(EntryKind::Symlink { target }))?)
            }
            tar::EntryType::Regular => {
                if text == "backup_label" || text == "tablespace_map" {
                    let mut content = String::new();
                    file.by_ref().take(LABEL_LIMIT_BYTES).read_to_string(&mut content).map_err(broken)?;
                    // What was put together is whole.
                    content =
                        content.split_inclusive('\n').filter(|line| !line.starts_with(OF_CHANGES)).collect();
                    self.content(&path, content.len() as u64, &mut content.as_bytes())?;
                    match &*text {
                        "backup_label" => self.label_file = content,
                        _ => self.map_file = Some(content),
                    }
                } else {
                    self.content(&path, file.size(), &mut file)?;
                }
                Ok(self.lane.end(entry(EntryKind::File(Content::Inline(Vec::new()))))?)
            }
            kind => Err(broken(io::Error::other(format!("{text} is of the kind {kind:?}"))).into()),
        }
    }

    /// A file of which only changes are sent.
    fn changed(&mut self, path: EntryPath, metadata: Metadata, file: impl Read) -> Result<(), EngineError> {
        let Some(since) = &self.since else { return Ok(()) };
        let before = since.file(&path)?;
        let content = before.content().cloned().unwrap_or(Content::Inline(Vec::new()));
        let changes = Changes::read(file).map_err(broken)?;
        let (metadata, length) = (Some(metadata), changes.bytes());
        if changes.leave_as_it_was(before.bytes()) {
            self.sink.monitor().advance(length);
            self.bytes += length;
            return Ok(self.lane.entry(TreeEntry { metadata, ..before })?);
        }
        let mut whole = changes.onto(Stored::new(since.reader, &content)?);
        self.content(&path, length, &mut whole)?;
        let kind = EntryKind::File(Content::Inline(Vec::new()));
        Ok(self.lane.end(TreeEntry { path, kind, metadata, link_to: None })?)
    }

    fn content(&mut self, path: &EntryPath, length: u64, content: &mut dyn Read) -> Result<(), EngineError> {
        if length >= DELTA_BYTES {
            self.lane.against(self.sink.base(path))?;
        }
        let read = self.lane.content(path, content).map_err(|error| match error {
            RepositoryError::Read { source, .. } => EngineError::from(broken(source)),
            error => error.into(),
        })?;
        self.bytes += read;
        if read != length {
            return Err(broken(io::ErrorKind::UnexpectedEof.into()).into());
        }
        Ok(())
    }

    /// Where in the snapshot a file of the data directory goes; `None` for what is left out.
    fn folder_of(&mut self, name: &str) -> Option<&'static str> {
        if ["backup_label", "tablespace_map", "global/pg_control"].contains(&name) {
            return Some(STOP);
        }
        match name.strip_prefix("pg_wal/") {
            Some(segment) => {
                segment.parse::<LogFile>().ok().filter(|file| matches!(file, LogFile::Segment(_)))?;
                self.wal.push(segment.to_owned());
                Some(STOP)
            }
            None => Some(DATA).filter(|_| !skip::of_data(name)),
        }
    }

    fn ending(&self, said: &[String], stopped_ms: i64) -> Result<Ending, PostgresError> {
        let wrong = |what: &str| PostgresError::Answer { what: format!("{PROGRAM} says nothing of {what}") };
        let stop = said.iter().find_map(|line| parse_lsn(line.split_once(END_POINT)?.1));
        Ok(Ending {
            stop: stop.ok_or_else(|| wrong("where the log ends"))?,
            stopped_ms,
            label: Label::parse(&self.label_file).ok_or_else(|| wrong("where the log begins"))?,
            label_file: self.label_file.clone(),
            map_file: self.map_file.clone(),
        })
    }
}

/// The file that these are changes of.
fn changes_of(name: &str) -> Option<String> {
    let (folder, file) = name.rsplit_once('/').map_or(("", name), |(folder, file)| (folder, file));
    let file = file.strip_prefix(incremental::PREFIX)?;
    Some(if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") })
}

fn broken(source: io::Error) -> PostgresError {
    PostgresError::Start { program: PROGRAM.into(), source }
}

fn metadata_of(header: &tar::Header) -> io::Result<Metadata> {
    let number = |number: io::Result<u64>| number.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    let name = |name: Result<Option<&str>, _>| {
        name.ok().flatten().filter(|name| !name.is_empty()).map(str::to_owned)
    };
    Ok(Metadata {
        mode: header.mode()? & 0o7777,
        uid: number(header.uid())?,
        gid: number(header.gid())?,
        user: name(header.username()),
        group: name(header.groupname()),
        mtime_ns: i64::try_from(header.mtime()?).unwrap_or_default().saturating_mul(1_000_000_000),
        ..Metadata::default()
    })
}
