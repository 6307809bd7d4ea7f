#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::cbor::{Decoder, Encoder};
use strongroom_format::tree_entry::TreeEntry;
use strongroom_fuzz::assert_canonical;

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = Decoder::new(bytes);
    if let Ok(entry) = TreeEntry::decode(&mut decoder) {
        let read = &bytes[..bytes.len() - decoder.rest().len()];
        let mut encoder = Encoder::default();
        entry.encode(&mut encoder);
        let again = encoder.into_bytes();
        assert_canonical(read, &again);
        assert_eq!(TreeEntry::decode(&mut Decoder::new(&again)), Ok(entry));
    }
});
