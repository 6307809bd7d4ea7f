//! Golden vectors: fixed inputs, and what comes out.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use strongroom_format::cbor::Encoder;
use strongroom_format::checkpoint::{Checkpoint, Hold, SnapshotState};
use strongroom_format::config::Config;
use strongroom_format::entry::{Attestation, IndexRef, PackRef, PolicyBody};
use strongroom_format::index::{Index, IndexedPack};
use strongroom_format::key_object::{KeyObject, SignedKey, Wrap};
use strongroom_format::manifest::{Manifest, Stream, Totals};
use strongroom_format::node::{BlobRef, ListItem, Node, TreeRef};
use strongroom_format::pack::{ChunkRecord, Footer, FrameRecord, KeyRef};
use strongroom_format::path::EntryPath;
use strongroom_format::policy::{ObjectLock, Policy, Recipient, Signer};
use strongroom_format::registry::{
    ChunkerKind, Codec, LockMode, ObjectKind, Purpose, RecipientType, Roles, Trust,
};
use strongroom_format::tree_entry::{Content, EntryKind, Metadata, TreeEntry};
use strongroom_format::{
    ChunkId, Commitment, ContentHash, IndexId, KeyId, PackId, PublicKey, RecipientId, Salt, Signature,
    SnapshotId, SourceTag, WriterId, padme,
};
use strongroom_keys::Secret;
use strongroom_keys::derive::{chain, commitment, content_hash, root_key_id};
use strongroom_keys::key_file;
use strongroom_keys::kms::EncryptionContext;
use strongroom_keys::random::SeededRandom;
use strongroom_keys::sign::sign_policy;
use strongroom_keys::wrap::{
    Argon2Costs, NamedKey, WrapTo, aws_kms_recipient, key_file_recipient, x25519_public, x25519_recipient,
};
use strongroom_repository::tree::{ChunkShape, ContentBuilder, EntryShape, Shape, TreeBuilder};

use crate::fixed::{self, REPOSITORY, counting};
use crate::statements::{sealed_entry, statements};

