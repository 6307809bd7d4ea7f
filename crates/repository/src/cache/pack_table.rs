//! What lookups need of packs: kind, whether it is trusted, ID. In memory, by number.

use rusqlite::Connection;
use strongroom_format::PackId;
use strongroom_format::registry::ObjectKind;

use super::database::Sql;
use super::error::CacheError;

const IS_METADATA: u8 = 1;
const IS_TRUSTED: u8 = 2;
const GONE: u32 = u32::MAX;
/// A pack in memory, with room for growth, bytes.
pub(super) const PACK_BYTES: u64 = 60;

/// All packs that the cache knows.
#[derive(Default, Clone)]
pub(super) struct PackTable {
    /// For each number where its pack is in `ids`.
    places: Vec<u32>,
    ids: Vec<PackId>,
    flags: Vec<u8>,
    /// Chunks and nodes that they hold.
    pub(super) chunks: u64,
}

/// A pack.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) id: PackId,
    pub(super) kind: ObjectKind,
    pub(super) is_trusted: bool,
}

impl PackTable {
    /// Reads packs with numbers above those that are known.
    pub(super) fn read_new(&mut self, connection: &Connection) -> Result<(), CacheError> {
        let mut query = connection
            .prepare_cached("SELECT no, id, kind, trusted, chunks FROM pack WHERE no >= ?1 ORDER BY no")?;
        let mut rows = query.query([self.places.len()])?;
        while let Some(row) = rows.next()? {
            let number: u32 = row.get(0)?;
            let id = PackId::try_from(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?);
            let kind = ObjectKind::try_from(row.get::<_, u64>(2)?);
            // What is damaged is as good as gone: its chunks are found elsewhere, or stored again.
            let (Ok(id), Ok(kind)) = (id, kind) else { continue };
            let trusted: bool = row.get(3)?;
            self.chunks += row.get::<_, u64>(4)?;
            let place = u32::try_from(self.ids.len()).map_err(|_| CacheError::Full)?;
            self.places.resize(number as usize, GONE);
            self.places.push(place);
            self.ids.push(id);
            let is_metadata = kind == ObjectKind::MetadataPack;
            self.flags.push(if is_metadata { IS_METADATA } else { 0 } | if trusted { IS_TRUSTED } else { 0 });
        }
        Ok(())
    }

    pub(super) fn get(&self, number: u32) -> Option<Known> {
        let place = *self.places.get(number as usize)? as usize;
        let flags = self.flags.get(place)?;
        let kind = if flags & IS_METADATA != 0 { ObjectKind::MetadataPack } else { ObjectKind::DataPack };
        Some(Known { id: *self.ids.get(place)?, kind, is_trusted: flags & IS_TRUSTED != 0 })
    }

    pub(super) fn ids(&self) -> &[PackId] {
        &self.ids
    }

    pub(super) fn resident_bytes(&self) -> u64 {
        (self.places.capacity() * 4 + self.ids.capacity() * 33) as u64
    }
}

/// The numbers that packs have.
pub(super) struct Numbers(Vec<u64>);

impl Numbers {
    pub(super) fn read(connection: &Connection) -> Sql<Self> {
        let mut numbers = Vec::new();
        let mut query = connection.prepare_cached("SELECT no FROM pack")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let number: u32 = row.get(0)?;
            let at = number as usize / 64;
            if numbers.len() <= at {
                numbers.resize(at + 1, 0);
            }
            numbers[at] |= 1 << (number % 64);
        }
        Ok(Self(numbers))
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|bits| bits & (1 << (number % 64)) != 0)
    }
}
