#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::entry::JournalEntry;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = JournalEntry::decode(bytes) {
        assert_eq!(JournalEntry::decode(&entry.encode()), Ok(entry));
    }
});
