//! The names of objects (`format-spec/registry.md#names`).

use strongroom_format::entry::IndexRef;
use strongroom_format::registry::ObjectKind;
use strongroom_format::{GroupTag, IndexId, KeyId, PackId, RecipientId, SourceTag, WalId};
use strongroom_store::{ObjectName, StoreError};

/// `config`.
pub(crate) fn config() -> Result<ObjectName, StoreError> {
    ObjectName::new("config")
}

/// `journal/<n>`: 16 hexadecimal digits.
pub(crate) fn entry(number: u64) -> Result<ObjectName, StoreError> {
    ObjectName::new(format!("journal/{number:016x}"))
}

/// The number of the entry that has this name.
pub(crate) fn entry_number(name: &ObjectName) -> Option<u64> {
    number("journal/", name)
}

/// The number of the entry whose state a checkpoint of this name holds.
pub(crate) fn checkpoint_number(name: &ObjectName) -> Option<u64> {
    number("checkpoints/", name).map(|number| u64::MAX - number)
}

fn number(folder: &str, name: &ObjectName) -> Option<u64> {
    let digits = name.as_str().strip_prefix(folder).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// `checkpoints/<2^64-1-n>`: the newest is listed first.
pub(crate) fn checkpoint(number: u64) -> Result<ObjectName, StoreError> {
    ObjectName::new(format!("checkpoints/{:016x}", u64::MAX - number))
}

/// `packs/<aa>/<id>` or `meta/<aa>/<id>`.
pub(crate) fn pack(kind: ObjectKind, id: PackId) -> Result<ObjectName, StoreError> {
    let folder = if kind == ObjectKind::MetadataPack { "meta" } else { "packs" };
    ObjectName::new(format!("{folder}/{:02x}/{id}", id.0[0]))
}

/// The pack of that kind that has this name.
pub(crate) fn pack_of(kind: ObjectKind, name: &ObjectName) -> Option<PackId> {
    let id = PackId::from_hex(name.as_str().rsplit('/').next()?)?;
    (pack(kind, id).ok()? == *name).then_some(id)
}

/// `parity/<aa>/<id>`: of the pack, whether it holds chunks or nodes.
pub(crate) fn parity(pack: PackId) -> Result<ObjectName, StoreError> {
    ObjectName::new(format!("parity/{:02x}/{pack}", pack.0[0]))
}

/// The pack whose parity has this name.
pub(crate) fn parity_of(name: &ObjectName) -> Option<PackId> {
    let id = PackId::from_hex(name.as_str().rsplit('/').next()?)?;
    (parity(id).ok()? == *name).then_some(id)
}

/// `index/<source-tag>/<id>`.
pub(crate) fn index(tag: SourceTag, id: IndexId) -> Result<ObjectName, StoreError> {
    ObjectName::new(format!("index/{tag}/{id}"))
}

/// As [`index`].
pub(crate) fn index_ref(index_ref: &IndexRef) -> Result<ObjectName, StoreError> {
    index(index_ref.source_tag, index_ref.id)
}

/// What the name of an index object, and its length, say of it.
pub(crate) fn index_of(name: &ObjectName, length: u64) -> Option<IndexRef> {
    let (tag, id) = name.as_str().strip_prefix("index/")?.split_once('/')?;
    Some(IndexRef { id: IndexId::from_hex(id)?, source_tag: SourceTag::from_hex(tag)?, length })
}

/// `parts/<group tag>/<k>`: 8 hexadecimal digits.
pub(crate) fn part(group: GroupTag, number: u32) -> Result<ObjectName, StoreError> {
    ObjectName::new(format!("parts/{group}/{number:08x}"))
}

/// The group and number of the part that has this name.
pub(crate) fn part_of(name: &ObjectName) -> Option<(GroupTag, u32)> {
    let (tag, digits) = name.as_str().strip_prefix("parts/")?.split_once('/')?;
    let (tag, number) = (GroupTag::from_hex(tag)?, u32::from_str_radix(digits, 16).ok()?);
    (part(tag, number).ok()? == *name).then_some((tag, number))
}

/// `wal/<id>`.
pub(crate) fn log_object(id: WalId) -> Result<ObjectName, StoreError> {
    ObjectName::new(format!("wal/{id}"))
}

/// The object of a log archive that has this name.
pub(crate) fn log_object_of(name: &ObjectName) -> Option<WalId> {
    WalId::from_hex(name.as_str().strip_prefix("wal/")?)
}

/// The key and recipient of `keys/<key>/<recipient>`.
pub(crate) fn key_of(name: &ObjectName) -> Option<(KeyId, RecipientId)> {
    let (key, recipient) = name.as_str().strip_prefix("keys/")?.split_once('/')?;
    Some((KeyId::from_hex(key)?, RecipientId::from_hex(recipient)?))
}
