//! One entry of a snapshot's tree: a path, its metadata and its content (`format-spec/objects.md#entry`).

use crate::cbor::{Decoder, Encoder};
use crate::node::{ListItem, ListRef};
use crate::pack::CHUNK_RECORD_LENGTH;
use crate::path::EntryPath;
use crate::{FormatError, NodeId};

/// Most chunks that stand in the entry itself; longer lists are trees of their own.
pub const INLINE_LIMIT: usize = 8;
/// Largest encoded entry, bytes (extended attributes can be large).
pub const ENTRY_LIMIT_BYTES: usize = 4 << 20;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File(Content),
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Where it points to: any bytes.
        target: Vec<u8>,
    },
    /// A character device.
    CharacterDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket: its name only.
    Socket,
    /// A stream that an engine wrote: content without file metadata.
    Stream(Content),
}

/// What a file or stream holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// At most [`INLINE_LIMIT`] chunks or holes, in order.
    Inline(Vec<ListItem>),
    /// A tree of chunks.
    List(ListRef),
}

impl Content {
    /// Plain length, bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Inline(items) => items.iter().map(|item| u64::from(item.length)).sum(),
            Self::List(list) => list.bytes,
        }
    }
}

/// Metadata of a file system's object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky: the low 12 bits of `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Owner's name, where it has one.
    pub user: Option<String>,
    /// Group's name, where it has one.
    pub group: Option<String>,
    /// Modification time, ns since 1970.
    pub mtime_ns: i64,
    /// Change time, ns since 1970: tells changed files.
    pub ctime_ns: i64,
    /// Inode number: tells changed files.
    pub inode: u64,
    /// Extended attributes, ACLs among them, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Where it lies.
    pub path: EntryPath,
    /// What it is.
    pub kind: EntryKind,
    /// Its metadata; `None` for streams.
    pub metadata: Option<Metadata>,
    /// For a hard link: the first entry of the same file. The content stands in both.
    pub link_to: Option<EntryPath>,
}

impl TreeEntry {
    /// The content of a file or stream.
    #[must_use]
    pub fn content(&self) -> Option<&Content> {
        match &self.kind {
            EntryKind::File(content) | EntryKind::Stream(content) => Some(content),
            _ => None,
        }
    }

    /// Plain length of its content, bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.content().map_or(0, Content::bytes)
    }

    fn number(&self) -> u64 {
        match self.kind {
            EntryKind::File(_) => 1,
            EntryKind::Directory => 2,
            EntryKind::Symlink { .. } => 3,
            EntryKind::CharacterDevice { .. } => 4,
            EntryKind::BlockDevice { .. } => 5,
            EntryKind::Fifo => 6,
            EntryKind::Socket => 7,
            EntryKind::Stream(_) => 8,
        }
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder) {
        encoder.map(|map| {
            map.bytes(1, self.path.as_bytes());
            map.uint(2, self.number());
            if let Some(metadata) = &self.metadata {
                map.uint(3, metadata.mode.into());
                map.uint(4, metadata.uid.into());
                map.uint(5, metadata.gid.into());
                if let Some(user) = &metadata.user {
                    map.text(6, user);
                }
                if let Some(group) = &metadata.group {
                    map.text(7, group);
                }
                map.int(8, metadata.mtime_ns);
                map.int(9, metadata.ctime_ns);
                map.uint(10, metadata.inode);
                if !metadata.xattrs.is_empty() {
                    map.field(11, |e| {
                        e.array(&metadata.xattrs, |e, (name, value)| {
                            e.array_head(2);
                            e.bytes(name);
                            e.bytes(value);
                        });
                    });
                }
            }
            match &self.kind {
                EntryKind::File(content) | EntryKind::Stream(content) => {
                    map.field(12, |e| encode_content(e, content))
                }
                EntryKind::Symlink { target } => map.bytes(13, target),
                EntryKind::CharacterDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
                    map.field(14, |e| e.array(&[*major, *minor], |e, n| e.uint((*n).into())));
                }
                EntryKind::Directory | EntryKind::Fifo | EntryKind::Socket => {}
            }
            if let Some(first) = &self.link_to {
                map.bytes(15, first.as_bytes());
            }
        });
    }

    /// Reads one entry off the front of `decoder`.
    ///
    /// # Errors
    /// `Cbor`, `Missing`, `UnknownField`, `Unknown`, `Rule`, `Limit`.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, FormatError> {
        let mut fields = Fields::default();
        decoder.map("entry", |key, value| fields.read(key, value))?;
        fields.into_entry()
    }
}

