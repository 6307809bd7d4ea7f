//! What lookups need of packs: kind, whether it is trusted, ID. In memory, by number.

use rusqlite::Connection;
use strongroom_format::PackId;
use strongroom_format::registry::ObjectKind;

use super::database::Sql;
use super::error::CacheError;

const IS_KNOWN: u8 = 1;
const IS_METADATA: u8 = 2;
const IS_TRUSTED: u8 = 4;
/// A pack in memory, with room for growth, bytes.
pub(super) const PACK_BYTES: u64 = 60;

/// All packs that the cache knows.
#[derive(Default, Clone)]
pub(super) struct PackTable {
    /// By number: so few bytes that lookups find them in the processor's cache.
    flags: Vec<u8>,
    /// By number, where its ID is.
    places: Vec<u32>,
    ids: Vec<PackId>,
    /// Chunks and nodes that they hold.
    pub(super) chunks: u64,
}

impl PackTable {
    /// Reads packs with numbers above those that are known.
    pub(super) fn read_new(&mut self, connection: &Connection) -> Result<(), CacheError> {
        let mut query = connection
            .prepare_cached("SELECT no, id, kind, trusted, chunks FROM pack WHERE no >= ?1 ORDER BY no")?;
        let mut rows = query.query([self.flags.len()])?;
        while let Some(row) = rows.next()? {
            let number = row.get::<_, u32>(0)? as usize;
            let id = PackId::try_from(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?);
            let kind = ObjectKind::try_from(row.get::<_, u64>(2)?);
            // What is damaged is as good as gone: its chunks are found elsewhere, or stored again.
            let (Ok(id), Ok(kind)) = (id, kind) else { continue };
            let place = u32::try_from(self.ids.len()).map_err(|_| CacheError::Full)?;
            self.flags.resize(number, 0);
            self.places.resize(number, 0);
            self.flags.push(flags(kind) | if row.get(3)? { IS_TRUSTED } else { 0 });
            self.places.push(place);
            self.ids.push(id);
            self.chunks += row.get::<_, u64>(4)?;
        }
        Ok(())
    }

    /// Whether there is a pack of this number and kind.
    pub(super) fn is_known(&self, number: u32, kind: ObjectKind) -> bool {
        self.flags.get(number as usize).is_some_and(|found| found & !IS_TRUSTED == flags(kind))
    }

    /// Whether there is one, and it may be trusted.
    pub(super) fn is_trusted(&self, number: u32, kind: ObjectKind) -> bool {
        self.flags.get(number as usize).is_some_and(|found| *found == flags(kind) | IS_TRUSTED)
    }

    /// The ID of a pack that is known.
    pub(super) fn id(&self, number: u32) -> Option<PackId> {
        self.ids.get(*self.places.get(number as usize)? as usize).copied()
    }

    pub(super) fn ids(&self) -> &[PackId] {
        &self.ids
    }

    pub(super) fn resident_bytes(&self) -> u64 {
        (self.flags.capacity() + self.places.capacity() * 4 + self.ids.capacity() * PackId::LENGTH) as u64
    }
}

fn flags(kind: ObjectKind) -> u8 {
    IS_KNOWN | if kind == ObjectKind::MetadataPack { IS_METADATA } else { 0 }
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
