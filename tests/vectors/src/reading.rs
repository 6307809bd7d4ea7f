//! Reading chunks from packs: deltas whose bases lie in two packs, frames that were moved, and everything a reader must
//! not give out. One store whose snapshot has a stream for each; deltas are compressed, so it is kept once made.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};
use strongroom_format::entry::{IndexRef, PackRef, Statement};
use strongroom_format::index::{Index, IndexedPack};
use strongroom_format::manifest::{Manifest, SnapshotBody};
use strongroom_format::node::{ListItem, Node, TreeRef};
use strongroom_format::pack::{FrameRecord, KeyRef};
use strongroom_format::path::EntryPath;
use strongroom_format::registry::{Codec, ObjectKind};
use strongroom_format::tree_entry::{Content, EntryKind, TreeEntry};
use strongroom_format::{ChunkId, Commitment, IndexId, KeyId, Salt, WriterId, body};
use strongroom_keys::derive::content_hash;
use strongroom_keys::key_file;
use strongroom_keys::random;
use strongroom_repository::reader::Reader;
use strongroom_repository::tree::EntryCursor;

use crate::chain::{self, Chain, Objects, to_json};
use crate::fixed::{self, noise};
use crate::frames::Plain;
use crate::golden;
use crate::opening::{apply, open};
use crate::pack_maker::{PackMaker, Sealed};

/// A chunk as a list names it: ID and length.
type Named = (ChunkId, usize);

const NOWHERE: &str = "no index object knows it";
const NO_SHALLOWER: &str = "a base lies in a frame that is no shallower";
const BASE_LENGTH: &str = "it has another length than the frame says";
const LIST_LENGTH: &str = "it has another length than the list says";
const OTHER_CHUNK: &str = "a chunk does not hash to its ID";
const TAG: &str = "its authentication tag does not match";

/// The bytes of a stream, or words of the reason why there are none.
type Expected = Result<Vec<u8>, &'static str>;

/// The store under construction.
struct Maker {
    chain: Chain,
    packs: Vec<(PackRef, IndexedPack)>,
    streams: Vec<(&'static str, Named, Expected)>,
}

fn name(chunk: &[u8]) -> Named {
    (fixed::identity().chunk_id(chunk), chunk.len())
}

fn edited(chunk: &[u8]) -> Vec<u8> {
    let mut out = chunk.to_vec();
    let middle = out.len() / 2;
    out[middle..middle + 4].copy_from_slice(b"EDIT");
    out
}

/// Bytes that compress by themselves, whatever their bases are.
fn rows(what: &str, length: usize) -> Vec<u8> {
    what.bytes().cycle().take(length).collect()
}

fn raw(chunk: &[u8]) -> Plain {
    Plain { chunks: vec![chunk.to_vec()], bases: vec![], codec: Codec::Raw, depth: 0, closure: 0 }
}

fn delta(chunk: &[u8], bases: &[&[u8]], depth: u8) -> Plain {
    let bases = bases.iter().map(|base| base.to_vec()).collect();
    Plain { chunks: vec![chunk.to_vec()], bases, codec: Codec::Zstd, depth, closure: depth.into() }
}

impl Maker {
    fn seal(&self, plain: &Plain) -> Result<Sealed> {
        self.seal_as(plain, |_| {}, |_, _| {})
    }

    /// Seals a frame whose records say something else; `record` before, `after` after it was sealed.
    fn seal_as(
        &self,
        plain: &Plain,
        before: impl FnOnce(&mut Sealed),
        after: impl FnOnce(&mut FrameRecord, &mut Sealed),
    ) -> Result<Sealed> {
        let (identity, (key, _), author) = (fixed::identity(), fixed::data(), fixed::author());
        let payload = plain.payload()?;
        let (record, chunks, bases) = plain.records(payload.len(), &|bytes| identity.chunk_id(bytes))?;
        let mut said = Sealed { record, chunks, bases, bytes: Vec::new() };
        before(&mut said);
        let mut sealed =
            Sealed::new((said.record, said.chunks, said.bases), &payload, &key, &author, &self.chain.random)?;
        let mut record = sealed.record;
        after(&mut record, &mut sealed);
        sealed.record = record;
        Ok(sealed)
    }

    fn data_pack(&mut self, frames: Vec<Sealed>) -> Result<()> {
        self.pack(ObjectKind::DataPack, vec![fixed::data().1], vec![fixed::AUTHOR_ID], frames, 0)
    }

