//! Damaged packs: what is whole in them is copied to new ones, and they count no more. So backups store again what was
//! lost when they meet it, and snapshots that lost it are whole again then.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fixedbitset::FixedBitSet;
use strongroom_format::entry::{PackRef, RetireBody, Statement};
use strongroom_format::pack::{FrameRecord, PACK_LIMIT_BYTES};
use strongroom_format::registry::{ObjectKind, Roles};
use strongroom_format::{PackId, SourceTag};
use strongroom_keys::derive::content_hash;
use strongroom_store::{ObjectName, StoreError};

use crate::cache::{Cache, PackEntry};
use crate::copier::{Copier, Copies};
use crate::error::RepositoryError;
use crate::monitor::Monitor;
use crate::names;
use crate::repository::Repository;
use crate::state::describe;

/// Which packs, and how.
#[derive(Debug, Clone, Default)]
pub struct PacksOptions {
    /// Only these; all if there are none.
    pub packs: Vec<PackId>,
    /// Whether packs that are not there, and what is sealed under data keys that are not, are given up, too. What is found
    /// again afterwards counts no more.
    pub give_up_gone: bool,
    /// Packs that are read at the same time.
    pub readers: usize,
    /// Whether nothing is changed.
    pub dry_run: bool,
}

/// A pack that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedPack {
    /// The object.
    pub name: ObjectName,
    /// What is wrong with it.
    pub why: String,
    /// Whether it is not there at all, and nothing tells what it was; or whether the data key of some of it is not.
    pub is_gone: bool,
    /// Whether its parity tells what it was.
    pub is_healed: bool,
    /// Frames that are whole, and are copied.
    pub whole: usize,
    /// Frames that are lost.
    pub lost: usize,
}

/// What repairing packs did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PacksReport {
    /// Packs that were read.
    pub read: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that are damaged or gone.
    pub damaged: Vec<DamagedPack>,
    /// Whole frames of other packs that cannot be opened without what is lost, and go with it.
    pub dependents: u64,
    /// Chunks and nodes that lie nowhere any more.
    pub lost_chunks: u64,
    /// Packs that count no more.
    pub retired: u64,
    /// Packs that hold what was whole.
    pub written: u64,
}

/// A damaged pack, as it is known from the index.
struct Bad {
    entry: PackEntry,
    bytes: Option<Vec<u8>>,
}

/// The index, and whose packs they are.
struct Known {
    index: Cache,
    tags: HashMap<PackId, SourceTag>,
}

impl Known {
    fn entry(&self, pack: PackId) -> Result<Option<PackEntry>, RepositoryError> {
        let number = self.index.numbers_of(pack)?.into_iter().next();
        Ok(number.map(|number| self.index.pack(number)).transpose()?.flatten())
    }

    fn entries(&self) -> impl Iterator<Item = Result<PackEntry, RepositoryError>> {
        let numbers = self.index.pack_numbers();
        let (numbers, failed) = match numbers {
            Ok(numbers) => (numbers, None),
            Err(error) => (Vec::new(), Some(Err(error))),
        };
        failed.into_iter().chain(numbers.into_iter().filter_map(|number| self.index.pack(number).transpose()))
    }
}

type Lost = BTreeMap<PackId, FixedBitSet>;

impl Repository {
    /// Reads packs, copies what is whole of those that are damaged, and retires these.
    ///
    /// # Errors
    /// `NoSigner` without the role maintain; `Damaged` and others for an index object that cannot be read: repair the
    /// index first; `Store`, `Interrupted`, `PackRetired` when another host retired one of them meanwhile.
    pub fn repair_packs(
        &mut self,
        options: &PacksOptions,
        monitor: &dyn Monitor,
    ) -> Result<PacksReport, RepositoryError> {
        self.require_role(Roles::MAINTAIN, "maintain")?;
        self.refresh()?;
        let known = self.known()?;
        let mut report = PacksReport::default();
        let mut lost = Lost::new();
        let mut bad = BTreeSet::new();
        let wanted = |pack: &&PackRef| options.packs.is_empty() || options.packs.contains(&pack.id);
        let packs: Vec<PackRef> = self.state.packs.values().filter(wanted).copied().collect();
        monitor.begin("reading packs", Some(packs.iter().map(|pack| pack.length).sum()));
        for window in packs.chunks(options.readers.max(1)) {
            for (pack, read) in window.iter().zip(self.read_packs(window)) {
                if monitor.is_cancelled() {
                    return Err(RepositoryError::Interrupted);
                }
                report.read += 1;
                report.bytes += pack.length;
                monitor.advance(pack.length);
                let Some((why, bytes)) = read? else { continue };
                let healed = self.heal_pack(pack)?;
                let is_healed = healed.is_some();
                let bytes = healed.or(bytes);
                let name = names::pack(pack.kind, pack.id)?;
                let is_gone = bytes.is_none();
                // By a prune, perhaps, that went on meanwhile.
                if is_gone && !self.newer_state().packs.contains_key(&pack.id) {
                    continue;
                }
                let Some(entry) = known.entry(pack.id)? else {
                    monitor
                        .warn(&format!("{name} is damaged ({why}), and no index object says what it holds"));
                    continue;
                };
                let frames = entry.footer.frames.len();
                let damaged = self.lost_frames(&Bad { entry, bytes });
                let count = damaged.count_ones(..);
                report.damaged.push(DamagedPack {
                    name,
                    why,
                    is_gone,
                    is_healed,
                    whole: frames - count,
                    lost: count,
                });
                if !is_gone || options.give_up_gone {
                    lost.insert(pack.id, damaged);
                    bad.insert(pack.id);
                }
            }
        }
        self.add_sealed_under_lost_keys(&known, &packs, options, &mut report, &mut lost)?;
        if lost.is_empty() {
            return Ok(report);
        }
        report.dependents = add_dependents(&known, &mut lost)?;
        report.lost_chunks = lost_chunks(&known, &lost)?;
        report.retired = lost.len() as u64;
        if options.dry_run {
            return Ok(report);
        }
        let copies = self.copy_whole(&known, &lost, &bad, monitor)?;
        report.written = copies.packs.len() as u64;
        let body = RetireBody {
            retired: lost.keys().copied().collect(),
            packs: copies.packs,
            indexes: copies.indexes,
            ..RetireBody::default()
        };
        self.append(|state| {
            // Of its own packs, too, some may have been taken for leftovers.
            let mut brought = body.packs.iter().map(|pack| &pack.id);
            let gone = body.retired.iter().find(|pack| !state.packs.contains_key(pack));
            match gone.or_else(|| brought.find(|pack| state.retired.contains_key(pack))) {
                Some(pack) => Err(RepositoryError::PackRetired { pack: *pack }),
                None => Ok(Statement::Retire(body.clone())),
            }
        })?;
        self.load_index()?;
        Ok(report)
    }

