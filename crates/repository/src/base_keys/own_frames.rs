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