    /// Stores a pack; all its frames have the last key and author of the tables.
    fn pack(
        &mut self,
        kind: ObjectKind,
        keys: Vec<KeyRef>,
        authors: Vec<WriterId>,
        frames: Vec<Sealed>,
        padding: usize,
    ) -> Result<()> {
        let (key, author) = (u16::try_from(keys.len() - 1)?, u16::try_from(authors.len() - 1)?);
        let mut maker = PackMaker::new(kind, &fixed::metadata(), keys, authors, &self.chain.random)?;
        for frame in frames {
            maker.push(frame, key, author)?;
        }
        let (indexed, bytes) = maker.finish(&fixed::author(), padding)?;
        let reference = PackRef { kind, id: indexed.id, length: bytes.len() as u64 };
        self.chain.objects.insert(pack_name(&reference), bytes);
        self.packs.push((reference, indexed));
        Ok(())
    }

    /// A stream of one chunk.
    fn stream(&mut self, path: &'static str, chunk: Named, expected: Expected) {
        self.streams.push((path, chunk, expected));
    }

    fn good(&mut self, path: &'static str, chunk: &[u8]) {
        self.stream(path, name(chunk), Ok(chunk.to_vec()));
    }

    fn bad(&mut self, path: &'static str, chunk: &[u8], reason: &'static str) {
        self.stream(path, name(chunk), Err(reason));
    }

    /// Deltas, and a frame that was moved: into a pack with other tables, behind another frame.
    fn good_packs(&mut self) -> Result<()> {
        let (a, x) = (noise("a", 6000), noise("x", 5000));
        let (b, c) = (edited(&a), [&a[..2000], b"between", &x[..2000]].concat());
        let d = edited(&edited(&b)[1..]);
        let moved = self.seal(&raw(&a))?;
        self.data_pack(vec![moved.clone()])?;
        let x_frame = self.seal(&raw(&x))?;
        self.data_pack(vec![x_frame])?;
        let frames = [delta(&b, &[&a], 1), delta(&c, &[&a, &x], 1), delta(&d, &[&b], 2)];
        let frames = frames.iter().map(|plain| self.seal(plain)).collect::<Result<Vec<_>>>()?;
        self.data_pack(frames)?;
        let other = KeyRef { id: KeyId([77; 16]), commitment: Commitment([78; 32]) };
        let before = self.seal(&raw(b"before"))?;
        let (keys, authors) = (vec![other, fixed::data().1], vec![chain::web().id(), fixed::AUTHOR_ID]);
        self.pack(ObjectKind::DataPack, keys, authors, vec![before, moved], 64)?;
        self.good("raw, in two packs", &a);
        self.good("raw", &x);
        self.good("delta of depth 1", &b);
        self.good("delta, bases in two packs", &c);
        self.good("delta of depth 2", &d);
        Ok(())
    }

    /// Bases that are not there, not shallower, or go in a circle.
    fn bad_bases(&mut self) -> Result<()> {
        let b = edited(&noise("a", 6000));
        let missing = [rows("missing", 1000), rows("missing too", 1000)];
        let equal = rows("equal", 3000);
        let (here, there) = (rows("here", 2000), rows("there", 2000));
        let short = rows("short base", 3000);
        let plains = [
            delta(&missing[0], &[&missing[1]], 1),
            delta(&equal, &[&b], 1),
            delta(&here, &[&there], 2),
            delta(&there, &[&here], 1),
        ];
        let mut frames = plains.iter().map(|plain| self.seal(plain)).collect::<Result<Vec<_>>>()?;
        let a = noise("a", 6000);
        // The base's record says 5999 bytes, the chunk has 6000.
        frames.push(self.seal_as(
            &delta(&short, &[&a[..5999]], 1),
            |said| said.bases[0].id = name(&a).0,
            |_, _| {},
        )?);
        self.data_pack(frames)?;
        self.bad("a base that is missing", &missing[0], NOWHERE);
        self.bad("a base of equal depth", &equal, NO_SHALLOWER);
        self.bad("a cycle, from here", &here, NO_SHALLOWER);
        self.bad("a cycle, from there", &there, NO_SHALLOWER);
        self.bad("a base of another length", &short, BASE_LENGTH);
        Ok(())
    }

