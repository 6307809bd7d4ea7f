//! Bringing the cache to a state: what is new is loaded, what no longer counts is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Transaction, params};
use strongroom_format::entry::{IndexRef, PackRef};
use strongroom_format::registry::Trust;
use strongroom_format::{IndexId, PackId, WriterId};

use super::database::{self, Counter, Sql};
use super::error::CacheError;
use super::intake::Intake;
use super::{Cache, DescribedPack, Place};
use crate::error::RepositoryError;
use crate::state::State;

impl Cache {
    /// Brings the cache to `state`: forgets packs that no longer count, loads index objects that are new. One for
    /// which `load` gives `None` is asked for again the next time. Files that are damaged are made anew.
    ///
    /// # Errors
    /// `Cache`, and what `load` fails with.
    pub(crate) fn synchronize(
        &self,
        state: &State,
        me: Option<WriterId>,
        mut load: impl FnMut(&IndexRef) -> Result<Option<Vec<DescribedPack>>, RepositoryError>,
    ) -> Result<(), RepositoryError> {
        let place = self.place();
        if place.is_condemned() {
            self.told(place.clear())?;
        }
        self.synchronize_at(&place, state, me, &mut load)?;
        match place.refresh() {
            Err(error @ CacheError::Damaged { .. }) => {
                tracing::warn!(%error, "the local index is made anew");
                self.told(place.clear())?;
                self.synchronize_at(&place, state, me, &mut load)?;
                self.told(place.refresh())
            }
            refreshed => self.told(refreshed),
        }
    }

    fn synchronize_at(
        &self,
        place: &Place,
        state: &State,
        me: Option<WriterId>,
        load: &mut impl FnMut(&IndexRef) -> Result<Option<Vec<DescribedPack>>, RepositoryError>,
    ) -> Result<(), RepositoryError> {
        self.told(place.trust_for(state, me))?;
        let (missing, gone) = self.told(place.compare(state))?;
        // Packs stop counting with their index objects, or because they are retired.
        let retired = (state.retired.len() as u64).to_le_bytes();
        let is_retired_known = self.meta("retired")?.unwrap_or(vec![0; 8]) == retired;
        if !gone.is_empty() || !is_retired_known {
            self.told(place.forget(&gone, state))?;
            self.set_meta("retired", &retired)?;
        }
        if !missing.is_empty() {
            // What it takes while it loads is what lookups take otherwise.
            place.close_view();
            let mut intake = Intake::new(place, state, me);
            let loaded = missing.values().try_for_each(|index| match load(index)? {
                Some(packs) => self.told(intake.push(packs, Some(index.id))),
                None => Ok(()),
            });
            self.told(intake.flush())?;
            loaded?;
        }
        self.told(place.trust_attested(state))?;
        if !missing.is_empty() || !gone.is_empty() || !is_retired_known {
            match place.merge(false) {
                Ok(_) => {}
                Err(error) => {
                    let error = place.condemn(error);
                    tracing::warn!(%error, "runs of the index are not merged");
                }
            }
        }
        Ok(())
    }

    /// Adds what packs say of themselves: best many at once.
    pub(crate) fn add(
        &self,
        state: &State,
        me: Option<WriterId>,
        packs: Vec<DescribedPack>,
    ) -> Result<(), RepositoryError> {
        let place = self.place();
        let mut intake = Intake::new(&place, state, me);
        self.told(intake.push(packs, None).and_then(|()| intake.flush()))?;
        self.told(place.refresh())
    }

    /// Takes packs that cannot be read for such, from now on: no chunk counts as present in them, so that it is stored
    /// again. A cache that is made anew forgets it.
    pub(crate) fn distrust(&self, packs: &BTreeSet<PackId>) -> Result<(), RepositoryError> {
        let place = self.place();
        let distrusted = place.database.write(|transaction| {
            for pack in packs {
                let id = &pack.0[..];
                transaction.prepare_cached("INSERT OR IGNORE INTO broken VALUES (?1)")?.execute([id])?;
                transaction.prepare_cached("UPDATE pack SET trusted = 0 WHERE id = ?1")?.execute([id])?;
            }
            Ok(changed_all(transaction)?)
        });
        self.told(distrusted)?;
        self.told(place.refresh())
    }

    /// Packs that count and that no index object describes.
    pub(crate) fn undescribed(&self, state: &State) -> Result<Vec<PackRef>, RepositoryError> {
        let view = self.told(self.place().view())?;
        let known: BTreeSet<PackId> = view.packs().ids().iter().copied().collect();
        Ok(state.packs.values().filter(|pack| !known.contains(&pack.id)).copied().collect())
    }
}

