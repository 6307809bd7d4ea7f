//! A manifest: the edits from which it follows which tables, blob files and logs of a database count.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::records::{End, Records};

/// Tags of fields; from [`NEW_FILE_2`](tag::NEW_FILE_2) on RocksDB's own.
mod tag {
    pub(super) const COMPARATOR: u64 = 1;
    pub(super) const LOG_NUMBER: u64 = 2;
    pub(super) const NEXT_FILE_NUMBER: u64 = 3;
    pub(super) const LAST_SEQUENCE: u64 = 4;
    pub(super) const COMPACT_CURSOR: u64 = 5;
    pub(super) const DELETED_FILE: u64 = 6;
    pub(super) const NEW_FILE: u64 = 7;
    pub(super) const PREVIOUS_LOG_NUMBER: u64 = 9;
    pub(super) const MIN_LOG_NUMBER: u64 = 10;
    pub(super) const NEW_FILE_2: u64 = 100;
    pub(super) const NEW_FILE_3: u64 = 102;
    pub(super) const NEW_FILE_4: u64 = 103;
    pub(super) const COLUMN_FAMILY: u64 = 200;
    pub(super) const COLUMN_FAMILY_ADD: u64 = 201;
    pub(super) const COLUMN_FAMILY_DROP: u64 = 202;
    pub(super) const MAX_COLUMN_FAMILY: u64 = 203;
    pub(super) const IN_ATOMIC_GROUP: u64 = 300;
    pub(super) const BLOB_FILE: u64 = 400;
    pub(super) const BLOB_GARBAGE: u64 = 401;
    /// Fields from here on have a length, and may be passed over.
    pub(super) const SAFE_TO_IGNORE: u64 = 1 << 13;
    pub(super) const WAL_ADDITION: u64 = SAFE_TO_IGNORE + 4;
    pub(super) const WAL_DELETION: u64 = SAFE_TO_IGNORE + 5;
}

/// Of the further fields of a table, and of a log: the last.
const TERMINATE: u64 = 1;
/// Of the further fields of a file of blobs: the last.
const BLOB_LAST: u64 = 0;
/// Of further fields: those that who does not know them must not pass over.
const NOT_IGNORABLE: u64 = 1 << 6;
/// In which of the database's folders a table lies. Where that is another, the table is found missing.
const PATH_ID: u64 = 65;
/// Synced bytes, of the fields of a log.
const WAL_SYNCED: u64 = 2;

/// Why a manifest cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// A record of it is none.
    #[error("after {whole_bytes} bytes it is no manifest")]
    Damaged {
        /// Up to here it is.
        whole_bytes: u64,
    },
    /// An edit that is no edit.
    #[error("the edit that ends at byte {at} cannot be read: {reason:?}")]
    Edit {
        /// Where.
        at: u64,
        /// Why.
        reason: EditReason,
    },
}

/// What is wrong with an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditReason {
    /// It ends too early.
    Short,
    /// A number is longer than 64 bits.
    Number,
    /// A field that this program does not know, and that must not be passed over.
    UnknownField(u64),
    /// A table goes that is not there.
    NoSuchTable(u64),
}

/// Which kind of database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// LevelDB: nothing that RocksDB alone writes.
    #[default]
    LevelDb,
    /// RocksDB.
    RocksDb,
}

/// A table in a level of a column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    family: u64,
    level: u64,
    number: u64,
}

/// Which files count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// What wrote it.
    pub dialect: Dialect,
    tables: BTreeMap<Place, u64>,
    /// With how many blobs are in them, and how many of those nobody needs.
    blobs: BTreeMap<u64, (u64, u64)>,
    /// Of each column family: logs before this one hold nothing of it that is in no table.
    log_numbers: BTreeMap<u64, u64>,
    previous_log: u64,
    min_log: u64,
}

impl Version {
    /// The tables: number and bytes.
    pub fn tables(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.tables.iter().map(|(place, bytes)| (place.number, *bytes))
    }

