#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::config::Config;
use strongroom_fuzz::assert_canonical;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = Config::decode(bytes) {
        let again = config.encode();
        assert_canonical(bytes, &again);
        assert_eq!(Config::decode(&again), Ok(config));
    }
});