    /// Frames that hold other bytes than their records say, or are described as they were not sealed.
    fn false_claims(&mut self) -> Result<()> {
        let (alone, x) = (noise("alone", 5000), noise("x", 5000));
        let lie = |id: ChunkId| move |said: &mut Sealed| said.chunks[0].id = id;
        let other = noise("other", 5000);
        let frames = vec![
            self.seal_as(&raw(&other), lie(name(&alone).0), |_, _| {})?,
            self.seal_as(&raw(&other), lie(name(&x).0), |_, _| {})?,
        ];
        self.data_pack(frames)?;
        self.bad("claimed by a frame of other bytes", &alone, OTHER_CHUNK);
        self.good("claimed by a frame of other bytes, and good elsewhere", &x);
        let (depth, codec) = (rows("depth", 2500), noise("codec", 2500));
        let (order, plain) = (noise("order", 2500), noise("length", 2500));
        let halves = Plain { chunks: vec![order[..1200].to_vec(), order[1200..].to_vec()], ..raw(&order) };
        let shorter = raw(&plain);
        let frames = vec![
            self.seal_as(&delta(&depth, &[&x], 1), |_| {}, |record, _| record.depth = 2)?,
            self.seal_as(&raw(&codec), |_| {}, |record, _| record.codec = Codec::Zstd)?,
            self.seal_as(&halves, |_| {}, |_, sealed| sealed.chunks.reverse())?,
            self.seal_as(
                &shorter,
                |_| {},
                |record, sealed| {
                    record.plain_length -= 1;
                    record.codec = Codec::Zstd;
                    record.sealed_length -= 1;
                    sealed.chunks[0].length -= 1;
                    sealed.bytes.pop();
                },
            )?,
        ];
        self.data_pack(frames)?;
        self.bad("described with another depth", &depth, TAG);
        self.bad("described with another codec", &codec, TAG);
        self.bad("described in another order", &order[..1200], TAG);
        self.stream("described with another length", (name(&plain).0, 2499), Err(TAG));
        Ok(())
    }

    /// A node, named as if it were a chunk; and a chunk of another length than the list says.
    fn wrong_lists(&mut self) -> Result<()> {
        let node = Node::Blob(b"{}".to_vec()).encode()?;
        let id = fixed::identity().node_id(&node);
        let frame = self.seal_as(&raw(&node), |said| said.chunks[0].id = id, |_, _| {})?;
        self.data_pack(vec![frame])?;
        self.stream("a node read as a chunk", (id, node.len()), Err(OTHER_CHUNK));
        let x = noise("x", 5000);
        self.stream("a chunk of another length than its list says", (name(&x).0, 4999), Err(LIST_LENGTH));
        Ok(())
    }

    /// The tree, the indexes, and the entry that names it all.
    fn commit(mut self) -> Result<(Objects, Map<String, Value>)> {
        self.streams.sort_by_key(|(path, ..)| EntryPath::new(*path).ok());
        let mut entries = Vec::new();
        for (path, (id, length), _) in &self.streams {
            let item = ListItem { id: *id, length: u32::try_from(*length)? };
            let kind = EntryKind::Stream(Content::Inline(vec![item]));
            entries.push(TreeEntry { path: EntryPath::new(*path)?, kind, metadata: None, link_to: None });
        }
        let (count, bytes) = (entries.len() as u64, entries.iter().map(TreeEntry::bytes).sum());
        let node = Node::Entries(entries).encode()?;
        let root = fixed::identity().node_id(&node);
        let metadata = fixed::metadata();
        let (record, chunks, bases) = raw(&node).records(node.len(), &|_| root)?;
        let frame = Sealed::new(
            (record, chunks, bases),
            &node,
            metadata.node_key(),
            &fixed::author(),
            &self.chain.random,
        )?;
        let key = KeyRef { id: metadata.id(), commitment: metadata.commitment() };
        self.pack(ObjectKind::MetadataPack, vec![key], vec![fixed::AUTHOR_ID], vec![frame], 0)?;
        let mut honest: Vec<IndexedPack> = self.packs.iter().map(|(_, indexed)| indexed.clone()).collect();
        // The same pack described by nobody: its signature does not hold, so it is passed over.
        let mut forged = honest[0].clone();
        let last = forged.footer.len() - 1;
        forged.footer[last] ^= 1;
        honest.insert(0, forged);
        let (first, second) = honest.split_at(3);
        let indexes = vec![self.index(first)?, self.index(second)?];
        let manifest = Manifest {
            parent: None,
            facts: None,
            tree: TreeRef { root, level: 0, entries: count, bytes },
            ..golden::manifest()
        }
        .encode();
        let packs = self.packs.iter().map(|(reference, _)| *reference).collect();
        let body = SnapshotBody { manifest, packs, indexes, keys: vec![fixed::data().1] };
        self.chain.append(Statement::Snapshot(Box::new(body)))?;
        let files = self.streams.into_iter().map(|(path, _, content)| {
            let told = match content {
                Ok(bytes) => json!(blake3::hash(&bytes).to_hex().to_string()),
                Err(reason) => json!({ "refused": reason }),
            };
            (path.to_owned(), told)
        });
        Ok((self.chain.objects, files.collect()))
    }

