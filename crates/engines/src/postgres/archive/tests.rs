//! Archives as `pg_dump` writes them, by hand.

use std::io::Read;

use proptest::prelude::*;

use super::*;

/// Writes what `pg_dump` writes.
struct Writer {
    minor: u8,
    bytes: Vec<u8>,
}

impl Writer {
    fn new(minor: u8, entries: i64) -> Self {
        let mut writer = Self { minor, bytes: b"PGDMP".to_vec() };
        writer.bytes.extend([1, minor, 0, 4, 8, 1]);
        if minor >= 15 {
            writer.bytes.push(0);
        } else {
            writer.integer(0);
        }
        for part in [0, 0, 3, 21, 10, 126, 0] {
            writer.integer(part);
        }
        for text in ["shop", "17.2", "17.2"] {
            writer.text(Some(text));
        }
        writer.integer(entries);
        writer
    }

    fn integer(&mut self, value: i64) {
        self.bytes.push(u8::from(value < 0));
        self.bytes.extend(&value.unsigned_abs().to_le_bytes()[..4]);
    }

    fn text(&mut self, text: Option<&str>) {
        self.integer(text.map_or(-1, |text| i64::try_from(text.len()).unwrap()));
        self.bytes.extend(text.unwrap_or_default().as_bytes());
    }

    fn entry(&mut self, dump_id: i64, kind: &str, tag: &str, needs: &[&str]) {
        self.integer(dump_id);
        self.integer(i64::from(kind == "TABLE DATA" || kind == "BLOBS"));
        for text in ["1259", "16385", tag, kind] {
            self.text(Some(text));
        }
        self.integer(3);
        for text in [Some("CREATE"), Some("DROP"), None, Some("public"), Some("")] {
            self.text(text);
        }
        if self.minor >= 14 {
            self.text(Some("heap"));
        }
        if self.minor >= 16 {
            self.integer(i64::from(b'r'));
        }
        self.text(Some("owner"));
        self.text(Some("false"));
        for needed in needs {
            self.text(Some(needed));
        }
        self.text(None);
        self.bytes.extend([1; 9]);
    }

    fn block(&mut self, kind: u8, dump_id: i64) {
        self.bytes.push(kind);
        self.integer(dump_id);
    }

    fn piece(&mut self, data: &[u8]) {
        self.integer(i64::try_from(data.len()).unwrap());
        self.bytes.extend(data);
    }
}

/// Two tables and two large objects.
fn archive(minor: u8) -> Vec<u8> {
    let mut writer = Writer::new(minor, 4);
    writer.entry(1, "TABLE", "users", &[]);
    writer.entry(2, "TABLE DATA", "users", &["1"]);
    writer.entry(3, "TABLE DATA", "empty", &["1", "2"]);
    writer.entry(-4, "BLOBS", "BLOBS", &[]);
    writer.block(1, 2);
    for row in 0..1000 {
        writer.piece(format!("{row}\tname\\n{row}\n").as_bytes());
    }
    writer.piece(b"\\.\n\n\n");
    writer.integer(0);
    writer.block(1, 3);
    writer.piece(b"\\.\n\n\n");
    writer.integer(0);
    writer.block(3, -4);
    for object in [16400, 16401] {
        writer.integer(object);
        writer.piece(b"large\nobject");
        writer.integer(0);
    }
    writer.integer(0);
    writer.bytes
}

/// All blocks: number, kind, how many rows or objects; and all bytes, in order.
type Blocks = Vec<(i64, BlockKind, u64)>;

fn read(bytes: &[u8]) -> Result<(Toc, Blocks, Vec<u8>), ArchiveError> {
    let mut reader = ArchiveReader::new(bytes)?;
    let (toc, mut all, mut blocks) = (reader.toc().clone(), reader.head().to_vec(), Vec::new());
    while let Some(mut block) = reader.next_block()? {
        block.read_to_end(&mut all).map_err(ArchiveError::Read)?;
        blocks.push((block.dump_id(), block.kind(), block.count()));
    }
    Ok((toc, blocks, all))
}

