//! A store of which three in ten requests fail, before or after they had their effect.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom_format::registry::Roles;
use strongroom_keys::wrap::WrapTo;
use strongroom_repository::monitor::Silent;
use strongroom_repository::{InitOptions, init};
use strongroom_store::{Fault, FaultStore, ManualTimer, MemoryStore, RetryPolicy, RetryStore, Store, Timer};
use support::*;

/// Retries over faults over memory; no second passes.
fn flaky(memory: &Arc<MemoryStore>, seed: u64) -> (Arc<dyn Store>, Arc<ManualTimer>) {
    let faults = FaultStore::new(Arc::clone(memory), [Fault::Transient { percent: 30, seed }]);
    let timer = Arc::new(ManualTimer::new());
    let draws = AtomicU64::new(seed);
    let random = move || draws.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    let clock = Arc::clone(&timer) as Arc<dyn Timer>;
    let retrying = RetryStore::with(faults, RetryPolicy::default(), clock, Arc::new(random));
    (Arc::new(retrying), timer)
}

fn day(day: u64) -> Files {
    let mut files = files([("dump.sql", noise(1, 2_000_000)), ("roles.sql", b"create role".to_vec())]);
    files.get_mut("dump.sql").unwrap().splice(900_000..900_000, noise(day + 10, 400_000));
    files
}

#[test]
fn everything_comes_back_byte_for_byte() {
    for seed in 1..=8 {
        let memory = Arc::new(MemoryStore::new());
        let (store, timer) = flaky(&memory, seed);
        let recipients = [WrapTo::KeyFile { key: key() }];
        init(&store, &recipients, InitOptions::of_host("db1"), &*fresh_random()).unwrap();
        let host = Host::add(&store, "web1", Roles::WRITE, &["web"]);
        let mut snapshots = Vec::new();
        for number in 0..3 {
            snapshots.push((backup(&mut open(&store), "db", &day(number)).id, day(number)));
        }
        let web = files([("site", noise(99, 500_000))]);
        snapshots.push((backup(&mut host.open(&store), "web", &web).id, web));
        let mut admin = open(&store);
        for (id, files) in &snapshots {
            assert!(restore(&mut admin, *id) == *files, "seed {seed}");
        }
        admin.rotate().unwrap();
        admin.revoke_writer(host.id, &[]).unwrap();
        admin.write_checkpoint().unwrap();
        let report = admin.check(&thorough(), &Silent).unwrap();
        assert!(report.is_clean(), "seed {seed}: {:#?}", report.findings);
        assert!(!Timer::elapsed(&*timer).is_zero(), "something was waited for");
        // And without faults there is nothing to be seen of them: each snapshot once, no entry void.
        let calm: Arc<dyn Store> = Arc::clone(&memory) as Arc<dyn Store>;
        let mut repository = open(&calm);
        assert_eq!(repository.snapshots().len(), 4, "seed {seed}");
        assert!(repository.state().voids.is_empty() && repository.state().damaged.is_empty());
        for (id, files) in &snapshots {
            assert!(restore(&mut repository, *id) == *files, "seed {seed}");
        }
        assert_clean(&calm);
    }
}

#[test]
fn hosts_that_race_on_a_flaky_store_lose_nothing() {
    let memory = Arc::new(MemoryStore::new());
    let calm: Arc<dyn Store> = Arc::clone(&memory) as Arc<dyn Store>;
    new_repository(&calm);
    let hosts: Vec<_> =
        (0..4).map(|n| Host::add(&calm, &format!("h{n}"), Roles::WRITE, &[&format!("s{n}")])).collect();
    let made: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = hosts
            .iter()
            .enumerate()
            .map(|(n, host)| {
                let store = flaky(&memory, n as u64 + 100).0;
                scope.spawn(move || {
                    let files =
                        files([("own", noise(n as u64 + 500, 300_000)), ("both", noise(77, 100_000))]);
                    let mut made = Vec::new();
                    for _ in 0..3 {
                        made.push(backup(&mut host.open(&store), &format!("s{n}"), &files).id);
                    }
                    (made, files)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut admin = open(&calm);
    assert_eq!(admin.snapshots().len(), 12);
    for (ids, files) in made {
        for id in ids {
            assert!(restore(&mut admin, id) == files);
        }
    }
    assert_clean(&calm);
}
