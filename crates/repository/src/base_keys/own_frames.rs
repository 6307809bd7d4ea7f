//! What a host without the right to read can open: frames that it stored itself, under keys that it has kept.

use std::collections::BTreeMap;

use strongroom_format::pack::{Footer, FrameRecord};
use strongroom_format::registry::Purpose;
use strongroom_format::{Commitment, KeyId, RepositoryId, WriterId};
use strongroom_keys::derive::commitment;
use strongroom_keys::frame::FrameKey;

use super::file::KeptKey;

/// The frames of one author under some keys.
pub(crate) struct OwnFrames {
    author: WriterId,
    keys: BTreeMap<KeyId, (Commitment, FrameKey)>,
}

impl OwnFrames {
    pub(super) fn new(author: WriterId, repository: RepositoryId, kept: &[KeptKey]) -> Self {
        let opened = kept.iter().map(|KeptKey { id, secret }| {
            let commitment = commitment(secret, repository, *id, Purpose::Data);
            (*id, (commitment, FrameKey::from_data_key(*id, repository, secret)))
        });
        Self { author, keys: opened.collect() }
    }

    /// Whose frames they are.
    pub(crate) fn author(&self) -> WriterId {
        self.author
    }

    /// Runs whose keys there are.
    pub(crate) fn runs(&self) -> usize {
        self.keys.len()
    }

    /// What opens a frame; `None` for another author's, and without its key.
    pub(crate) fn key(&self, footer: &Footer, frame: &FrameRecord) -> Option<&FrameKey> {
        let key = footer.keys.get(usize::from(frame.key))?;
        let author = footer.authors.get(usize::from(frame.author))?;
        let (commitment, opened) = self.keys.get(&key.id).filter(|_| *author == self.author)?;
        (*commitment == key.commitment).then_some(opened)
    }
}

#[cfg(test)]
mod tests {
    use strongroom_format::pack::KeyRef;
    use strongroom_format::registry::Codec;
    use strongroom_format::{ContentHash, Signature};
    use strongroom_keys::Secret;

    use super::*;

    const REPOSITORY: RepositoryId = RepositoryId([1; 16]);
    const ME: WriterId = WriterId([2; 16]);
    const OTHER: WriterId = WriterId([3; 16]);

    fn key(id: u8, secret: u8) -> KeyRef {
        let id = KeyId([id; 16]);
        KeyRef { id, commitment: commitment(&Secret::new([secret; 32]), REPOSITORY, id, Purpose::Data) }
    }

    #[test]
    fn frames_are_its_own_by_author_key_and_commitment() {
        let kept = [KeptKey { id: KeyId([4; 16]), secret: Secret::new([5; 32]) }];
        let own = OwnFrames::new(ME, REPOSITORY, &kept);
        assert_eq!((own.author(), own.runs()), (ME, 1));
        let footer = Footer {
            pack_length: 0,
            padding_length: 0,
            keys: vec![key(4, 5), key(4, 6), key(7, 5)],
            authors: vec![ME, OTHER],
            frames: Vec::new(),
            chunks: Vec::new(),
            bases: Vec::new(),
            content_hash: ContentHash([0; 32]),
            signer: ME,
            signature: Signature([0; 64]),
        };
        let opens = |key, author| {
            let frame = FrameRecord {
                sealed_length: 0,
                plain_length: 0,
                prefix_length: 0,
                first_chunk: 0,
                first_base: 0,
                chunk_count: 0,
                base_count: 0,
                key,
                author,
                codec: Codec::Raw,
                depth: 0,
                closure: 0,
            };
            own.key(&footer, &frame).is_some()
        };
        assert!(opens(0, 0));
        assert!(!opens(0, 1), "another author's");
        assert!(!opens(1, 0), "another key of that name");
        assert!(!opens(2, 0), "a key that is not kept");
        assert!(!opens(3, 0) && !opens(0, 2), "in no table");
    }
}
