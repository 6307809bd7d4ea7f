#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::checkpoint::Checkpoint;
use strongroom_fuzz::assert_canonical;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(checkpoint) = Checkpoint::decode(bytes) {
        let again = checkpoint.encode();
        assert_canonical(bytes, &again);
        assert_eq!(Checkpoint::decode(&again), Ok(checkpoint));
    }
});
