//! Data that is hard on chunking, compression or deltas: it costs no more than it must, and comes back as it was.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::{Arc, Mutex};

use strongroom_chunker::{Chunker, ChunkerParams, GearTable};
use strongroom_repository::backup::{BackupReport, Sink};
use strongroom_repository::monitor::Monitor;
use strongroom_repository::{Repository, RepositoryError};
use strongroom_store::Store;
use support::*;

const MIB: usize = 1 << 20;

/// Backs up each version in turn, restores all of them at the end, and gives what each run did.
fn days(store: &Arc<dyn Store>, versions: &[Vec<u8>]) -> Vec<BackupReport> {
    new_repository(store);
    let day = |bytes: &Vec<u8>| files([("stream", bytes.clone())]);
    let reports: Vec<_> = versions.iter().map(|bytes| backup(&mut open(store), "db", &day(bytes))).collect();
    for (report, bytes) in reports.iter().zip(versions) {
        assert!(restore(&mut open(store), report.id) == day(bytes));
    }
    assert_clean(store);
    reports
}

fn chunker(store: &Arc<dyn Store>) -> Chunker {
    let gear = GearTable::from_bytes(Keys::of(store).identity.gear_table());
    Chunker::new(ChunkerParams::default(), Arc::new(gear)).unwrap()
}

fn lengths(chunker: &Chunker, mut data: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let Some(length) = chunker.next_cut(data, true) {
        lengths.push(length);
        data = &data[length..];
    }
    lengths
}

/// Noise that is one of the shortest chunks when it stands behind itself. What comes first in a chunk does not say where it
/// ends, but for the two bytes behind the end of the one before.
fn shortest_chunk(chunker: &Chunker) -> Vec<u8> {
    let longest = (16 << 10) + 2048;
    let mut found = (0..).map(|seed| noise(seed, 80 << 10)).filter_map(|block| {
        let length = chunker.next_cut(&block, true).filter(|length| *length < longest)?;
        Some([&block[length..length + 2], &block[2..length]].concat())
    });
    found.next().unwrap()
}

#[test]
fn what_does_not_compress_is_stored_as_it_is() {
    let (_, store) = memory();
    let data = noise(1, 8 * MIB);
    let reports = days(&store, &[data.clone(), data]);
    let stored = reports[0].totals.stored_bytes;
    assert!(stored < 8 * MIB as u64 + 8 * MIB as u64 / 8, "{stored}");
    assert_eq!(reports[1].totals.new_bytes, 0);
}

#[test]
fn zeros_are_one_chunk() {
    let (_, store) = memory();
    let reports = days(&store, &[vec![0; 64 * MIB]]);
    // And, perhaps, the part of one at the end.
    assert!(reports[0].totals.new_bytes <= 512 << 10, "{}", reports[0].totals.new_bytes);
}

/// Every chunk differs from the one it was, by a byte or two.
#[test]
fn a_byte_changed_in_every_mebibyte_costs_little() {
    let (_, store) = memory();
    let first = noise(2, 16 * MIB);
    let mut second = first.clone();
    second.iter_mut().step_by(MIB).for_each(|byte| *byte ^= 0x55);
    let mut third = second.clone();
    third.iter_mut().skip(MIB / 2).step_by(MIB).for_each(|byte| *byte ^= 0xAA);
    let reports = days(&store, &[first, second, third]);
    for report in &reports[1..] {
        assert!(report.totals.new_bytes < 8 * MIB as u64, "{} new", report.totals.new_bytes);
        assert!(report.totals.stored_bytes < 1 << 20, "{} stored", report.totals.stored_bytes);
    }
}

/// Rows that cut a chunk as early as may be, all of them different.
#[test]
fn rows_may_force_the_shortest_chunks() {
    let (_, store) = memory();
    new_repository(&store);
    let chunker = chunker(&store);
    let row = shortest_chunk(&chunker);
    let table = |day: u32| {
        let mut table = Vec::new();
        for number in 0_u32..600 {
            let mut row = row.clone();
            row[8..12].copy_from_slice(&number.to_le_bytes());
            row[12..16].copy_from_slice(&(if number % 10 == 0 { day } else { 0 }).to_le_bytes());
            table.extend_from_slice(&row);
        }
        table
    };
    let cut = lengths(&chunker, &table(1));
    assert!(cut.len() == 600 && cut.iter().all(|length| *length == row.len()), "{} chunks", cut.len());
    let versions: Vec<_> = (1..=3).map(table).collect();
    let reports: Vec<_> = versions
        .iter()
        .map(|bytes| backup(&mut open(&store), "db", &files([("rows", bytes.clone())])))
        .collect();
    for (report, bytes) in reports.iter().zip(&versions) {
        assert!(restore(&mut open(&store), report.id) == files([("rows", bytes.clone())]));
    }
    assert_eq!(reports[1].totals.new_bytes, 60 * row.len() as u64);
    assert_clean(&store);
}

/// Rows without any cut point: chunks are as long as may be, and a row in front shifts all of them.
#[test]
fn rows_may_force_the_longest_chunks() {
    let (_, store) = memory();
    new_repository(&store);
    let chunker = chunker(&store);
    // A short period has few windows: one of these has no cut point.
    let period = (0_u64..)
        .map(|seed| noise(seed, 48))
        .find(|period| lengths(&chunker, &period.repeat(8192)).contains(&(256 << 10)))
        .unwrap();
    let first = period.repeat(4 * MIB / 48);
    let second = [&b"another row\n"[..], &first].concat();
    let reports: Vec<_> = [&first, &second]
        .map(|bytes| backup(&mut open(&store), "db", &files([("rows", bytes.clone())])))
        .into_iter()
        .collect();
    for (report, bytes) in reports.iter().zip([first, second]) {
        assert!(restore(&mut open(&store), report.id) == files([("rows", bytes)]));
    }
    assert!(
        reports[1].totals.stored_bytes <= reports[0].totals.stored_bytes,
        "{}",
        reports[1].totals.stored_bytes
    );
    assert_clean(&store);
}

#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Monitor for Warnings {
    fn warn(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

/// The parent's data is gone: what changed is stored whole, and that is said. If something had been taken for present
/// when that was found out, there is no snapshot, and the next run stores all of it: either way a snapshot is good.
#[test]
fn a_parent_whose_packs_are_gone_is_no_base() {
    let (_, store) = memory();
    new_repository(&store);
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let mut options = open_options();
        options.cache_folder = Some(folder.path().to_owned());
        Repository::open(Arc::clone(&store), options).unwrap()
    };
    let first = noise(3, 4 * MIB);
    let mut second = first.clone();
    second[..2 * MIB].iter_mut().step_by(4096).for_each(|byte| *byte ^= 1);
    let _ = backup(&mut open(), "db", &files([("stream", first)]));
    for name in names(&*store, "packs/") {
        store.delete(&name).unwrap();
    }
    let again = files([("stream", second)]);
    let warnings = Warnings::default();
    let run = |warnings: &Warnings| -> Result<BackupReport, RepositoryError> {
        open().backup(&options("db"), warnings, |sink: &Sink<'_, '_>| write_files(sink, &again))
    };
    let first = run(&warnings);
    let said = std::mem::take(&mut *warnings.0.lock().unwrap());
    assert!(said.len() == 1 && said[0].contains("stored whole"), "{said:?}");
    let report = match first {
        // Found out before anything was taken for present.
        Ok(report) => report,
        Err(RepositoryError::PackBroken { .. }) => run(&warnings).unwrap(),
        Err(error) => panic!("{error}"),
    };
    assert!(restore(&mut open(), report.id) == again);
}
