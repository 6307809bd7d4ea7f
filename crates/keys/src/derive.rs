//! Key derivation (`format-spec/sealing.md#derivation`): BLAKE3 `derive_key` with constant labels, and BLAKE3
//! `keyed_hash`, of the BLAKE3 paper sections 2.3 and 6.

use strongroom_format::registry::Purpose;
use strongroom_format::wal::WalPart;
use strongroom_format::{
    ChunkId, Commitment, ContentHash, GroupTag, KeyId, NodeId, PublicKey, RepositoryId, SnapshotId,
    SourceTag, WalId,
};
use zeroize::ZeroizeOnDrop;

use crate::Secret;

/// `DK(label, key)`, `N` bytes; `context` is the whole label.
pub(crate) fn derive<const N: usize>(context: &'static str, key: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    blake3::Hasher::new_derive_key(context).update(key).finalize_xof().fill(&mut out);
    out
}

/// `KH(key, message, 64)`, split into two halves.
pub(crate) fn key_and_commitment(key: &[u8; 32], message: &[&[u8]]) -> ([u8; 32], Commitment) {
    let mut hasher = blake3::Hasher::new_keyed(key);
    message.iter().for_each(|part| {
        hasher.update(part);
    });
    let (mut first, mut second) = ([0; 32], [0; 32]);
    let mut output = hasher.finalize_xof();
    output.fill(&mut first);
    output.fill(&mut second);
    (first, Commitment(second))
}

/// BLAKE3-256.
#[must_use]
pub fn content_hash(bytes: &[u8]) -> ContentHash {
    ContentHash(*blake3::hash(bytes).as_bytes())
}

/// BLAKE3-256 of the first `length` bytes, at most all, and of all of them, in one pass.
#[must_use]
pub fn content_hashes(bytes: &[u8], length: usize) -> (ContentHash, ContentHash) {
    let (first, rest) = bytes.split_at(length.min(bytes.len()));
    let mut hasher = blake3::Hasher::new();
    let first = *hasher.update(first).finalize().as_bytes();
    (ContentHash(first), ContentHash(*hasher.update(rest).finalize().as_bytes()))
}

/// The chain of the journal after one more object: `H(chain before ‖ H(bytes))`.
#[must_use]
pub fn chain(before: ContentHash, entry_hash: ContentHash) -> ContentHash {
    ContentHash(*blake3::Hasher::new().update(&before.0).update(&entry_hash.0).finalize().as_bytes())
}

/// The key ID of the root key with this public half.
#[must_use]
pub fn root_key_id(public: &PublicKey) -> KeyId {
    KeyId(derive("strongroom 2026 v1 root key id", &public.0))
}

/// The commitment of any key: binds its value to its ID, purpose and repository.
#[must_use]
pub fn commitment(key: &Secret, repository: RepositoryId, id: KeyId, purpose: Purpose) -> Commitment {
    let derived = Secret::new(derive("strongroom 2026 v1 key commitment", key.expose()));
    let mut message = [0; 33];
    message[..16].copy_from_slice(&repository.0);
    message[16..32].copy_from_slice(&id.0);
    message[32] = purpose.number();
    Commitment(*blake3::keyed_hash(derived.expose(), &message).as_bytes())
}

/// What is derived from the identity secret: it names chunks, nodes, snapshots and objects.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Identity {
    chunk: [u8; 32],
    node: [u8; 32],
    boundary: [u8; 32],
    object_name: [u8; 32],
    snapshot: [u8; 32],
    log_file: [u8; 32],
    gear: [u8; 2048],
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)")
    }
}

impl Identity {
    /// Derives all of it.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        let key = secret.expose();
        Self {
            chunk: derive("strongroom 2026 v1 chunk id", key),
            node: derive("strongroom 2026 v1 node id", key),
            boundary: derive("strongroom 2026 v1 tree boundary", key),
            object_name: derive("strongroom 2026 v1 object name", key),
            snapshot: derive("strongroom 2026 v1 snapshot id", key),
            log_file: derive("strongroom 2026 v1 wal file", key),
            gear: derive("strongroom 2026 v1 gear table", key),
        }
    }

    /// Names a chunk.
    #[must_use]
    pub fn chunk_id(&self, chunk: &[u8]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(&self.chunk, chunk).as_bytes())
    }

    /// Names a tree node.
    #[must_use]
    pub fn node_id(&self, node: &[u8]) -> NodeId {
        ChunkId(*blake3::keyed_hash(&self.node, node).as_bytes())
    }

    /// Decides where a tree's nodes end: 64 bits of the keyed hash of the level and the item's key.
    #[must_use]
    pub fn boundary_hash(&self, level: u8, item: &[u8]) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.boundary);
        hasher.update(&[level]).update(item);
        let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// The folder of a source's index objects.
    #[must_use]
    pub fn source_tag(&self, source: &str) -> SourceTag {
        let mut tag = [0; 16];
        blake3::Hasher::new_keyed(&self.object_name)
            .update(b"source")
            .update(source.as_bytes())
            .finalize_xof()
            .fill(&mut tag);
        SourceTag(tag)
    }

    /// The folder of a group's parts.
    #[must_use]
    pub fn group_tag(&self, group: &str) -> GroupTag {
        GroupTag(self.of_group(b"group", group))
    }

    /// The nonce of a group's snapshot: the same whoever commits it, so that there is one.
    #[must_use]
    pub fn group_nonce(&self, group: &str) -> [u8; 16] {
        self.of_group(b"group nonce", group)
    }

    fn of_group(&self, what: &[u8], group: &str) -> [u8; 16] {
        let mut derived = [0; 16];
        // Neither is the beginning of the other's message: a name of a group has no NUL.
        blake3::Hasher::new_keyed(&self.object_name)
            .update(what)
            .update(&[0])
            .update(group.as_bytes())
            .finalize_xof()
            .fill(&mut derived);
        derived
    }

    /// Names an object of a log archive.
    #[must_use]
    pub fn wal_id(&self, part: &WalPart) -> WalId {
        WalId(*blake3::keyed_hash(&self.object_name, &part.name_message()).as_bytes())
    }

    /// Begins the hash of a file of a log archive, or of a part of one: it tells the same bytes from others.
    #[must_use]
    pub fn log_file_hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.log_file)
    }

    /// Names a snapshot.
    #[must_use]
    pub fn snapshot_id(&self, manifest: &[u8]) -> SnapshotId {
        SnapshotId(*blake3::keyed_hash(&self.snapshot, manifest).as_bytes())
    }

    /// The table of the chunker: 256 little-endian u64.
    #[must_use]
    pub fn gear_table(&self) -> &[u8; 2048] {
        &self.gear
    }
}