/// A file of vectors: its name, and what is in it.
pub type File = (&'static str, Value);

/// The KMS key of the vectors.
pub(crate) const KMS_ARN: &str =
    "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// Everything but frames, whose compressed bytes are kept once made ([`crate::frames`]).
///
/// # Errors
/// Whatever fails: never, unless the code is wrong.
pub fn all() -> Result<Vec<File>> {
    Ok(vec![
        ("derivation.json", derivation()),
        ("padme.json", padme_lengths()),
        ("cbor.json", cbor()),
        ("objects.json", objects()?),
        ("keys.json", keys()?),
        ("footer.json", footer()?),
        ("nodes.json", nodes()?),
        ("trees.json", trees()?),
    ])
}

fn derivation() -> Value {
    let identity = fixed::identity();
    let lengths = [1, 1023, 1024, 1025, 65_536];
    let ids = |name: &dyn Fn(&[u8]) -> ChunkId| {
        lengths.map(|length| json!({ "length": length, "id": name(&counting(length)).to_hex() })).to_vec()
    };
    let commitments: Vec<Value> = [Purpose::Data, Purpose::Metadata, Purpose::Identity, Purpose::Vault, Purpose::Signing, Purpose::Root]
        .map(|purpose| json!({ "purpose": purpose.number(), "commitment": commitment(&Secret::new([3; 32]), REPOSITORY, fixed::DATA_ID, purpose).to_hex() }))
        .to_vec();
    let boundary: Vec<Value> = [0_u8, 1, 2]
        .map(|level| json!({ "level": level, "item": hex::encode("srv/data"), "hash": identity.boundary_hash(level, b"srv/data") }))
        .to_vec();
    json!({
        "inputs": { "identity": hex::encode([1; 32]), "repository": REPOSITORY.to_hex(), "key": hex::encode([3; 32]), "key_id": fixed::DATA_ID.to_hex(), "chunk": "byte i is i mod 251" },
        "chunk_ids": ids(&|bytes| identity.chunk_id(bytes)),
        "node_ids": ids(&|bytes| identity.node_id(bytes)),
        "gear_table_blake3": blake3::hash(identity.gear_table()).to_hex().to_string(),
        "boundary": boundary,
        "source_tag": { "source": "coordinator-db", "tag": identity.source_tag("coordinator-db").to_hex() },
        "snapshot_id": { "manifest": hex::encode("manifest"), "id": identity.snapshot_id(b"manifest").to_hex() },
        "commitments": commitments,
        "author_public_key": fixed::author().public().to_hex(),
        "chain": { "config": hex::encode("config"), "entries": ["00", "01"], "chain": chain_of(&[b"config", &[0], &[1]]).to_hex() },
        "signature": { "kind": 4, "signed": hex::encode("header and body"), "signature": fixed::author().sign_object(ObjectKind::Entry, &[b"header and body"]).to_hex() },
    })
}

/// The chain after these objects, the first of them `config`.
fn chain_of(stored: &[&[u8]]) -> ContentHash {
    let mut hashes = stored.iter().map(|bytes| content_hash(bytes));
    let config = hashes.next().unwrap_or(ContentHash([0; 32]));
    hashes.fold(config, chain)
}

fn padme_lengths() -> Value {
    let cases = [
        (0, 0),
        (2, 0),
        (9, 0),
        (100, 0),
        (1000, 0),
        (65_537, 0),
        (1 << 20, 0),
        ((1 << 20) + 1, 0),
        ((1 << 24) - 1, 0),
        (5, 4096),
        (4097, 4096),
        (300_000, 262_144),
    ];
    json!(
        cases.map(
            |(length, floor)| json!({ "length": length, "floor": floor, "padded": padme(length, floor) })
        )
    )
}

fn cbor() -> Value {
    let written = |write: &dyn Fn(&mut Encoder)| {
        let mut encoder = Encoder::default();
        write(&mut encoder);
        hex::encode(encoder.into_bytes())
    };
    let mut cases: Vec<Value> =
        [0_i64, 23, 24, 255, 256, 65_535, 65_536, 1 << 40, -1, -24, -25, -256, -257, i64::MIN, i64::MAX]
            .map(|value| json!({ "int": value, "cbor": written(&|e| e.int(value)) }))
            .to_vec();
    cases.push(
        json!({ "bytes": hex::encode([0xff, 0, 0x80]), "cbor": written(&|e| e.bytes(&[0xff, 0, 0x80])) }),
    );
    cases.push(json!({ "text": "r\u{e9}p\u{f4}t", "cbor": written(&|e| e.text("r\u{e9}p\u{f4}t")) }));
    cases.push(json!({ "map": { "1": 2, "200": 3 }, "cbor": written(&|e| e.map(|map| { map.uint(200, 3); map.uint(1, 2); })) }));
    json!(cases)
}

pub(crate) fn key_ref(byte: u8) -> KeyRef {
    KeyRef { id: KeyId([byte; 16]), commitment: Commitment([byte; 32]) }
}

pub(crate) fn policy() -> Policy {
    Policy {
        sequence: 0,
        root: fixed::author().public(),
        signers: vec![Signer {
            id: fixed::AUTHOR_ID,
            public: fixed::author().public(),
            roles: Roles::ALL,
            sources: vec!["*".into()],
            name: "db1".into(),
        }],
        recipients: vec![Recipient {
            kind: RecipientType::KeyFile,
            id: RecipientId([4; 16]),
            purposes: 0x50,
            public: Vec::new(),
            label: "key file".into(),
            writer: None,
        }],
        required_features: Vec::new(),
        metadata: key_ref(5),
        identity: key_ref(6),
        vault: key_ref(8),
        vault_public: PublicKey([9; 32]),
        trust: Trust::Attested,
        forgotten: vec![SnapshotId([11; 32])],
        settled: 0,
        object_lock: None,
        deltas: true,
        base_keys: 0,
        parity: 0,
    }
}

/// A later policy that has everything a policy can have.
pub(crate) fn full_policy() -> Policy {
    let first = policy();
    let host = WrapTo::x25519(PublicKey([19; 32]));
    let recipients = vec![
        Recipient {
            kind: RecipientType::AwsKms,
            id: aws_kms_recipient(KMS_ARN),
            purposes: 0x7e,
            public: KMS_ARN.into(),
            label: "AWS KMS key".into(),
            writer: None,
        },
        Recipient {
            kind: RecipientType::X25519,
            id: host.recipient(),
            purposes: 0x2c,
            public: host.public(),
            label: "web1".into(),
            writer: Some(WriterId([8; 16])),
        },
    ];
    Policy {
        sequence: 3,
        recipients: [first.recipients.clone(), recipients].concat(),
        settled: 41,
        object_lock: Some(ObjectLock { mode: LockMode::Compliance, data_days: 30, keys_days: 2555 }),
        deltas: false,
        base_keys: 7,
        parity: 5,
        ..first
    }
}

pub(crate) fn manifest() -> Manifest {
    Manifest {
        source: "coordinator-db".into(),
        engine: "stdin".into(),
        host: "db1".into(),
        user: "postgres".into(),
        tool: "strongroom 0.1.0".into(),
        started_ns: 1_767_225_600_000_000_000,
        finished_ns: 1_767_225_601_000_000_001,
        parent: Some(SnapshotId([1; 32])),
        generation: 3,
        tree: TreeRef { root: ChunkId([2; 32]), level: 1, entries: 500, bytes: 1 << 40 },
        streams: vec![Stream {
            name: b"dump.sql".to_vec(),
            chunker: ChunkerKind::FastCdc,
            parameters: vec![16_384, 65_536, 262_144, 2],
            bytes: 1 << 40,
        }],
        facts: Some(BlobRef { node: ChunkId([3; 32]), bytes: 99 }),
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

fn objects() -> Result<Value> {
    let (metadata, author) = (fixed::metadata(), fixed::author());
    let mut entries = Vec::new();
    for (number, (kind, statement)) in statements().into_iter().enumerate() {
        let number = number as u64;
        let (content, sealed) = sealed_entry(number, statement)?;
        entries.push(json!({ "name": format!("journal/{number:016x}"), "kind": kind, "content": hex::encode(content), "stored": hex::encode(sealed) }));
    }
    let index = Index {
        source_tag: SourceTag([7; 16]),
        packs: vec![IndexedPack {
            id: PackId([5; 32]),
            header: example_pack_header()?,
            footer: example_footer()?.encode()?,
        }],
    }
    .encode()?;
    let checkpoint = Checkpoint {
        number: 9,
        entry_hash: ContentHash([1; 32]),
        chain: ContentHash([10; 32]),
        policies: vec![(
            0,
            PolicyBody {
                policy: policy().encode(),
                root_signature: sign_policy(&author, REPOSITORY, &policy().encode()),
            },
        )],
        snapshots: vec![SnapshotState {
            number: 4,
            id: SnapshotId([1; 32]),
            signer: WriterId([7; 16]),
            entry_hash: ContentHash([4; 32]),
            time_ms: 1_767_225_600_004,
            manifest: manifest().encode(),
            keys: vec![key_ref(13)],
            tags: vec!["nightly".into(), "weekly".into()],
            holds: vec![Hold { name: "audit".into(), number: 8 }, Hold { name: "legal".into(), number: 5 }],
        }],
        indexes: vec![IndexRef { id: IndexId([6; 32]), source_tag: SourceTag([7; 16]), length: 4224 }],
        packs: vec![(
            PackRef { kind: ObjectKind::MetadataPack, id: PackId([5; 32]), length: 1 << 22 },
            WriterId([7; 16]),
        )],
        voids: vec![strongroom_format::checkpoint::VoidEntry {
            number: 6,
            reason: "signed by nobody the policy lists".into(),
        }],
        attested: vec![(Attestation { pack: PackId([5; 32]), description: ContentHash([12; 32]) }, 8)],
        forgotten: vec![SnapshotId([13; 32])],
        retired: vec![(PackId([14; 32]), 7), (PackId([15; 32]), 8)],
        retired_keys: vec![(KeyId([13; 16]), 7)],
        expired: Vec::new(),
    }
    .encode();
    let checkpoint_name = format!("checkpoints/{:016x}", u64::MAX - 9);
    let large = counting((2 << 20) + 5);
    let large_sealed = metadata.seal(ObjectKind::Index, "", 4096, &large, &author, Salt([0x31; 32]))?;
    let config = Config { repository: REPOSITORY, root: author.public() }.encode();
    Ok(json!({
        "inputs": { "metadata": hex::encode([2; 32]), "metadata_id": fixed::METADATA_ID.to_hex(), "author_seed": hex::encode([7; 32]), "author": fixed::AUTHOR_ID.to_hex() },
        "config": { "stored": hex::encode(&config), "fingerprint": blake3::hash(&config).to_hex()[..32].to_owned() },
        "entries": entries,
        "policy": { "encoded": hex::encode(full_policy().encode()), "root_signature": sign_policy(&author, REPOSITORY, &full_policy().encode()).to_hex() },
        "index": { "content": hex::encode(&index), "stored": hex::encode(metadata.seal(ObjectKind::Index, "", 4096, &index, &author, Salt([0x32; 32]))?) },
        "checkpoint": { "name": checkpoint_name, "content": hex::encode(&checkpoint), "stored": hex::encode(metadata.seal(ObjectKind::Checkpoint, &checkpoint_name, 4096, &checkpoint, &author, Salt([0x33; 32]))?) },
        "three_segments": { "content": "byte i is i mod 251, 2 MiB and 5 bytes", "length": large_sealed.len(), "blake3": blake3::hash(&large_sealed).to_hex().to_string() },
    }))
}

fn example_pack_header() -> Result<[u8; 112]> {
    Ok(*fixed::metadata().begin_pack(ObjectKind::DataPack, Salt([0x21; 32]))?.header())
}

/// Two keys, two authors, a delta; sealed nowhere.
pub(crate) fn example_footer() -> Result<Footer> {
    let chunk = |byte: u8, length| ChunkRecord { id: ChunkId([byte; 32]), length };
    let frame = |first_chunk, first_base, chunk_count, base_count: u16, key, author| FrameRecord {
        sealed_length: 400,
        plain_length: 1000 * u32::from(chunk_count),
        prefix_length: 500 * u32::from(base_count),
        first_chunk,
        first_base,
        chunk_count,
        base_count,
        key,
        author,
        codec: Codec::Zstd,
        depth: u8::from(base_count > 0),
        closure: base_count,
    };
    let mut footer = Footer {
        pack_length: 0,
        padding_length: 16,
        keys: vec![key_ref(13), key_ref(14)],
        authors: vec![WriterId([7; 16]), WriterId([8; 16])],
        frames: vec![frame(0, 0, 2, 0, 0, 0), frame(2, 0, 1, 2, 1, 1)],
        chunks: vec![chunk(21, 1000), chunk(22, 1000), chunk(23, 1000)],
        bases: vec![chunk(21, 500), chunk(24, 500)],
        content_hash: ContentHash([25; 32]),
        signer: fixed::AUTHOR_ID,
        signature: Signature([0; 64]),
    };
    footer.pack_length = (112 + 800 + 16 + footer.unpadded_length().next_multiple_of(4096) + 16 + 16) as u64;
    footer.signature =
        fixed::author().sign_object(ObjectKind::DataPack, &[&example_pack_header()?, &footer.signed_part()?]);
    Ok(footer)
}

fn footer() -> Result<Value> {
    let (footer, sealer) =
        (example_footer()?, fixed::metadata().begin_pack(ObjectKind::DataPack, Salt([0x21; 32]))?);
    let encoded = footer.encode()?;
    let mut padded = encoded.clone();
    padded.resize(encoded.len().next_multiple_of(4096), 0);
    let (mut sealed, mut padding) = (Vec::new(), Vec::new());
    sealer.append_footer(&padded, &mut sealed)?;
    sealer.append_padding(64, &mut padding)?;
    Ok(
        json!({ "kind": 1, "header": hex::encode(sealer.header()), "footer": hex::encode(encoded), "sealed": hex::encode(sealed), "padding_of_64": hex::encode(padding) }),
    )
}

fn keys() -> Result<Value> {
    let random = SeededRandom::new(b"vectors");
    let key = NamedKey { id: KeyId([15; 16]), purpose: Purpose::Vault, secret: Secret::new([16; 32]) };
    let private = Secret::new([17; 32]);
    let passphrase = "corre\u{301}ct horse";
    let to = [
        (
            "passphrase",
            WrapTo::passphrase(passphrase, Argon2Costs { memory_kib: 64, passes: 1, lanes: 1 }, &random)?,
        ),
        ("key_file", WrapTo::KeyFile { key: Secret::new([18; 32]) }),
        ("x25519", WrapTo::x25519(x25519_public(&private)?)),
    ];
    let mut wraps = Vec::new();
    for (name, to) in &to {
        wraps.push(json!({ "type": name, "stored": hex::encode(to.wrap(&key, REPOSITORY, &fixed::author(), &random)?.encode()) }));
    }
    let kms = kms_object(KMS_ARN, vec![0x55; 184]);
    let signed = |object: &KeyObject| {
        let body = object.encode();
        let signature = fixed::author().sign_object(ObjectKind::Key, &[&REPOSITORY.0, &body]);
        hex::encode(SignedKey { body, signature }.encode())
    };
    let context = EncryptionContext {
        repository: REPOSITORY,
        purpose: kms.purpose,
        key: kms.key,
        writer: WriterId(kms.key.0),
    };
    let context: Vec<_> = context.pairs().map(|(name, value)| json!([name, value])).into();
    Ok(json!({
        "inputs": { "passphrase": passphrase, "key_file": hex::encode([18; 32]), "x25519_private": hex::encode([17; 32]), "x25519_public": x25519_public(&private)?.to_hex() },
        "key": hex::encode([16; 32]),
        "wraps": wraps,
        "aws_kms": { "stored": signed(&kms), "arn": KMS_ARN, "writer": hex::encode(kms.key.0), "blob": hex::encode([0x55; 184]), "encryption_context": context },
        "ids": {
            "key_file": key_file_recipient(&Secret::new([18; 32])).to_hex(),
            "x25519": x25519_recipient(&x25519_public(&private)?).to_hex(),
            "aws_kms": aws_kms_recipient(KMS_ARN).to_hex(),
            "root_public_key": fixed::author().public().to_hex(),
            "root_key": root_key_id(&fixed::author().public()).to_hex(),
        },
        "key_file_text": *key_file::encode(&Secret::new([18; 32]), "0011 2233"),
        "x25519_file_text": *key_file::encode_x25519(&private)?,
        "x25519_public_text": key_file::public_text(&x25519_public(&private)?),
    }))
}

/// A signing key that a KMS wrapped; nobody has the KMS key, so it can be decoded and not opened.
pub(crate) fn kms_object(arn: &str, blob: Vec<u8>) -> KeyObject {
    let key = KeyId([21; 16]);
    KeyObject {
        key,
        purpose: Purpose::Signing,
        commitment: commitment(&Secret::new([16; 32]), REPOSITORY, key, Purpose::Signing),
        recipient: aws_kms_recipient(arn),
        wrap: Wrap::AwsKms { arn: arn.into(), writer: WriterId(key.0), blob },
        signer: fixed::AUTHOR_ID,
    }
}

pub(crate) fn entries() -> Vec<TreeEntry> {
    let metadata = || Metadata {
        mode: 0o4755,
        uid: 1000,
        gid: 100,
        user: Some("ann".into()),
        group: None,
        mtime_ns: -5,
        ctime_ns: 6,
        inode: 7,
        xattrs: vec![(b"user.a".to_vec(), vec![0, 255])],
    };
    let entry = |path: &[u8], kind, link_to: Option<&[u8]>| -> Option<TreeEntry> {
        let metadata = if matches!(kind, EntryKind::Stream(_)) { None } else { Some(metadata()) };
        Some(TreeEntry {
            path: EntryPath::new(path).ok()?,
            kind,
            metadata,
            link_to: link_to.and_then(|path| EntryPath::new(path).ok()),
        })
    };
    let content = || {
        Content::Inline(vec![
            ListItem { id: ChunkId([1; 32]), length: 10 },
            ListItem { id: ChunkId::HOLE, length: u32::MAX },
        ])
    };
    [
        entry(b"srv", EntryKind::Directory, None),
        entry(b"srv/a", EntryKind::File(content()), None),
        entry(b"srv/a/b", EntryKind::Fifo, None),
        entry(b"srv/a.txt", EntryKind::Symlink { target: b"../\xff".to_vec() }, None),
        entry(b"srv/b", EntryKind::File(content()), Some(b"srv/a")),
        entry(b"srv/c", EntryKind::CharacterDevice { major: 1, minor: 3 }, None),
        entry(b"srv/d", EntryKind::BlockDevice { major: 8, minor: 1 }, None),
        entry(b"srv/s", EntryKind::Socket, None),
        entry(b"t.sql", EntryKind::Stream(content()), None),
        entry(b"\xff\xfe", EntryKind::Directory, None),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn nodes() -> Result<Value> {
    let identity = fixed::identity();
    let items: Vec<ListItem> =
        (1..=40_u8).map(|n| ListItem { id: ChunkId([n; 32]), length: u32::from(n) }).collect();
    let nodes = [
        ("entries", Node::Entries(entries())),
        ("empty", Node::Entries(Vec::new())),
        ("chunks", Node::Chunks(items)),
        ("blob", Node::Blob(b"{\"rows\":1}".to_vec())),
    ];
    let mut out = Vec::new();
    for (kind, node) in nodes {
        let bytes = node.encode()?;
        out.push(
            json!({ "kind": kind, "node": hex::encode(&bytes), "id": identity.node_id(&bytes).to_hex() }),
        );
    }
    Ok(json!(out))
}

fn trees() -> Result<Value> {
    let identity = fixed::identity();
    let chunk =
        |n: u32| ListItem { id: ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes()), length: 1 + n % 1000 };
    let list = |items: &mut dyn Iterator<Item = ListItem>| -> Result<Value> {
        let mut count = 0_u64;
        let mut emit = |node: &Node| {
            count += 1;
            node.encode().map(|bytes| identity.node_id(&bytes)).map_err(|source| {
                strongroom_repository::RepositoryError::Unstorable { what: "a node".into(), source }
            })
        };
        let mut builder = ContentBuilder::default();
        for item in items {
            builder.push(item, &identity, &mut emit)?;
        }
        let content = builder.finish(&identity, &mut emit)?;
        Ok(match content {
            Content::Inline(items) => json!({ "inline": items.len() }),
            Content::List(list) => {
                json!({ "root": list.root.to_hex(), "level": list.level, "bytes": list.bytes, "chunks": list.chunks, "nodes": count })
            }
        })
    };
    let mut builder = TreeBuilder::<EntryShape>::default();
    let mut emit = |node: &Node| {
        node.encode().map(|bytes| identity.node_id(&bytes)).map_err(|source| {
            strongroom_repository::RepositoryError::Unstorable { what: "a node".into(), source }
        })
    };
    for n in 0..10_000_u32 {
        let path = EntryPath::new(format!("srv/{n:05}")).context("a path")?;
        builder.push(
            TreeEntry {
                path,
                kind: EntryKind::Stream(Content::Inline(vec![chunk(n)])),
                metadata: None,
                link_to: None,
            },
            &identity,
            &mut emit,
        )?;
    }
    let (root, level) = builder.finish(&identity, &mut emit)?;
    debug_assert!(ChunkShape::item_bytes(&chunk(0)) == 0);
    Ok(json!({
        "inputs": "chunk n: ID BLAKE3-256 of n as u32 little-endian, length 1 + n mod 1000; entry n: stream `srv/nnnnn` of five digits with the inline chunk n",
        "lists": [
            { "chunks": "none", "list": list(&mut std::iter::empty())? },
            { "chunks": "0", "list": list(&mut std::iter::once(chunk(0)))? },
            { "chunks": "0 to 8", "list": list(&mut (0..9).map(chunk))? },
            { "chunks": "0 to 99999", "list": list(&mut (0..100_000).map(chunk))? },
            { "chunks": "100000, then 0 to 99999", "list": list(&mut std::iter::once(chunk(100_000)).chain((0..100_000).map(chunk)))? },
        ],
        "entries": { "count": 10_000, "root": root.to_hex(), "level": level },
    }))
}
