#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

use strongroom_format::pack::{ChunkRecord, FRAME_OVERHEAD, FrameRecord};
use strongroom_format::registry::Codec;
use strongroom_format::{ChunkId, KeyId, PublicKey, RepositoryId, Salt, WriterId};
use strongroom_keys::Secret;
use strongroom_keys::frame::{BoundRecord, FrameKey, verify_author};
use strongroom_keys::sign::Signer;

const PLAIN: &[u8] = b"hello";

struct Fixture {
    key: FrameKey,
    author: PublicKey,
    bound: BoundRecord,
    sealed: Vec<u8>,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let key = FrameKey::from_data_key(KeyId([13; 16]), RepositoryId([10; 16]), &Secret::new([3; 32]));
        let author = Signer::new(WriterId([7; 16]), &Secret::new([7; 32]));
        let record = FrameRecord {
            sealed_length: FRAME_OVERHEAD + 5,
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
        let mut sealed = Vec::new();
        key.seal(&bound, PLAIN, &author, Salt([9; 32]), &mut sealed).expect("seals");
        Fixture { key, author: author.public(), bound, sealed }
    })
}

/// Opens and verifies: only what was sealed does, but for the signature, which opening does not look at.
fn check(bytes: &[u8]) {
    let Fixture { key, author, bound, sealed } = fixture();
    let mut plain = vec![1];
    let message = sealed.len() - 64;
    let same = bytes.len() == sealed.len() && bytes[..message] == sealed[..message];
    assert_eq!(key.open(bound, bytes, &mut plain).is_ok(), same);
    assert_eq!(plain, if same { PLAIN } else { &[] });
    assert_eq!(verify_author(author, bound, bytes).is_ok(), bytes == sealed);
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // The same changes applied to what is good: positions and values by turns; then a length.
    let mut changed = fixture().sealed.clone();
    for change in bytes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % changed.len();
        changed[at] ^= change[2];
    }
    check(&changed);
    if let Some(length) = bytes.last() {
        changed.truncate(usize::from(*length));
        check(&changed);
    }
});
