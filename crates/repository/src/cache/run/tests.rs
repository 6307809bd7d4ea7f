//! A run against a sorted map, and with every byte of it damaged.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// IDs as hashes have them, and some that lie as near together as can be.
fn id() -> impl Strategy<Value = ChunkId> {
    prop_oneof![
        4 => any::<[u8; 32]>().prop_map(ChunkId),
        1 => (0_u8..3, any::<u8>()).prop_map(|(first, last)| {
            let mut id = [0x55; 32];
            (id[0], id[31]) = (first, last);
            ChunkId(id)
        }),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    (id(), 0_u32..4, 0_u32..3).prop_map(|(id, pack, frame)| Record { id, pack, frame })
}

fn write(records: &BTreeSet<Record>, expected: u64) -> (Medium, RunSummary) {
    let mut writer = RunWriter::new(Medium::Memory(Vec::new()), expected);
    records.iter().for_each(|record| writer.push(*record).unwrap());
    writer.finish().unwrap()
}

fn find(run: &Run, id: &ChunkId) -> Result<Vec<Record>, CacheError> {
    let mut found = Vec::new();
    run.find(id, |record| found.push(record))?;
    Ok(found)
}

fn scan(medium: &Arc<Medium>, summary: RunSummary) -> Result<Vec<Record>, CacheError> {
    let mut scan = Scan::open(Arc::clone(medium), summary, 0)?;
    let mut records = Vec::new();
    while let Some(record) = scan.next()? {
        records.push(record);
    }
    Ok(records)
}

/// Distinct records with IDs as hashes have them.
fn hashed(count: u32) -> BTreeSet<Record> {
    (0..count)
        .map(|number| Record {
            id: ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes()),
            pack: number / 9,
            frame: number % 9,
        })
        .collect()
}

proptest! {
    #[test]
    fn it_says_what_a_sorted_set_says(
        records in prop::collection::btree_set(record(), 0..2000),
        others in prop::collection::vec(id(), 0..50),
        more in 0_u64..3000,
        with_filter: bool,
    ) {
        let (medium, summary) = write(&records, records.len() as u64 + more);
        let medium = Arc::new(medium);
        let run = Run::open(1, Arc::clone(&medium), summary, with_filter).unwrap();
        prop_assert_eq!(summary.entries as usize, records.len());
        prop_assert_eq!(scan(&medium, summary).unwrap(), records.iter().copied().collect::<Vec<_>>());
        for id in records.iter().map(|record| record.id).chain(others) {
            let expected: Vec<Record> = records.iter().filter(|record| record.id == id).copied().collect();
            prop_assert!(expected.is_empty() || run.may_hold(&id));
            prop_assert!(expected.len() < 2 || run.may_repeat(&id));
            prop_assert_eq!(find(&run, &id).unwrap(), expected);
        }
    }
}

#[test]
fn the_filter_tells_most_ids_that_are_not_there() {
    let (medium, summary) = write(&hashed(100_000), 100_000);
    let run = Run::open(1, Arc::new(medium), summary, true).unwrap();
    let others =
        (200_000_u32..300_000).map(|number| ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes()));
    let wrong = others.filter(|id| run.may_hold(id)).count();
    assert!(wrong < 3_000, "{wrong} of 100,000");
    assert!(Run::resident_bytes(100_000, true) < 134_000);
    assert!(Run::resident_bytes(100_000, false) < 26_000);
}

#[test]
fn more_records_of_one_id_than_a_part_has_room_for() {
    let chosen = ChunkId([7; 32]);
    let mut records = hashed(3000);
    records.extend((0..5000).map(|pack| Record { id: chosen, pack, frame: 0 }));
    let (medium, summary) = write(&records, 8000);
    let medium = Arc::new(medium);
    let run = Run::open(1, Arc::clone(&medium), summary, true).unwrap();
    assert_eq!(find(&run, &chosen).unwrap().len(), 5000);
    assert_eq!(scan(&medium, summary).unwrap().len(), 8000);
    for record in hashed(3000) {
        assert_eq!(find(&run, &record.id).unwrap(), [record]);
    }
}

/// Whatever is damaged: an error, or what was written; never another place.
fn assert_never_wrong(bytes: Vec<u8>, summary: RunSummary, records: &BTreeSet<Record>, case: &str) {
    let medium = Arc::new(Medium::Memory(bytes));
    let scanned = scan(&medium, summary);
    let mut failed = usize::from(scanned.is_err());
    if let Ok(scanned) = scanned {
        assert!(scanned.iter().eq(records), "{case}");
    }
    let Ok(run) = Run::open(1, medium, summary, true) else { return };
    for record in records {
        match find(&run, &record.id) {
            Ok(found) => assert_eq!(found, [*record], "{case}"),
            Err(CacheError::Damaged { .. }) => failed += 1,
            Err(error) => panic!("{case}: {error}"),
        }
    }
    assert!(failed > 0, "{case}: it went unnoticed");
}

#[test]
fn any_flipped_byte_is_noticed() {
    let records = hashed(100);
    let (Medium::Memory(bytes), summary) = write(&records, 100) else { panic!() };
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut bad = bytes.clone();
            bad[at] ^= flip;
            assert_never_wrong(bad, summary, &records, &format!("byte {at} flipped by {flip:x}"));
        }
    }
}

#[test]
fn any_other_length_is_noticed() {
    let records = hashed(100);
    let (Medium::Memory(bytes), summary) = write(&records, 100) else { panic!() };
    for length in 0..bytes.len() {
        assert!(Run::open(1, Arc::new(Medium::Memory(bytes[..length].to_vec())), summary, true).is_err());
        assert!(scan(&Arc::new(Medium::Memory(bytes[..length].to_vec())), summary).is_err(), "{length}");
    }
    let longer = [bytes, vec![0]].concat();
    assert!(Run::open(1, Arc::new(Medium::Memory(longer)), summary, true).is_err());
}

#[test]
fn records_out_of_order_are_refused() {
    let mut writer = RunWriter::new(Medium::Memory(Vec::new()), 2);
    let at = |first| Record { id: ChunkId([first; 32]), pack: 0, frame: 0 };
    writer.push(at(2)).unwrap();
    writer.push(at(2)).unwrap();
    assert!(writer.push(at(1)).is_err());
}
