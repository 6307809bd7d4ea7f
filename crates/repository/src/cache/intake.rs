//! What is loaded of the index, on its way into the cache: collected up to a bound, then sorted into a run that counts,
//! with its packs, from one transaction on.

use rusqlite::{Transaction, params};
use strongroom_format::index::IndexedPack;
use strongroom_format::registry::Trust;
use strongroom_format::{IndexId, WriterId};

use super::database::{self, Counter, Sql};
use super::error::CacheError;
use super::merge::MANY;
use super::run::{Record, Run, RunWriter};
use super::{DescribedPack, Place, description};
use crate::state::State;

/// What a pack takes besides its footer, bytes.
const PACK_BYTES: usize = 256;
const RECORD_BYTES: usize = size_of::<Record>();

/// Packs that are to be added.
pub(crate) struct Intake<'a> {
    place: &'a Place,
    state: &'a State,
    me: Option<WriterId>,
    packs: Vec<NewPack>,
    /// By the place of its pack in `packs`, until packs have numbers.
    records: Vec<Record>,
    indexes: Vec<IndexId>,
    bytes: usize,
}

struct NewPack {
    stored: IndexedPack,
    kind: u8,
    trusted: bool,
    chunks: usize,
}

impl<'a> Intake<'a> {
    pub(super) fn new(place: &'a Place, state: &'a State, me: Option<WriterId>) -> Self {
        Self { place, state, me, packs: Vec::new(), records: Vec::new(), indexes: Vec::new(), bytes: 0 }
    }

    /// Adds the packs of an index object, or what a pack says of itself.
    pub(super) fn push(
        &mut self,
        packs: Vec<DescribedPack>,
        index: Option<IndexId>,
    ) -> Result<(), CacheError> {
        for (stored, entry, verified) in packs {
            // An index may repeat packs of others, or name packs that no entry brought: those never count. What nobody
            // signed is passed over.
            let counts = self
                .state
                .packs
                .get(&entry.id)
                .is_some_and(|pack| pack.kind == entry.kind && pack.length == entry.footer.pack_length);
            if !verified || !counts {
                continue;
            }
            let own = self.me.is_some_and(|me| {
                self.state.brought_by.get(&entry.id) == Some(&me)
                    && entry.footer.signer == me
                    && entry.footer.authors.iter().all(|author| *author == me)
            });
            let place = u32::try_from(self.packs.len()).map_err(|_| CacheError::Full)?;
            for (frame, record) in (0_u32..).zip(&entry.footer.frames) {
                let chunks = entry.footer.chunks_of(record).iter();
                self.records.extend(chunks.map(|chunk| Record { id: chunk.id, pack: place, frame }));
            }
            let chunks = entry.footer.chunks.len();
            self.bytes += PACK_BYTES + stored.footer.len() + chunks * RECORD_BYTES;
            let trusted = own || self.state.policy.trust == Trust::All;
            self.packs.push(NewPack { stored, kind: entry.kind.number(), trusted, chunks });
            // An index object counts when all of its packs are in.
            if self.bytes >= self.place.allowance().intake_bytes() {
                self.flush()?;
            }
        }
        self.indexes.extend(index);
        Ok(())
    }

    /// Writes what was collected.
    pub(super) fn flush(&mut self) -> Result<(), CacheError> {
        if self.packs.is_empty() && self.indexes.is_empty() {
            return Ok(());
        }
        let runs = self.place.database.write(|transaction| {
            let mut numbers = Vec::with_capacity(self.packs.len());
            for pack in &self.packs {
                numbers.push(insert(transaction, pack)?);
            }
            self.records.retain_mut(|record| {
                let number = numbers.get(record.pack as usize).copied().flatten();
                number.map(|number| record.pack = number).is_some()
            });
            if !self.records.is_empty() {
                self.records.sort_unstable();
                self.write_run(transaction)?;
            }
            for index in &self.indexes {
                transaction
                    .prepare_cached("INSERT OR IGNORE INTO index_object VALUES (?1)")?
                    .execute([&index.0[..]])?;
            }
            let runs = transaction.query_row("SELECT count(*) FROM run", [], |row| row.get::<_, usize>(0))?;
            Counter::Changed.count(transaction)?;
            Ok(runs)
        });
        (self.packs, self.records, self.indexes, self.bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
        if runs? >= MANY {
            self.place.merge(true).map_err(|error| self.place.condemn(error))?;
        }
        Ok(())
    }

    fn write_run(&self, transaction: &Transaction<'_>) -> Result<(), CacheError> {
        let number = Counter::Run.count(transaction)?;
        let entries = self.records.len() as u64;
        let mut writer = RunWriter::new(self.place.files.create(number, Run::file_bytes(entries))?, entries);
        self.records.iter().try_for_each(|record| writer.push(*record))?;
        let (medium, summary) = writer.finish()?;
        self.place.files.keep(number, medium);
        Ok(database::list_run(transaction, number, &summary)?)
    }
}

/// Inserts a pack; gives its number, or `None` when it was known in this description.
fn insert(transaction: &Transaction<'_>, pack: &NewPack) -> Result<Option<u32>, CacheError> {
    let NewPack { stored, kind, trusted, chunks } = pack;
    // Whoever describes a pack wrongly must not hide what others say of it.
    let description = description(&stored.header, &stored.footer);
    let insert = |transaction: &Transaction<'_>| -> Sql<bool> {
        let inserted = transaction
            .prepare_cached(
                "INSERT OR IGNORE INTO pack (id, description, kind, trusted, chunks) VALUES (?1, ?2, ?3, ?4 AND NOT EXISTS (SELECT 1 FROM broken WHERE id = ?1), ?5)",
            )?
            .execute(params![&stored.id.0[..], &description.0[..], kind, trusted, chunks])?;
        Ok(inserted > 0)
    };
    if !insert(transaction)? {
        return Ok(None);
    }
    let number = u32::try_from(transaction.last_insert_rowid()).map_err(|_| CacheError::Full)?;
    transaction.prepare_cached("INSERT INTO footer VALUES (?1, ?2, ?3)")?.execute(params![
        number,
        &stored.header[..],
        stored.footer
    ])?;
    Ok(Some(number))
}
