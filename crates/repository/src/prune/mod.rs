//! Pruning: what no snapshot needs is retired by one journal entry, and deleted when a grace has passed
//! (`format-spec/journal.md#retiring-and-deleting`).
//!
//! Backups may go on meanwhile, and so may another prune: nothing is locked. [Marking](mark) reads trees, and what is
//! needed of thin packs is [copied](repack) as it is sealed, so no data key is needed. What becomes of each pack is
//! decided [without effects](plan), and looked at again when others wrote meanwhile ([`planner`]). Of log archives goes
//! what an entry has [expired](logs), and nothing else.

mod cost;
mod delete;
mod keys;
mod listing;
mod logs;
mod mark;
mod plan;
mod planner;
mod repack;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use strongroom_format::entry::{IndexRef, PackRef, RetireBody, Statement};
use strongroom_format::registry::Roles;
use strongroom_format::{KeyId, PackId, SnapshotId};

pub use self::cost::Cost;
use self::listing::{Listing, Stored};
pub use self::plan::MaxUnused;
use self::plan::{Choice, Limits};
use self::planner::Planner;
use self::repack::Repacked;
use crate::cache::Cache;
use crate::entries::stored_ms;
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::repository::Repository;
use crate::state::State;

/// How often a prune plans again because others retired packs meanwhile, and appends again because others backed up.
const ATTEMPTS: u32 = 16;

/// What to retire and delete.
#[derive(Debug, Clone, Copy)]
pub struct PruneOptions {
    /// How long a pack stays in the store after it was retired, for readers that began before.
    pub grace: Duration,
    /// How old packs and index objects that no entry names must be: they may be of runs under way.
    pub orphan_age: Duration,
    /// How much of what is stored may be unused: beyond that, what is needed of thin packs is copied.
    pub max_unused: MaxUnused,
    /// Most bytes that are copied.
    pub max_repack: u64,
    /// Threads that walk trees.
    pub workers: usize,
    /// Packs that are read and stored at the same time.
    pub uploads: usize,
    /// Whether nothing is changed.
    pub dry_run: bool,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(24 * 60 * 60),
            orphan_age: Duration::from_secs(7 * 24 * 60 * 60),
            max_unused: MaxUnused::Percent(5),
            max_repack: u64::MAX,
            workers: 2,
            uploads: 2,
            dry_run: false,
        }
    }
}

/// Objects and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub objects: u64,
    /// Their stored bytes.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What a prune did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Packs that count and that stay as they are.
    pub kept: Amount,
    /// Packs that no snapshot needs: retired now.
    pub unneeded: Amount,
    /// Packs of which what is needed was copied: retired now.
    pub copied: Amount,
    /// The packs that it was copied to.
    pub written: Amount,
    /// Packs that no entry names, of runs that did not finish: retired now.
    pub leftovers: Amount,
    /// Packs and index objects that no entry names and that are too young to be told from those of a run under way.
    pub young: Amount,
    /// Retired packs and index objects without use: deleted now.
    pub deleted: Amount,
    /// Objects of log archives that expired: deleted now.
    pub expired: Amount,
    /// Objects of log archives that expired and whose grace has not passed.
    pub expiring: Amount,
    /// Parts of groups that are as old as leftovers: deleted now.
    pub parts: Amount,
    /// Retired packs whose grace has not passed.
    pub waiting: Amount,
    /// Retired packs that the store keeps for now, because it locks them.
    pub locked: Amount,
    /// Data keys that nothing is sealed under any more: retired now.
    pub retired_keys: u64,
    /// Wraps of retired data keys: deleted now.
    pub deleted_keys: u64,
    /// What all that costs; in a dry run an estimate.
    pub cost: Cost,
}

impl PruneReport {
    /// Bytes that are free once all that is retired now is deleted.
    #[must_use]
    pub fn freed_bytes(&self) -> u64 {
        (self.unneeded.bytes + self.copied.bytes + self.leftovers.bytes).saturating_sub(self.written.bytes)
    }
}

/// What is to be retired, and what takes its place.
#[derive(Default)]
struct Plan {
    choice: Choice,
    repacked: Repacked,
    leftovers: BTreeMap<PackId, u64>,
    retired_keys: Vec<KeyId>,
    /// Index objects that are to be written anew, by source.
    wasteful: Vec<Vec<IndexRef>>,
    /// Whether index objects are damaged or gone.
    is_index_damaged: bool,
    /// As they were.
    packs: BTreeMap<PackId, PackRef>,
    written: Amount,
    cost: Cost,
}

impl Plan {
    fn is_empty(&self) -> bool {
        let Choice { unneeded, copied } = &self.choice;
        unneeded.is_empty() && copied.is_empty() && self.leftovers.is_empty() && self.retired_keys.is_empty()
    }

