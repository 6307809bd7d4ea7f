//! Healing a pack: its blocks that are bad, cut off or missing are computed from the others and from recovery blocks.

use strongroom_format::entry::PackRef;
use strongroom_format::pack::PACK_LIMIT_BYTES;
use strongroom_format::parity::PARITY_LIMIT_BYTES;
use strongroom_keys::derive::content_hash;
use strongroom_store::{ObjectName, StoreError};

use super::{Parity, code};
use crate::error::RepositoryError;
use crate::names;
use crate::repository::Repository;

/// The bytes of a pack as they were stored, from what is left of it and its parity object; `None` where that is too
/// little. What comes out hashes to the pack's ID, whatever goes in.
///
/// Takes as much memory as the pack is long, and 8 MiB.
#[must_use]
pub fn heal(mut found: Vec<u8>, parity: &[u8], pack: &PackRef) -> Option<Vec<u8>> {
    let length = usize::try_from(pack.length).ok()?;
    // Something was appended, perhaps.
    found.truncate(length);
    if let Some(parity) = Parity::open(parity, pack) {
        let header = &parity.header;
        let is_bad: Vec<bool> =
            (0..header.data_blocks()).map(|number| !parity.is_good(&found, number)).collect();
        let bad = is_bad.iter().filter(|is_bad| **is_bad).count();
        found.resize(header.data_blocks() * header.block_bytes(), 0);
        if bad > 0 {
            let all = (0..header.recovery_blocks)
                .filter_map(|number| Some((number, parity.recovery_block(number)?)));
            let recovery: Vec<_> = all.take(bad).collect();
            if recovery.len() < bad {
                return None;
            }
            code::restore(header, &mut found, &is_bad, &recovery).ok()?;
        }
        found.truncate(length);
    }
    (content_hash(&found).0 == pack.id.0).then_some(found)
}

impl Repository {
    /// The bytes of a damaged or missing pack as they were stored, as far as its parity object and what is left of the
    /// pack give them; of one that is whole, too. `None` where it has no parity object, or too much is damaged.
    ///
    /// # Errors
    /// `Store`, for want of the store and not of these objects.
    pub(crate) fn heal_pack(&self, pack: &PackRef) -> Result<Option<Vec<u8>>, RepositoryError> {
        // First: most have none, and then the pack need not be fetched.
        let parity = match self.origin.get(&names::parity(pack.id)?, PARITY_LIMIT_BYTES) {
            Ok(parity) => parity,
            Err(error) if is_of_object(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(opened) = Parity::open(&parity, pack) else { return Ok(None) };
        let name = names::pack(pack.kind, pack.id)?;
        let found = match self.origin.get(&name, PACK_LIMIT_BYTES) {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => Vec::new(),
            Err(error) if is_of_object(&error) => self.what_can_be_read(&name, &opened),
            Err(error) => return Err(error.into()),
        };
        Ok(heal(found, &parity, pack))
    }

    /// A pack block by block, with zeros in place of those that cannot be read, as on a disk some sectors of which are
    /// gone; no more once it is hopeless.
    fn what_can_be_read(&self, name: &ObjectName, parity: &Parity<'_>) -> Vec<u8> {
        let header = &parity.header;
        let length = header.block_bytes();
        let mut found = vec![0; header.data_blocks() * length];
        let mut failed = 0;
        for (at, block) in (0_u64..).step_by(length).zip(found.chunks_exact_mut(length)) {
            let width = header.pack_length.saturating_sub(at).min(length as u64);
            match self.origin.get_range(name, at, width) {
                Ok(read) => block[..read.len()].copy_from_slice(&read),
                Err(_) => failed += 1,
            }
            if failed > header.recovery_blocks {
                break;
            }
        }
        found
    }
}

/// Whether an error is about one object, and not the store as a whole.
fn is_of_object(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::NotFound { .. }
            | StoreError::Truncated { .. }
            | StoreError::TooLarge { .. }
            | StoreError::Io { .. }
    )
}
