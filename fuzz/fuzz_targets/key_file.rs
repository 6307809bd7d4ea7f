#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_keys::key_file;

fuzz_target!(|text: &str| {
    if let Ok(key) = key_file::decode(text) {
        assert_eq!(key_file::decode(&key_file::encode(&key, "0000")).expect("its own text"), key);
    }
});
