//! Nodes of the counted, content-defined trees (`format-spec/tree.md`): entries by path, chunks by position,
//! and blobs.

use crate::cbor::{Decoder, Encoder};
use crate::little_endian::Fields;
use crate::pack::{CHUNK_LIMIT_BYTES, CHUNK_RECORD_LENGTH};
use crate::path::{EntryPath, PATH_LIMIT_BYTES};
use crate::tree_entry::TreeEntry;
use crate::{ChunkId, FormatError, NodeId};

/// Largest encoded node, bytes.
pub const NODE_LIMIT_BYTES: usize = 8 << 20;
/// Most items of a node.
pub const ITEM_LIMIT: usize = 1024;
/// Highest level of a node.
pub const LEVEL_LIMIT: u8 = 16;

const NODE_VERSION: u8 = 1;
const HEAD_LENGTH: usize = 8;
const ENTRIES: u8 = 1;
const CHUNKS: u8 = 2;
const BLOB: u8 = 3;

/// A chunk of a list, or a hole ([`ChunkId::HOLE`]): `length` zero bytes that no chunk stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListItem {
    /// The chunk.
    pub id: ChunkId,
    /// Its length, bytes; a hole may be up to 2^32 - 1.
    pub length: u32,
}

impl ListItem {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> [u8; CHUNK_RECORD_LENGTH] {
        crate::pack::ChunkRecord { id: self.id, length: self.length }.encode()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// `Limit`, `Rule`.
    pub fn decode(bytes: &[u8; CHUNK_RECORD_LENGTH]) -> Result<Self, FormatError> {
        let record = crate::pack::ChunkRecord::decode(bytes);
        if record.length == 0 {
            return Err(FormatError::Rule { what: "chunk list", rule: "a chunk is at least a byte long" });
        }
        if record.id != ChunkId::HOLE && record.length > CHUNK_LIMIT_BYTES {
            return Err(FormatError::Limit {
                what: "chunk length",
                value: record.length.into(),
                limit: CHUNK_LIMIT_BYTES.into(),
            });
        }
        Ok(Self { id: record.id, length: record.length })
    }

    /// Whether it is a run of zeros that is stored nowhere.
    #[must_use]
    pub fn is_hole(&self) -> bool {
        self.id == ChunkId::HOLE
    }
}

/// The root of a snapshot's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeRef {
    /// Its root node.
    pub root: NodeId,
    /// The root's level; 0 is a leaf.
    pub level: u8,
    /// Entries below it.
    pub entries: u64,
    /// Plain bytes of their contents.
    pub bytes: u64,
}

/// The root of a list of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListRef {
    /// Its root node.
    pub root: NodeId,
    /// The root's level; 0 is a leaf.
    pub level: u8,
    /// Plain bytes below it.
    pub bytes: u64,
    /// Chunks and holes below it.
    pub chunks: u64,
}

/// A blob: one node of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobRef {
    /// The node.
    pub node: NodeId,
    /// Its length, bytes.
    pub bytes: u64,
}

/// A child of an inner node of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryChild {
    /// The child.
    pub node: NodeId,
    /// Entries below it.
    pub entries: u64,
    /// Plain bytes below it.
    pub bytes: u64,
    /// The path of the last entry below it.
    pub last: EntryPath,
}

/// A child of an inner node of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListChild {
    /// The child.
    pub node: NodeId,
    /// Plain bytes below it.
    pub bytes: u64,
    /// Chunks and holes below it.
    pub chunks: u64,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A leaf of entries, sorted by path.
    Entries(Vec<TreeEntry>),
    /// An inner node over entries.
    EntryBranch {
        /// 1 or more.
        level: u8,
        /// In order.
        children: Vec<EntryChild>,
    },
    /// A leaf of chunks.
    Chunks(Vec<ListItem>),
    /// An inner node over chunks.
    ChunkBranch {
        /// 1 or more.
        level: u8,
        /// In order.
        children: Vec<ListChild>,
    },
    /// Bytes.
    Blob(Vec<u8>),
}

