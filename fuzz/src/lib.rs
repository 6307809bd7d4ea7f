//! What fuzz targets share: the promise that what decodes has one encoding.
//!
//! It fuzzes nothing itself; the targets in `fuzz_targets/` do, one a decoder. A structure with fields that a reader
//! may ignore decodes to less than it says, so only such a one may come out of its type with other bytes.

use strongroom_format::FormatError;
use strongroom_format::cbor::{Decoder, FIRST_IGNORABLE_KEY};

/// Panics unless `again`, what was decoded from `bytes` and encoded, is `bytes`, or `bytes` have fields that a
/// reader ignores.
pub fn assert_canonical(bytes: &[u8], again: &[u8]) {
    assert!(
        again == bytes || has_ignorable_fields(bytes),
        "two encodings: {} and {}",
        hex(bytes),
        hex(again)
    );
}

/// Whether any map of these CBOR values has a key that a reader may ignore.
#[must_use]
pub fn has_ignorable_fields(bytes: &[u8]) -> bool {
    let (mut decoder, mut found) = (Decoder::new(bytes), false);
    while !decoder.rest().is_empty() && walk(&mut decoder, &mut found).is_ok() {}
    found
}

fn walk(decoder: &mut Decoder<'_>, found: &mut bool) -> Result<(), FormatError> {
    match decoder.rest().first().map_or(0, |byte| byte >> 5) {
        4 => decoder.array(|value| walk(value, found)).map(drop),
        5 => decoder.map("any", |key, value| {
            *found |= key >= FIRST_IGNORABLE_KEY;
            walk(value, found).map(|()| true)
        }),
        _ => decoder.skip(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
