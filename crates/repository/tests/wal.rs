//! Log archives: what was pushed comes back, nothing else does, and nothing that was pushed is lost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use strongroom_format::entry::{ExpireBody, SegmentRange};
use strongroom_format::registry::Roles;
use strongroom_format::wal_file::{LogFile, Segment};
use strongroom_repository::check::{CheckOptions, FindingKind, Severity};
use strongroom_repository::clock::FixedClock;
use strongroom_repository::monitor::Silent;
use strongroom_repository::prune::PruneOptions;
use strongroom_repository::wal::{ArchivedFile, Pushed, WalWriter};
use strongroom_repository::{OpenOptions, Repository, RepositoryError};
use strongroom_store::{Operation, RecordStore, Store};
use support::logs::*;
use support::*;

#[test]
fn every_kind_of_file_comes_back() {
    let (_, store) = new();
    let history = b"1\t0/3000000\tno recovery target specified\n".to_vec();
    let files = [
        (segment(1), bytes_of(1)),
        (file("000000010000000000000002.partial"), bytes_of(2)),
        (file("000000010000000000000001.00000028.backup"), b"START WAL LOCATION: 0/1000028\n".to_vec()),
        (file("00000002.history"), history),
        (segment(3), noise(3, MIB)),
    ];
    for (file, bytes) in &files {
        assert_eq!(fetch(&store, file), None);
        assert_eq!(push(&store, file, bytes), Pushed::Stored);
        assert!(fetch(&store, file).as_ref() == Some(bytes), "{file}");
    }
    assert_eq!(objects(&store).len(), files.len());
    // No size tells whether a segment was full.
    let length = |name| read(&*store, name).len();
    assert!(objects(&store).iter().all(|name| length(name) >= 4096 + 64 + (256 << 10) + 16));
    assert_clean(&store);
}

#[test]
fn a_file_of_several_parts_comes_back() {
    let (memory, store) = new();
    let bytes = [noise(1, 33 * MIB), vec![7; 32 * MIB]].concat();
    assert_eq!(push(&store, &segment(1), &bytes), Pushed::Stored);
    assert_eq!(objects(&store).len(), 3);
    assert!(fetch(&store, &segment(1)).unwrap() == bytes);
    assert_eq!(push(&store, &segment(1), &bytes), Pushed::WasThere);
    assert_clean(&store);
    assert_eq!(timelines(&store)[0].segments, 1);
    // Without any of its parts it is no file, and without the first one nobody takes it for one.
    for (at, name) in objects(&store).iter().enumerate() {
        let copy = (*memory).clone();
        copy.delete(name).unwrap();
        let store: Arc<dyn Store> = Arc::new(copy);
        let fetched = try_fetch(&open(&store), &segment(1));
        let is_whole = matches!(&fetched, Ok(Some(_)));
        assert!(!is_whole && !timelines(&store).iter().any(|line| line.segments > 0), "{at}");
        assert!(matches!(fetched, Ok(None) | Err(RepositoryError::LogFileUnavailable { .. })), "{at}");
        assert_eq!(push(&store, &segment(1), &bytes), Pushed::Stored);
        assert!(fetch(&store, &segment(1)).unwrap() == bytes);
    }
}

#[test]
fn the_same_bytes_are_success_and_others_are_not() {
    let (_, store) = with_segments([1]);
    let before = objects(&store);
    assert_eq!(push(&store, &segment(1), &bytes_of(1)), Pushed::WasThere);
    let error = try_push(&mut open(&store), &segment(1), &bytes_of(2)).unwrap_err();
    assert!(matches!(&error, RepositoryError::LogFileDiffers { .. }), "{error:?}");
    assert!(error.to_string().contains("000000010000000000000001 of source `postgres`"), "{error}");
    assert_eq!(objects(&store), before);
    assert!(fetch(&store, &segment(1)).unwrap() == bytes_of(1));
}