    /// Adds the frames whose data key nobody can open any more, whole as they are.
    fn add_sealed_under_lost_keys(
        &self,
        known: &Known,
        packs: &[PackRef],
        options: &PacksOptions,
        report: &mut PacksReport,
        lost: &mut Lost,
    ) -> Result<(), RepositoryError> {
        let of_data = || packs.iter().filter(|pack| pack.kind == ObjectKind::DataPack).map(|pack| pack.id);
        let mut keys = BTreeSet::new();
        for pack in of_data() {
            let entry = known.entry(pack)?;
            keys.extend(entry.iter().flat_map(|entry| &entry.footer.keys).map(|key| key.id));
        }
        let lost_keys = self.lost_keys(&keys)?;
        if lost_keys.is_empty() {
            return Ok(());
        }
        for pack in of_data() {
            let Some(entry) = known.entry(pack)? else { continue };
            let why = |frame: &FrameRecord| lost_keys.get(&entry.footer.keys.get(usize::from(frame.key))?.id);
            let frames = &entry.footer.frames;
            let sealed: Vec<usize> = (0..frames.len()).filter(|at| why(&frames[*at]).is_some()).collect();
            let Some(reason) = sealed.first().and_then(|at| why(&frames[*at])) else { continue };
            report.damaged.push(DamagedPack {
                name: names::pack(entry.kind, pack)?,
                why: reason.clone(),
                is_gone: true,
                is_healed: false,
                whole: frames.len() - sealed.len(),
                lost: sealed.len(),
            });
            if options.give_up_gone {
                let set = lost.entry(pack).or_insert_with(|| FixedBitSet::with_capacity(frames.len()));
                sealed.iter().for_each(|at| set.insert(*at));
            }
        }
        Ok(())
    }

    fn known(&self) -> Result<Known, RepositoryError> {
        let index = self.empty_index()?;
        let mut tags = HashMap::new();
        index.synchronize(&self.state, None, |object| {
            let packs = self.read_index(object)?;
            tags.extend(packs.iter().map(|(_, entry)| (entry.id, object.source_tag)));
            Ok(Some(self.with_verdicts(packs)))
        })?;
        Ok(Known { index, tags })
    }

    /// Of each pack what is wrong with it, and its bytes.
    #[expect(clippy::type_complexity, reason = "used in one place")]
    fn read_packs(
        &self,
        packs: &[PackRef],
    ) -> Vec<Result<Option<(String, Option<Vec<u8>>)>, RepositoryError>> {
        std::thread::scope(|scope| {
            let reading: Vec<_> = packs.iter().map(|pack| scope.spawn(move || self.look_at(pack))).collect();
            reading.into_iter().map(|one| one.join().unwrap_or(Err(RepositoryError::Cancelled))).collect()
        })
    }

    #[expect(clippy::type_complexity, reason = "used in one place")]
    fn look_at(&self, pack: &PackRef) -> Result<Option<(String, Option<Vec<u8>>)>, RepositoryError> {
        match self.origin.get(&names::pack(pack.kind, pack.id)?, PACK_LIMIT_BYTES) {
            Ok(bytes) if content_hash(&bytes).0 == pack.id.0 => Ok(None),
            Ok(bytes) if bytes.len() as u64 != pack.length => {
                let why = format!("it is {} bytes long, and was {}", bytes.len(), pack.length);
                Ok(Some((why, Some(bytes))))
            }
            Ok(bytes) => Ok(Some(("its bytes do not hash to its name".into(), Some(bytes)))),
            Err(error) if error.is_not_found() => Ok(Some(("it is not there".into(), None))),
            Err(error @ StoreError::TooLarge { .. }) => Ok(Some((describe(&error), Some(Vec::new())))),
            Err(error) => Err(error.into()),
        }
    }

