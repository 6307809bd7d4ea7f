//! A dump as it comes, on its way into the sort.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strongroom_repository::monitor::Monitor;

use super::rdb::{Kind, Part, RdbError, RdbReader, copy_value, op, write_string};
use super::record::{Held, Record, SortedMembers};
use super::sort::{Sorted, Sorter};
use super::spill::Spill;

/// Of the sort of all keys, bytes; two are filled and sorted at a time.
const RUN_BYTES: usize = 8 << 20;
/// Sorted runs that wait in memory, bytes; all others in the temporary file.
const HELD_BYTES: usize = 128 << 20;
/// Between two looks at whether somebody gave up.
const KEYS_AT_ONCE: u64 = 4096;

/// What of a dump's own fields changes by itself, or is said anew when one is made.
const PASSING: [&[u8]; 12] = [
    b"redis-ver",
    b"valkey-ver",
    b"redis-bits",
    b"ctime",
    b"used-mem",
    b"aof-preamble",
    b"aof-base",
    b"repl-stream-db",
    b"repl-id",
    b"repl-offset",
    b"cluster-asm-task",
    b"mvcc-tstamp",
];

/// What a database holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) keys: u64,
    pub(super) expires: u64,
    pub(super) kinds: BTreeMap<Kind, u64>,
}

/// Takes dumps.
pub(super) struct Intake {
    folder: PathBuf,
    spill: Arc<Spill>,
    sorter: Sorter,
    members: SortedMembers,
    /// Of the last key; its memory is used again.
    body: Vec<u8>,
    pub(super) databases: BTreeMap<u64, Counts>,
    pub(super) functions: BTreeSet<Vec<u8>>,
    /// Several may have one name: each script of a server before 7.0 is one.
    pub(super) aux: BTreeSet<(Vec<u8>, Vec<u8>)>,
    /// All masters of a cluster have the same; each once, as they came.
    pub(super) modules_before: Vec<Vec<u8>>,
    pub(super) modules_after: Vec<Vec<u8>>,
    /// The newest of the dumps.
    pub(super) version: u32,
    /// Whether each had a checksum.
    pub(super) is_summed: bool,
}

impl Intake {
    /// What does not fit in memory goes to a sealed temporary file in that folder.
    ///
    /// # Errors
    /// When the system gives no key for it.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        let spill = Spill::new(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            sorter: Sorter::new(&spill, RUN_BYTES, HELD_BYTES),
            members: SortedMembers::new(&spill),
            body: Vec::new(),
            spill,
            databases: BTreeMap::new(),
            functions: BTreeSet::new(),
            aux: BTreeSet::new(),
            modules_before: Vec::new(),
            modules_after: Vec::new(),
            version: 0,
            is_summed: true,
        })
    }

    /// Of the temporary file.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes a dump to its checksum. Gives how many keys it had.
    ///
    /// # Errors
    /// What is wrong with it; `Write` when it cannot be sorted.
    pub(super) fn take<R: Read>(
        &mut self,
        reader: &mut RdbReader<R>,
        monitor: &dyn Monitor,
    ) -> Result<u64, RdbError> {
        self.version = self.version.max(reader.version());
        let (mut keys, mut sort_key, mut told) = (0_u64, Vec::new(), 0);
        loop {
            match reader.next_part()? {
                Part::Aux { name, value } => {
                    if !PASSING.contains(&name.as_slice()) {
                        self.aux.insert((name, value));
                    }
                }
                Part::Function(bytes) => {
                    self.functions.insert(bytes);
                }
                Part::ModuleAux { bytes, is_before } => {
                    let known = if is_before { &mut self.modules_before } else { &mut self.modules_after };
                    if !known.contains(&bytes) {
                        known.push(bytes);
                    }
                }
                Part::Key { database, expires_ms, code } => {
                    self.take_key(reader, database, expires_ms, code, &mut sort_key)?;
                    keys += 1;
                    if keys.is_multiple_of(KEYS_AT_ONCE) {
                        let offset = reader.input().offset();
                        monitor.advance(offset - told);
                        told = offset;
                        if monitor.is_cancelled() {
                            return Err(RdbError::Read(io::Error::other("it was given up")));
                        }
                    }
                }
                Part::End => break,
            }
        }
        self.is_summed &= reader.is_summed();
        Ok(keys)
    }

    fn take_key<R: Read>(
        &mut self,
        reader: &mut RdbReader<R>,
        database: u64,
        expires_ms: Option<u64>,
        code: u8,
        sort_key: &mut Vec<u8>,
    ) -> Result<(), RdbError> {
        // Behind its database.
        sort_key.clear();
        sort_key.extend_from_slice(&database.to_be_bytes());
        reader.append_key(sort_key)?;
        let mut record = Record::new(&self.spill, std::mem::take(&mut self.body));
        record.put(&[u8::from(expires_ms.is_some())])?;
        if let Some(expires_ms) = expires_ms {
            record.put(&expires_ms.to_le_bytes())?;
        }
        record.put(&[code])?;
        copy_value(reader.input(), code, &mut self.members, &mut record)?;
        let pushed = match record.finish().map_err(RdbError::Write)? {
            Held::Small(body) => {
                self.body = body;
                self.sorter.push(sort_key, &self.body)
            }
            Held::Large(body) => self.sorter.push_large(sort_key, body),
        };
        pushed.map_err(RdbError::Write)?;
        let counts = self.databases.entry(database).or_default();
        counts.keys += 1;
        counts.expires += u64::from(expires_ms.is_some());
        if let Some(kind) = Kind::of(code) {
            *counts.kinds.entry(kind).or_default() += 1;
        }
        Ok(())
    }

    /// All that was taken, in its order.
    ///
    /// # Errors
    /// When the temporary file cannot be written or read.
    pub(super) fn finish(&mut self) -> io::Result<Keys> {
        Ok(Keys { sorted: self.sorter.finish()?, last: Vec::new(), before: Vec::new() })
    }
}

