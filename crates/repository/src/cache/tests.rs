//! The cache against a sorted map; shared by processes; damaged; after a crash.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proptest::prelude::*;
use strongroom_format::entry::{IndexRef, PackRef};
use strongroom_format::registry::Trust;
use strongroom_format::{IndexId, SourceTag};

use super::*;
use crate::state::State;

/// A pack: its number, whether it is of metadata, and the numbers of its chunks.
type Pack = (u8, bool, Vec<u16>);

const FINGERPRINT: &str = "0123 4567";
const FRAME_CHUNKS: usize = 3;

/// What a repository has: index objects, each of some packs.
#[derive(Default, Clone)]
struct Model {
    indexes: BTreeMap<u8, Vec<Pack>>,
    retired: BTreeSet<u8>,
}

fn chunk(number: u16) -> ChunkId {
    // Some of them as near together as can be.
    match number.checked_sub(u16::MAX - 8) {
        Some(last) => {
            let [low, _] = last.to_le_bytes();
            let mut id = [0x77; 32];
            id[31] = low;
            ChunkId(id)
        }
        None => ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes()),
    }
}

fn kind(is_metadata: bool) -> ObjectKind {
    if is_metadata { ObjectKind::MetadataPack } else { ObjectKind::DataPack }
}

fn described((number, is_metadata, chunks): &Pack) -> DescribedPack {
    let chunks = chunks.iter().map(|number| chunk(*number));
    let (stored, entry) = scale::pack_of(PackId([*number; 32]), kind(*is_metadata), chunks, FRAME_CHUNKS);
    (stored, entry, true)
}

impl Model {
    fn state(&self) -> State {
        static EMPTY: OnceLock<State> = OnceLock::new();
        let mut state = EMPTY.get_or_init(|| scale::empty_state().unwrap()).clone();
        state.policy.trust = Trust::All;
        for (number, packs) in &self.indexes {
            let id = IndexId([*number; 32]);
            let length = packs.iter().map(|(_, _, chunks)| chunks.len() as u64 * 40).sum();
            state.indexes.insert(id, IndexRef { id, source_tag: SourceTag([0; 16]), length });
            for pack in packs.iter().filter(|(number, _, _)| !self.retired.contains(number)) {
                let (_, entry, _) = described(pack);
                let length = entry.footer.pack_length;
                state.packs.insert(entry.id, PackRef { kind: entry.kind, id: entry.id, length });
            }
        }
        state.retired = self.retired.iter().map(|number| (PackId([*number; 32]), 1)).collect();
        state
    }

    /// Brings a cache up to date; gives how many index objects it asked for.
    fn synchronize(&self, cache: &Cache) -> usize {
        let asked = Cell::new(0);
        let load = |index: &IndexRef| {
            asked.set(asked.get() + 1);
            Ok(Some(self.indexes[&index.id.0[0]].iter().map(described).collect()))
        };
        cache.synchronize(&self.state(), None, load).unwrap();
        asked.get()
    }

    /// The packs and frames of a chunk. Of a pack that is said to be of two kinds, the first counts.
    fn places(&self, wanted: u16, is_metadata: bool) -> BTreeSet<(PackId, u32)> {
        let packs = self.indexes.values().flatten().filter(|(number, _, _)| !self.retired.contains(number));
        let packs = packs.filter(|(_, of_metadata, _)| *of_metadata == is_metadata);
        let mut places = BTreeSet::new();
        for (number, _, chunks) in packs {
            for (frame, chunks) in (0_u32..).zip(chunks.chunks(FRAME_CHUNKS)) {
                if chunks.contains(&wanted) {
                    places.insert((PackId([*number; 32]), frame));
                }
            }
        }
        places
    }

    fn assert_agrees(&self, cache: &Cache) {
        let mut chunks: Vec<u16> =
            self.indexes.values().flatten().flat_map(|(_, _, chunks)| chunks).copied().collect();
        chunks.extend([40_000, 40_001]);
        // Twice, and many at once: what was noted of neighbours is the same.
        for _ in 0..2 {
            for is_metadata in [false, true] {
                let ids: Vec<ChunkId> = chunks.iter().map(|number| chunk(*number)).collect();
                let trusted = cache.trusted(kind(is_metadata), &ids).unwrap();
                for (number, trusted) in chunks.iter().zip(trusted) {
                    let expected = self.places(*number, is_metadata);
                    let found = cache.locations(kind(is_metadata), chunk(*number)).unwrap();
                    let entry = |place: &Location| cache.pack(place.pack).unwrap().unwrap();
                    let found: BTreeSet<_> =
                        found.iter().map(|place| (entry(place).id, place.frame)).collect();
                    assert_eq!(found, expected, "chunk {number}");
                    assert_eq!(trusted.is_some(), !expected.is_empty(), "chunk {number}");
                    assert!(trusted.is_none_or(|place| expected.contains(&place)));
                }
            }
        }
    }
}