impl Node {
    /// The stored form: what the node's ID is the keyed hash of.
    ///
    /// # Errors
    /// `Limit`, `Rule`: what a reader would refuse is not written.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        self.validate()?;
        let mut out = vec![NODE_VERSION, self.kind(), self.level(), 0, 0, 0, 0, 0];
        match self {
            Self::Entries(entries) => {
                let mut encoder = Encoder::default();
                entries.iter().for_each(|entry| entry.encode(&mut encoder));
                out.extend_from_slice(&encoder.into_bytes());
            }
            Self::EntryBranch { children, .. } => {
                for child in children {
                    out.extend_from_slice(&child.node.0);
                    out.extend_from_slice(&child.entries.to_le_bytes());
                    out.extend_from_slice(&child.bytes.to_le_bytes());
                    let path = child.last.as_bytes();
                    let length = u16::try_from(path.len())
                        .map_err(|_| too_long("path length", path.len(), PATH_LIMIT_BYTES))?;
                    out.extend_from_slice(&length.to_le_bytes());
                    out.extend_from_slice(path);
                }
            }
            Self::Chunks(items) => items.iter().for_each(|item| out.extend_from_slice(&item.encode())),
            Self::ChunkBranch { children, .. } => {
                for child in children {
                    out.extend_from_slice(&child.node.0);
                    out.extend_from_slice(&child.bytes.to_le_bytes());
                    out.extend_from_slice(&child.chunks.to_le_bytes());
                }
            }
            Self::Blob(bytes) => out.extend_from_slice(bytes),
        }
        if out.len() > NODE_LIMIT_BYTES {
            return Err(too_long("node length", out.len(), NODE_LIMIT_BYTES));
        }
        let count =
            u32::try_from(self.count()).map_err(|_| too_long("node items", self.count(), ITEM_LIMIT))?;
        out[4..HEAD_LENGTH].copy_from_slice(&count.to_le_bytes());
        Ok(out)
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// `Truncated`, `Trailing`, `Unknown`, `Limit`, `Rule`, `Cbor`.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let what = "tree node";
        if bytes.len() > NODE_LIMIT_BYTES {
            return Err(too_long("node length", bytes.len(), NODE_LIMIT_BYTES));
        }
        let mut fields = Fields::new(bytes, what);
        let version = fields.u8()?;
        if version != NODE_VERSION {
            return Err(FormatError::Unknown { what: "node version", value: version.into() });
        }
        let (kind, level, flags) = (fields.u8()?, fields.u8()?, fields.u8()?);
        if flags != 0 {
            return Err(FormatError::Unknown { what: "node flags", value: flags.into() });
        }
        let count = fields.u32()? as usize;
        if kind == BLOB {
            if level != 0 || count != fields.rest().len() {
                return Err(FormatError::Rule { what, rule: "a blob is one leaf and knows its length" });
            }
            return Ok(Self::Blob(fields.rest().to_vec()));
        }
        if count > ITEM_LIMIT {
            return Err(too_long("node items", count, ITEM_LIMIT));
        }
        let node = match (kind, level) {
            (ENTRIES, 0) => {
                let mut decoder = Decoder::new(fields.take(fields.rest().len())?);
                let entries =
                    (0..count).map(|_| TreeEntry::decode(&mut decoder)).collect::<Result<_, _>>()?;
                decoder.end(what)?;
                Self::Entries(entries)
            }
            (ENTRIES, _) => Self::EntryBranch {
                level,
                children: (0..count).map(|_| decode_entry_child(&mut fields)).collect::<Result<_, _>>()?,
            },
            (CHUNKS, 0) => Self::Chunks(
                (0..count).map(|_| ListItem::decode(&fields.array()?)).collect::<Result<_, _>>()?,
            ),
            (CHUNKS, _) => {
                let mut child = || {
                    Ok(ListChild {
                        node: ChunkId(fields.array()?),
                        bytes: fields.u64()?,
                        chunks: fields.u64()?,
                    })
                };
                Self::ChunkBranch {
                    level,
                    children: (0..count).map(|_| child()).collect::<Result<_, FormatError>>()?,
                }
            }
            _ => return Err(FormatError::Unknown { what: "node kind", value: kind.into() }),
        };
        fields.end()?;
        node.validate()?;
        Ok(node)
    }

    fn validate(&self) -> Result<(), FormatError> {
        let what = "tree node";
        let sorted =
            |holds: bool| if holds { Ok(()) } else { Err(FormatError::Rule { what, rule: "paths ascend" }) };
        if !matches!(self, Self::Blob(_)) && self.count() > ITEM_LIMIT {
            return Err(too_long("node items", self.count(), ITEM_LIMIT));
        }
        if self.level() > LEVEL_LIMIT {
            return Err(too_long("node level", self.level().into(), LEVEL_LIMIT.into()));
        }
        match self {
            Self::Entries(entries) => sorted(entries.windows(2).all(|pair| pair[0].path < pair[1].path)),
            Self::EntryBranch { level, children } => {
                sorted(children.windows(2).all(|pair| pair[0].last < pair[1].last))?;
                inner(*level, children.len())
            }
            Self::ChunkBranch { level, children } => inner(*level, children.len()),
            Self::Chunks(_) | Self::Blob(_) => Ok(()),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Entries(_) | Self::EntryBranch { .. } => ENTRIES,
            Self::Chunks(_) | Self::ChunkBranch { .. } => CHUNKS,
            Self::Blob(_) => BLOB,
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Entries(items) => items.len(),
            Self::EntryBranch { children, .. } => children.len(),
            Self::Chunks(items) => items.len(),
            Self::ChunkBranch { children, .. } => children.len(),
            Self::Blob(bytes) => bytes.len(),
        }
    }

    /// 0 for leaves.
    #[must_use]
    pub fn level(&self) -> u8 {
        match self {
            Self::EntryBranch { level, .. } | Self::ChunkBranch { level, .. } => *level,
            Self::Entries(_) | Self::Chunks(_) | Self::Blob(_) => 0,
        }
    }
}

