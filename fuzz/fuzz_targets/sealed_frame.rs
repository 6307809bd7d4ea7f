#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_format::pack::{ChunkRecord, FrameRecord};
use strongroom_format::registry::Codec;
use strongroom_format::{ChunkId, KeyId, RepositoryId};
use strongroom_keys::Secret;
use strongroom_keys::frame::{BoundRecord, FrameKey, verify_author};

fuzz_target!(|bytes: &[u8]| {
    let key = FrameKey::from_data_key(KeyId([13; 16]), RepositoryId([10; 16]), &Secret::new([3; 32]));
    let record = FrameRecord {
        sealed_length: bytes.len() as u32,
        plain_length: 5,
        prefix_length: 0,
        first_chunk: 0,
        first_base: 0,
        chunk_count: 1,
        base_count: 0,
        key: 0,
        author: 0,
        codec: Codec::Raw,
        depth: 0,
        closure: 0,
    };
    let bound = BoundRecord::new(&record, &[ChunkRecord { id: ChunkId([1; 32]), length: 5 }], &[]);
    let mut plain = Vec::new();
    assert!(key.open(&bound, bytes, &mut plain).is_err(), "nobody sealed this");
    assert!(plain.is_empty());
    let _ = verify_author(&strongroom_format::PublicKey([9; 32]), &bound, bytes);
});
