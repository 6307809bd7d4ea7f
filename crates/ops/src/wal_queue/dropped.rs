//! Files of a log that were given up: kept on this host until the repository knows.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use strongroom_format::wal_file::LogFile;

const EXTENSION: &str = "dropped";

/// Why the trace of what was dropped cannot be kept or read.
#[derive(Debug, thiserror::Error)]
#[error("what of a log was dropped cannot be kept in {}", .folder.display())]
pub struct SpoolError {
    /// Where it is kept.
    pub folder: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Files that were dropped together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedFiles {
    /// Whose log it is.
    pub source: String,
    /// The database system identifier.
    #[serde(with = "text")]
    pub system: u64,
    /// When, ms since 1970, by this host's clock.
    pub time_ms: i64,
    /// What was waiting, bytes.
    pub waiting_bytes: u64,
    /// What may wait, bytes.
    pub limit_bytes: u64,
    /// Why they could not be pushed.
    pub reason: String,
    /// All of them.
    #[serde(with = "text::list")]
    pub files: Vec<LogFile>,
    /// Those that the server has not been told of yet.
    #[serde(with = "text::list")]
    pub untold: Vec<LogFile>,
    /// Whether the repository's journal has it.
    pub is_noted: bool,
}

/// Segments of a timeline, from the first to the last that was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DroppedRange {
    /// The first.
    pub first: LogFile,
    /// The last.
    pub last: LogFile,
    /// How many.
    pub segments: u64,
}

impl DroppedFiles {
    /// The segments, by timeline.
    #[must_use]
    pub fn ranges(&self) -> Vec<DroppedRange> {
        let mut ranges: BTreeMap<u32, DroppedRange> = BTreeMap::new();
        for file in self.files.iter().filter(|file| matches!(file, LogFile::Segment(_))) {
            let range = ranges.entry(file.timeline()).or_insert(DroppedRange {
                first: *file,
                last: *file,
                segments: 0,
            });
            (range.first, range.last) = (range.first.min(*file), range.last.max(*file));
            range.segments += 1;
        }
        ranges.into_values().collect()
    }
}

/// Where this host keeps what was dropped.
#[derive(Debug, Clone)]
pub struct Dropped {
    folder: PathBuf,
}

impl Dropped {
    /// In that folder; it is made when there is something to keep.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// All that the repository or the server is still to be told of. What is none of these files is passed over.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn list(&self) -> Result<Vec<(PathBuf, DroppedFiles)>, SpoolError> {
        let entries = match self.folder.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.failed(source)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(|source| self.failed(source))?.path();
            if path.extension().is_none_or(|extension| extension != EXTENSION) {
                continue;
            }
            let text = match std::fs::read(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(self.failed(source)),
            };
            let files = serde_json::from_slice(&text).map_err(|error| self.failed(error.into()))?;
            found.push((path, files));
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }

    /// Keeps what is dropped now; durable when this returns.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn keep(&self, dropped: &DroppedFiles) -> Result<PathBuf, SpoolError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|source| self.failed(source))?;
        let name = format!("{:016x}-{:016x}-{}", dropped.time_ms, dropped.system, std::process::id());
        let path = self.folder.join(name).with_extension(EXTENSION);
        self.write(&path, dropped)?;
        Ok(path)
    }

    /// Whether a file was dropped that the server does not know of yet: then it is told now, and this is remembered.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn tell_server(&self, source: &str, system: u64, file: LogFile) -> Result<bool, SpoolError> {
        for (path, mut dropped) in self.list()? {
            if dropped.source != source || dropped.system != system {
                continue;
            }
            if let Some(at) = dropped.untold.iter().position(|untold| *untold == file) {
                dropped.untold.swap_remove(at);
                self.replace(&path, &dropped)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Remembers that the repository's journal has it.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn set_noted(&self, path: &Path, dropped: &DroppedFiles) -> Result<(), SpoolError> {
        self.replace(path, &DroppedFiles { is_noted: true, ..dropped.clone() })
    }

    /// What nobody is to be told of any more is forgotten.
    fn replace(&self, path: &Path, dropped: &DroppedFiles) -> Result<(), SpoolError> {
        if dropped.is_noted && dropped.untold.is_empty() {
            return std::fs::remove_file(path).map_err(|source| self.failed(source));
        }
        self.write(path, dropped)
    }

    fn write(&self, path: &Path, dropped: &DroppedFiles) -> Result<(), SpoolError> {
        let write = || {
            let temporary = path.with_extension("new");
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(&serde_json::to_vec(dropped)?)?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> SpoolError {
        SpoolError { folder: self.folder.clone(), source }
    }
}

/// As people read them.
mod text {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }

    pub(super) mod list {
        use serde::de::Error as _;
        use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
        use strongroom_format::wal_file::LogFile;

        pub(in super::super) fn serialize<S: Serializer>(
            files: &[LogFile],
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            files.iter().map(LogFile::to_string).collect::<Vec<_>>().serialize(serializer)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Vec<LogFile>, D::Error> {
            let names = Vec::<String>::deserialize(deserializer)?;
            names.iter().map(|name| name.parse().map_err(D::Error::custom)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(places: std::ops::RangeInclusive<u64>) -> DroppedFiles {
        let mut files: Vec<LogFile> =
            places.map(|place| format!("00000001{place:016X}").parse().unwrap()).collect();
        files.push("00000002.history".parse().unwrap());
        DroppedFiles {
            source: "postgres".into(),
            system: u64::MAX,
            time_ms: 7,
            waiting_bytes: 3 << 24,
            limit_bytes: 1 << 24,
            reason: "the store is away".into(),
            untold: files.clone(),
            files,
            is_noted: false,
        }
    }

    #[test]
    fn it_is_kept_until_everybody_was_told() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Dropped::new(&folder.path().join("spool"));
        assert_eq!(spool.list().unwrap(), []);
        let gone = dropped(2..=3);
        let path = spool.keep(&gone).unwrap();
        assert_eq!(spool.list().unwrap(), [(path.clone(), gone.clone())]);
        let file = gone.files[0];
        assert!(!spool.tell_server("other", u64::MAX, file).unwrap());
        assert!(!spool.tell_server("postgres", 1, file).unwrap());
        assert!(spool.tell_server("postgres", u64::MAX, file).unwrap());
        assert!(
            !spool.tell_server("postgres", u64::MAX, file).unwrap(),
            "once: it may be there again to be saved"
        );
        let (_, kept) = spool.list().unwrap().remove(0);
        spool.set_noted(&path, &kept).unwrap();
        for file in &gone.files[1..] {
            assert!(spool.tell_server("postgres", u64::MAX, *file).unwrap());
        }
        assert_eq!(spool.list().unwrap(), []);
    }

    #[test]
    fn segments_are_told_as_ranges() {
        let [range] = dropped(2..=9).ranges()[..] else { panic!("one timeline") };
        let ends = (range.first.to_string(), range.last.to_string(), range.segments);
        assert_eq!(ends, ("000000010000000000000002".into(), "000000010000000000000009".into(), 8));
    }
}
