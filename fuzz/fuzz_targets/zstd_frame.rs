#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::zstd_frame;
use strongroom_repository::zstd::Decompressor;

/// How a dictionary of zstd begins.
const DICTIONARY: [u8; 4] = [0x37, 0xa4, 0x30, 0xec];

fuzz_target!(|input: (u32, u16, &[u8])| {
    let (plain_length, prefix_length, payload) = input;
    let plain_length = plain_length % (1 << 20);
    let _ = zstd_frame::check(payload, plain_length);
    // A frame whose head is right, so that the blocks are reached.
    let mut framed = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    framed.extend_from_slice(&plain_length.to_le_bytes());
    framed.extend_from_slice(payload);
    let prefix: Vec<u8> = (0..prefix_length).map(|i| i.to_le_bytes()[0]).collect();
    let like_a_dictionary = [&DICTIONARY, &prefix[..]].concat();
    // Both are used again, as readers do.
    let (mut decompressor, mut plain) = (Decompressor::new(), Vec::new());
    for payload in [payload, &framed] {
        for prefix in [&[][..], &prefix, &like_a_dictionary] {
            if decompressor.decompress(payload, prefix, plain_length, &mut plain).is_ok() {
                assert_eq!(plain.len(), plain_length as usize);
            }
        }
    }
});
