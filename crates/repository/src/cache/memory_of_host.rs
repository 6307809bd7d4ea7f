//! What this host remembers between runs: how far it has seen the journal, and what makes opening quick.

use strongroom_format::{ContentHash, KeyId, RecipientId};
use strongroom_keys::unlock::Hint;

use super::Cache;
use crate::error::RepositoryError;

impl Cache {
    /// The journal's head as this host last saw it.
    pub(crate) fn remembered_head(&self) -> Result<Option<(u64, ContentHash)>, RepositoryError> {
        let value = self.meta("head")?;
        Ok(value.and_then(|value| {
            let (number, hash) = value.split_first_chunk::<8>()?;
            Some((u64::from_le_bytes(*number), ContentHash::try_from(hash).ok()?))
        }))
    }

    /// Remembers the journal's head.
    pub(crate) fn remember_head(&self, number: u64, hash: ContentHash) -> Result<(), RepositoryError> {
        self.set_meta("head", &[&number.to_le_bytes()[..], &hash.0].concat())
    }

    /// The entry whose checkpoint opening began with the last time; 0 for the first entry itself.
    pub(crate) fn start(&self) -> Option<u64> {
        Some(u64::from_le_bytes(self.meta("start").ok()??.try_into().ok()?))
    }

    /// Remembers where opening began, or to look anew.
    pub(crate) fn remember_start(&self, number: Option<u64>) {
        if self.start() == number {
            return;
        }
        let value = number.map_or(Vec::new(), |number| number.to_le_bytes().to_vec());
        if let Err(error) = self.set_meta("start", &value) {
            tracing::debug!(%error, "not remembered where opening began");
        }
    }

    /// Who opened which key, as this host last saw it. A cache that cannot be read remembers nothing.
    pub(crate) fn hints(&self) -> Vec<Hint> {
        let value = self.meta("hints").ok().flatten().unwrap_or_default();
        let pairs = value.chunks_exact(32).map(|pair| {
            let (key, recipient) = pair.split_at(16);
            Some(Hint { key: KeyId::try_from(key).ok()?, recipient: RecipientId::try_from(recipient).ok()? })
        });
        pairs.flatten().collect()
    }

    /// Remembers who opened which key; failing costs the next run a few requests.
    pub(crate) fn remember_hints(&self, hints: &[Hint]) {
        let value: Vec<u8> = hints.iter().flat_map(|hint| [hint.key.0, hint.recipient.0]).flatten().collect();
        if let Err(error) = self.set_meta("hints", &value) {
            tracing::debug!(%error, "not remembered who opened which key");
        }
    }

    /// A small value kept between runs.
    pub(crate) fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, RepositoryError> {
        self.told(self.place().database.meta(key))
    }

    /// Keeps a small value between runs.
    pub(crate) fn set_meta(&self, key: &str, value: &[u8]) -> Result<(), RepositoryError> {
        self.told(self.place().database.set_meta(key, value))
    }
}
