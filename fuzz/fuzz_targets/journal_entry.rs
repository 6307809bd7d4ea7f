#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::entry::JournalEntry;
use strongroom_fuzz::assert_canonical;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = JournalEntry::decode(bytes) {
        let again = entry.encode();
        assert_canonical(bytes, &again);
        assert_eq!(JournalEntry::decode(&again), Ok(entry));
    }
});
