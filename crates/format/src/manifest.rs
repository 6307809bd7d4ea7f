//! The manifest of a snapshot, and the journal entry's body that brings it (`format-spec/objects.md#snapshot`).

use crate::cbor::{Decoder, Encoder};
use crate::entry::{IndexRef, PackRef};
use crate::node::{BlobRef, TreeRef, decode_level};
use crate::pack::KeyRef;
use crate::policy::{decode_key, encode_key};
use crate::reference::{decode_index, decode_pack, encode_index, encode_pack};
use crate::registry::ChunkerKind;
use crate::{FormatError, NodeId, RepositoryId, SnapshotId};

/// What a snapshot is. Its keyed hash is the snapshot's ID, so it never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What was backed up: `coordinator-db`, `/srv/data`.
    pub source: String,
    /// The engine that did it: `files`, `stdin`, `command`.
    pub engine: String,
    /// The host it ran on.
    pub host: String,
    /// The user it ran as.
    pub user: String,
    /// Name and version of the program.
    pub tool: String,
    /// When it began, by the client's clock, ns since 1970.
    pub started_ns: i64,
    /// When all had been read, by the client's clock, ns since 1970.
    pub finished_ns: i64,
    /// The snapshot it was made against.
    pub parent: Option<SnapshotId>,
    /// Counts up by one a source.
    pub generation: u64,
    /// The tree of its entries.
    pub tree: TreeRef,
    /// How the streams were cut.
    pub streams: Vec<Stream>,
    /// What the engine knew of the data: a blob of JSON.
    pub facts: Option<BlobRef>,
    /// How much it is.
    pub totals: Totals,
    /// Random, so that no two manifests are the same.
    pub nonce: [u8; 16],
    /// What was asked for: paths or a command's name.
    pub arguments: Vec<Vec<u8>>,
    /// Tags it was born with.
    pub tags: Vec<String>,
    /// The snapshot that it is a copy of.
    pub origin: Option<Origin>,
}

/// What a snapshot was copied from: one of another repository, or a damaged one of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Its repository.
    pub repository: RepositoryId,
    /// Its ID there; of a copy that was copied, its own.
    pub snapshot: SnapshotId,
    /// When it was taken, by that repository's store, ms since 1970.
    pub time_ms: u64,
}

/// How a stream was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Its path; empty for all files together.
    pub name: Vec<u8>,
    /// The kind of chunker.
    pub chunker: ChunkerKind,
    /// Its parameters: minimum, average, maximum, normalization; or the size.
    pub parameters: Vec<u64>,
    /// Plain bytes.
    pub bytes: u64,
}

/// Counts and sizes of a snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries of the tree.
    pub entries: u64,
    /// Regular files and streams among them.
    pub files: u64,
    /// Their plain bytes.
    pub bytes: u64,
    /// Plain bytes that no earlier chunk held.
    pub new_bytes: u64,
    /// Bytes of packs and index objects that this run stored.
    pub stored_bytes: u64,
    /// Files that could not be read, or changed while they were read.
    pub unreadable: u64,
}

/// What a snapshot entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotBody {
    /// [`Manifest::encode`].
    pub manifest: Vec<u8>,
    /// Packs it brings.
    pub packs: Vec<PackRef>,
    /// Index objects it brings.
    pub indexes: Vec<IndexRef>,
    /// Data keys of all frames it needs (perhaps more).
    pub keys: Vec<KeyRef>,
}