#[test]
fn another_system_or_source_is_another_archive() {
    let (_, store) = with_segments([1]);
    let other_system = ArchivedFile { system: 8, ..segment(1) };
    let other_source = ArchivedFile { source: "reports".into(), ..segment(1) };
    assert_eq!(push(&store, &other_system, &bytes_of(2)), Pushed::Stored);
    assert_eq!(push(&store, &other_source, &bytes_of(3)), Pushed::Stored);
    for (file, number) in [(segment(1), 1), (other_system, 2), (other_source, 3)] {
        assert!(fetch(&store, &file).unwrap() == bytes_of(number));
    }
    let found = open(&store).log_archives(None).unwrap();
    let told: Vec<_> = found.archives.iter().map(|log| (log.source.as_str(), log.system)).collect();
    assert_eq!(told, [("postgres", 8), ("postgres", SYSTEM), ("reports", SYSTEM)]);
    assert_eq!(open(&store).log_archives(Some("reports")).unwrap().archives.len(), 1);
}

#[test]
fn what_is_no_file_of_a_log_is_refused() {
    let (_, store) = new();
    let error = try_push(&mut open(&store), &segment(1), &[]).unwrap_err();
    assert!(matches!(error, RepositoryError::Unstorable { .. }), "{error:?}");
    assert!(objects(&store).is_empty() && names(&*store, "keys/").len() < 10);
}

#[test]
fn damage_is_told_and_another_attempt_heals_it() {
    let (memory, _) = with_segments([1, 2]);
    for at in [8, 100, 200, 4095, 4096, 5000] {
        let copy = Arc::new((*memory).clone());
        let store: Arc<dyn Store> = Arc::clone(&copy) as Arc<dyn Store>;
        // Names tell nothing of what they name.
        let damaged = objects(&store).remove(0);
        flip(&copy, &damaged, at);
        let place =
            [1, 2].into_iter().find(|place| try_fetch(&open(&store), &segment(*place)).is_err()).unwrap();
        let error = try_fetch(&open(&store), &segment(place)).unwrap_err();
        assert!(matches!(error, RepositoryError::LogFileUnavailable { .. }), "{at}: {error:?}");
        let report = check(&open(&store));
        assert_eq!(severity_of(&report, damaged.as_str()), Some(Severity::Damage), "{at}");
        if at >= 4096 {
            let finding = report.findings.iter().find(|finding| finding.object == damaged.as_str()).unwrap();
            assert!(finding.detail.contains(&segment(place).file.to_string()), "{}", finding.detail);
        }

        assert_eq!(push(&store, &segment(place), &bytes_of(place)), Pushed::Stored);
        assert!(fetch(&store, &segment(place)).unwrap() == bytes_of(place), "{at}");
        assert_eq!(push(&store, &segment(place), &bytes_of(place)), Pushed::WasThere);
        let report = check(&open(&store));
        assert!(report.is_clean(), "{at}: {:#?}", report.findings);
        assert_eq!(severity_of(&report, damaged.as_str()), Some(Severity::Info), "{at}");
    }
}

#[test]
fn what_was_cut_or_grew_is_damaged_too() {
    let (memory, _) = with_segments([1]);
    let changes: [fn(&mut Vec<u8>); 5] = [
        Vec::clear,
        |bytes| bytes.truncate(100),
        |bytes| bytes.truncate(4096),
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.push(0),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let copy = Arc::new((*memory).clone());
        let store: Arc<dyn Store> = Arc::clone(&copy) as Arc<dyn Store>;
        let damaged = objects(&store).remove(0);
        let mut bytes = read(&*copy, &damaged);
        change(&mut bytes);
        copy.overwrite(&damaged, &bytes);
        let error = try_fetch(&open(&store), &segment(1)).unwrap_err();
        assert!(matches!(error, RepositoryError::LogFileUnavailable { .. }), "{at}: {error:?}");
        // Without reading any of it.
        let structure = open(&store).check(&CheckOptions::default(), &Silent).unwrap();
        assert_eq!(severity_of(&structure, damaged.as_str()), Some(Severity::Damage), "{at}");
        // It may be under any key: none is taken for a leftover.
        let keys = keys_of(&store);
        let _ = prune(&store, &at_once());
        assert_eq!(keys_of(&store), keys, "{at}");
        assert_eq!(push(&store, &segment(1), &bytes_of(1)), Pushed::Stored);
        assert!(fetch(&store, &segment(1)).unwrap() == bytes_of(1));
        assert_clean(&store);
    }
}