/// Keys in their order, database by database.
pub(super) struct Keys {
    sorted: Sorted,
    last: Vec<u8>,
    /// What stands before the value of the next key.
    before: Vec<u8>,
}

/// Why the keys of a database could not be written.
#[derive(Debug)]
pub(super) enum WriteError {
    Io(io::Error),
    /// Two of one name.
    Twice(Vec<u8>),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Keys {
    /// The database of the next key.
    pub(super) fn next_database(&self) -> Option<u64> {
        self.sorted.peek().and_then(database_of)
    }

    /// Writes the keys of a database as they stand in a dump.
    ///
    /// # Errors
    /// `Twice`; `Io`.
    pub(super) fn write_database(&mut self, database: u64, out: &mut impl Write) -> Result<(), WriteError> {
        while self.next_database() == Some(database) {
            let Some((sort_key, body)) = self.sorted.next_record()? else { break };
            let key = sort_key.get(8..).unwrap_or_default();
            if self.last == sort_key {
                return Err(WriteError::Twice(key.to_vec()));
            }
            self.last.clear();
            self.last.extend_from_slice(sort_key);
            let mut is_first = true;
            let before = &mut self.before;
            body.pass(&mut |piece| {
                if !std::mem::take(&mut is_first) {
                    return out.write_all(piece);
                }
                let head = if piece.first() == Some(&0) { 1 } else { 9 };
                let (head, rest) = piece.split_at_checked(head).ok_or(io::ErrorKind::InvalidData)?;
                let (code, rest) = rest.split_at_checked(1).ok_or(io::ErrorKind::InvalidData)?;
                before.clear();
                if let Some(expires) = head.get(1..).filter(|expires| !expires.is_empty()) {
                    before.push(op::EXPIRES_MS);
                    before.extend_from_slice(expires);
                }
                before.extend_from_slice(code);
                write_string(before, key)?;
                out.write_all(before)?;
                out.write_all(rest)
            })?;
        }
        Ok(())
    }
}

fn database_of(sort_key: &[u8]) -> Option<u64> {
    sort_key.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use strongroom_repository::monitor::Silent;

    use super::*;

    /// A dump without keys or checksum.
    fn dump(scripts: &[&str], module: &[u8]) -> Vec<u8> {
        let mut bytes = b"REDIS0009".to_vec();
        for script in scripts {
            bytes.push(op::AUX);
            write_string(&mut bytes, b"lua").unwrap();
            write_string(&mut bytes, script.as_bytes()).unwrap();
        }
        bytes.extend_from_slice(module);
        bytes.push(op::END);
        bytes.extend_from_slice(&[0; 8]);
        bytes
    }

    #[test]
    fn scripts_are_many_and_what_all_masters_have_is_kept_once() {
        // A module, when it is written (a number: before the keys), and a number of its own.
        let module = |own: u8| [op::MODULE_AUX, 9, 2, 1, 2, own, 0];
        let mut intake = Intake::new(&std::env::temp_dir()).unwrap();
        for dump in [
            dump(&["return 2", "return 1"], &module(7)),
            dump(&["return 1"], &module(7)),
            dump(&[], &module(8)),
        ] {
            intake.take(&mut RdbReader::new(&dump[..]).unwrap(), &Silent).unwrap();
        }
        let scripts: Vec<&[u8]> = intake.aux.iter().map(|(_, script)| &script[..]).collect();
        assert_eq!(scripts, [b"return 1", b"return 2"]);
        assert_eq!(intake.modules_before, [module(7), module(8)]);
        assert!(intake.modules_after.is_empty());
    }
}
