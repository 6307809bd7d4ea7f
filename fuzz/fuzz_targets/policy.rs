#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::policy::Policy;
use strongroom_fuzz::assert_canonical;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(policy) = Policy::decode(bytes) {
        let _ = policy.unknown_feature();
        let again = policy.encode();
        assert_canonical(bytes, &again);
        assert_eq!(Policy::decode(&again), Ok(policy));
    }
});