/// Reads the level of a root.
pub(crate) fn decode_level(value: u64) -> Result<u8, FormatError> {
    u8::try_from(value).ok().filter(|level| *level <= LEVEL_LIMIT).ok_or(FormatError::Limit {
        what: "tree level",
        value,
        limit: LEVEL_LIMIT.into(),
    })
}

fn decode_entry_child(fields: &mut Fields<'_>) -> Result<EntryChild, FormatError> {
    let (node, entries, bytes) = (ChunkId(fields.array()?), fields.u64()?, fields.u64()?);
    let length = usize::from(fields.u16()?);
    Ok(EntryChild { node, entries, bytes, last: EntryPath::new(fields.take(length)?)? })
}

fn inner(level: u8, children: usize) -> Result<(), FormatError> {
    if level > 0 && children > 0 {
        Ok(())
    } else {
        Err(FormatError::Rule { what: "tree node", rule: "an inner node has a level and children" })
    }
}

fn too_long(what: &'static str, value: usize, limit: usize) -> FormatError {
    FormatError::Limit { what, value: value as u64, limit: limit as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree_entry::tests::file;
    use proptest::prelude::*;

    #[test]
    fn every_kind_round_trips() {
        let child = |path: &str| EntryChild {
            node: ChunkId([1; 32]),
            entries: 2,
            bytes: 3,
            last: EntryPath::new(path).unwrap(),
        };
        let nodes = [
            Node::Entries(vec![file(b"a", 0), file(b"a/b", 8), file(b"a.b", 1)]),
            Node::Entries(vec![]),
            Node::EntryBranch { level: 1, children: vec![child("a/z"), child("b")] },
            Node::Chunks(vec![
                ListItem { id: ChunkId([2; 32]), length: 5 },
                ListItem { id: ChunkId::HOLE, length: u32::MAX },
            ]),
            Node::ChunkBranch {
                level: 3,
                children: vec![ListChild { node: ChunkId([4; 32]), bytes: 5, chunks: 6 }],
            },
            Node::Blob(b"{}".to_vec()),
        ];
        for node in nodes {
            assert_eq!(Node::decode(&node.encode().unwrap()), Ok(node));
        }
    }

    #[test]
    fn disorder_is_refused() {
        let unsorted = Node::Entries(vec![file(b"b", 0), file(b"a", 0)]);
        assert_eq!(unsorted.encode(), Err(FormatError::Rule { what: "tree node", rule: "paths ascend" }));
        let twice = Node::Entries(vec![file(b"b", 0), file(b"b", 0)]);
        assert!(twice.encode().is_err());
        let long = Node::Chunks(vec![ListItem { id: ChunkId([2; 32]), length: CHUNK_LIMIT_BYTES + 1 }]);
        assert!(matches!(
            Node::decode(&long.encode().unwrap()),
            Err(FormatError::Limit { what: "chunk length", .. })
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_without_panic(mut bytes: Vec<u8>, kind in 0..5_u8, level in 0..3_u8) {
            for (at, value) in [1, kind, level, 0].into_iter().enumerate() {
                if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            }
            if let Ok(node) = Node::decode(&bytes) {
                prop_assert_eq!(node.encode().unwrap(), bytes);
            }
        }
    }
}