fn open(folder: &Path) -> Cache {
    open_within(folder, Allowance::default())
}

fn open_within(folder: &Path, allowance: Allowance) -> Cache {
    let (cache, warning) = Cache::open_within(Some(folder), FINGERPRINT, allowance).unwrap();
    assert_eq!(warning, None);
    cache
}

/// Numbers of the files of runs.
fn run_files(folder: &Path) -> BTreeMap<u64, PathBuf> {
    let folder = folder.join(FINGERPRINT.replace(' ', ""));
    let number = |path: &Path| path.file_name()?.to_str()?.strip_suffix(".run")?.parse().ok();
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter_map(|path| Some((number(&path)?, path))).collect()
}

/// A number of index objects, each of a pack with a few chunks of its own, and some that the one before has.
fn some(indexes: u8) -> Model {
    let pack =
        |number: u8| (number, number % 4 == 3, (0..40).map(|at| u16::from(number) * 30 + at).collect());
    Model { indexes: (0..indexes).map(|number| (number, vec![pack(number)])).collect(), ..Model::default() }
}

fn packs() -> impl Strategy<Value = Vec<Pack>> {
    let chunk = prop_oneof![4 => 0_u16..600, 1 => u16::MAX - 8..=u16::MAX];
    // A pack's kind and content are its own: one that is described in several ways is another test's.
    let chunks = prop::collection::vec(chunk, 1..40);
    prop::collection::vec((any::<u8>(), any::<bool>(), chunks), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn it_says_what_a_sorted_map_says(
        steps in prop::collection::vec((packs(), prop::option::of(any::<u8>()), any::<bool>(), any::<bool>()), 1..12),
        is_tight: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let allowance = if is_tight { Allowance::of(0) } else { Allowance::default() };
        let mut cache = open_within(folder.path(), allowance);
        let mut model = Model::default();
        for (number, (mut packs, retired, reopens, elsewhere)) in (0_u8..).zip(steps) {
            packs.retain(|(number, _, _)| !model.retired.contains(number));
            packs.retain(|(number, _, _)| {
                !model.indexes.values().flatten().any(|(known, _, _)| known == number)
            });
            let mut seen = BTreeSet::new();
            packs.retain(|(number, _, _)| seen.insert(*number));
            model.indexes.insert(number, packs);
            let known: Vec<u8> = model.indexes.values().flatten().map(|(number, _, _)| *number).collect();
            if let Some(retired) = retired
                && !known.is_empty()
            {
                model.retired.insert(known[usize::from(retired) % known.len()]);
            }
            if elsewhere {
                // Another process is first, and this one finds all of it done.
                let other = open(folder.path());
                model.synchronize(&other);
                model.assert_agrees(&other);
                prop_assert_eq!(model.synchronize(&cache), 0);
            } else {
                model.synchronize(&cache);
            }
            if reopens {
                cache = open_within(folder.path(), allowance);
                prop_assert_eq!(model.synchronize(&cache), 0);
            }
            model.assert_agrees(&cache);
            prop_assert!(run_files(folder.path()).len() <= 12);
        }
    }
}

#[test]
fn a_pack_that_is_described_in_two_ways_is_found_in_both() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    let mut model = some(2);
    // The same length, so that both may be true.
    model.indexes.insert(9, vec![(1, false, (5000..5040).collect())]);
    model.synchronize(&cache);
    model.assert_agrees(&cache);
    assert_eq!(cache.numbers_of(PackId([1; 32])).unwrap().len(), 2);
}

#[test]
fn those_who_share_a_folder_go_on_with_what_they_have_open() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (open(folder.path()), open(folder.path()));
    let first = some(1);
    first.synchronize(&one);
    first.assert_agrees(&one);
    // The other adds run after run, and merges them: the files that the first has open are gone.
    for indexes in 2..20 {
        some(indexes).synchronize(&other);
    }
    assert!(run_files(folder.path()).keys().all(|number| *number > 1));
    first.assert_agrees(&one);
    assert_eq!(some(19).synchronize(&one), 0);
    some(19).assert_agrees(&one);
}

#[test]
fn processes_that_begin_at_once_agree() {
    let folder = tempfile::tempdir().unwrap();
    let model = some(40);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let cache = open(folder.path());
                model.synchronize(&cache);
                model.assert_agrees(&cache);
            });
        }
    });
    let cache = open(folder.path());
    model.synchronize(&cache);
    model.assert_agrees(&cache);
}

