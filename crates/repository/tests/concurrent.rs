//! Many hosts back up into one repository at the same time: no locks, nothing lost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use strongroom_repository::RepositoryError;
use strongroom_repository::check::CheckOptions;
use strongroom_repository::monitor::{Monitor, Silent};
use strongroom_repository::prune::PruneOptions;
use strongroom_store::Store;
use support::*;

fn together(hosts: u64, rounds: u64) {
    let (_, store) = memory();
    new_repository(&store);
    let shared = noise(99, 300_000);
    let barrier = Barrier::new(usize::try_from(hosts).unwrap());
    let mut expected: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..hosts)
            .map(|host| {
                let (store, shared, barrier) = (&store, &shared, &barrier);
                scope.spawn(move || {
                    let mut repository = open(store);
                    barrier.wait();
                    (0..rounds)
                        .map(|round| {
                            let own = noise(host * 100 + round, 100_000);
                            let files = files([("shared", shared.clone()), ("own", own)]);
                            (backup(&mut repository, &format!("source-{host}"), &files).id, files)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut repository = open(&store);
    assert_eq!(repository.snapshots().len() as u64, hosts * rounds);
    assert!(repository.state().voids.is_empty() && repository.state().damaged.is_empty());
    let entries: Vec<_> = names(&*store, "journal/").iter().map(ToString::to_string).collect();
    let contiguous: Vec<_> = (0..entries.len() as u64).map(|n| entry_name(n).to_string()).collect();
    assert_eq!(entries, contiguous);
    for (id, files) in expected.drain(..) {
        assert!(restore(&mut repository, id) == files);
    }
    // Each host's generations count up without holes.
    for host in 0..hosts {
        let generations: Vec<_> = repository
            .snapshots()
            .iter()
            .filter(|snapshot| snapshot.manifest.source == format!("source-{host}"))
            .map(|snapshot| snapshot.manifest.generation)
            .collect();
        assert_eq!(generations, (0..rounds).collect::<Vec<_>>());
    }
    assert_clean(&store);
}

#[test]
fn two_hosts() {
    together(2, 5);
}

#[test]
fn four_hosts() {
    together(4, 4);
}

#[test]
fn a_backup_decided_before_another_commits_is_rebased() {
    let (_, store) = memory();
    new_repository(&store);
    let (mut first, mut second) = (open(&store), open(&store));
    let (a, b) = (files([("a", noise(1, 1000))]), files([("b", noise(2, 1000))]));
    let one = backup(&mut first, "a", &a);
    let two = backup(&mut second, "b", &b);
    assert_eq!((one.entry, two.entry), (1, 2));
    // `first` has not seen entry 2 yet, and must not write it.
    let three = backup(&mut first, "a", &a);
    assert_eq!(three.entry, 3);
    assert_eq!(first.snapshots().len(), 3);
    assert_clean(&store);
}

#[test]
fn threads_that_share_a_cache_folder() {
    let (_, store) = memory();
    new_repository(&store);
    let folder = tempfile::tempdir().unwrap();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2_u64)
            .map(|host| {
                let (store, folder) = (&store, folder.path());
                scope.spawn(move || {
                    let options = strongroom_repository::OpenOptions {
                        cache_folder: Some(folder.to_owned()),
                        ..open_options()
                    };
                    let mut repository =
                        strongroom_repository::Repository::open(Arc::clone(store), options).unwrap();
                    (0..4)
                        .map(|round| {
                            let files = files([
                                ("own", noise(host * 10 + round, 80_000)),
                                ("both", noise(77, 80_000)),
                            ]);
                            (backup(&mut repository, &format!("s{host}"), &files).id, files)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut repository = open(&store);
    for (id, files) in ids {
        assert!(restore(&mut repository, id) == files);
    }
    assert_clean(&store);
}

/// Another host that backs up, forgets and prunes whenever a check is about to read packs, so many times.
struct PrunesBeside {
    store: Arc<dyn Store>,
    left: AtomicU64,
}

impl Monitor for PrunesBeside {
    fn begin(&self, what: &str, _: Option<u64>) {
        let left = self.left.load(Ordering::SeqCst);
        if what != "reading packs" || left == 0 {
            return;
        }
        self.left.store(left - 1, Ordering::SeqCst);
        let mut other = open(&self.store);
        backup(&mut other, "db", &files([("own", noise(100 + left, 300_000))]));
        let oldest = other.snapshots()[0].id();
        assert_eq!(other.forget(&[oldest], "").unwrap(), 1);
        let options =
            PruneOptions { grace: Duration::ZERO, orphan_age: Duration::ZERO, ..PruneOptions::default() };
        assert!(other.prune(&options, &Silent).unwrap().deleted.objects > 0);
    }
}

#[test]
fn what_is_pruned_beside_a_check_is_no_damage() {
    let (_, store) = memory();
    new_repository(&store);
    backup(&mut open(&store), "db", &files([("own", noise(1, 300_000))]));
    let options = CheckOptions { packs: true, ..CheckOptions::default() };
    let beside = PrunesBeside { store: Arc::clone(&store), left: AtomicU64::new(2) };
    let report = open(&store).check_beside_prunes(&options, &beside).unwrap();
    assert!(report.is_clean() && beside.left.load(Ordering::SeqCst) == 0, "{:#?}", report.findings);
    // It does not go on for ever.
    beside.left.store(1000, Ordering::SeqCst);
    let error = open(&store).check_beside_prunes(&options, &beside).unwrap_err();
    assert!(matches!(error, RepositoryError::PrunedMeanwhile { .. }), "{error:?}");
    assert_clean(&store);
}