    fn body(&self) -> RetireBody {
        let Choice { unneeded, copied } = &self.choice;
        RetireBody {
            retired: unneeded.iter().chain(copied).chain(self.leftovers.keys()).copied().collect(),
            packs: self.repacked.copies.packs.clone(),
            indexes: self.repacked.copies.indexes.clone(),
            // Their frames are sealed under keys that the snapshots have.
            keys: Vec::new(),
            retired_keys: self.retired_keys.clone(),
        }
    }

    /// Of its own packs none may have been taken for a leftover meanwhile.
    fn is_whole(&self, state: &State) -> bool {
        self.repacked.copies.packs.iter().all(|pack| !state.retired.contains_key(&pack.id))
    }
}

/// What a plan was made for.
struct Basis {
    snapshots: BTreeSet<SnapshotId>,
    packs: HashSet<PackId>,
}

impl Basis {
    fn of(state: &State) -> Self {
        Self {
            snapshots: state.snapshots.iter().map(|snapshot| snapshot.id()).collect(),
            packs: state.packs.keys().copied().collect(),
        }
    }

    /// Whether a state has nothing that this does not have.
    fn covers(&self, state: &State) -> bool {
        state.snapshots.iter().all(|snapshot| self.snapshots.contains(&snapshot.id()))
            && state.packs.len() == self.packs.len()
            && state.packs.keys().all(|pack| self.packs.contains(pack))
    }

    /// Whether packs that counted do so no more.
    fn lost_packs(&self, state: &State) -> bool {
        self.packs.iter().any(|pack| !state.packs.contains_key(pack))
    }
}

impl Repository {
    /// Retires what no snapshot needs, copies what is needed of thin packs, and deletes what has been retired for long
    /// enough. Interrupted, it has retired nothing, and the next one takes over what was copied.
    ///
    /// # Errors
    /// `NoSigner` without the role maintain; `NotPrunable` when it is not certain what is needed; `Store`, with the
    /// right that is missing where the store lets nothing be deleted; `Contention`, `Interrupted`, `TooLittleMemory`.
    pub fn prune(
        &mut self,
        options: &PruneOptions,
        monitor: &dyn Monitor,
    ) -> Result<PruneReport, RepositoryError> {
        self.require_role(Roles::MAINTAIN, "maintain")?;
        self.refresh()?;
        // By the store's clock: an object that it has just been given says what time it is.
        let noted = match options.dry_run {
            true => None,
            false => Some(self.note("prune", None, &note_of(options))?),
        };
        let index = self.empty_index()?;
        let (plan, listing, now_ms) = self.retire(options, monitor, noted, &index)?;
        let mut report = self.report(&plan);
        self.delete_expired_logs(options, monitor, now_ms, &mut report)?;
        self.delete_retired(options, monitor, &listing, &plan, now_ms, &mut report)?;
        let retired = plan.choice.unneeded.iter().chain(&plan.choice.copied);
        retired.filter_map(|id| listing.billed.get(id)).for_each(|info| report.cost.add_early(info, now_ms));
        let cost = report;
        report.cost.complete(&cost);
        if !options.dry_run {
            // One index at a time.
            drop(index);
            self.load_index()?;
            if plan.is_index_damaged {
                self.repair_index(false, false, monitor)?;
            }
            for objects in plan.wasteful {
                self.replace_index(&objects)?;
            }
            self.compact_index()?;
        }
        Ok(report)
    }

    fn report(&self, plan: &Plan) -> PruneReport {
        let mut report = PruneReport {
            written: plan.written,
            retired_keys: plan.retired_keys.len() as u64,
            cost: plan.cost,
            ..PruneReport::default()
        };
        let lengths = |packs: &BTreeSet<PackId>, amount: &mut Amount| {
            packs.iter().filter_map(|id| plan.packs.get(id)).for_each(|pack| amount.add(pack.length));
        };
        lengths(&plan.choice.unneeded, &mut report.unneeded);
        lengths(&plan.choice.copied, &mut report.copied);
        plan.leftovers.values().for_each(|bytes| report.leftovers.add(*bytes));
        for pack in plan.packs.values().filter(|pack| !plan.choice.retires(pack.id)) {
            report.kept.add(pack.length);
        }
        report
    }

    /// When an entry was stored, ms since 1970.
    pub(crate) fn entry_time_ms(&self, number: u64) -> Result<u64, RepositoryError> {
        match stored_ms(&*self.origin, number) {
            Err(RepositoryError::Store(gone)) if gone.is_not_found() => {
                self.time_of(number)?.ok_or_else(|| gone.into())
            }
            time => time,
        }
    }