    fn index(&mut self, packs: &[IndexedPack]) -> Result<IndexRef> {
        let source_tag = fixed::identity().source_tag(&golden::manifest().source);
        let content = Index { source_tag, packs: packs.to_vec() }.encode()?;
        let salt = Salt(random::array(&self.chain.random)?);
        let bytes = fixed::metadata().seal(
            ObjectKind::Index,
            "",
            body::OBJECT_FLOOR_BYTES,
            &content,
            &fixed::author(),
            salt,
        )?;
        let index = IndexRef { id: IndexId(content_hash(&bytes).0), source_tag, length: bytes.len() as u64 };
        self.chain.objects.insert(format!("index/{source_tag}/{}", index.id), bytes);
        Ok(index)
    }
}

fn pack_name(pack: &PackRef) -> String {
    let folder = if pack.kind == ObjectKind::DataPack { "packs" } else { "meta" };
    format!("{folder}/{:02x}/{}", pack.id.0[0], pack.id)
}

/// Makes `reading.json` anew.
///
/// # Errors
/// Whatever fails: never, unless the code is wrong.
pub fn make() -> Result<Value> {
    let mut maker = Maker { chain: Chain::new(b"reading")?, packs: Vec::new(), streams: Vec::new() };
    maker.good_packs()?;
    maker.bad_bases()?;
    maker.false_claims()?;
    maker.wrong_lists()?;
    let first = pack_name(&maker.packs[0].0);
    let (objects, files) = maker.commit()?;
    let indexes = objects.keys().filter(|name| name.starts_with("index/"));
    let no_index: Map<String, Value> = indexes.map(|name| (name.clone(), Value::Null)).collect();
    let mut flipped = objects[&first].clone();
    flipped[400] ^= 1;
    let made = json!({
        "inputs": "the keys of the other vectors; each case is the base with some objects exchanged, null: missing; a file that is refused must not be given out",
        "key_file": *key_file::encode(&chain::key_file(), "0011 2233"),
        "base": to_json(&objects),
        "cases": [
            { "what": "as it is", "objects": {}, "files": files },
            { "what": "without index objects", "objects": no_index, "files": files },
            { "what": "without a pack of which every frame lies elsewhere too", "objects": { first.clone(): null }, "files": files },
            { "what": "with a damaged frame that lies elsewhere too", "objects": { first: hex::encode(flipped) }, "files": files },
        ],
    });
    verify(&made)?;
    Ok(made)
}

/// Reads a stored `reading.json` again.
///
/// # Errors
/// What is given out and must not be, or the other way round.
pub fn verify(stored: &Value) -> Result<()> {
    let base = apply(&Objects::new(), &stored["base"])?;
    for case in stored["cases"].as_array().context("cases")? {
        let what = &case["what"];
        let mut repository = open(&apply(&base, &case["objects"])?)??;
        repository.load_index()?;
        let reader = Reader::new(&repository);
        let tree = repository.snapshots().first().context("no snapshot")?.manifest.tree;
        let mut files = case["files"].as_object().context("files")?.clone();
        let mut cursor = EntryCursor::new(&reader, &tree)?;
        while let Some(entry) = cursor.next_entry()? {
            let path = entry.path.to_string();
            let expected = files.remove(&path).with_context(|| format!("{what}: {path} is not expected"))?;
            let content = entry.content().context("a stream")?;
            let mut out = Vec::new();
            let written = strongroom_repository::restore::write_in_order(
                &reader,
                content,
                &mut out,
                &strongroom_repository::monitor::Silent,
                1,
            );
            match (written, expected["refused"].as_str()) {
                (Ok(()), None) => {
                    let found = blake3::hash(&out).to_hex().to_string();
                    ensure!(expected == found, "{what}: {path} gives other bytes");
                }
                (Err(error), Some(reason)) => {
                    ensure!(error.to_string().contains(reason), "{what}: {path}: {error}");
                }
                (given, _) => bail!("{what}: {path}: {given:?}"),
            }
        }
        ensure!(files.is_empty(), "{what}: missing {files:?}");
    }
    Ok(())
}
