//! What lookups go by: the runs and packs as they were when the cache was last brought up to date. It never changes, so
//! any number of threads look up at once, and other processes may go on meanwhile.

use std::io;
use std::sync::Arc;

use strongroom_format::pack::Footer;
use strongroom_format::registry::ObjectKind;
use strongroom_format::{ChunkId, PackId};

use super::allowance::Allowance;
use super::database::{self, Counter, Database};
use super::error::CacheError;
use super::locality::Locality;
use super::pack_table::PackTable;
use super::run::{Record, Run, RunSummary};
use super::run_files::RunFiles;
use super::{Location, PackNumber};

/// How often a list of runs is read again of which other processes have merged some meanwhile.
const ATTEMPTS: u32 = 8;

/// Gives the footer of a pack.
pub(super) type ReadFooter<'a> = &'a dyn Fn(PackNumber) -> Result<Option<Footer>, CacheError>;

pub(super) struct View {
    changed: u64,
    forgotten: u64,
    /// Largest first: most lookups end there.
    runs: Vec<Arc<Run>>,
    packs: PackTable,
    locality: Locality,
}

/// What the database lists.
struct Listed {
    changed: u64,
    forgotten: u64,
    runs: Vec<(u64, RunSummary)>,
    packs: PackTable,
}

impl View {
    /// Reads what the database lists, and takes over from an older view what is the same.
    pub(super) fn load(
        database: &Database,
        files: &RunFiles,
        allowance: &Allowance,
        old: Option<Arc<Self>>,
    ) -> Result<Self, CacheError> {
        // As a rule nobody else has it, so that it is not in memory twice.
        let (mut old_runs, mut known) = match old.map(Arc::try_unwrap) {
            None => (Vec::new(), None),
            Some(Ok(old)) => (old.runs, Some((old.forgotten, old.packs))),
            Some(Err(old)) => (old.runs.clone(), Some((old.forgotten, old.packs.clone()))),
        };
        for _ in 0..ATTEMPTS {
            let listed = Listed::read(database, known.take())?;
            old_runs.retain(|run| listed.runs.iter().any(|(number, _)| *number == run.number));
            let with_filter = filters(&listed, allowance);
            let mut runs = Vec::with_capacity(listed.runs.len());
            let mut is_complete = true;
            for ((number, summary), with_filter) in listed.runs.iter().zip(with_filter) {
                let same = |run: &&Arc<Run>| run.number == *number && run.has_filter() == with_filter;
                if let Some(run) = old_runs.iter().find(same) {
                    runs.push(Arc::clone(run));
                    continue;
                }
                match files.open(*number) {
                    Ok(medium) => runs.push(Arc::new(Run::open(*number, medium, *summary, with_filter)?)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => is_complete = false,
                    Err(error) => return Err(CacheError::file("a run of the index cannot be opened")(error)),
                }
            }
            if is_complete {
                runs.reverse();
                let Listed { changed, forgotten, packs, .. } = listed;
                let locality = Locality::new(allowance.locality_bytes());
                return Ok(Self { changed, forgotten, runs, packs, locality });
            }
            known = Some((listed.forgotten, listed.packs));
        }
        Err(CacheError::Damaged { what: "the index (a run is missing)".into() })
    }

    /// Whether nothing has changed since, in this process or another.
    pub(super) fn is_current(&self, database: &Database) -> Result<bool, CacheError> {
        Ok(database.read(|connection| Counter::Changed.read(connection))? == self.changed)
    }

    pub(super) fn packs(&self) -> &PackTable {
        &self.packs
    }

    pub(super) fn entries(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.summary.entries)).sum()
    }

    pub(super) fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// Bytes of memory, without what is noted of neighbours.
    pub(super) fn resident_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.memory_bytes()).sum::<u64>() + self.packs.resident_bytes()
    }

    /// Every place where each chunk lies, by the packs' numbers: with the chunk's own place among `ids`, chunk by chunk.
    pub(super) fn locations(
        &self,
        kind: ObjectKind,
        ids: &[ChunkId],
        footer: ReadFooter<'_>,
        found: &mut dyn FnMut(usize, Location),
    ) -> Result<(), CacheError> {
        let mut records = Vec::new();
        for (at, id) in ids.iter().enumerate() {
            let mut near = None;
            self.locality.get(&[*id], |_, record| near = Some(record));
            let mut candidates = self.runs.iter().filter(|run| run.may_hold(id)).peekable();
            let Some(first) = candidates.next() else { continue };
            let is_only = candidates.peek().is_none() && !first.may_repeat(id);
            if let Some(near) = near.filter(|_| is_only) {
                // It lies there, so it is in a run: in the only one that may have it, and there but once.
                if self.packs.is_known(near.pack, kind) {
                    found(at, location(&near));
                }
                continue;
            }
            records.clear();
            for run in std::iter::once(first).chain(candidates) {
                run.find(id, |record| records.push(record))?;
            }
            records.retain(|record| self.packs.is_known(record.pack, kind));
            records.sort_unstable();
            if let Some(record) = records.first() {
                self.note(record, footer)?;
            }
            records.iter().for_each(|record| found(at, location(record)));
        }
        Ok(())
    }

    /// For each chunk a trusted pack that has it, and the frame.
    pub(super) fn trusted(
        &self,
        kind: ObjectKind,
        ids: &[ChunkId],
        footer: ReadFooter<'_>,
    ) -> Result<Vec<Option<(PackId, u32)>>, CacheError> {
        let mut found: Vec<Option<(u32, u32)>> = vec![None; ids.len()];
        let is_trusted = |record: &Record| self.packs.is_trusted(record.pack, kind);
        let mut wanted = Vec::with_capacity(ids.len());
        self.look_near(ids, &mut found, is_trusted);
        for run in &self.runs {
            // Filters first: a processor asks many of them at once.
            wanted.clear();
            wanted.extend((0..ids.len()).filter(|at| found[*at].is_none() && run.may_hold(&ids[*at])));
            let mut next = 0;
            while let Some(at) = wanted.get(next).copied() {
                next += 1;
                let mut ended_in = None;
                run.find(&ids[at], |record| {
                    if ended_in.is_none() && is_trusted(&record) {
                        ended_in = Some(record);
                    }
                })?;
                let Some(record) = ended_in else { continue };
                found[at] = Some((record.pack, record.frame));
                if self.note(&record, footer)? {
                    // What comes next may have been noted just now.
                    self.look_near(ids, &mut found, is_trusted);
                    wanted.drain(..next);
                    next = 0;
                    wanted.retain(|at| found[*at].is_none());
                }
            }
        }
        let named = |(number, frame)| Some((self.packs.id(number)?, frame));
        Ok(found.into_iter().map(|place| place.and_then(named)).collect())
    }

    fn look_near(
        &self,
        ids: &[ChunkId],
        found: &mut [Option<(u32, u32)>],
        is_trusted: impl Fn(&Record) -> bool,
    ) {
        self.locality.get(ids, |at, record| {
            if found[at].is_none() && is_trusted(&record) {
                found[at] = Some((record.pack, record.frame));
            }
        });
    }

    /// Notes where a lookup ended; says whether its neighbours were noted too.
    fn note(&self, record: &Record, footer: ReadFooter<'_>) -> Result<bool, CacheError> {
        if !self.locality.ended_in(record.pack) {
            return Ok(false);
        }
        let footer = footer(PackNumber(record.pack))?;
        let is_noted = footer.is_some_and(|footer| self.locality.note(record.pack, &footer));
        Ok(is_noted)
    }
}

