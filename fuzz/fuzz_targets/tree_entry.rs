#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::cbor::{Decoder, Encoder};
use strongroom_format::tree_entry::TreeEntry;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = TreeEntry::decode(&mut Decoder::new(bytes)) {
        let mut encoder = Encoder::default();
        entry.encode(&mut encoder);
        let again = encoder.into_bytes();
        assert_eq!(TreeEntry::decode(&mut Decoder::new(&again)), Ok(entry));
    }
});
