#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::key_object::{KeyObject, SignedKey};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signed) = SignedKey::decode(bytes) {
        assert_eq!(SignedKey::decode(&signed.encode()).as_ref(), Ok(&signed));
        if let Ok(object) = KeyObject::decode(&signed.body) {
            assert_eq!(KeyObject::decode(&object.encode()), Ok(object));
        }
    }
    if let Ok(object) = KeyObject::decode(bytes) {
        assert_eq!(KeyObject::decode(&object.encode()), Ok(object));
    }
});
