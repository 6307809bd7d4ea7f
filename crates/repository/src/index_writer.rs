//! Collecting the packs of a run into index objects.

use strongroom_format::entry::IndexRef;
use strongroom_format::index::{Index, IndexedPack};
use strongroom_format::registry::ObjectKind;
use strongroom_format::{IndexId, Salt, SourceTag, body};
use strongroom_keys::derive::content_hash;
use strongroom_keys::random::{self, Random};
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::Signer;
use strongroom_store::Store;

use crate::error::RepositoryError;
use crate::names;

/// An index object is stored when it has grown to this, bytes.
pub(crate) const INDEX_BYTES: usize = 8 << 20;

/// Packs of so many bytes, and of this share of those before, are indexed at a time in a run that others may go on with.
const STEP_BYTES: u64 = 64 << 20;
const STEP_SHARE: u64 = 16;

/// Writes index objects for one source.
pub(crate) struct IndexWriter<'a> {
    store: &'a dyn Store,
    metadata: &'a MetadataKey,
    signer: &'a Signer,
    random: &'a dyn Random,
    source_tag: SourceTag,
    packs: Vec<IndexedPack>,
    bytes: usize,
    written: Vec<IndexRef>,
    /// Bytes of packs that were stored, and how many of them an index object describes that is stored as well.
    stored_bytes: u64,
    indexed_bytes: u64,
}

impl<'a> IndexWriter<'a> {
    pub(crate) fn new(
        store: &'a dyn Store,
        metadata: &'a MetadataKey,
        signer: &'a Signer,
        random: &'a dyn Random,
        source_tag: SourceTag,
    ) -> Self {
        Self {
            store,
            metadata,
            signer,
            random,
            source_tag,
            packs: Vec::new(),
            bytes: 0,
            written: Vec::new(),
            stored_bytes: 0,
            indexed_bytes: 0,
        }
    }

    /// Adds a pack that is durable.
    pub(crate) fn push(&mut self, pack: IndexedPack) -> Result<(), RepositoryError> {
        let length = Index::pack_length(pack.footer.len());
        if self.bytes + length > INDEX_BYTES {
            self.flush()?;
        }
        self.bytes += length;
        self.packs.push(pack);
        Ok(())
    }

    /// Has packs indexed now and then, `bytes` more of which were stored: often at first, and always before much of
    /// what there is would be lost.
    pub(crate) fn step(&mut self, bytes: u64) -> Result<(), RepositoryError> {
        self.stored_bytes += bytes;
        if self.stored_bytes - self.indexed_bytes < STEP_BYTES.max(self.indexed_bytes / STEP_SHARE) {
            return Ok(());
        }
        self.indexed_bytes = self.stored_bytes;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), RepositoryError> {
        if self.packs.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let index = Index { source_tag: self.source_tag, packs: std::mem::take(&mut self.packs) };
        let content = index
            .encode()
            .map_err(|source| RepositoryError::Unstorable { what: "an index object".into(), source })?;
        let seal = |source| RepositoryError::Seal { what: "an index object", source };
        let salt = Salt(random::array(self.random).map_err(seal)?);
        let bytes = self
            .metadata
            .seal(ObjectKind::Index, "", body::OBJECT_FLOOR_BYTES, &content, self.signer, salt)
            .map_err(seal)?;
        let reference = IndexRef {
            id: IndexId(content_hash(&bytes).0),
            source_tag: self.source_tag,
            length: bytes.len() as u64,
        };
        let _ = self.store.put_if_absent(&names::index_ref(&reference)?, &bytes)?;
        self.written.push(reference);
        Ok(())
    }

    /// Stores what is left: all index objects, durable.
    pub(crate) fn finish(mut self) -> Result<Vec<IndexRef>, RepositoryError> {
        self.flush()?;
        Ok(self.written)
    }
}
