//! What the store holds besides what counts.

use std::collections::BTreeMap;

use strongroom_format::registry::ObjectKind;
use strongroom_format::{IndexId, KeyId, PackId, RecipientId};
use strongroom_store::{ObjectInfo, ObjectName, Store, StoreError};

use crate::error::RepositoryError;
use crate::names;
use crate::state::State;

/// A pack, or what is named like one, that lies in the store.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) name: ObjectName,
    pub(super) info: ObjectInfo,
}

/// What nobody needs, or may not.
#[derive(Default)]
pub(super) struct Listing {
    /// Packs that are retired.
    pub(super) retired: BTreeMap<PackId, Stored>,
    /// Packs that no entry names.
    pub(super) unnamed: BTreeMap<PackId, Stored>,
    /// Packs that count and that the store bills for a time at least, whether they stay so long or not.
    pub(super) billed: BTreeMap<PackId, ObjectInfo>,
    /// Index objects that do not count.
    pub(super) indexes: BTreeMap<IndexId, Stored>,
    /// Packs that have a parity object.
    pub(super) parity: BTreeMap<PackId, Stored>,
    /// Parts of groups.
    pub(super) parts: Vec<Stored>,
    /// Keys that are wrapped for somebody: for one of them, and when the newest wrap was stored, ms since 1970.
    pub(super) keys: BTreeMap<KeyId, (RecipientId, u64)>,
    /// The newest store's time seen, ms since 1970: it is no earlier.
    pub(super) newest_ms: u64,
}

impl Listing {
    /// Lists packs, their parity, index objects, parts of groups and keys.
    pub(super) fn read(store: &dyn Store, state: &State) -> Result<Self, RepositoryError> {
        let mut listing = Self::default();
        for (folder, kind) in [("packs/", ObjectKind::DataPack), ("meta/", ObjectKind::MetadataPack)] {
            store.list(folder, &mut |name, info| {
                listing.newest_ms = listing.newest_ms.max(info.modified_ms);
                // What is no pack is not ours to judge.
                let Some(id) = names::pack_of(kind, &name) else { return Ok(()) };
                let stored = Stored { name, info };
                if state.retired.contains_key(&id) {
                    listing.retired.insert(id, stored);
                } else if !state.packs.contains_key(&id) {
                    listing.unnamed.insert(id, stored);
                } else if stored.info.billed_days > 0 {
                    listing.billed.insert(id, stored.info);
                }
                Ok::<(), StoreError>(())
            })?;
        }
        store.list("index/", &mut |name, info| {
            listing.newest_ms = listing.newest_ms.max(info.modified_ms);
            if let Some(index) = names::index_of(&name, info.length_bytes)
                && !state.indexes.contains_key(&index.id)
            {
                listing.indexes.insert(index.id, Stored { name, info });
            }
            Ok(())
        })?;
        store.list("parity/", &mut |name, info| {
            if let Some(pack) = names::parity_of(&name) {
                listing.parity.insert(pack, Stored { name, info });
            }
            Ok(())
        })?;
        store.list("parts/", &mut |name, info| {
            listing.newest_ms = listing.newest_ms.max(info.modified_ms);
            if names::part_of(&name).is_some() {
                listing.parts.push(Stored { name, info });
            }
            Ok(())
        })?;
        store.list("keys/", &mut |name, info| {
            if let Some((key, recipient)) = names::key_of(&name) {
                let known = listing.keys.entry(key).or_insert((recipient, 0));
                known.1 = known.1.max(info.modified_ms);
            }
            Ok(())
        })?;
        Ok(listing)
    }
}
