#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::header::{HEADER_LENGTH, Header};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = Header::decode(bytes) {
        assert_eq!(header.encode(), bytes[..HEADER_LENGTH]);
    }
});
