#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::part::{COUNT_LIMIT, Part, ReliedPack};
use strongroom_fuzz::assert_canonical;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(part) = Part::decode(bytes) {
        assert!((1..=part.count).contains(&part.number) && part.count <= COUNT_LIMIT);
        for relied in &part.relied {
            assert_eq!(ReliedPack::new(relied.pack, relied.numbers()), *relied);
        }
        if let Ok(again) = part.encode() {
            assert_canonical(bytes, &again);
            assert_eq!(Part::decode(&again), Ok(part));
        }
    }
});
