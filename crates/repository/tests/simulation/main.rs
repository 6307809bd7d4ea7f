//! Several hosts on a store that fails, dies and is late, against a model in memory: whatever happens, every snapshot that
//! was said to be there restores, and none comes back that was said to be gone; and every segment of a log that was said to be
//! stored comes back unless somebody expired it.
//!
//! Each seed is a sequence of commands by hosts. A host may die at any of its writes, lose the answer of one, or have one
//! land long after it gave up; and at any of its writes other hosts may run whole commands. `STRONGROOM_SEEDS` says how
//! many seeds there are, `STRONGROOM_SEED` which is the first (`cargo xtask simulate`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod commands;
mod dice;
mod groups;
mod host;
mod logs;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use strongroom_repository::monitor::Silent;
use strongroom_store::{MemoryStore, Store};

use self::commands::{number_of, step};
use self::dice::Dice;
use self::groups::COMMITTED;
use self::logs::verify_log;
use self::support::*;
use self::world::World;

const SEEDS: u64 = 500;

/// Everything that was said to be there restores, and nothing is there that nobody knows of.
fn verify(world: &World) {
    for (which, store) in world.stores.iter().enumerate() {
        let store: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
        let mut repository = open(&store);
        let snapshots: Vec<_> =
            repository.snapshots().iter().map(|one| (one.id(), number_of(&one.state.tags))).collect();
        verify_log(world, which, &repository);
        let model = world.model.lock().unwrap();
        let found: BTreeSet<u64> = snapshots.iter().map(|(_, number)| *number).collect();
        assert!(found.is_superset(&model.there[which]), "lost: {:?} of {found:?}", model.there[which]);
        let known: BTreeSet<u64> = model.there[which].union(&model.perhaps[which]).copied().collect();
        assert!(found.is_subset(&known), "back again: {found:?}, known {known:?}");
        for (id, number) in snapshots {
            assert!(restore(&mut repository, id) == model.contents[&number], "{number} is not what it was");
        }
    }
}

/// Says what happened in a seed that fails.
struct Told(u64, Arc<World>);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var("STRONGROOM_TELL").is_ok() {
            let log = self.1.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner).join("\n");
            eprintln!("seed {0}; again with STRONGROOM_SEED={0} STRONGROOM_SEEDS=1\n{log}", self.0);
        }
    }
}

fn run(seed: u64) {
    let world = Arc::new(World {
        dice: Mutex::new(Dice(seed)),
        stores: [Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new())],
        model: Mutex::default(),
        late: Mutex::default(),
        log: Mutex::default(),
    });
    let _told = Told(seed, Arc::clone(&world));
    for store in &world.stores {
        let store: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
        new_repository(&store);
    }
    for number in 0..12 {
        step(&world, 0);
        if number % 4 == 3 {
            verify(&world);
        }
    }
    for store in &world.stores {
        let store: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
        // With no age at all leftovers are taken for what they are not: index objects that are gone lose nothing.
        let _ = open(&store).repair_index(false, false, &Silent).unwrap();
        let report = check(&open(&store));
        assert!(damage(&report).is_empty(), "{:#?}", report.findings);
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

#[test]
fn whatever_happens_nothing_is_lost() {
    let (first, seeds) = (number("STRONGROOM_SEED", 0), number("STRONGROOM_SEEDS", SEEDS));
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    run(seed);
                }
            });
        }
    });
    // A seed alone may have none.
    let committed = COMMITTED.load(Ordering::Relaxed);
    assert!(seeds < 100 || committed > seeds / 20, "{committed} groups were committed in {seeds} seeds");
}
