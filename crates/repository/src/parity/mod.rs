//! Parity: recovery blocks beside a pack, from which blocks of it that went bad are computed again
//! (`format-spec/objects.md#parity`).
//!
//! A parity object is a function of the pack's stored bytes and of how many recovery blocks there are to be, so it needs
//! no key, tells nothing that the pack does not, and comes out the same whoever makes it. Nothing in it is believed: what
//! it heals is used only if it hashes to the pack's name.

mod code;
mod heal;
#[cfg(test)]
mod tests;

use strongroom_format::entry::PackRef;
use strongroom_format::parity::{BLOCK_HASH_LENGTH, HEAD_HASH_LENGTH, HEADER_LENGTH, ParityHeader};
use strongroom_format::{FormatError, PackId};
use strongroom_store::Store;

pub use self::heal::heal;
use crate::error::RepositoryError;
use crate::names;
use crate::stage::stage;

type BlockHash = [u8; BLOCK_HASH_LENGTH];

/// The parity object of a pack, whose stored bytes are given.
///
/// # Errors
/// `Unstorable` for a header that is another pack's; `Parity`, never with a header that could be made.
pub fn encode(header: &ParityHeader, pack: &[u8]) -> Result<Vec<u8>, RepositoryError> {
    if pack.len() as u64 != header.pack_length {
        let source = FormatError::Rule { what: "parity", rule: "it is of a pack of this length" };
        return Err(unstorable(header.pack)(source));
    }
    let mut out = Vec::with_capacity(usize::try_from(header.length()).unwrap_or_default());
    out.extend_from_slice(&header.encode());
    for number in 0..header.data_blocks() {
        out.extend_from_slice(&data_block_hash(header, pack, number));
    }
    let recovery = header.recovery_range();
    let (hashes, block_bytes) = (out.len(), header.block_bytes());
    out.resize(recovery.end, 0);
    code::recover(header, pack, &mut out[recovery.clone()])
        .map_err(|source| RepositoryError::Parity { pack: header.pack, source })?;
    let (head, blocks) = out.split_at_mut(recovery.start);
    for (field, block) in
        head[hashes..].chunks_exact_mut(BLOCK_HASH_LENGTH).zip(blocks.chunks_exact(block_bytes))
    {
        field.copy_from_slice(&block_hash(block));
    }
    let (hashed, hash) = head.split_at_mut(recovery.start - HEAD_HASH_LENGTH);
    hash.copy_from_slice(blake3::hash(hashed).as_bytes());
    out.extend_from_within(..recovery.start);
    Ok(out)
}

/// Stores the parity of a pack, durably; nothing where the policy asks for none.
///
/// # Errors
/// `Store`; as [`encode`].
pub(crate) fn put(
    store: &dyn Store,
    percent: u8,
    pack: &PackRef,
    pack_bytes: &[u8],
) -> Result<(), RepositoryError> {
    if percent == 0 {
        return Ok(());
    }
    let computing = stage!("parity");
    let header = ParityHeader::new(pack.kind, pack.id, pack.length, percent).map_err(unstorable(pack.id))?;
    let bytes = encode(&header, pack_bytes)?;
    drop(computing);
    let _storing = stage!("store");
    // A name that is taken is our own, as the pack's is.
    let _ = store.put_if_absent(&names::parity(pack.id)?, &bytes)?;
    Ok(())
}

/// How long what [`put`] stores is, bytes.
pub(crate) fn length(percent: u8, pack: &PackRef) -> u64 {
    ParityHeader::new(pack.kind, pack.id, pack.length, percent).map_or(0, |header| header.length())
}

/// A parity object of which a head is whole. Recovery blocks may be bad, or missing.
struct Parity<'a> {
    header: ParityHeader,
    /// Those of the data blocks, then those of the recovery blocks.
    hashes: &'a [u8],
    recovery: &'a [u8],
}

impl<'a> Parity<'a> {
    /// Opens the parity object of a pack by its first head, or the second where the first is damaged.
    fn open(bytes: &'a [u8], pack: &PackRef) -> Option<Self> {
        Self::with_head_at(bytes, 0, pack).or_else(|| {
            // The object's length tells where the second one lies.
            let header = ParityHeader::of_length(pack.kind, pack.id, pack.length, bytes.len() as u64)?;
            Self::with_head_at(bytes, header.recovery_range().end, pack)
        })
    }

    fn with_head_at(bytes: &'a [u8], start: usize, pack: &PackRef) -> Option<Self> {
        let head = bytes.get(start..)?;
        let header = ParityHeader::decode(head).ok()?;
        if (header.kind, header.pack, header.pack_length) != (pack.kind, pack.id, pack.length) {
            return None;
        }
        let (hashed, hash) = head.get(..header.head_length())?.split_last_chunk::<HEAD_HASH_LENGTH>()?;
        if blake3::hash(hashed) != *hash {
            return None;
        }
        let range = header.recovery_range();
        let recovery = bytes.get(range.start..range.end.min(bytes.len())).unwrap_or_default();
        Some(Self { header, hashes: &hashed[HEADER_LENGTH..], recovery })
    }

    /// Whether a data block of the pack is what it was.
    fn is_good(&self, pack: &[u8], number: usize) -> bool {
        self.hash(number) == Some(&data_block_hash(&self.header, pack, number))
    }

    /// A recovery block, if it is what it was.
    fn recovery_block(&self, number: usize) -> Option<&'a [u8]> {
        let length = self.header.block_bytes();
        let block = self.recovery.get(number * length..(number + 1) * length)?;
        (self.hash(self.header.data_blocks() + number)? == &block_hash(block)).then_some(block)
    }

    fn hash(&self, number: usize) -> Option<&'a BlockHash> {
        self.hashes.as_chunks().0.get(number)
    }
}

/// Whether an object is the parity of a pack whose bytes are sound: all of it, as it would be made again.
///
/// # Errors
/// As [`encode`].
pub(crate) fn is_parity_of(bytes: &[u8], pack: &PackRef, pack_bytes: &[u8]) -> Result<bool, RepositoryError> {
    match Parity::open(bytes, pack) {
        Some(parity) => Ok(encode(&parity.header, pack_bytes)? == bytes),
        None => Ok(false),
    }
}

fn unstorable(pack: PackId) -> impl FnOnce(FormatError) -> RepositoryError {
    move |source| RepositoryError::Unstorable { what: format!("the parity of pack {pack}"), source }
}

fn block_hash(block: &[u8]) -> BlockHash {
    first_half(&blake3::hash(block))
}

/// The hash of a block of a pack, which may be cut short: what is missing counts as zeros.
fn data_block_hash(header: &ParityHeader, pack: &[u8], number: usize) -> BlockHash {
    let length = header.block_bytes();
    let there = pack.get(number * length..).unwrap_or_default();
    if let Some(block) = there.get(..length) {
        return block_hash(block);
    }
    let mut block = there.to_vec();
    block.resize(length, 0);
    block_hash(&block)
}

fn first_half(hash: &blake3::Hash) -> BlockHash {
    let mut half = [0; BLOCK_HASH_LENGTH];
    half.copy_from_slice(&hash.as_bytes()[..BLOCK_HASH_LENGTH]);
    half
}
