//! The local cache: what the repository's index says, and what this host has seen of the journal.
//!
//! It may be deleted at any time. Nothing in it is believed where that could lose data: a chunk counts as
//! present only in packs that the journal's state names, every chunk is verified when it is read, and a cache
//! that fails is replaced by one that lasts as long as the process.
//!
//! A [database] knows the packs, with their footers. Which chunk lies where is in [runs](run) beside it: sorted files,
//! which new ones are [merged](merge) with as they come. In memory are only the tables and filters of runs, and what
//! lookups need of packs ([view]).

mod allowance;
mod database;
mod error;
mod intake;
mod locality;
mod log_heads;
mod memory_of_host;
mod merge;
mod pack_table;
mod run;
mod run_files;
#[doc(hidden)]
pub mod scale;
mod synchronize;
mod view;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::{OptionalExtension, params};
use strongroom_format::header::HEADER_LENGTH;
use strongroom_format::index::{Index, IndexedPack};
use strongroom_format::pack::Footer;
use strongroom_format::registry::ObjectKind;
use strongroom_format::{ChunkId, ContentHash, PackId};

pub(crate) use self::allowance::Allowance;
use self::database::{Database, files_of};
pub use self::error::CacheError;
use self::run_files::RunFiles;
use self::view::View;
use crate::error::RepositoryError;

/// The number of a pack in this cache; a pack that is described in several ways has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackNumber(u32);

/// Where a chunk or node lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The pack.
    pub pack: PackNumber,
    /// The frame's number in the pack.
    pub frame: u32,
}

/// A pack as the index describes it.
#[derive(Debug, Clone)]
pub struct PackEntry {
    /// The pack.
    pub id: PackId,
    /// Data or metadata.
    pub kind: ObjectKind,
    /// Its stored header.
    pub header: [u8; HEADER_LENGTH],
    /// Its footer.
    pub footer: Footer,
}

/// Where the cache lies and what may be believed for deduplication.
pub(crate) struct Cache {
    place: RwLock<Arc<Place>>,
    path: String,
}

/// A pack as somebody describes it, and whether the footer's signature holds.
pub(crate) type DescribedPack = (IndexedPack, PackEntry, bool);

/// A database and the runs that it lists.
struct Place {
    database: Database,
    files: RunFiles,
    /// Bytes that it may hold in memory.
    allowed: AtomicU64,
    view: RwLock<Option<Arc<View>>>,
}

/// The last entry of a journal that this host remembers, with the hash of its stored bytes: `None` where there is no cache
/// below `folder` of the repository with this fingerprint, or it remembers none.
#[must_use]
pub fn remembered_head(folder: &Path, fingerprint: &str) -> Option<(u64, ContentHash)> {
    if !folder.join(fingerprint.replace(' ', "")).join("index.sqlite").is_file() {
        return None;
    }
    let (cache, _) = Cache::open(Some(folder), fingerprint).ok()?;
    cache.remembered_head().ok().flatten()
}

impl Cache {
    /// Opens the cache of the repository with this fingerprint below `folder`, or one for as long as the process. What
    /// is stale, corrupt or another repository's is thrown away. The second result says what was wrong.
    pub(crate) fn open(
        folder: Option<&Path>,
        fingerprint: &str,
    ) -> Result<(Self, Option<String>), RepositoryError> {
        Self::open_within(folder, fingerprint, Allowance::default())
    }

    /// The same, with so much memory.
    pub(crate) fn open_within(
        folder: Option<&Path>,
        fingerprint: &str,
        allowance: Allowance,
    ) -> Result<(Self, Option<String>), RepositoryError> {
        let Some(folder) = folder else { return Ok((Self::temporary(None, fingerprint, allowance)?, None)) };
        let folder = folder.join(fingerprint.replace(' ', ""));
        let path = folder.join("index.sqlite");
        let mut rebuilt = None;
        let open = || Database::open(&path, fingerprint, allowance.database_bytes());
        let opened = open().or_else(|error| {
            rebuilt = path.exists().then(|| {
                format!(
                    "the cache {} was unusable ({error}) and is built anew; what this host had seen of the journal is forgotten",
                    path.display()
                )
            });
            files_of(&path).for_each(|file| drop(std::fs::remove_file(file)));
            run_files::remove_all(&folder);
            open()
        });
        match opened {
            Ok(database) => {
                let place = Place::new(database, RunFiles::Named(folder), allowance);
                Ok((Self::at(place, path.display().to_string()), rebuilt))
            }
            Err(error) => Ok((
                Self::temporary(None, fingerprint, allowance)?,
                Some(format!("the cache {} cannot be used ({error}); working without it", path.display())),
            )),
        }
    }

