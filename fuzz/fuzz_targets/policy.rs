#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::policy::Policy;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(policy) = Policy::decode(bytes) {
        let _ = policy.unknown_feature();
        assert_eq!(Policy::decode(&policy.encode()), Ok(policy));
    }
});