#[test]
fn tables_and_large_objects_are_told_apart_and_nothing_is_lost() {
    for minor in 12..=16 {
        let bytes = archive(minor);
        let (toc, blocks, all) = read(&bytes).unwrap();
        assert!(all == bytes, "1.{minor}");
        let expected =
            [(2, BlockKind::Rows, 1000), (3, BlockKind::Rows, 0), (-4, BlockKind::LargeObjects, 2)];
        assert_eq!(blocks, expected);
        assert_eq!(toc.version, (1, minor));
        assert_eq!(
            [&toc.database, &toc.server_version, &toc.dump_version].map(|text| text.as_deref().unwrap()),
            ["shop", "17.2", "17.2"]
        );
        let users = toc.entry(2).unwrap();
        assert_eq!((&*users.tag, &*users.kind, users.section), ("users", "TABLE DATA", Section::Data));
        assert_eq!((users.schema.as_deref(), users.owner.as_deref()), (Some("public"), Some("owner")));
        assert!(users.has_data && users.needs == [1] && users.definition.as_deref() == Some("CREATE"));
        assert!(!toc.entry(1).unwrap().has_data && toc.entry(5).is_none());
    }
}

#[test]
fn an_archive_that_ends_early_is_never_a_good_one() {
    let bytes = archive(16);
    // Where a block ends, the next one may be missing: only pg_dump's own exit tells.
    let mut reader = ArchiveReader::new(&bytes[..]).unwrap();
    let mut ends = vec![reader.head().len()];
    while let Some(mut block) = reader.next_block().unwrap() {
        let mut read = Vec::new();
        block.read_to_end(&mut read).unwrap();
        ends.push(ends.last().unwrap() + read.len());
    }
    for length in (0..bytes.len()).filter(|length| *length < 800 || length % 7 == 0) {
        let cut = read(&bytes[..length]);
        assert_eq!(cut.is_ok(), ends.contains(&length), "{length}: {:?}", cut.err());
    }
}

#[test]
fn what_is_no_archive_is_refused() {
    let refused = |bytes: &[u8]| read(bytes).unwrap_err();
    assert!(matches!(refused(b""), ArchiveError::NotAnArchive));
    assert!(matches!(refused(b"-- PostgreSQL database dump"), ArchiveError::NotAnArchive));
    let mut newer = archive(16);
    newer[6] = 17;
    assert!(matches!(refused(&newer), ArchiveError::Version { major: 1, minor: 17 }));
    let mut compressed = archive(16);
    compressed[11] = 1;
    assert!(matches!(refused(&compressed), ArchiveError::Malformed { .. }));
    let mut tar = archive(16);
    tar[10] = 3;
    assert!(matches!(refused(&tar), ArchiveError::NotAnArchive));
}

#[test]
fn an_entry_that_is_not_to_be_dropped_is_otherwise_the_same() {
    for minor in 12..=16 {
        let bytes = archive(minor);
        let reader = ArchiveReader::new(&bytes[..]).unwrap();
        assert_eq!(reader.head_without_drops(|_| false), reader.head());
        let without = reader.head_without_drops(|entry| entry.tag == "users");
        assert_eq!(without.len(), reader.head().len() - 2 * "DROP".len());
        let again = ArchiveReader::new(&without[..]).unwrap();
        let entries = |toc: &Toc| {
            toc.entries
                .iter()
                .map(|entry| (entry.dump_id, entry.kind.clone(), entry.needs.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(entries(again.toc()), entries(reader.toc()));
    }
}

#[test]
fn a_block_that_is_not_read_to_its_end_stops_the_rest() {
    let bytes = archive(15);
    let mut reader = ArchiveReader::new(&bytes[..]).unwrap();
    let mut block = reader.next_block().unwrap().unwrap();
    assert!(block.read(&mut [0; 100]).unwrap() > 0);
    assert!(matches!(reader.next_block(), Err(ArchiveError::Truncated { .. })));
}

proptest! {
    /// Whatever a damaged archive is taken for, no byte of it is lost, and nothing panics.
    #[test]
    fn flipped_bytes_harm_nobody(at in 0_usize..4000, bit in 0_u8..8) {
        let mut bytes = archive(14);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok((_, _, all)) = read(&bytes) {
            prop_assert!(all == bytes);
        }
    }
}
