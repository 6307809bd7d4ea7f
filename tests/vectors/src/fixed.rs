//! The fixed inputs of all vectors.

use strongroom_format::pack::KeyRef;
use strongroom_format::registry::Purpose;
use strongroom_format::{KeyId, RepositoryId, WriterId};
use strongroom_keys::Secret;
use strongroom_keys::derive::{Identity, commitment};
use strongroom_keys::frame::FrameKey;
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::Signer;

pub(crate) const REPOSITORY: RepositoryId = RepositoryId([10; 16]);
pub(crate) const METADATA_ID: KeyId = KeyId([12; 16]);
pub(crate) const DATA_ID: KeyId = KeyId([13; 16]);
pub(crate) const AUTHOR_ID: WriterId = WriterId([7; 16]);

pub(crate) fn identity() -> Identity {
    Identity::new(&Secret::new([1; 32]))
}

pub(crate) fn metadata() -> MetadataKey {
    MetadataKey::new(METADATA_ID, REPOSITORY, &Secret::new([2; 32]))
}

pub(crate) fn data() -> (FrameKey, KeyRef) {
    let secret = Secret::new([3; 32]);
    let reference =
        KeyRef { id: DATA_ID, commitment: commitment(&secret, REPOSITORY, DATA_ID, Purpose::Data) };
    (FrameKey::from_data_key(DATA_ID, REPOSITORY, &secret), reference)
}

pub(crate) fn author() -> Signer {
    Signer::new(AUTHOR_ID, &Secret::new([7; 32]))
}

/// Bytes that repeat every 251: the content of chunks.
pub(crate) fn counting(length: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(length).collect()
}

/// Bytes that do not compress, the same every time.
pub(crate) fn noise(seed: &str, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut out);
    out
}