#[test]
fn objects_do_not_do_under_other_names() {
    let (memory, store) = with_segments([1, 2]);
    let [one, two] = &objects(&store)[..] else { panic!("two objects") };
    let (first, second) = (read(&*memory, one), read(&*memory, two));
    memory.overwrite(one, &second);
    memory.overwrite(two, &first);
    for place in [1, 2] {
        let error = try_fetch(&open(&store), &segment(place)).unwrap_err();
        assert!(matches!(error, RepositoryError::LogFileUnavailable { .. }), "{error:?}");
    }
    assert_eq!(damage(&check(&open(&store))).len(), 2);
}

#[test]
fn a_host_that_only_writes_pushes_and_cannot_read() {
    let (_, store) = new();
    let host = Host::add(&store, "db7", Roles::WRITE, &["postgres"]);
    let mut repository = host.open(&store);
    assert_eq!(try_push(&mut repository, &segment(1), &bytes_of(1)).unwrap(), Pushed::Stored);
    assert_eq!(try_push(&mut repository, &segment(1), &bytes_of(1)).unwrap(), Pushed::WasThere);
    let error = try_push(&mut repository, &segment(1), &bytes_of(2)).unwrap_err();
    assert!(matches!(error, RepositoryError::LogFileDiffers { .. }), "{error:?}");
    let other = ArchivedFile { source: "reports".into(), ..segment(1) };
    let error = try_push(&mut repository, &other, &bytes_of(1)).unwrap_err();
    assert!(matches!(error, RepositoryError::NotItsSource { .. }), "{error:?}");

    let error = try_fetch(&host.open(&store), &segment(1)).unwrap_err();
    assert!(matches!(error, RepositoryError::DataKey { .. }), "{error:?}");
    assert_eq!(host.open(&store).log_archives(None).unwrap().archives[0].timelines[0].segments, 1);
    assert!(fetch(&store, &segment(1)).unwrap() == bytes_of(1));
    assert_clean(&store);
    // A check by it opens nothing, and finds no damage in that.
    let report = check(&host.open(&store));
    assert!(report.is_clean(), "{:#?}", report.findings);
    assert!(report.findings.iter().any(|finding| finding.kind == FindingKind::KeyUnopened));
}

#[test]
fn what_nobody_who_may_has_signed_stands_in_nobodys_way() {
    let (_, store) = new();
    let thief = Host::add(&store, "db7", Roles::WRITE, &["other"]);
    let pushed = ArchivedFile { source: "other".into(), ..segment(1) };
    try_push(&mut thief.open(&store), &pushed, &bytes_of(9)).unwrap();
    let [theirs] = &objects(&store)[..] else { panic!("one object") };
    // Under the name that another source's file will have, and one that says it is that file.
    let keys = thief.stolen(&store);
    let part = strongroom_format::wal::WalPart {
        source: "postgres".into(),
        system: SYSTEM,
        file: segment(1).file,
        part: 0,
        attempt: 0,
    };
    let mut head = strongroom_keys::wal::open_head(&keys.metadata, theirs.as_str(), &read(&*store, theirs))
        .unwrap()
        .claimed()
        .clone();
    head.part = part.clone();
    let wanted = name(&format!("wal/{}", keys.identity.wal_id(&part)));
    let body = read(&*store, theirs)[4096..].to_vec();
    let salt = strongroom_format::Salt([9; 32]);
    let forged =
        strongroom_keys::wal::seal_object(&keys.metadata, wanted.as_str(), &head, &body, &keys.signer, salt);
    let _ = store.put_if_absent(&wanted, &forged.unwrap()).unwrap();

    let error = try_fetch(&open(&store), &segment(1)).unwrap_err();
    assert!(matches!(error, RepositoryError::LogFileUnavailable { .. }), "{error:?}");
    assert_eq!(severity_of(&check(&open(&store)), wanted.as_str()), Some(Severity::Suspicious));
    assert_eq!(push(&store, &segment(1), &bytes_of(1)), Pushed::Stored);
    assert!(fetch(&store, &segment(1)).unwrap() == bytes_of(1));
}

