#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

use strongroom_format::registry::ObjectKind;
use strongroom_format::{KeyId, RepositoryId, Salt, WriterId};
use strongroom_keys::Secret;
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::Signer;

const NAME: &str = "journal/0000000000000001";

struct Fixture {
    key: MetadataKey,
    signer: Signer,
    sealed: Vec<u8>,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let key = MetadataKey::new(KeyId([12; 16]), RepositoryId([10; 16]), &Secret::new([2; 32]));
        let signer = Signer::new(WriterId([7; 16]), &Secret::new([7; 32]));
        let sealed =
            key.seal(ObjectKind::Entry, NAME, 1024, b"content", &signer, Salt([9; 32])).expect("seals");
        Fixture { key, signer, sealed }
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Fixture { key, signer, sealed } = fixture();
    if let Ok(opened) = key.open(ObjectKind::Entry, NAME, bytes) {
        assert_eq!(bytes, &sealed[..], "nothing else opens");
        let _ = opened.verify(&signer.public());
    }
    // The same changes applied to what is good: positions and values by turns.
    let mut changed = sealed.clone();
    for change in bytes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % changed.len();
        changed[at] ^= change[2];
    }
    let opens = key.open(ObjectKind::Entry, NAME, &changed).is_ok();
    assert_eq!(opens, changed == *sealed);
});