#[test]
fn what_a_crash_leaves_is_neither_believed_nor_kept() {
    let folder = tempfile::tempdir().unwrap();
    let model = some(3);
    model.synchronize(&open(folder.path()));
    let (number, path) = run_files(folder.path()).pop_last().unwrap();
    // Written, and not committed: under the next number, and under one that was to be a merge's.
    for stray in [number + 1, number + 7] {
        std::fs::copy(&path, path.with_file_name(format!("{stray}.run"))).unwrap();
    }
    std::fs::write(path.with_file_name(format!("{}.run", number + 2)), b"begun").unwrap();
    let cache = open(folder.path());
    assert_eq!(model.synchronize(&cache), 0);
    model.assert_agrees(&cache);
    let more = some(4);
    assert_eq!(more.synchronize(&cache), 1);
    more.assert_agrees(&cache);
    assert!(!run_files(folder.path()).contains_key(&(number + 7)));
    more.assert_agrees(&open(folder.path()));
}

#[test]
fn a_damaged_run_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let model = some(6);
    model.synchronize(&open(folder.path()));
    let length = std::fs::metadata(run_files(folder.path()).pop_last().unwrap().1).unwrap().len();
    for at in (0..length).step_by(37) {
        let (_, path) = run_files(folder.path()).pop_last().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let Some(byte) = bytes.get_mut(usize::try_from(at).unwrap()) else { continue };
        *byte ^= 0x55;
        std::fs::write(&path, bytes).unwrap();
        let cache = open(folder.path());
        model.synchronize(&cache);
        // Damaged tables are found at once, damaged records when they are read; then all is loaded again.
        let read = (0..200).try_for_each(|number| {
            let found = cache.locations(ObjectKind::DataPack, chunk(number))?;
            assert_eq!(found.len(), model.places(number, false).len(), "byte {at}");
            Ok::<_, RepositoryError>(())
        });
        if read.is_err() {
            assert_eq!(model.synchronize(&open(folder.path())), 6, "byte {at}");
        }
        let cache = open(folder.path());
        model.synchronize(&cache);
        if read.is_err() {
            model.assert_agrees(&cache);
        }
    }
}

#[test]
fn a_run_that_is_cut_off_or_gone_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let model = some(6);
    model.synchronize(&open(folder.path()));
    for length in [None, Some(0), Some(10), Some(64), Some(200), Some(1000)] {
        let (_, path) = run_files(folder.path()).pop_last().unwrap();
        match length {
            None => std::fs::remove_file(&path).unwrap(),
            Some(length) => {
                std::fs::File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
            }
        }
        let cache = open(folder.path());
        assert_eq!(model.synchronize(&cache), 6, "{length:?}");
        model.assert_agrees(&cache);
    }
}

#[test]
fn a_temporary_cache_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path());
    some(3).synchronize(&cache);
    let files = || -> BTreeSet<PathBuf> {
        let entries = std::fs::read_dir(folder.path().join("01234567")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let before = files();
    let beside = cache.beside(FINGERPRINT, Allowance::default()).unwrap();
    assert_eq!(some(9).synchronize(&beside), 9);
    some(9).assert_agrees(&beside);
    assert_eq!(files(), before, "not even while it is used");
    some(3).assert_agrees(&cache);
}

#[test]
fn what_is_gone_is_dropped_from_runs_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let index = scale::GeneratedIndex::open(Some(folder.path()), 200_000, 512 << 20).unwrap();
    index.load().unwrap();
    assert_eq!(index.resident().unwrap().entries, 200_000);
    drop(index);
    let fewer = scale::GeneratedIndex::open(Some(folder.path()), 1_000, 512 << 20).unwrap();
    fewer.load().unwrap();
    assert_eq!(fewer.resident().unwrap().entries, 4 * 266);
    assert_eq!(fewer.are_known(&[scale::chunk(5), scale::chunk(150_000)]).unwrap(), [true, false]);
}

#[test]
fn lookups_cost_no_more_than_a_few_bytes_a_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let index = scale::GeneratedIndex::open(Some(folder.path()), 500_000, 512 << 20).unwrap();
    index.load().unwrap();
    let resident = index.resident().unwrap();
    assert!(resident.bytes < 2 * resident.entries, "{resident:?}");
    for number in (0..500_000).step_by(997) {
        assert!(index.is_in_place(number).unwrap(), "chunk {number}");
    }
    let others: Vec<ChunkId> = (500_000..600_000).map(scale::chunk).collect();
    assert!(index.are_known(&others).unwrap().iter().all(|is_known| !is_known));
}
