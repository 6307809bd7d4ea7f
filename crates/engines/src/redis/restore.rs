//! A snapshot's databases, given back.

use std::io::{self, Write};

use strongroom_repository::RepositoryError;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::restore::write_in_order;
use strongroom_repository::state::Snapshot;

use super::error::RedisError;
use super::facts::{DatabaseFacts, Facts};
use super::layout;
use super::pipe::{PipeReader, pipe};
use super::rdb::{Crc64, op, write_length, write_string};
use crate::engine::EngineError;
use crate::stored;

/// A snapshot of Redis.
pub struct Dumps<'r> {
    pub(super) reader: &'r Reader<'r>,
    pub(super) snapshot: &'r Snapshot,
    pub(super) facts: Facts,
}

impl<'r> Dumps<'r> {
    /// Reads what the snapshot says of itself.
    ///
    /// # Errors
    /// `NotRedis`; what reading the facts fails with.
    pub fn open(reader: &'r Reader<'r>, snapshot: &'r Snapshot) -> Result<Self, EngineError> {
        Ok(Self { reader, snapshot, facts: Facts::of(reader, snapshot)? })
    }

    /// The databases in it, by number.
    #[must_use]
    pub fn databases(&self) -> Vec<u64> {
        self.facts.databases.iter().map(|database| database.number).collect()
    }

    /// Those that are wanted; all of them where none is named.
    pub(super) fn chosen(&self, only: &[u64]) -> Result<Vec<&DatabaseFacts>, RedisError> {
        let find = |number: &u64| {
            let found = self.facts.databases.iter().find(|database| database.number == *number);
            let there = || self.databases().iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
            found.ok_or_else(|| RedisError::NoDatabase { database: *number, there: there() })
        };
        match only {
            [] => Ok(self.facts.databases.iter().collect()),
            only => only.iter().map(find).collect(),
        }
    }

    /// Writes a dump as the server would: without compression, in the order of its keys. Gives its bytes.
    ///
    /// # Errors
    /// `NoDatabase`; what reading the snapshot fails with; `Write`.
    pub fn write(
        &self,
        only: &[u64],
        out: &mut dyn Write,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<u64, EngineError> {
        let databases = self.chosen(only)?;
        let mut out = Summed { out, crc: Crc64::default(), bytes: 0 };
        let failed = |source| RepositoryError::Write { source };
        write!(out, "REDIS{:04}", self.facts.rdb_version).map_err(failed)?;
        let version = self.facts.server_version.as_bytes();
        for (name, value) in [(&b"redis-ver"[..], version), (b"redis-bits", b"64")] {
            out.write_all(&[op::AUX]).map_err(failed)?;
            write_string(&mut out, name).and_then(|()| write_string(&mut out, value)).map_err(failed)?;
        }
        for path in [layout::AUX, layout::MODULES_BEFORE, layout::FUNCTIONS] {
            self.write_part(path, &mut out, monitor, workers)?;
        }
        for database in databases {
            out.write_all(&[op::SELECT_DATABASE]).map_err(failed)?;
            write_length(&mut out, database.number).map_err(failed)?;
            out.write_all(&[op::RESIZE_DATABASE]).map_err(failed)?;
            write_length(&mut out, database.keys).map_err(failed)?;
            write_length(&mut out, database.expires).map_err(failed)?;
            for path in database.paths() {
                let content = stored::content(self.reader, self.snapshot, &path)?;
                write_in_order(self.reader, &content, &mut out, monitor, workers)?;
            }
        }
        self.write_part(layout::MODULES_AFTER, &mut out, monitor, workers)?;
        out.write_all(&[op::END]).map_err(failed)?;
        let crc = out.crc.value();
        out.write_all(&crc.to_le_bytes()).map_err(failed)?;
        out.flush().map_err(failed)?;
        Ok(out.bytes)
    }

    fn write_part(
        &self,
        path: &str,
        out: &mut dyn Write,
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<(), EngineError> {
        if let Some(content) = stored::find(self.reader, self.snapshot, path)? {
            write_in_order(self.reader, &content, out, monitor, workers)?;
        }
        Ok(())
    }

    /// A small entry; nothing if there is none.
    pub(super) fn small(&self, path: &str, monitor: &dyn Monitor) -> Result<Vec<u8>, EngineError> {
        let mut bytes = Vec::new();
        self.write_part(path, &mut bytes, monitor, 1)?;
        Ok(bytes)
    }

    /// Has another thread read a database, and this one look at its keys: in their order, or in that of each worker that
    /// had a part of them.
    ///
    /// # Errors
    /// What reading the snapshot fails with, before what `look` does.
    pub(super) fn read_database<T>(
        &self,
        number: u64,
        monitor: &dyn Monitor,
        workers: usize,
        look: impl FnOnce(PipeReader) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let mut contents = Vec::new();
        for database in self.chosen(&[number])? {
            for path in database.paths() {
                contents.push(stored::content(self.reader, self.snapshot, &path)?);
            }
        }
        let (mut writer, reader) = pipe();
        std::thread::scope(|scope| {
            let reading = scope.spawn(move || {
                for content in &contents {
                    write_in_order(self.reader, content, &mut writer, monitor, workers)?;
                }
                writer.finish().map_err(|source| RepositoryError::Write { source })
            });
            let looked = look(reader);
            match reading.join().unwrap_or(Err(RepositoryError::Cancelled)) {
                // Who looked had seen enough.
                Ok(()) | Err(RepositoryError::Write { .. }) => looked,
                Err(error) => Err(error.into()),
            }
        })
    }
}

/// With the checksum of what was written.
struct Summed<'w> {
    out: &'w mut dyn Write,
    crc: Crc64,
    bytes: u64,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.crc.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