fn encode_content(encoder: &mut Encoder, content: &Content) {
    match content {
        Content::Inline(items) => {
            let mut bytes = Vec::with_capacity(items.len() * CHUNK_RECORD_LENGTH);
            items.iter().for_each(|item| bytes.extend_from_slice(&item.encode()));
            encoder.bytes(&bytes);
        }
        Content::List(list) => {
            encoder.array_head(4);
            encoder.bytes(&list.root.0);
            encoder.uint(list.level.into());
            encoder.uint(list.bytes);
            encoder.uint(list.chunks);
        }
    }
}

fn decode_content(decoder: &mut Decoder<'_>) -> Result<Content, FormatError> {
    if decoder.at_array() {
        return decoder.tuple(4, |v| {
            let root = NodeId::try_from(v.bytes()?)?;
            let level = crate::node::decode_level(v.uint()?)?;
            Ok(Content::List(ListRef { root, level, bytes: v.uint()?, chunks: v.uint()? }))
        });
    }
    let bytes = decoder.bytes()?;
    let (items, rest) = bytes.as_chunks::<CHUNK_RECORD_LENGTH>();
    if !rest.is_empty() || items.len() > INLINE_LIMIT {
        return Err(FormatError::Rule { what: "inline chunks", rule: "they are at most 8 records" });
    }
    items.iter().map(ListItem::decode).collect::<Result<_, _>>().map(Content::Inline)
}

#[derive(Default)]
struct Fields {
    path: Option<EntryPath>,
    kind: Option<u64>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    user: Option<String>,
    group: Option<String>,
    mtime_ns: Option<i64>,
    ctime_ns: Option<i64>,
    inode: Option<u64>,
    xattrs: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    content: Option<Content>,
    target: Option<Vec<u8>>,
    device: Option<(u32, u32)>,
    link_to: Option<EntryPath>,
}

