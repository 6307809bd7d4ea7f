//! An archive's table of contents.

use std::ops::Range;

use super::ArchiveError;
use super::integer::Integers;

/// The part of a restore that an entry belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Section {
    /// None.
    #[default]
    None,
    /// What data needs: tables, types, functions.
    PreData,
    /// The data itself.
    Data,
    /// What needs the data: indexes, constraints, triggers.
    PostData,
}

/// One thing that was dumped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TocEntry {
    /// Its number in this archive.
    pub dump_id: i64,
    /// Whether it may have a block of data.
    pub has_data: bool,
    /// Its name.
    pub tag: String,
    /// What it is: `TABLE`, `TABLE DATA`, `INDEX`, ...
    pub kind: String,
    /// When it is restored.
    pub section: Section,
    /// The SQL that makes it.
    pub definition: Option<String>,
    /// Its schema.
    pub schema: Option<String>,
    /// Who owns it.
    pub owner: Option<String>,
    /// Numbers of the entries that it needs.
    pub needs: Vec<i64>,
    /// Where in the head the SQL lies that drops it, with its length.
    pub drop_at: Range<usize>,
}

/// What an archive says of itself and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toc {
    /// The format's version.
    pub version: (u8, u8),
    /// The database that was dumped.
    pub database: Option<String>,
    /// The server's version, as it tells it.
    pub server_version: Option<String>,
    /// That of `pg_dump`.
    pub dump_version: Option<String>,
    /// In the order in which it is restored.
    pub entries: Vec<TocEntry>,
    pub(super) integers: Integers,
}

impl Toc {
    /// The entry of this number.
    #[must_use]
    pub fn entry(&self, dump_id: i64) -> Option<&TocEntry> {
        self.entries.iter().find(|entry| entry.dump_id == dump_id)
    }
}

/// Where the bytes of the head come from.
pub(super) trait Source {
    /// The next so many bytes.
    ///
    /// # Errors
    /// `Truncated`, `TooLarge`, `Read`.
    fn take(&mut self, length: usize) -> Result<&[u8], ArchiveError>;

    /// How many were taken.
    fn taken(&self) -> usize;
}

const MAGIC: &[u8] = b"PGDMP";
const FORMAT_CUSTOM: u8 = 1;
/// From this version on the way data is compressed has a byte of its own.
const WITH_ALGORITHM: u8 = 15;
/// And from this on an entry tells the kind of its relation.
const WITH_RELATION_KIND: u8 = 16;
/// And the access method of its table.
const WITH_ACCESS_METHOD: u8 = 14;

struct Decoder<'s> {
    source: &'s mut dyn Source,
    integers: Integers,
}

/// Reads the head of an archive, up to its first block.
///
/// # Errors
/// `NotAnArchive`, `Version`, `Malformed`; those of `source`.
pub(super) fn decode(source: &mut dyn Source) -> Result<Toc, ArchiveError> {
    match source.take(MAGIC.len()) {
        Ok(MAGIC) => {}
        Ok(_) | Err(ArchiveError::Truncated { .. }) => return Err(ArchiveError::NotAnArchive),
        Err(error) => return Err(error),
    }
    let [major, minor, _revision, integer_bytes, offset_bytes, format] = array(source)?;
    if major != 1 || !(12..=16).contains(&minor) {
        return Err(ArchiveError::Version { major, minor });
    }
    if format != FORMAT_CUSTOM {
        return Err(ArchiveError::NotAnArchive);
    }
    let integers = Integers::of_size(integer_bytes)?;
    let mut decoder = Decoder { source, integers };
    let is_compressed = match minor {
        WITH_ALGORITHM.. => decoder.byte()? != 0,
        _ => decoder.integer()? != 0,
    };
    if is_compressed {
        return Err(ArchiveError::Malformed { rule: "its data is not compressed (pg_dump --compress=0)" });
    }
    // When it was made: second, minute, hour, day, month, year, daylight saving.
    for _ in 0..7 {
        decoder.integer()?;
    }
    let (database, server_version, dump_version) = (decoder.text()?, decoder.text()?, decoder.text()?);
    let count = decoder.integer()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(decoder.entry(minor, usize::from(offset_bytes))?);
    }
    Ok(Toc { version: (major, minor), database, server_version, dump_version, entries, integers })
}

fn array<const N: usize>(source: &mut dyn Source) -> Result<[u8; N], ArchiveError> {
    let bytes = source.take(N)?;
    bytes.try_into().map_err(|_| ArchiveError::Truncated { what: "its head" })
}

impl Decoder<'_> {
    fn byte(&mut self) -> Result<u8, ArchiveError> {
        let [byte] = array(self.source)?;
        Ok(byte)
    }

    fn integer(&mut self) -> Result<i64, ArchiveError> {
        self.integers.decode(self.source.take(self.integers.stored_bytes())?)
    }

    /// Text may be in any encoding: names are shown, and never sent back.
    fn text(&mut self) -> Result<Option<String>, ArchiveError> {
        match usize::try_from(self.integer()?) {
            Ok(length) => Ok(Some(String::from_utf8_lossy(self.source.take(length)?).into_owned())),
            // None at all.
            Err(_) => Ok(None),
        }
    }

    fn required(&mut self, rule: &'static str) -> Result<String, ArchiveError> {
        self.text()?.ok_or(ArchiveError::Malformed { rule })
    }

    fn entry(&mut self, minor: u8, offset_bytes: usize) -> Result<TocEntry, ArchiveError> {
        let dump_id = self.integer()?;
        let has_data = self.integer()? != 0;
        let (_catalogue, _oid) = (self.text()?, self.text()?);
        let tag = self.required("every entry has a name")?;
        let kind = self.required("every entry says what it is")?;
        let section = match self.integer()? {
            1 => Section::None,
            2 => Section::PreData,
            3 => Section::Data,
            4 => Section::PostData,
            _ => return Err(ArchiveError::Malformed { rule: "a section is 1 to 4" }),
        };
        let definition = self.text()?;
        let start = self.source.taken();
        self.text()?;
        let drop_at = start..self.source.taken();
        let _copy = self.text()?;
        let schema = self.text()?;
        let _tablespace = self.text()?;
        if minor >= WITH_ACCESS_METHOD {
            self.text()?;
        }
        if minor >= WITH_RELATION_KIND {
            self.integer()?;
        }
        let owner = self.text()?;
        // Whether rows have object IDs: none have any more.
        self.text()?;
        let mut needs = Vec::new();
        while let Some(number) = self.text()? {
            let rule = "an entry names others by their numbers";
            needs.push(number.parse().map_err(|_| ArchiveError::Malformed { rule })?);
        }
        // Where its data lies: whoever writes into a pipe does not know.
        self.source.take(1 + offset_bytes)?;
        Ok(TocEntry { dump_id, has_data, tag, kind, section, definition, schema, owner, needs, drop_at })
    }
}
