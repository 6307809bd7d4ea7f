#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_keys::key_file::{self, KeyFile};

fuzz_target!(|text: &str| {
    if let Ok(key) = key_file::decode(text) {
        let again = match &key {
            KeyFile::Symmetric(key) => key_file::encode(key, "0000"),
            KeyFile::X25519(private) => key_file::encode_x25519(private).expect("any 32 bytes are a private key"),
        };
        assert_eq!(key_file::decode(&again).expect("its own text"), key);
    }
    if let Ok(public) = key_file::parse_public(text) {
        assert_eq!(key_file::parse_public(&key_file::public_text(&public)).expect("its own text"), public);
    }
});
