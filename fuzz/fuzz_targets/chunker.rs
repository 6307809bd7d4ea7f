#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

use strongroom_chunker::{BatchReader, Chunker, ChunkerParams, GearTable};

fuzz_target!(|input: (u16, &[u8])| {
    let (batch_bytes, seed) = input;
    // Long enough for several chunks: the input again and again, differently each time.
    let data: Vec<u8> =
        (0..40_u8).flat_map(|turn| seed.iter().map(move |byte| byte.wrapping_add(turn))).collect();
    let gear: Vec<u8> = (0..2048_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let gear = Arc::new(GearTable::from_bytes(gear[..].try_into().expect("2048 bytes")));
    let params = ChunkerParams::fast_cdc(4096, 8192, 16_384, 2).expect("valid");
    let chunker = Chunker::new(params, Arc::clone(&gear)).expect("valid");
    let (mut whole, mut rest) = (Vec::new(), &data[..]);
    while let Some(length) = chunker.next_cut(rest, true) {
        assert!(length <= 16_384 && (length >= 4096 || length == rest.len()));
        whole.push(length as u32);
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
    let mut reader = BatchReader::with_batch_bytes(
        &data[..],
        Chunker::new(params, gear).expect("valid"),
        batch_bytes.into(),
    );
    let mut batched = Vec::new();
    while let Some(batch) = reader.next_batch(Vec::new()).expect("memory reads") {
        batched.extend_from_slice(&batch.lengths);
    }
    assert_eq!(whole, batched);
});