impl Manifest {
    /// The bytes whose keyed hash is the snapshot's ID.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::default();
        encoder.map(|map| {
            map.text(1, &self.source);
            map.text(2, &self.engine);
            map.text(3, &self.host);
            map.text(4, &self.user);
            map.text(5, &self.tool);
            map.int(6, self.started_ns);
            map.int(7, self.finished_ns);
            if let Some(parent) = self.parent {
                map.bytes(8, &parent.0);
            }
            map.uint(9, self.generation);
            map.field(10, |e| {
                e.array_head(4);
                e.bytes(&self.tree.root.0);
                e.uint(self.tree.level.into());
                e.uint(self.tree.entries);
                e.uint(self.tree.bytes);
            });
            map.field(11, |e| e.array(&self.streams, encode_stream));
            if let Some(facts) = self.facts {
                map.field(12, |e| {
                    e.array_head(2);
                    e.bytes(&facts.node.0);
                    e.uint(facts.bytes);
                });
            }
            let totals = &self.totals;
            map.field(13, |e| {
                e.array(
                    &[
                        totals.entries,
                        totals.files,
                        totals.bytes,
                        totals.new_bytes,
                        totals.stored_bytes,
                        totals.unreadable,
                    ],
                    |e, n| e.uint(*n),
                );
            });
            map.bytes(14, &self.nonce);
            map.field(15, |e| e.array(&self.arguments, |e, argument| e.bytes(argument)));
            map.field(16, |e| e.array(&self.tags, |e, tag| e.text(tag)));
            if let Some(origin) = self.origin {
                map.field(17, |e| {
                    e.array_head(3);
                    e.bytes(&origin.repository.0);
                    e.bytes(&origin.snapshot.0);
                    e.uint(origin.time_ms);
                });
            }
        });
        encoder.into_bytes()
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// `Cbor`, `Missing`, `UnknownField`, `Unknown`.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields::default();
        let mut decoder = Decoder::new(bytes);
        decoder.map("manifest", |key, value| fields.read(key, value))?;
        decoder.end("manifest")?;
        fields.into_manifest()
    }
}

#[derive(Default)]
struct Fields {
    texts: [Option<String>; 5],
    started_ns: Option<i64>,
    finished_ns: Option<i64>,
    parent: Option<SnapshotId>,
    generation: Option<u64>,
    tree: Option<TreeRef>,
    streams: Option<Vec<Stream>>,
    facts: Option<BlobRef>,
    totals: Option<Totals>,
    nonce: Option<[u8; 16]>,
    arguments: Option<Vec<Vec<u8>>>,
    tags: Option<Vec<String>>,
    origin: Option<Origin>,
}

