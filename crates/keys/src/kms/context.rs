//! What a call on a service is about.

use strongroom_format::registry::Purpose;
use strongroom_format::{KeyId, RepositoryId, WriterId};

/// The encryption context of a wrapped key. It shows in the service's log, so it holds random IDs only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EncryptionContext {
    /// `sr:repository`
    pub repository: RepositoryId,
    /// `sr:purpose`
    pub purpose: Purpose,
    /// `sr:key-id`
    pub key: KeyId,
    /// `sr:writer`: whose signing key it is, or who wrapped it.
    pub writer: WriterId,
}

impl EncryptionContext {
    /// Names and values as they are sent, sorted by name.
    #[must_use]
    pub fn pairs(&self) -> [(&'static str, String); 4] {
        [
            ("sr:key-id", self.key.to_hex()),
            ("sr:purpose", self.purpose.name().to_owned()),
            ("sr:repository", self.repository.to_hex()),
            ("sr:writer", self.writer.to_hex()),
        ]
    }
}
