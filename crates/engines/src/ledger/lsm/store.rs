//! A folder of RocksDB or LevelDB, pinned: what it was at one moment can be read whatever is written, merged or deleted later.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::Resource;
use strongroom_format::tree_entry::TreeEntry;

use super::manifest::{Dialect, Version, read_manifest};
use super::records::Records;
use crate::files::{Walk, WalkOptions, Walked, WalkedEntry};
use crate::ledger::error::LedgerError;
use crate::ledger::facts::StoreFacts;

/// Names the manifest that counts.
pub(crate) const CURRENT: &str = "CURRENT";
const MANIFEST: &str = "MANIFEST-";
/// Longest content of `CURRENT` that names a manifest, bytes.
const CURRENT_BYTES: u64 = 64;

/// A file of a pinned database.
#[derive(Debug)]
pub(crate) struct PinnedFile {
    /// As it lies there.
    pub(crate) walked: WalkedEntry,
    pub(crate) content: PinnedContent,
}

/// How its content is had.
#[derive(Debug)]
pub(crate) enum PinnedContent {
    /// The parent snapshot has it.
    Known(Box<TreeEntry>),
    /// The first so many bytes of an open file.
    Open(File, u64),
    /// The same of a log with that number: its records must still be there when it has been read.
    Log(File, u64, u64),
    /// These bytes.
    Bytes(Vec<u8>),
}

/// A pinned database.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    mark: Mark,
    /// In the order of their paths.
    pub(crate) files: Vec<PinnedFile>,
    pub(crate) facts: StoreFacts,
}

/// By what one sees that something was written.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    current: Vec<u8>,
    manifest_bytes: u64,
    /// Number and length of each log.
    logs: Vec<(u64, u64)>,
}

/// What a name in the folder of a database says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Current,
    Manifest,
    Log(u64),
    Table(u64),
    Blob(u64),
    /// Not one of what the manifest decides about.
    Other,
}

impl Name {
    pub(crate) fn of(name: &str) -> Self {
        if name == CURRENT {
            return Self::Current;
        }
        if name.strip_prefix(MANIFEST).is_some_and(|number| number.parse::<u64>().is_ok()) {
            return Self::Manifest;
        }
        let Some((number, suffix)) = name.split_once('.') else { return Self::Other };
        let Some(number) = number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))
        else {
            return Self::Other;
        };
        match suffix {
            "log" => Self::Log(number),
            "sst" | "ldb" => Self::Table(number),
            "blob" => Self::Blob(number),
            _ => Self::Other,
        }
    }
}

/// Whether a folder with these names in it is one of a database.
pub(crate) fn manifest_of(folder: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(folder.join(CURRENT)).ok()?.take(CURRENT_BYTES).read_to_string(&mut text).ok()?;
    let name = text.strip_suffix('\n')?;
    (Name::of(name) == Name::Manifest).then(|| name.to_owned())
}

/// Pins the database once; none if it changed meanwhile. `known` gives what the parent snapshot has of a table.
///
/// # Errors
/// `Manifest`, `Store`, `Read`.
pub(crate) fn pin(
    folder: &Path,
    name: String,
    known: &mut dyn FnMut(&WalkedEntry) -> Option<TreeEntry>,
) -> Result<Option<Store>, LedgerError> {
    let Some(mark) = mark(folder)? else { return Ok(None) };
    let manifest_name = String::from_utf8_lossy(&mark.current).trim_end().to_owned();
    let path = folder.join(&manifest_name);
    let Some(manifest) = opened(&path)? else { return Ok(None) };
    let (version, manifest_bytes) =
        match read_manifest(io::BufReader::new((&manifest).take(mark.manifest_bytes))) {
            Ok(read) => read,
            Err(source) => return unless_moved(folder, &mark, LedgerError::Manifest { path, source }),
        };
    let mut pinning = Pinning { folder, version: &version, manifest_name: &manifest_name, files: Vec::new() };
    let mut facts = StoreFacts {
        path: name,
        kind: if version.dialect == Dialect::RocksDb { "rocksdb" } else { "leveldb" }.into(),
        manifest: manifest_name.clone(),
        tables: 0,
        blobs: 0,
        bytes: 0,
        log_bytes: 0,
    };
    if !pinning.all((manifest, manifest_bytes), &mark, known, &mut facts)? {
        return Ok(None);
    }
    let mut files = pinning.files;
    if let Some(what) = missing(&version, &files) {
        return unless_moved(folder, &mark, LedgerError::Store { folder: folder.to_owned(), what });
    }
    files.sort_by(|one, other| one.walked.entry.path.cmp(&other.walked.entry.path));
    let is_still = self::mark(folder)?
        .is_some_and(|now| (&now.current, now.manifest_bytes) == (&mark.current, mark.manifest_bytes));
    Ok(is_still.then(|| Store { folder: folder.to_owned(), mark, files, facts }))
}