#[test]
fn what_a_writer_pushed_stays_good_when_he_is_revoked() {
    let (memory, store) = new();
    let host = Host::add(&store, "db7", Roles::WRITE, &["postgres"]);
    let mut repository = host.open(&store);
    try_push(&mut repository, &segment(1), &bytes_of(1)).unwrap();
    memory.advance_ms(10);
    let _ = open(&store).revoke_writer(host.id, &[]).unwrap();
    memory.advance_ms(10);
    assert!(fetch(&store, &segment(1)).unwrap() == bytes_of(1));
    assert_clean(&store);
    let error = try_push(&mut repository, &segment(2), &bytes_of(2)).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSigner { .. }), "{error:?}");
    // It was stored before the journal was read on; whoever checks is told.
    let report = check(&open(&store));
    let found: Vec<_> = report.findings.iter().filter(|one| one.severity != Severity::Info).collect();
    let [one] = &found[..] else { panic!("{found:#?}") };
    assert_eq!((one.severity, one.kind), (Severity::Suspicious, FindingKind::SignatureInvalid));
    assert!(one.detail.contains("000000010000000000000002"), "{}", one.detail);
}

#[test]
fn prune_leaves_log_archives_and_their_keys() {
    let (_, store) = with_segments([1, 2, 3]);
    let (before, keys) = (objects(&store), keys_of(&store));
    let id = backup(&mut open(&store), "db", &files([("a", noise(1, 300_000))])).id;
    let _ = open(&store).forget(&[id], "test").unwrap();
    let report = prune(&store, &at_once());
    assert_eq!((report.retired_keys, report.deleted_keys), (1, 1), "that of the backup");
    let _ = prune(&store, &at_once());
    assert_eq!((objects(&store), keys_of(&store)), (before, keys));
    for place in 1..=3 {
        assert!(fetch(&store, &segment(place)).unwrap() == bytes_of(place));
    }
    assert_clean(&store);
}

#[test]
fn a_key_of_a_log_archive_is_not_retired() {
    let (_, store) = new();
    let before = keys_of(&store);
    push(&store, &segment(1), &bytes_of(1));
    let key = *keys_of(&store).difference(&before).next().unwrap();
    let error = open(&store).retire_data_key(key, &Silent).unwrap_err();
    assert!(matches!(error, RepositoryError::KeyOfLogArchive { objects: 1, .. }), "{error:?}");
    assert!(fetch(&store, &segment(1)).is_some());
}

#[test]
fn a_lost_key_is_damage() {
    let (memory, store) = new();
    let before = keys_of(&store);
    push(&store, &segment(1), &bytes_of(1));
    let key = *keys_of(&store).difference(&before).next().unwrap();
    let wrap = names(&*store, &format!("keys/{key}/")).remove(0);
    let copy = Arc::new((*memory).clone());
    copy.delete(&wrap).unwrap();
    let gone: Arc<dyn Store> = copy;
    let structure = open(&gone).check(&CheckOptions::default(), &Silent).unwrap();
    assert_eq!(severity_of(&structure, wrap.as_str()), Some(Severity::Damage));
    assert!(matches!(try_fetch(&open(&gone), &segment(1)), Err(RepositoryError::DataKey { .. })));
    // Pushed again, it is stored under a key that there are wraps of.
    assert_eq!(push(&gone, &segment(1), &bytes_of(1)), Pushed::Stored);
    assert!(fetch(&gone, &segment(1)) == Some(bytes_of(1)));
    flip(&memory, &wrap, 60);
    assert_eq!(severity_of(&check(&open(&store)), wrap.as_str()), Some(Severity::Damage));
}