    /// Plans, copies, and appends the entry; plans again when others retired packs meanwhile.
    fn retire(
        &mut self,
        options: &PruneOptions,
        monitor: &dyn Monitor,
        noted: Option<u64>,
        index: &Cache,
    ) -> Result<(Plan, Listing, u64), RepositoryError> {
        for _ in 0..ATTEMPTS {
            if let Some((number, why)) = self.state.damaged.first() {
                let reason =
                    format!("journal entry {number} is damaged ({why}), and may have said what is needed");
                return Err(RepositoryError::NotPrunable { reason });
            }
            let listing = Listing::read(&*self.origin, &self.state)?;
            let now_ms = match noted {
                Some(number) => self.entry_time_ms(number)?,
                None => listing.newest_ms.max(self.entry_time_ms(self.state.number)?),
            };
            let basis = Basis::of(&self.state);
            let mut planner = Planner::new(index);
            let planned = planner
                .learn(self, options.workers, monitor)
                .and_then(|()| self.plan(options, &mut planner, &listing, now_ms, monitor));
            let mut plan = match planned {
                Err(error @ RepositoryError::NotPrunable { .. }) => {
                    // What others have replaced or retired meanwhile may be deleted by now.
                    let planned = self.state.number;
                    self.refresh()?;
                    if self.state.number == planned {
                        return Err(error);
                    }
                    continue;
                }
                planned => planned?,
            };
            if options.dry_run || plan.is_empty() {
                plan.is_index_damaged = planner.is_index_damaged;
                return Ok((plan, listing, now_ms));
            }
            if self.append_retire(options, &mut planner, &mut plan, basis, (&listing, now_ms), monitor)? {
                plan.wasteful = planner.wasteful(&self.state);
                plan.is_index_damaged = planner.is_index_damaged;
                return Ok((plan, listing, now_ms));
            }
        }
        Err(RepositoryError::Contention { attempts: ATTEMPTS })
    }

    /// Appends the entry; when others wrote meanwhile, what they need stays. Says whether it did: with packs retired
    /// meanwhile there is another plan to be made.
    fn append_retire(
        &mut self,
        options: &PruneOptions,
        planner: &mut Planner<'_>,
        plan: &mut Plan,
        mut basis: Basis,
        (listing, now_ms): (&Listing, u64),
        monitor: &dyn Monitor,
    ) -> Result<bool, RepositoryError> {
        for _ in 0..ATTEMPTS {
            let body = plan.body();
            let mut has_changed = false;
            let appended = self.append(|state| {
                has_changed = !basis.covers(state) || !plan.is_whole(state) || !state.damaged.is_empty();
                if has_changed {
                    Err(RepositoryError::Cancelled)
                } else {
                    Ok(Statement::Retire(body.clone()))
                }
            });
            match appended {
                Ok(_) => return Ok(true),
                Err(RepositoryError::Cancelled) if has_changed => {}
                Err(error) => return Err(error),
            }
            if basis.lost_packs(&self.state) || !plan.is_whole(&self.state) || !self.state.damaged.is_empty()
            {
                return Ok(false);
            }
            match planner.learn(self, options.workers, monitor) {
                // What others forgot and pruned since: with a plan of its own that shows.
                Err(RepositoryError::NotPrunable { .. }) => return Ok(false),
                learned => learned?,
            }
            planner.keep_what_is_needed_now(&mut plan.choice, &plan.repacked.frames)?;
            plan.leftovers.retain(|id, _| !self.state.packs.contains_key(id));
            plan.retired_keys = self.keys_to_retire(options, planner, plan, listing, now_ms)?;
            basis = Basis::of(&self.state);
            if plan.is_empty() {
                return Ok(true);
            }
        }
        Err(RepositoryError::Contention { attempts: ATTEMPTS })
    }

    fn plan(
        &self,
        options: &PruneOptions,
        planner: &mut Planner<'_>,
        listing: &Listing,
        now_ms: u64,
        monitor: &dyn Monitor,
    ) -> Result<Plan, RepositoryError> {
        let limits = Limits { max_unused: options.max_unused, max_repack: options.max_repack };
        let (mut choice, uses) = planner.choose(limits)?;
        let (cost, mut written) = Cost::of_copying(&choice, &uses);
        let mut repacked = Repacked::default();
        if !options.dry_run && !choice.copied.is_empty() {
            repacked = self.repack(options, planner, &mut choice, listing, monitor)?;
            written = repacked.written();
        }
        let old = |(id, stored): &(&PackId, &Stored)| {
            is_old(stored, now_ms, options)
                && !self.state.packs.contains_key(id)
                && !repacked.adopted.contains(id)
        };
        let leftovers = listing.unnamed.iter().filter(old);
        let leftovers = leftovers.map(|(id, stored)| (*id, stored.info.length_bytes)).collect();
        let mut plan = Plan {
            choice,
            repacked,
            leftovers,
            retired_keys: Vec::new(),
            wasteful: Vec::new(),
            is_index_damaged: false,
            packs: self.state.packs.clone(),
            written,
            cost,
        };
        plan.retired_keys = self.keys_to_retire(options, planner, &plan, listing, now_ms)?;
        Ok(plan)
    }
}

fn is_old(stored: &Stored, now_ms: u64, options: &PruneOptions) -> bool {
    now_ms.saturating_sub(stored.info.modified_ms) >= milliseconds(options.orphan_age)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn note_of(options: &PruneOptions) -> String {
    format!(
        r#"{{"grace_seconds":{},"orphan_age_seconds":{}}}"#,
        options.grace.as_secs(),
        options.orphan_age.as_secs()
    )
}
