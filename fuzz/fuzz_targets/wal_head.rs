#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::wal::{OBJECT_LIMIT_BYTES, WalHead, part_count};
use strongroom_format::wal_file::LogFile;
use strongroom_fuzz::assert_canonical;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(head) = WalHead::decode(bytes) {
        assert!(head.part.part < part_count(head.file_bytes) && head.object_bytes() <= OBJECT_LIMIT_BYTES);
        assert_eq!(head.part.file.to_string().parse::<LogFile>(), Ok(head.part.file));
        // One that ignored fields may be too long to be written again.
        if let Ok(again) = head.encode() {
            assert_canonical(bytes, &again);
            assert_eq!(WalHead::decode(&again), Ok(head));
        }
    }
    if let Ok(name) = std::str::from_utf8(bytes)
        && let Ok(file) = name.parse::<LogFile>()
    {
        assert_eq!(file.to_string(), name);
    }
});
