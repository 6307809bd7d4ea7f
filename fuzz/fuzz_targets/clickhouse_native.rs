#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_engines::clickhouse::native::{ColumnType, NativeError, Scanner};

fuzz_target!(|bytes: &[u8]| {
    // However it comes, it is the same stream: so many rows, or none.
    assert_eq!(scan(&[bytes]), scan(&bytes.chunks(1).collect::<Vec<_>>()));
    let (first, second) = bytes.split_at(bytes.len() / 3);
    assert_eq!(scan(&[bytes]), scan(&[first, second]));
    if let Ok(name) = std::str::from_utf8(bytes) {
        let _ = ColumnType::parse(name).can_be_followed();
    }
});

fn scan(pieces: &[&[u8]]) -> Result<u64, NativeError> {
    let mut scanner = Scanner::new(None);
    for piece in pieces {
        scanner.feed(piece)?;
    }
    scanner.finish()
}