impl Listed {
    /// `known`: packs that are known, and when some were last taken away.
    fn read(database: &Database, known: Option<(u64, PackTable)>) -> Result<Self, CacheError> {
        database.snapshot(|transaction| {
            let changed = Counter::Changed.read(transaction)?;
            let forgotten = Counter::Forgotten.read(transaction)?;
            let known = known.filter(|(known, _)| *known == forgotten);
            let mut packs = known.map_or_else(PackTable::default, |(_, packs)| packs);
            packs.read_new(transaction)?;
            Ok(Self { changed, forgotten, runs: database::runs(transaction)?, packs })
        })
    }
}

/// Which of the runs, smallest first, have their filters in memory: a small one's spares as many reads as a large one's.
fn filters(listed: &Listed, allowance: &Allowance) -> Vec<bool> {
    let bytes = |summary: &RunSummary, with_filter| Run::resident_bytes(summary.entries.into(), with_filter);
    let heads: u64 = listed.runs.iter().map(|(_, summary)| bytes(summary, false)).sum();
    let mut left = allowance.lookup_bytes().saturating_sub(heads + listed.packs.resident_bytes());
    let mut filters = Vec::with_capacity(listed.runs.len());
    for (_, summary) in &listed.runs {
        let more = bytes(summary, true) - bytes(summary, false);
        let fits = more <= left;
        left = if fits { left - more } else { 0 };
        filters.push(fits);
    }
    filters
}

fn location(record: &Record) -> Location {
    Location { pack: PackNumber(record.pack), frame: record.frame }
}
