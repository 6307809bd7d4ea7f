#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::config::Config;

fuzz_target!(|bytes: &[u8]| {
    // Without ignorable fields, what decodes has one encoding.
    if let Ok(config) = Config::decode(bytes) {
        assert_eq!(Config::decode(&config.encode()), Ok(config));
    }
});