    fn lost_frames(&self, bad: &Bad) -> FixedBitSet {
        let count = bad.entry.footer.frames.len();
        let mut lost = FixedBitSet::with_capacity(count);
        for frame in 0..count {
            lost.set(frame, self.frame_of(bad, frame).is_none());
        }
        lost
    }

    /// A frame that is what its author signed.
    fn frame_of(&self, bad: &Bad, frame: usize) -> Option<crate::pack_writer::SealedFrame> {
        let range = bad.entry.footer.frame_range(frame)?;
        let bytes = bad.bytes.as_ref()?;
        let sealed = bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)?;
        self.verified_frame(&bad.entry, u32::try_from(frame).ok()?, sealed.to_vec()).ok()
    }

    fn copy_whole(
        &self,
        known: &Known,
        lost: &Lost,
        bad: &BTreeSet<PackId>,
        monitor: &dyn Monitor,
    ) -> Result<Copies, RepositoryError> {
        let mut copier = Copier::new(self, &*self.origin, 1);
        monitor.begin("copying what is whole", None);
        for (pack, lost) in lost {
            if monitor.is_cancelled() {
                return Err(RepositoryError::Interrupted);
            }
            let Some(entry) = known.entry(*pack)? else { continue };
            let tag = known.tags.get(pack).copied().unwrap_or(SourceTag([0; 16]));
            let kind = entry.kind;
            let whole = (0..entry.footer.frames.len()).filter(|frame| !lost.contains(*frame));
            if bad.contains(pack) {
                let length = entry.footer.pack_length;
                let bytes = match self.heal_pack(&PackRef { kind, id: *pack, length })? {
                    Some(healed) => Some(healed),
                    None => match self.origin.get(&names::pack(kind, *pack)?, PACK_LIMIT_BYTES) {
                        Ok(bytes) => Some(bytes),
                        Err(error) if error.is_not_found() => None,
                        Err(error) => return Err(error.into()),
                    },
                };
                let bad = Bad { entry, bytes };
                for frame in whole {
                    let found = self.frame_of(&bad, frame).ok_or_else(|| RepositoryError::Inconsistent {
                        object: format!("pack {pack}"),
                        reason: "it changed while it was repaired".into(),
                    })?;
                    copier.push(tag, kind, found)?;
                }
            } else {
                let frames: Vec<u32> = whole.filter_map(|frame| u32::try_from(frame).ok()).collect();
                for found in self.read_sealed(&*self.origin, &entry, &frames)? {
                    copier.push(tag, kind, found)?;
                }
            }
        }
        copier.finish()
    }
}

/// Adds the frames that cannot be opened without what is lost. Gives how many they are.
fn add_dependents(known: &Known, lost: &mut Lost) -> Result<u64, RepositoryError> {
    let mut count = 0;
    loop {
        let mut more = Vec::new();
        for entry in known.entries() {
            let entry = entry?;
            for (at, record) in entry.footer.frames.iter().enumerate() {
                if record.base_count == 0 || lost.get(&entry.id).is_some_and(|lost| lost.contains(at)) {
                    continue;
                }
                for base in entry.footer.bases_of(record) {
                    if !is_anywhere(known, lost, &entry, base.id, record.depth)? {
                        more.push((entry.id, at, entry.footer.frames.len()));
                        break;
                    }
                }
            }
        }
        if more.is_empty() {
            return Ok(count);
        }
        for (pack, frame, frames) in more {
            let set = lost.entry(pack).or_insert_with(|| FixedBitSet::with_capacity(frames));
            set.insert(frame);
            count += 1;
        }
    }
}

/// Whether a chunk lies in a frame, shallower than this, that is not lost.
fn is_anywhere(
    known: &Known,
    lost: &Lost,
    of: &PackEntry,
    id: strongroom_format::ChunkId,
    below: u8,
) -> Result<bool, RepositoryError> {
    for place in known.index.locations(of.kind, id)? {
        let Some(entry) = known.index.pack(place.pack)? else { continue };
        let at = place.frame as usize;
        let depth = entry.footer.frames.get(at).map(|frame| frame.depth);
        let is_lost = lost.get(&entry.id).is_some_and(|lost| lost.contains(at));
        if !is_lost && depth.is_some_and(|depth| depth < below) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lost_chunks(known: &Known, lost: &Lost) -> Result<u64, RepositoryError> {
    let mut count = 0;
    for (pack, frames) in lost {
        let Some(entry) = known.entry(*pack)? else { continue };
        for record in frames.ones().filter_map(|frame| entry.footer.frames.get(frame)) {
            for chunk in entry.footer.chunks_of(record) {
                count += u64::from(!is_anywhere(known, lost, &entry, chunk.id, u8::MAX)?);
            }
        }
    }
    Ok(count)
}
