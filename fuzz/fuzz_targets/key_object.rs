#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::key_object::{KeyObject, SignedKey};
use strongroom_fuzz::assert_canonical;

fn body(bytes: &[u8]) {
    if let Ok(object) = KeyObject::decode(bytes) {
        let again = object.encode();
        assert_canonical(bytes, &again);
        assert_eq!(KeyObject::decode(&again), Ok(object));
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signed) = SignedKey::decode(bytes) {
        let again = signed.encode();
        assert_canonical(bytes, &again);
        assert_eq!(SignedKey::decode(&again).as_ref(), Ok(&signed));
        body(&signed.body);
    }
    body(bytes);
});
