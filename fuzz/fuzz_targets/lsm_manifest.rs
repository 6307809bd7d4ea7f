#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_engines::ledger::lsm::manifest::read_manifest;
use strongroom_engines::ledger::lsm::records::Records;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((version, whole)) = read_manifest(bytes) {
        // What is cut off says nothing.
        let whole = usize::try_from(whole).unwrap();
        assert_eq!(read_manifest(&bytes[..whole]).unwrap(), (version, whole as u64));
    }
    for number in [None, Some(7)] {
        let mut records = Records::new(bytes, number);
        while records.next_record(None).unwrap() {}
        assert!(records.whole_bytes() <= bytes.len() as u64);
    }
});
