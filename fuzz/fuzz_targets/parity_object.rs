#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

use strongroom_format::PackId;
use strongroom_format::entry::PackRef;
use strongroom_format::parity::{HEAD_HASH_LENGTH, ParityHeader};
use strongroom_format::registry::ObjectKind;
use strongroom_repository::parity::{encode, heal};

/// A pack of five blocks, the last one cut short, and parity that heals two of them.
struct Fixture {
    pack: PackRef,
    bytes: Vec<u8>,
    header: ParityHeader,
    parity: Vec<u8>,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let mut bytes = vec![0; 5000];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        let (kind, id) = (ObjectKind::DataPack, PackId(*blake3::hash(&bytes).as_bytes()));
        let header = ParityHeader::new(kind, id, 5000, 40).expect("a pack has parity");
        let parity = encode(&header, &bytes).expect("encodes");
        Fixture { pack: PackRef { kind, id, length: 5000 }, bytes, header, parity }
    })
}

/// Whatever goes in, what comes out is the pack.
fn check(found: &[u8], parity: &[u8]) {
    let Fixture { pack, bytes, .. } = fixture();
    if let Some(healed) = heal(found.to_vec(), parity, pack) {
        assert!(healed == *bytes, "wrong bytes");
    }
}

/// The same changes applied to what is good: positions and values by turns.
fn changed(good: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut changed = good.to_vec();
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % changed.len();
        changed[at] ^= change[2];
    }
    changed
}

fuzz_target!(|input: &[u8]| {
    if let Ok(header) = ParityHeader::decode(input) {
        assert!(input.starts_with(&header.encode()));
        let (length, of_pack) = (header.length(), header.pack_length);
        assert_eq!(ParityHeader::of_length(header.kind, header.pack, of_pack, length), Some(header));
    }
    let Fixture { bytes, header, parity, .. } = fixture();
    check(&[], input);
    check(&bytes[..3000], input);
    check(input, parity);
    let (of_pack, of_parity) = input.split_at(input.len() / 2);
    let pack = changed(bytes, of_pack);
    let mut object = changed(parity, of_parity);
    check(&pack, &object);
    // A head that says what is not so, and whose hash holds.
    let end = header.head_length() - HEAD_HASH_LENGTH;
    let hash = blake3::hash(&object[..end]);
    object[end..header.head_length()].copy_from_slice(hash.as_bytes());
    check(&pack, &object);
    let length = input.first().map_or(0, |length| usize::from(*length) * 64);
    check(&pack[..length.min(pack.len())], &object);
    check(&pack, &object[..length.min(object.len())]);
});