#[test]
fn what_is_expired_is_deleted_after_its_grace_and_nothing_else() {
    let (memory, store) = with_segments(1..=6);
    let backup_file = file("000000010000000000000002.00000028.backup");
    push(&store, &backup_file, b"START WAL LOCATION\n");
    push(&store, &file("00000001.history"), b"#\n");
    let other = ArchivedFile { system: 8, ..segment(2) };
    push(&store, &other, &bytes_of(2));
    let _ = expire(&store, &[(0, 2), (5, 5)]);
    let hour = PruneOptions { grace: Duration::from_secs(3600), ..at_once() };
    let report = prune(&store, &hour);
    assert_eq!((report.expired.objects, report.expiring.objects), (0, 4));
    assert!(fetch(&store, &segment(1)).is_some(), "not yet");
    let error = try_push(&mut open(&store), &segment(2), &bytes_of(2)).unwrap_err();
    assert!(matches!(error, RepositoryError::LogFileExpired { .. }), "{error:?}");

    memory.advance_ms(3_600_000);
    // What is expired once more keeps its time.
    let _ = expire(&store, &[(0, 3)]);
    let dry = prune(&store, &PruneOptions { dry_run: true, ..hour });
    let before = objects(&store);
    let report = prune(&store, &hour);
    assert_eq!((report.expired, report.expiring.objects), (dry.expired, 1));
    assert_eq!((report.expired.objects, objects(&store).len()), (4, before.len() - 4));
    for place in [1, 2, 5] {
        assert_eq!(fetch(&store, &segment(place)), None);
    }
    for place in [3, 4, 6] {
        assert!(fetch(&store, &segment(place)).unwrap() == bytes_of(place));
    }
    assert_eq!(fetch(&store, &backup_file), None);
    assert!(fetch(&store, &other).is_some() && fetch(&store, &file("00000001.history")).is_some());
    assert_clean(&store);
    let found = open(&store).log_archives(Some("postgres")).unwrap();
    let line = &found.archives[1].timelines[0];
    assert_eq!((line.segments, line.gaps.len()), (2, 0), "{line:?}");
    // As a checkpoint says it too.
    open(&store).write_checkpoint().unwrap();
    memory.advance_ms(3_600_000);
    assert_eq!(prune(&store, &hour).expired.objects, 1);
    assert_eq!(fetch(&store, &segment(3)), None);
    assert_clean(&store);
}

#[test]
fn a_key_goes_with_the_last_object_under_it() {
    let (_, store) = with_segments([1, 2]);
    let before = keys_of(&store).len();
    let _ = expire(&store, &[(1, 1)]);
    assert_eq!(prune(&store, &at_once()).expired.objects, 1);
    assert_eq!(prune(&store, &at_once()).deleted_keys, 0);
    let _ = expire(&store, &[(2, 2)]);
    let _ = prune(&store, &at_once());
    let _ = prune(&store, &at_once());
    assert_eq!((objects(&store).len(), keys_of(&store).len()), (0, before - 1));
    assert_clean(&store);
}

#[test]
fn who_expires_needs_the_right() {
    let (_, store) = with_segments([1]);
    let host = Host::add(&store, "db7", Roles::WRITE, &["postgres"]);
    let ranges = vec![SegmentRange { timeline: 1, first: 0, last: 9 }];
    let body = ExpireBody { source: "postgres".into(), system: SYSTEM, ranges, reason: String::new() };
    let error = host.open(&store).expire_log(&body).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSigner { .. }), "{error:?}");
    let thief = host.stolen(&store);
    let _ = thief.append(&*store, strongroom_format::entry::Statement::Expire(body));
    assert_eq!(prune(&store, &at_once()).expired.objects, 0);
    assert!(fetch(&store, &segment(1)).is_some());
}