impl Store {
    /// Whether nothing was written since it was pinned.
    pub(crate) fn is_quiet(&self) -> Result<bool, LedgerError> {
        Ok(mark(&self.folder)?.is_some_and(|now| now == self.mark))
    }
}

struct Pinning<'p> {
    folder: &'p Path,
    version: &'p Version,
    manifest_name: &'p str,
    files: Vec<PinnedFile>,
}

impl Pinning<'_> {
    /// Opens all that counts; `false` if something of it was deleted meanwhile.
    fn all(
        &mut self,
        manifest: (File, u64),
        mark: &Mark,
        known: &mut dyn FnMut(&WalkedEntry) -> Option<TreeEntry>,
        facts: &mut StoreFacts,
    ) -> Result<bool, LedgerError> {
        let tables: std::collections::HashSet<u64> =
            self.version.tables().map(|(number, _)| number).collect();
        let blobs: std::collections::HashSet<u64> = self.version.blob_files().collect();
        let mut manifest = Some(manifest);
        for walked in entries_of(self.folder)? {
            let name = walked.os_path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let content = match Name::of(&name) {
                Name::Current => Some(PinnedContent::Bytes(mark.current.clone())),
                Name::Manifest if name == self.manifest_name => {
                    manifest.take().map(|(file, bytes)| PinnedContent::Open(file, bytes))
                }
                Name::Table(number) if tables.contains(&number) => {
                    facts.tables += 1;
                    facts.bytes += walked.size;
                    Self::immutable(&walked, known)?
                }
                Name::Blob(number) if blobs.contains(&number) => {
                    facts.blobs += 1;
                    facts.bytes += walked.size;
                    Self::immutable(&walked, known)?
                }
                Name::Log(number) if self.version.needs_log(number) => {
                    let length = mark.logs.iter().find(|(log, _)| *log == number).map(|(_, length)| *length);
                    // Begun after what is pinned.
                    let Some(length) = length else { continue };
                    let Some(file) = opened(&walked.os_path)? else { return Ok(false) };
                    let whole = whole_records(&file, length, number)
                        .map_err(|source| LedgerError::Read { path: walked.os_path.clone(), source })?;
                    facts.log_bytes += whole;
                    Some(PinnedContent::Log(file, whole, number))
                }
                _ => continue,
            };
            let Some(content) = content else { return Ok(false) };
            self.files.push(PinnedFile { walked, content });
        }
        Ok(manifest.is_none())
    }

    fn immutable(
        walked: &WalkedEntry,
        known: &mut dyn FnMut(&WalkedEntry) -> Option<TreeEntry>,
    ) -> Result<Option<PinnedContent>, LedgerError> {
        if let Some(known) = known(walked) {
            return Ok(Some(PinnedContent::Known(Box::new(known))));
        }
        Ok(opened(&walked.os_path)?.map(|file| PinnedContent::Open(file, walked.size)))
    }
}

/// Up to where a log has whole records, bytes.
pub(crate) fn whole_records(file: &File, length: u64, number: u64) -> io::Result<u64> {
    let mut records = Records::new(At { file, offset: 0, end: length }, Some(number));
    while records.next_record(None)? {}
    Ok(records.whole_bytes())
}