    /// An empty cache for as long as this process, on the disk where this one is.
    pub(crate) fn beside(&self, fingerprint: &str, allowance: Allowance) -> Result<Self, RepositoryError> {
        let place = self.place();
        let folder = match &place.files {
            RunFiles::Named(folder) => Some(&**folder),
            RunFiles::Unnamed { folder, .. } => folder.as_deref(),
        };
        Self::temporary(folder, fingerprint, allowance)
    }

    fn temporary(
        folder: Option<&Path>,
        fingerprint: &str,
        allowance: Allowance,
    ) -> Result<Self, RepositoryError> {
        let path = "in memory".to_owned();
        match Place::temporary(folder, fingerprint, allowance) {
            Ok(place) => Ok(Self::at(place, path)),
            Err(error) => Err(error.at(path)),
        }
    }

    fn at(place: Place, path: String) -> Self {
        Self { place: RwLock::new(Arc::new(place)), path }
    }

    /// Throws everything away and goes on without files that have names: for a cache whose disk is full, or whose pages
    /// are corrupt.
    pub(crate) fn replace_by_memory(&self, fingerprint: &str) -> Result<(), RepositoryError> {
        let allowance = self.place().allowance();
        let fresh = self.told(Place::temporary(None, fingerprint, allowance))?;
        *self.place.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(())
    }

    /// Says how much memory the index may take, from the next time that it is brought up to date.
    pub(crate) fn allow(&self, allowance: Allowance) {
        self.place().allowed.store(allowance.bytes(), Ordering::Relaxed);
    }

    /// The folder of this cache, if it is one that stays.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        match &self.place().files {
            RunFiles::Named(folder) => Some(folder.clone()),
            RunFiles::Unnamed { .. } => None,
        }
    }

    /// Where the cache lies.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    fn place(&self) -> Arc<Place> {
        Arc::clone(&self.place.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// With where the cache lies.
    fn told<T>(&self, result: Result<T, CacheError>) -> Result<T, RepositoryError> {
        result.map_err(|error| error.at(self.path.clone()))
    }

    /// Every place where a chunk (of data packs) or node (of metadata packs) lies.
    pub(crate) fn locations(&self, kind: ObjectKind, id: ChunkId) -> Result<Vec<Location>, RepositoryError> {
        let mut locations = Vec::new();
        self.locations_of_all(kind, &[id], |_, location| locations.push(location))?;
        Ok(locations)
    }

    /// The same for many: with each place that of the chunk among `ids`, chunk by chunk.
    pub(crate) fn locations_of_all(
        &self,
        kind: ObjectKind,
        ids: &[ChunkId],
        mut found: impl FnMut(usize, Location),
    ) -> Result<(), RepositoryError> {
        let place = self.place();
        let footer = |number| place.footer(number);
        let looked = place.view().and_then(|view| view.locations(kind, ids, &footer, &mut found));
        self.told(looked.map_err(|error| place.condemn(error)))
    }

    /// Whether chunks count as present in the pack of data that is there.
    pub(crate) fn is_trusted(&self, location: Location) -> Result<bool, RepositoryError> {
        let view = self.told(self.place().view())?;
        Ok(view.packs().is_trusted(location.pack.0, ObjectKind::DataPack))
    }

    /// For each chunk the pack in which this writer may count it as present, and its frame there. Any number of threads
    /// look up at once.
    pub(crate) fn trusted(
        &self,
        kind: ObjectKind,
        ids: &[ChunkId],
    ) -> Result<Vec<Option<(PackId, u32)>>, RepositoryError> {
        let place = self.place();
        let found = place.view().and_then(|view| view.trusted(kind, ids, &|number| place.footer(number)));
        self.told(found.map_err(|error| place.condemn(error)))
    }

    /// A pack by its number.
    pub(crate) fn pack(&self, number: PackNumber) -> Result<Option<PackEntry>, RepositoryError> {
        self.told(self.place().pack(number))
    }

    /// All descriptions of a pack.
    pub(crate) fn numbers_of(&self, id: PackId) -> Result<Vec<PackNumber>, RepositoryError> {
        self.told(self.place().database.read(|connection| {
            connection
                .prepare_cached("SELECT no FROM pack WHERE id = ?1 ORDER BY no")?
                .query_map([&id.0[..]], |row| row.get(0).map(PackNumber))?
                .collect()
        }))
    }

    /// All packs that are known, by their numbers.
    pub(crate) fn pack_ids(&self) -> Result<Vec<(PackNumber, PackId)>, RepositoryError> {
        let rows: Vec<(PackNumber, Vec<u8>)> = self.told(self.place().database.read(|connection| {
            connection
                .prepare("SELECT no, id FROM pack ORDER BY no")?
                .query_map([], |row| Ok((PackNumber(row.get(0)?), row.get(1)?)))?
                .collect()
        }))?;
        let known = |(number, id): (PackNumber, Vec<u8>)| Some((number, PackId::try_from(&id[..]).ok()?));
        Ok(rows.into_iter().filter_map(known).collect())
    }

    /// Numbers of all packs.
    pub(crate) fn pack_numbers(&self) -> Result<Vec<PackNumber>, RepositoryError> {
        self.told(self.place().database.read(|connection| {
            connection
                .prepare("SELECT no FROM pack ORDER BY no")?
                .query_map([], |row| row.get(0).map(PackNumber))?
                .collect()
        }))
    }
}

