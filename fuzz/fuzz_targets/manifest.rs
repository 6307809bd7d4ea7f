#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::manifest::Manifest;
use strongroom_fuzz::assert_canonical;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::decode(bytes) {
        let again = manifest.encode();
        assert_canonical(bytes, &again);
        assert_eq!(Manifest::decode(&again), Ok(manifest));
    }
});