impl Place {
    /// What is trusted depends on who asks and on the policy: what was noted for others is forgotten.
    fn trust_for(&self, state: &State, me: Option<WriterId>) -> Result<(), CacheError> {
        let me = me.map_or([0; 16], |me| me.0);
        let trust = [&me[..], &[state.policy.trust.number()]].concat();
        if self.database.meta("trust")?.as_deref() == Some(&trust) {
            return Ok(());
        }
        self.database.write(|transaction| {
            // Another process that began at the same time may have said so meanwhile, and go by what it has loaded.
            let is_said: bool = transaction.query_row(
                "SELECT EXISTS (SELECT 1 FROM meta WHERE key = 'trust' AND value = ?1)",
                [&trust],
                |row| row.get(0),
            )?;
            if !is_said {
                database::clear(transaction)?;
                transaction.execute("INSERT OR REPLACE INTO meta VALUES ('trust', ?1)", [trust])?;
            }
            Ok(())
        })
    }

    /// Index objects that are to be loaded, and those that no longer count.
    #[expect(clippy::type_complexity, reason = "two results of one comparison")]
    fn compare(&self, state: &State) -> Result<(BTreeMap<IndexId, IndexRef>, Vec<Vec<u8>>), CacheError> {
        let known: Vec<Vec<u8>> = self.database.read(|connection| {
            connection.prepare("SELECT id FROM index_object")?.query_map([], |row| row.get(0))?.collect()
        })?;
        let mut missing = state.indexes.clone();
        let mut gone = Vec::new();
        for id in known {
            match IndexId::try_from(&id[..]) {
                Ok(known) if missing.remove(&known).is_some() => {}
                _ => gone.push(id),
            }
        }
        Ok((missing, gone))
    }

    fn forget(&self, gone: &[Vec<u8>], state: &State) -> Result<(), CacheError> {
        self.database.write(|transaction| {
            for id in gone {
                transaction.prepare_cached("DELETE FROM index_object WHERE id = ?1")?.execute([id])?;
            }
            let packs: Vec<(i64, Vec<u8>)> = transaction
                .prepare("SELECT no, id FROM pack")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Sql<_>>()?;
            let counts = |id: &[u8]| PackId::try_from(id).is_ok_and(|id| state.packs.contains_key(&id));
            let retired: Vec<i64> =
                packs.into_iter().filter(|(_, id)| !counts(id)).map(|(number, _)| number).collect();
            for number in &retired {
                transaction.prepare_cached("DELETE FROM footer WHERE no = ?1")?.execute([number])?;
                transaction.prepare_cached("DELETE FROM pack WHERE no = ?1")?.execute([number])?;
            }
            if !retired.is_empty() {
                changed_all(transaction)?;
            }
            Ok(())
        })
    }

    /// Trusts what verifiers attested, in exactly the description that they attested.
    fn trust_attested(&self, state: &State) -> Result<(), CacheError> {
        if state.policy.trust != Trust::Attested || state.attested.is_empty() {
            return Ok(());
        }
        // Each time for all of them would take longer than all else that opening does.
        let mut hasher = blake3::Hasher::new();
        for (pack, by) in &state.attested {
            hasher.update(&pack.0).update(&by.description.0);
        }
        let newest: Option<i64> = self
            .database
            .read(|connection| connection.query_row("SELECT max(no) FROM pack", [], |row| row.get(0)))?;
        let done = [&hasher.finalize().as_bytes()[..], &newest.unwrap_or(0).to_le_bytes()].concat();
        if self.database.meta("attested")?.as_deref() == Some(&done) {
            return Ok(());
        }
        self.database.write(|transaction| {
            let mut trusted = 0;
            {
                let mut trust = transaction.prepare_cached(
                    "UPDATE pack SET trusted = 1 WHERE id = ?1 AND description = ?2 AND trusted = 0
                        AND id NOT IN (SELECT id FROM broken)",
                )?;
                for (pack, by) in &state.attested {
                    trusted += trust.execute(params![&pack.0[..], &by.description.0[..]])?;
                }
            }
            if trusted > 0 {
                changed_all(transaction)?;
            }
            transaction.execute("INSERT OR REPLACE INTO meta VALUES ('attested', ?1)", [&done])?;
            Ok(())
        })
    }
}

/// Notes that packs are no longer as they were, so that all are read again.
fn changed_all(transaction: &Transaction<'_>) -> Sql<()> {
    Counter::Forgotten.count(transaction)?;
    Counter::Changed.count(transaction)?;
    Ok(())
}