impl Fields {
    fn read(&mut self, key: u64, value: &mut Decoder<'_>) -> Result<bool, FormatError> {
        match key {
            1..=5 => {
                self.texts[usize::try_from(key - 1).unwrap_or_default()] = Some(value.text()?.to_owned())
            }
            6 => self.started_ns = Some(value.int()?),
            7 => self.finished_ns = Some(value.int()?),
            8 => self.parent = Some(SnapshotId::try_from(value.bytes()?)?),
            9 => self.generation = Some(value.uint()?),
            10 => {
                self.tree = Some(value.tuple(4, |v| {
                    Ok(TreeRef {
                        root: NodeId::try_from(v.bytes()?)?,
                        level: decode_level(v.uint()?)?,
                        entries: v.uint()?,
                        bytes: v.uint()?,
                    })
                })?);
            }
            11 => self.streams = Some(value.array(decode_stream)?),
            12 => {
                self.facts =
                    Some(value.tuple(2, |v| {
                        Ok(BlobRef { node: NodeId::try_from(v.bytes()?)?, bytes: v.uint()? })
                    })?)
            }
            13 => {
                self.totals = Some(value.tuple(6, |v| {
                    Ok(Totals {
                        entries: v.uint()?,
                        files: v.uint()?,
                        bytes: v.uint()?,
                        new_bytes: v.uint()?,
                        stored_bytes: v.uint()?,
                        unreadable: v.uint()?,
                    })
                })?);
            }
            14 => {
                self.nonce = Some(
                    value
                        .bytes()?
                        .try_into()
                        .map_err(|_| FormatError::Rule { what: "manifest nonce", rule: "it has 16 bytes" })?,
                )
            }
            15 => self.arguments = Some(value.array(|v| v.bytes().map(<[u8]>::to_vec))?),
            16 => self.tags = Some(value.array(|v| v.text().map(str::to_owned))?),
            17 => {
                self.origin = Some(value.tuple(3, |v| {
                    Ok(Origin {
                        repository: RepositoryId::try_from(v.bytes()?)?,
                        snapshot: SnapshotId::try_from(v.bytes()?)?,
                        time_ms: v.uint()?,
                    })
                })?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn into_manifest(self) -> Result<Manifest, FormatError> {
        let missing = |what| FormatError::Missing { what };
        let [source, engine, host, user, tool] = self.texts;
        Ok(Manifest {
            source: source.ok_or(missing("source"))?,
            engine: engine.ok_or(missing("engine"))?,
            host: host.ok_or(missing("host"))?,
            user: user.ok_or(missing("user"))?,
            tool: tool.ok_or(missing("tool"))?,
            started_ns: self.started_ns.ok_or(missing("start time"))?,
            finished_ns: self.finished_ns.ok_or(missing("finish time"))?,
            parent: self.parent,
            generation: self.generation.ok_or(missing("generation"))?,
            tree: self.tree.ok_or(missing("tree"))?,
            streams: self.streams.ok_or(missing("streams"))?,
            facts: self.facts,
            totals: self.totals.ok_or(missing("totals"))?,
            nonce: self.nonce.ok_or(missing("nonce"))?,
            arguments: self.arguments.ok_or(missing("arguments"))?,
            tags: self.tags.ok_or(missing("tags"))?,
            origin: self.origin,
        })
    }
}

impl SnapshotBody {
    pub(crate) fn encode(&self, encoder: &mut Encoder) {
        encoder.map(|map| {
            map.bytes(1, &self.manifest);
            map.field(2, |e| e.array(&self.packs, encode_pack));
            map.field(3, |e| e.array(&self.indexes, encode_index));
            map.field(4, |e| e.array(&self.keys, encode_key));
        });
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, FormatError> {
        let (mut manifest, mut packs, mut indexes, mut keys) = (None, None, None, None);
        decoder.map("snapshot entry", |key, value| {
            match key {
                1 => manifest = Some(value.bytes()?.to_vec()),
                2 => packs = Some(value.array(decode_pack)?),
                3 => indexes = Some(value.array(decode_index)?),
                4 => keys = Some(value.array(decode_key)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let missing = |what| FormatError::Missing { what };
        Ok(Self {
            manifest: manifest.ok_or(missing("manifest"))?,
            packs: packs.ok_or(missing("packs"))?,
            indexes: indexes.ok_or(missing("index objects"))?,
            keys: keys.ok_or(missing("data keys"))?,
        })
    }
}

fn encode_stream(encoder: &mut Encoder, stream: &Stream) {
    encoder.array_head(4);
    encoder.bytes(&stream.name);
    encoder.uint(stream.chunker.number().into());
    encoder.array(&stream.parameters, |e, n| e.uint(*n));
    encoder.uint(stream.bytes);
}

fn decode_stream(decoder: &mut Decoder<'_>) -> Result<Stream, FormatError> {
    decoder.tuple(4, |v| {
        Ok(Stream {
            name: v.bytes()?.to_vec(),
            chunker: ChunkerKind::try_from(v.uint()?)?,
            parameters: v.array(Decoder::uint)?,
            bytes: v.uint()?,
        })
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::registry::ObjectKind;
    use crate::{Commitment, IndexId, KeyId, PackId, SourceTag};

    pub(crate) fn manifest() -> Manifest {
        Manifest {
            source: "coordinator-db".into(),
            engine: "stdin".into(),
            host: "db1".into(),
            user: "postgres".into(),
            tool: "strongroom 0.1.0".into(),
            started_ns: 1_700_000_000_000_000_000,
            finished_ns: 1_700_000_001_000_000_000,
            parent: Some(SnapshotId([1; 32])),
            generation: 3,
            tree: TreeRef { root: crate::ChunkId([2; 32]), level: 1, entries: 500, bytes: 1 << 40 },
            streams: vec![Stream {
                name: b"dump.sql".to_vec(),
                chunker: ChunkerKind::FastCdc,
                parameters: vec![16_384, 65_536, 262_144, 2],
                bytes: 1 << 40,
            }],
            facts: Some(BlobRef { node: crate::ChunkId([3; 32]), bytes: 99 }),
            totals: Totals {
                entries: 500,
                files: 400,
                bytes: 1 << 40,
                new_bytes: 7,
                stored_bytes: 8,
                unreadable: 0,
            },
            nonce: [4; 16],
            arguments: vec![b"/srv/\xff".to_vec()],
            tags: vec!["nightly".into()],
            origin: None,
        }
    }

    pub(crate) fn body() -> SnapshotBody {
        SnapshotBody {
            manifest: manifest().encode(),
            packs: vec![PackRef { kind: ObjectKind::DataPack, id: PackId([5; 32]), length: 1 << 24 }],
            indexes: vec![IndexRef { id: IndexId([6; 32]), source_tag: SourceTag([7; 16]), length: 4096 }],
            keys: vec![KeyRef { id: KeyId([8; 16]), commitment: Commitment([9; 32]) }],
        }
    }

    #[test]
    fn round_trip() {
        let origin = Origin { repository: RepositoryId([1; 16]), snapshot: SnapshotId([2; 32]), time_ms: 3 };
        for manifest in [manifest(), Manifest { origin: Some(origin), ..manifest() }] {
            assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        }
    }
}
