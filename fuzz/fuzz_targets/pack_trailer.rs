#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::pack::decode_trailer;

fuzz_target!(|input: ([u8; 16], u64)| {
    let (trailer, length) = input;
    if let Ok(footer) = decode_trailer(&trailer, length) {
        assert!(footer.start >= 112 && footer.end + 16 == length && footer.start < footer.end);
    }
});