    /// The numbers of files of blobs that somebody needs.
    pub fn blob_files(&self) -> impl Iterator<Item = u64> + '_ {
        self.blobs.iter().filter(|(_, (count, garbage))| garbage < count).map(|(number, _)| *number)
    }

    /// Whether a log holds what is in no table yet. One that does not may seem to: opening passes over it.
    #[must_use]
    pub fn needs_log(&self, number: u64) -> bool {
        let families = self.log_numbers.values().copied().min().unwrap_or_default();
        let first = if self.min_log > 0 { families.min(self.min_log) } else { families };
        number >= first || (self.previous_log > 0 && number == self.previous_log)
    }
}

/// Reads a manifest up to its last whole record, or group of records that count together. Gives what counts then, and up to
/// where that is, in bytes.
///
/// # Errors
/// `Damaged`, `Edit`, `Read`.
pub fn read_manifest(input: impl Read) -> Result<(Version, u64), ManifestError> {
    let mut records = Records::new(input, None);
    let (mut version, mut whole_bytes) = (Version::default(), 0);
    let mut payload = Vec::new();
    // Edits that count only when the last of them is there.
    let mut group = Vec::new();
    while records.next_record(Some(&mut payload))? {
        let at = records.whole_bytes();
        let wrong = |reason| ManifestError::Edit { at, reason };
        let edit = Edit::decode(&payload).map_err(wrong)?;
        let is_last = edit.left == 0;
        group.push(edit);
        if is_last {
            group.drain(..).try_for_each(|edit| version.apply(edit)).map_err(wrong)?;
            whole_bytes = at;
        }
    }
    match records.end() {
        End::Damaged => Err(ManifestError::Damaged { whole_bytes: records.whole_bytes() }),
        End::Whole | End::Cut => Ok((version, whole_bytes)),
    }
}

/// What a record says.
#[derive(Debug, Default)]
struct Edit {
    family: u64,
    /// How many more edits count together with this one.
    left: u64,
    is_rocks: bool,
    is_new_family: bool,
    is_dropped_family: bool,
    log_number: Option<u64>,
    previous_log: Option<u64>,
    min_log: u64,
    /// Level and number.
    deleted: Vec<(u64, u64)>,
    /// Level, number, bytes.
    added: Vec<(u64, u64, u64)>,
    /// Number, and how many are in it.
    blobs: Vec<(u64, u64)>,
    /// Number, and how many nobody needs any more.
    garbage: Vec<(u64, u64)>,
}

impl Edit {
    fn decode(bytes: &[u8]) -> Result<Self, EditReason> {
        let mut fields = Fields(bytes);
        let mut edit = Self::default();
        while !fields.0.is_empty() {
            let tag = fields.number()?;
            edit.is_rocks |= tag >= tag::NEW_FILE_2 || tag == tag::MIN_LOG_NUMBER;
            match tag {
                tag::COMPARATOR => drop(fields.bytes()?),
                tag::LOG_NUMBER => edit.log_number = Some(fields.number()?),
                tag::NEXT_FILE_NUMBER | tag::LAST_SEQUENCE | tag::MAX_COLUMN_FAMILY => {
                    fields.number()?;
                }
                tag::COMPACT_CURSOR => {
                    fields.number()?;
                    fields.bytes()?;
                }
                tag::DELETED_FILE => edit.deleted.push((fields.number()?, fields.number()?)),
                tag::NEW_FILE | tag::NEW_FILE_2 | tag::NEW_FILE_3 | tag::NEW_FILE_4 => {
                    edit.added.push(fields.table(tag)?);
                }
                tag::PREVIOUS_LOG_NUMBER => edit.previous_log = Some(fields.number()?),
                tag::MIN_LOG_NUMBER => edit.min_log = fields.number()?,
                tag::COLUMN_FAMILY => edit.family = fields.number()?,
                tag::COLUMN_FAMILY_ADD => {
                    fields.bytes()?;
                    edit.is_new_family = true;
                }
                tag::COLUMN_FAMILY_DROP => edit.is_dropped_family = true,
                tag::IN_ATOMIC_GROUP => edit.left = fields.number()?,
                tag::BLOB_FILE => {
                    edit.blobs.push((fields.number()?, fields.number()?));
                    fields.number()?;
                    fields.bytes()?;
                    fields.bytes()?;
                    fields.further(BLOB_LAST, &[])?;
                }
                tag::BLOB_GARBAGE => {
                    edit.garbage.push((fields.number()?, fields.number()?));
                    fields.number()?;
                    fields.further(BLOB_LAST, &[])?;
                }
                tag::WAL_ADDITION => fields.wal()?,
                tag::WAL_DELETION => drop(fields.number()?),
                tag if tag & tag::SAFE_TO_IGNORE != 0 => drop(fields.bytes()?),
                tag => return Err(EditReason::UnknownField(tag)),
            }
        }
        Ok(edit)
    }
}

