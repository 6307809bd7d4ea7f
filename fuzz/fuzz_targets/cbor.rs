#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::cbor::Decoder;

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = Decoder::new(bytes);
    while !decoder.rest().is_empty() && decoder.skip().is_ok() {}
});
