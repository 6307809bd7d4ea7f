#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::zstd_frame;
use strongroom_repository::zstd::Decompressor;

fuzz_target!(|input: (u32, u16, &[u8])| {
    let (plain_length, prefix_length, payload) = input;
    let plain_length = plain_length % (1 << 20);
    let _ = zstd_frame::check(payload, plain_length);
    let prefix: Vec<u8> = (0..prefix_length).map(|i| i.to_le_bytes()[0]).collect();
    for prefix in [&[][..], &prefix] {
        if let Ok(plain) = Decompressor::new().decompress(payload, prefix, plain_length) {
            assert_eq!(plain.len(), plain_length as usize);
        }
    }
    // A frame whose head is right, so that the blocks are reached.
    let mut framed = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    framed.extend_from_slice(&plain_length.to_le_bytes());
    framed.extend_from_slice(payload);
    if let Ok(plain) = Decompressor::new().decompress(&framed, &prefix, plain_length) {
        assert_eq!(plain.len(), plain_length as usize);
    }
});