impl Fields {
    fn read(&mut self, key: u64, value: &mut Decoder<'_>) -> Result<bool, FormatError> {
        match key {
            1 => self.path = Some(EntryPath::new(value.bytes()?)?),
            2 => self.kind = Some(value.uint()?),
            3 => self.mode = Some(narrow(value.uint()?)?),
            4 => self.uid = Some(narrow(value.uint()?)?),
            5 => self.gid = Some(narrow(value.uint()?)?),
            6 => self.user = Some(value.text()?.to_owned()),
            7 => self.group = Some(value.text()?.to_owned()),
            8 => self.mtime_ns = Some(value.int()?),
            9 => self.ctime_ns = Some(value.int()?),
            10 => self.inode = Some(value.uint()?),
            11 => {
                self.xattrs =
                    Some(value.array(|v| v.tuple(2, |v| Ok((v.bytes()?.to_vec(), v.bytes()?.to_vec()))))?)
            }
            12 => self.content = Some(decode_content(value)?),
            13 => self.target = Some(value.bytes()?.to_vec()),
            14 => self.device = Some(value.tuple(2, |v| Ok((narrow(v.uint()?)?, narrow(v.uint()?)?)))?),
            15 => self.link_to = Some(EntryPath::new(value.bytes()?)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn into_entry(mut self) -> Result<TreeEntry, FormatError> {
        let missing = |what| FormatError::Missing { what };
        let number = self.kind.ok_or(missing("entry kind"))?;
        let metadata = if number == 8 { None } else { Some(self.take_metadata()?) };
        let kind = match number {
            1 => EntryKind::File(self.content.take().ok_or(missing("file content"))?),
            2 => EntryKind::Directory,
            3 => EntryKind::Symlink { target: self.target.take().ok_or(missing("link target"))? },
            4 | 5 => {
                let (major, minor) = self.device.take().ok_or(missing("device number"))?;
                if number == 4 {
                    EntryKind::CharacterDevice { major, minor }
                } else {
                    EntryKind::BlockDevice { major, minor }
                }
            }
            6 => EntryKind::Fifo,
            7 => EntryKind::Socket,
            8 => EntryKind::Stream(self.content.take().ok_or(missing("stream content"))?),
            value => return Err(FormatError::Unknown { what: "entry kind", value }),
        };
        let metadata_left = self.mode.is_some()
            || self.uid.is_some()
            || self.gid.is_some()
            || self.user.is_some()
            || self.group.is_some()
            || self.mtime_ns.is_some()
            || self.ctime_ns.is_some()
            || self.inode.is_some()
            || self.xattrs.is_some();
        let left = self.content.is_some() || self.target.is_some() || self.device.is_some();
        if number == 8 && (metadata_left || self.link_to.is_some()) {
            return Err(FormatError::Rule { what: "entry", rule: "a stream has no metadata and is no link" });
        }
        if left {
            return Err(FormatError::Rule { what: "entry", rule: "it has the fields of its kind only" });
        }
        Ok(TreeEntry { path: self.path.ok_or(missing("entry path"))?, kind, metadata, link_to: self.link_to })
    }

    fn take_metadata(&mut self) -> Result<Metadata, FormatError> {
        let missing = |what| FormatError::Missing { what };
        let mode = self.mode.take().ok_or(missing("mode"))?;
        if mode > 0o7777 {
            return Err(FormatError::Limit { what: "mode", value: mode.into(), limit: 0o7777 });
        }
        if self.xattrs.as_ref().is_some_and(Vec::is_empty) {
            return Err(FormatError::Rule {
                what: "extended attributes",
                rule: "none are left out, not written as an empty list",
            });
        }
        let xattrs = self.xattrs.take().unwrap_or_default();
        if xattrs.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err(FormatError::Rule { what: "extended attributes", rule: "they are sorted by name" });
        }
        Ok(Metadata {
            mode,
            uid: self.uid.ok_or(missing("owner"))?,
            gid: self.gid.ok_or(missing("group"))?,
            user: self.user.take(),
            group: self.group.take(),
            mtime_ns: self.mtime_ns.ok_or(missing("modification time"))?,
            ctime_ns: self.ctime_ns.ok_or(missing("change time"))?,
            inode: self.inode.ok_or(missing("inode"))?,
            xattrs,
        })
    }
}

fn narrow(value: u64) -> Result<u32, FormatError> {
    u32::try_from(value).map_err(|_| FormatError::Limit {
        what: "entry number",
        value,
        limit: u32::MAX.into(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ChunkId;

    pub(crate) fn file(path: &[u8], chunks: usize) -> TreeEntry {
        TreeEntry {
            path: EntryPath::new(path).unwrap(),
            kind: EntryKind::File(Content::Inline(
                (0..chunks)
                    .map(|i| ListItem { id: ChunkId([u8::try_from(i).unwrap(); 32]), length: 10 })
                    .collect(),
            )),
            metadata: Some(Metadata {
                mode: 0o4755,
                uid: 1000,
                gid: 100,
                user: Some("ann".into()),
                group: None,
                mtime_ns: -5,
                ctime_ns: 6,
                inode: 7,
                xattrs: vec![(b"user.a".to_vec(), vec![0, 255]), (b"user.b".to_vec(), vec![])],
            }),
            link_to: None,
        }
    }

    #[test]
    fn every_kind_round_trips() {
        let list =
            Content::List(ListRef { root: ChunkId([9; 32]), level: 2, bytes: 1 << 40, chunks: 1 << 24 });
        let kinds = [
            EntryKind::File(list.clone()),
            EntryKind::Directory,
            EntryKind::Symlink { target: b"../\xff".to_vec() },
            EntryKind::CharacterDevice { major: 1, minor: 3 },
            EntryKind::BlockDevice { major: 8, minor: 0 },
            EntryKind::Fifo,
            EntryKind::Socket,
            EntryKind::Stream(list),
        ];
        for kind in kinds {
            let mut entry = file(b"srv/\xffname", 3);
            entry.link_to = Some(EntryPath::new("srv/first").unwrap());
            if matches!(kind, EntryKind::Stream(_)) {
                (entry.metadata, entry.link_to) = (None, None);
            }
            entry.kind = kind;
            let mut encoder = Encoder::default();
            entry.encode(&mut encoder);
            let bytes = encoder.into_bytes();
            let mut decoder = Decoder::new(&bytes);
            assert_eq!(TreeEntry::decode(&mut decoder), Ok(entry));
            assert_eq!(decoder.end("entry"), Ok(()));
        }
    }

    #[test]
    fn paths_that_leave_the_target_are_no_entries() {
        for bad in [&b"../x"[..], b"/etc/passwd", b"a/../../x", b"a\0b", b""] {
            let mut encoder = Encoder::default();
            encoder.map(|map| {
                map.bytes(1, bad);
                map.uint(2, 2);
            });
            let bytes = encoder.into_bytes();
            assert!(
                matches!(
                    TreeEntry::decode(&mut Decoder::new(&bytes)),
                    Err(FormatError::Rule { what: "path", .. })
                ),
                "{bad:?}"
            );
        }
    }
}