impl Place {
    fn new(database: Database, files: RunFiles, allowance: Allowance) -> Self {
        Self { database, files, allowed: AtomicU64::new(allowance.bytes()), view: RwLock::default() }
    }

    fn temporary(folder: Option<&Path>, fingerprint: &str, allowance: Allowance) -> Result<Self, CacheError> {
        let database = Database::temporary(folder, fingerprint, allowance.database_bytes())?;
        Ok(Self::new(database, RunFiles::unnamed(folder), allowance))
    }

    fn allowance(&self) -> Allowance {
        Allowance::of(self.allowed.load(Ordering::Relaxed))
    }

    /// What lookups go by.
    fn view(&self) -> Result<Arc<View>, CacheError> {
        if let Some(view) = &*self.view.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(view));
        }
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        match &*view {
            Some(view) => Ok(Arc::clone(view)),
            None => {
                let loaded = Arc::new(View::load(&self.database, &self.files, &self.allowance(), None)?);
                Ok(Arc::clone(view.insert(loaded)))
            }
        }
    }

    /// Brings what lookups go by up to date.
    fn refresh(&self) -> Result<(), CacheError> {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = &*view
            && view.is_current(&self.database)?
        {
            return Ok(());
        }
        let old = view.take();
        *view = Some(Arc::new(View::load(&self.database, &self.files, &self.allowance(), old)?));
        Ok(())
    }

    fn close_view(&self) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Takes everything away that came from the index.
    fn clear(&self) -> Result<(), CacheError> {
        self.close_view();
        self.database.write(|transaction| {
            database::clear(transaction)?;
            transaction.execute("DELETE FROM meta WHERE key = 'condemned'", [])?;
            Ok(())
        })
    }

    /// Notes that what was read is damaged, so that the index is loaded anew the next time.
    fn condemn(&self, error: CacheError) -> CacheError {
        if matches!(error, CacheError::Damaged { .. })
            && let Err(error) = self.database.set_meta("condemned", &[1])
        {
            tracing::debug!(%error, "not noted that the local index is damaged");
        }
        error
    }

    fn is_condemned(&self) -> bool {
        matches!(self.database.meta("condemned"), Ok(Some(_)))
    }

    fn pack(&self, number: PackNumber) -> Result<Option<PackEntry>, CacheError> {
        type Row = (Vec<u8>, u64, Vec<u8>, Vec<u8>);
        let row: Option<Row> = self.database.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, kind, header, footer FROM pack JOIN footer USING (no) WHERE no = ?1",
                )?
                .query_row(params![number.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
                .optional()
        })?;
        Ok(row.and_then(|(id, kind, header, footer)| {
            // What does not decode is as good as absent: the caller loads the index again.
            Some(PackEntry {
                id: PackId::try_from(&id[..]).ok()?,
                kind: ObjectKind::try_from(kind).ok()?,
                header: header.try_into().ok()?,
                footer: Footer::decode(&footer).ok()?,
            })
        }))
    }

    fn footer(&self, number: PackNumber) -> Result<Option<Footer>, CacheError> {
        Ok(self.pack(number)?.map(|entry| entry.footer))
    }
}

/// The hash of what a pack is said to be: its stored header and encoded footer.
pub(crate) fn description(header: &[u8; HEADER_LENGTH], footer: &[u8]) -> ContentHash {
    ContentHash(*blake3::Hasher::new().update(header).update(footer).finalize().as_bytes())
}

/// Decodes the packs of an index object.
pub(crate) fn decode_packs(
    object: &str,
    index: Index,
) -> Result<Vec<(IndexedPack, PackEntry)>, RepositoryError> {
    index
        .packs
        .into_iter()
        .map(|stored| {
            let header = stored.decoded_header().map_err(RepositoryError::malformed(object))?;
            let footer = Footer::decode(&stored.footer).map_err(RepositoryError::malformed(object))?;
            let entry = PackEntry { id: stored.id, kind: header.kind, header: stored.header, footer };
            Ok((stored, entry))
        })
        .collect()
}

#[cfg(test)]
mod tests;