/// A part of a file, without the file's own position.
pub(crate) struct At<'f> {
    pub(crate) file: &'f File,
    pub(crate) offset: u64,
    pub(crate) end: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX).min(buffer.len());
        let read = std::os::unix::fs::FileExt::read_at(self.file, &mut buffer[..wanted], self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// What of a version is not there, in words.
fn missing(version: &Version, files: &[PinnedFile]) -> Option<String> {
    let mut there = std::collections::HashMap::new();
    for file in files {
        let name = file.walked.os_path.file_name().unwrap_or_default().to_string_lossy();
        if let name @ (Name::Table(_) | Name::Blob(_)) = Name::of(&name) {
            let number = match name {
                Name::Blob(number) => (number, true),
                Name::Table(number) => (number, false),
                _ => continue,
            };
            there.insert(number, file.walked.size);
        }
    }
    for (number, bytes) in version.tables() {
        match there.get(&(number, false)) {
            None => return Some(format!("table {number:06} is missing")),
            Some(found) if *found != bytes => {
                return Some(format!("table {number:06} has {found} bytes and not {bytes}"));
            }
            Some(_) => {}
        }
    }
    let blob = version.blob_files().find(|number| !there.contains_key(&(*number, true)))?;
    Some(format!("the file of blobs {blob:06} is missing"))
}

/// The files that lie in the folder itself.
fn entries_of(folder: &Path) -> Result<Vec<WalkedEntry>, LedgerError> {
    let mut entries = Vec::new();
    let broken = |source| LedgerError::Read { path: folder.to_owned(), source };
    for walked in Walk::new(&[folder.to_owned()], WalkOptions::default())
        .map_err(|error| broken(io::Error::other(error)))?
    {
        match walked {
            Walked::Entry(walked) if walked.is_file() && walked.os_path.parent() == Some(folder) => {
                entries.push(*walked);
            }
            Walked::Failed { path, error, vanished: false, .. } => {
                return Err(LedgerError::Read { path, source: error });
            }
            _ => {}
        }
    }
    Ok(entries)
}

fn mark(folder: &Path) -> Result<Option<Mark>, LedgerError> {
    let broken = |source| LedgerError::Read { path: folder.to_owned(), source };
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(broken)? {
        let entry = entry.map_err(broken)?;
        if let Name::Log(number) = Name::of(&entry.file_name().to_string_lossy()) {
            match entry.metadata() {
                Ok(metadata) => logs.push((number, metadata.size())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(broken(error)),
            }
        }
    }
    logs.sort_unstable();
    let Some(manifest) = manifest_of(folder) else { return Ok(None) };
    match std::fs::metadata(folder.join(&manifest)) {
        Ok(metadata) => {
            let current = format!("{manifest}\n").into_bytes();
            Ok(Some(Mark { current, manifest_bytes: metadata.size(), logs }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(broken(error)),
    }
}

/// An error counts only where nothing changed meanwhile.
fn unless_moved(folder: &Path, mark: &Mark, error: LedgerError) -> Result<Option<Store>, LedgerError> {
    if self::mark(folder)?.is_some_and(|now| now == *mark) { Err(error) } else { Ok(None) }
}

fn opened(path: &Path) -> Result<Option<File>, LedgerError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {
            let limit = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
            Err(LedgerError::OpenFiles { path: path.to_owned(), limit })
        }
        Err(source) => Err(LedgerError::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(Name::of("CURRENT"), Name::Current);
        assert_eq!(Name::of("MANIFEST-000004"), Name::Manifest);
        assert_eq!(Name::of("000123.sst"), Name::Table(123));
        assert_eq!(Name::of("000123.ldb"), Name::Table(123));
        assert_eq!(Name::of("7.log"), Name::Log(7));
        assert_eq!(Name::of("000009.blob"), Name::Blob(9));
        for other in ["LOCK", "LOG", "+1.log", "OPTIONS-000007", "MANIFEST-", "x.sst", "1.log.bak"] {
            assert_eq!(Name::of(other), Name::Other, "{other}");
        }
    }
}