#[test]
fn a_writer_takes_another_key_every_hour() {
    let (_, store) = new();
    let clock = Arc::new(FixedClock(AtomicI64::new(1)));
    let mut repository =
        Repository::open(Arc::clone(&store), OpenOptions { clock: clock.clone(), ..open_options() }).unwrap();
    let before = keys_of(&store).len();
    let mut writer = WalWriter::new(&mut repository);
    let mut keys = Vec::new();
    for (place, minutes) in [(1, 0), (2, 59), (3, 60), (4, 60), (5, 30)] {
        clock.0.store(1 + minutes * 60_000_000_000, Ordering::Relaxed);
        let _ = writer.push(&segment(place), &mut Cursor::new(bytes_of(place))).unwrap();
        keys.push(keys_of(&store).len() - before);
    }
    assert_eq!(keys, [1, 1, 2, 2, 3], "and when the clock is turned back");
    assert_clean(&store);
}

#[test]
fn gaps_and_timelines_are_told() {
    let (_, store) = with_segments([1, 2, 4, 5]);
    let found = timelines(&store);
    let [line] = &found[..] else { panic!("one timeline") };
    let place = |segment: Option<Segment>| segment.unwrap().place;
    assert_eq!((place(line.first), place(line.last), line.segments), (1, 5, 4));
    let [gap] = line.gaps[..] else { panic!("one gap") };
    assert_eq!((gap.first.place, gap.last.place, gap.segments), (3, 3, 1));
    let stored: usize = objects(&store).iter().map(|name| read(&*store, name).len()).sum();
    assert_eq!(line.stored_bytes, stored as u64);

    push(&store, &segment(3), &bytes_of(3));
    // It branches in the eighth segment: three of the first timeline are missing, and one of its own.
    push(&store, &file("00000002.history"), b"1\t0/800028\tno recovery target specified\n");
    push(&store, &file("000000020000000000000009"), &bytes_of(9));
    let found = timelines(&store);
    let gaps: Vec<_> = found
        .iter()
        .flat_map(|line| &line.gaps)
        .map(|gap| (gap.first.timeline, gap.first.place, gap.last.place))
        .collect();
    assert_eq!(gaps, [(1, 6, 7), (2, 8, 8)]);
    assert_eq!((found[1].segments, found[1].others), (1, 1));
    for (place, timeline) in [(6, 1), (7, 1), (8, 2)] {
        let file = LogFile::Segment(Segment { timeline, place });
        push(&store, &ArchivedFile { file, ..segment(1) }, &bytes_of(place));
    }
    assert!(timelines(&store).iter().all(|line| line.gaps.is_empty()));
}

#[test]
fn heads_are_read_once() {
    let (memory, _) = with_segments(1..=20);
    let folder = tempfile::tempdir().unwrap();
    let recorded = Arc::new(RecordStore::new((*memory).clone()));
    let store: Arc<dyn Store> = Arc::clone(&recorded) as Arc<dyn Store>;
    let reads_of_listing = || {
        let options = OpenOptions { cache_folder: Some(folder.path().to_owned()), ..open_options() };
        let repository = Repository::open(Arc::clone(&store), options).unwrap();
        let _ = recorded.take_calls();
        let found = repository.log_archives(None).unwrap();
        let calls = recorded.take_calls();
        assert_eq!(found.archives[0].timelines[0].segments, objects(&store).len() as u64);
        calls
            .iter()
            .filter(|call| call.object.starts_with("wal/") && call.operation == Operation::GetRange)
            .count()
    };
    assert_eq!(reads_of_listing(), 20);
    assert_eq!(reads_of_listing(), 0);
    push(&store, &segment(21), &bytes_of(21));
    assert_eq!(reads_of_listing(), 1);
}