impl Version {
    fn apply(&mut self, edit: Edit) -> Result<(), EditReason> {
        let family = edit.family;
        if edit.is_rocks {
            self.dialect = Dialect::RocksDb;
        }
        if edit.is_new_family {
            self.log_numbers.entry(family).or_insert(0);
        }
        if let Some(number) = edit.log_number {
            self.log_numbers.insert(family, number);
        }
        self.previous_log = edit.previous_log.unwrap_or(self.previous_log);
        self.min_log = self.min_log.max(edit.min_log);
        for (level, number) in edit.deleted {
            let gone = self.tables.remove(&Place { family, level, number });
            gone.ok_or(EditReason::NoSuchTable(number))?;
        }
        for (level, number, bytes) in edit.added {
            self.tables.insert(Place { family, level, number }, bytes);
        }
        self.blobs.extend(edit.blobs.into_iter().map(|(number, count)| (number, (count, 0))));
        for (number, count) in edit.garbage {
            if let Some((_, garbage)) = self.blobs.get_mut(&number) {
                *garbage = garbage.saturating_add(count);
            }
        }
        if edit.is_dropped_family {
            self.tables.retain(|place, _| place.family != family);
            self.log_numbers.remove(&family);
        }
        Ok(())
    }
}

/// What is left of an edit.
struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    /// Seven bits a byte, the low ones first.
    fn number(&mut self) -> Result<u64, EditReason> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first().ok_or(EditReason::Short)?;
            self.0 = rest;
            let bits = u64::from(first & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(EditReason::Number);
            }
            number |= bits << shift;
            if first & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(EditReason::Number)
    }

    fn bytes(&mut self) -> Result<&'b [u8], EditReason> {
        let length = usize::try_from(self.number()?).map_err(|_| EditReason::Short)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(EditReason::Short)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// Level, number, bytes.
    fn table(&mut self, tag: u64) -> Result<(u64, u64, u64), EditReason> {
        let (level, number) = (self.number()?, self.number()?);
        if tag == tag::NEW_FILE_3 {
            self.number()?;
        }
        let bytes = self.number()?;
        self.bytes()?;
        self.bytes()?;
        if tag != tag::NEW_FILE {
            self.number()?;
            self.number()?;
        }
        if tag == tag::NEW_FILE_4 {
            self.further(TERMINATE, &[PATH_ID])?;
        }
        Ok((level, number, bytes))
    }

    /// Further fields, up to the one that ends them. Those that who does not know them must not pass over are refused, unless they
    /// are `known`.
    fn further(&mut self, last: u64, known: &[u64]) -> Result<(), EditReason> {
        loop {
            match self.number()? {
                tag if tag == last => return Ok(()),
                tag if tag & NOT_IGNORABLE != 0 && !known.contains(&tag) => {
                    return Err(EditReason::UnknownField(tag));
                }
                _ => drop(self.bytes()?),
            }
        }
    }

    fn wal(&mut self) -> Result<(), EditReason> {
        self.number()?;
        loop {
            match self.number()? {
                TERMINATE => return Ok(()),
                WAL_SYNCED => drop(self.number()?),
                tag => return Err(EditReason::UnknownField(tag)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::records::tests::written;
    use super::*;

    fn number(out: &mut Vec<u8>, mut value: u64) {
        while value >= 0x80 {
            out.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        out.push(value.to_le_bytes()[0]);
    }

    fn edit(fields: &[&[u64]]) -> Vec<u8> {
        let mut out = Vec::new();
        fields.iter().flat_map(|field| field.iter()).for_each(|value| number(&mut out, *value));
        out
    }

    /// With keys of no bytes.
    fn new_table(family: u64, level: u64, table: u64, bytes: u64) -> Vec<u8> {
        edit(&[&[tag::COLUMN_FAMILY, family], &[tag::NEW_FILE_4, level, table, bytes, 0, 0, 1, 2, TERMINATE]])
    }

    fn tables(version: &Version) -> Vec<(u64, u64)> {
        version.tables().collect()
    }

    /// Two column families, files of blobs, deletions, merges: as rocksdict 0.3.29 and plyvel 1.5.1 wrote them.
    #[test]
    fn those_of_real_libraries() {
        let rocks = include_bytes!("../../../../../fuzz/seeds/lsm_manifest/rocksdb");
        let (version, whole) = read_manifest(&rocks[..]).unwrap();
        assert_eq!((version.tables().count(), version.blob_files().count()), (24, 9));
        assert_eq!((version.dialect, whole), (Dialect::RocksDb, rocks.len() as u64));
        assert!(version.needs_log(101));
        let level = include_bytes!("../../../../../fuzz/seeds/lsm_manifest/leveldb");
        let (version, whole) = read_manifest(&level[..]).unwrap();
        assert_eq!((version.tables().count(), version.dialect), (4, Dialect::LevelDb));
        assert_eq!((whole, version.needs_log(28), version.needs_log(4)), (level.len() as u64, true, false));
    }

    #[test]
    fn leveldb_s_own() {
        let edits = [
            edit(&[&[tag::COMPARATOR, 2, 65, 66], &[tag::LOG_NUMBER, 3], &[tag::PREVIOUS_LOG_NUMBER, 0]]),
            edit(&[&[tag::NEW_FILE, 0, 5, 4000, 0, 0], &[tag::COMPACT_CURSOR, 1, 0], &[tag::LOG_NUMBER, 6]]),
            edit(&[&[tag::DELETED_FILE, 0, 5], &[tag::NEW_FILE, 1, 7, 3000, 1, 9, 0]]),
        ];
        let bytes = written(&edits, None);
        let (version, whole) = read_manifest(&bytes[..]).unwrap();
        assert_eq!((tables(&version), whole), (vec![(7, 3000)], bytes.len() as u64));
        assert_eq!(version.dialect, Dialect::LevelDb);
        assert!(!version.needs_log(5) && version.needs_log(6) && version.needs_log(9));
    }

    #[test]
    fn column_families_have_levels_and_logs_of_their_own() {
        let edits = [
            edit(&[&[tag::LOG_NUMBER, 4]]),
            edit(&[&[tag::COLUMN_FAMILY, 1], &[tag::COLUMN_FAMILY_ADD, 1, 65]]),
            edit(&[&[tag::COLUMN_FAMILY, 1], &[tag::LOG_NUMBER, 9]]),
            new_table(0, 0, 10, 100),
            new_table(1, 0, 11, 200),
            edit(&[&[tag::BLOB_FILE, 12, 5, 500, 0, 0, 0], &[tag::BLOB_FILE, 13, 1, 500, 0, 0, 0]]),
            edit(&[&[tag::BLOB_GARBAGE, 13, 1, 500, 0], &[tag::BLOB_GARBAGE, 12, 1, 1, 0]]),
            edit(&[&[tag::WAL_ADDITION, 9, WAL_SYNCED, 77, TERMINATE], &[tag::WAL_ADDITION + 3, 1, 0]]),
        ];
        let (version, _) = read_manifest(&written(&edits, None)[..]).unwrap();
        assert_eq!(tables(&version), [(10, 100), (11, 200)]);
        assert_eq!(version.blob_files().collect::<Vec<_>>(), [12]);
        assert!(version.needs_log(4) && !version.needs_log(3));
        let mut dropped = edits.to_vec();
        dropped.push(edit(&[&[tag::COLUMN_FAMILY, 1], &[tag::COLUMN_FAMILY_DROP]]));
        let (version, _) = read_manifest(&written(&dropped, None)[..]).unwrap();
        assert_eq!(tables(&version), [(10, 100)]);
    }

    #[test]
    fn a_group_counts_as_a_whole() {
        let member = |left, table| {
            let mut bytes = edit(&[&[tag::IN_ATOMIC_GROUP, left]]);
            bytes.extend(new_table(0, 0, table, 1));
            bytes
        };
        let edits = [new_table(0, 0, 1, 1), member(1, 2), member(0, 3)];
        let (version, whole) = read_manifest(&written(&edits[..2], None)[..]).unwrap();
        assert_eq!((tables(&version).len(), whole), (1, written(&edits[..1], None).len() as u64));
        let (version, _) = read_manifest(&written(&edits, None)[..]).unwrap();
        assert_eq!(tables(&version).len(), 3);
    }

    #[test]
    fn what_is_not_known_is_passed_over_where_it_may_be() {
        let later = edit(&[&[tag::SAFE_TO_IGNORE + 999, 2, 7, 7], &[tag::NEW_FILE, 0, 1, 1, 0, 0]]);
        assert_eq!(tables(&read_manifest(&written(&[later], None)[..]).unwrap().0), [(1, 1)]);
        let reason = |edit: Vec<u8>| match read_manifest(&written(&[edit], None)[..]) {
            Err(ManifestError::Edit { reason, .. }) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(edit(&[&[99]])), EditReason::UnknownField(99));
        assert_eq!(reason(edit(&[&[tag::DELETED_FILE, 0, 5]])), EditReason::NoSuchTable(5));
        assert_eq!(reason(edit(&[&[tag::NEW_FILE, 0]])), EditReason::Short);
        assert_eq!(
            reason(vec![2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 9]),
            EditReason::Number
        );
        let unknown = edit(&[&[tag::NEW_FILE_4, 0, 1, 1, 0, 0, 0, 0, 99, 1, 1, TERMINATE]]);
        assert_eq!(reason(unknown), EditReason::UnknownField(99));
        let damaged = [written(&[new_table(0, 0, 1, 1)], None), vec![b'x'; 40_000]].concat();
        assert!(matches!(read_manifest(&damaged[..]), Err(ManifestError::Damaged { .. })));
    }

    proptest! {
        #[test]
        fn edits_of_any_kind_are_borne(edits in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..6)) {
            let _ = read_manifest(&written(&edits, None)[..]);
        }

        /// Against a model: tables come and go.
        #[test]
        fn what_counts_is_what_was_added_and_not_deleted(steps in prop::collection::vec((0_u64..4, 0_u64..3, 1_u64..20), 0..60)) {
            let mut model = BTreeMap::new();
            let mut edits = Vec::new();
            for (family, level, table) in steps {
                if model.remove(&(family, level, table)).is_some() {
                    edits.push(edit(&[&[tag::COLUMN_FAMILY, family], &[tag::DELETED_FILE, level, table]]));
                } else {
                    model.insert((family, level, table), table * 10);
                    edits.push(new_table(family, level, table, table * 10));
                }
            }
            let (version, _) = read_manifest(&written(&edits, None)[..]).unwrap();
            let expected: Vec<_> = model.iter().map(|((_, _, table), bytes)| (*table, *bytes)).collect();
            prop_assert_eq!(tables(&version), expected);
        }
    }
}
