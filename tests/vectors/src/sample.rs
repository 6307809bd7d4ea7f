//! One whole repository of format version 1, made with seeded randomness: `repository-v1/repository`, beside it what
//! opens it (a key file, a passphrase, a recovery key, and the key of a host that may only write and list), and
//! `expected.json` with what each snapshot holds.
//!
//! After the first snapshot its packs are attested and the metadata key is rotated, so it reads packs and entries of
//! two keys.
//!
//! Its last snapshot is put together by hand: a chain of delta frames, which no writer makes yet.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use strongroom_chunker::ChunkerParams;
use strongroom_format::entry::{IndexRef, JournalEntry, PackRef, Statement};
use strongroom_format::index::{Index, IndexedPack};
use strongroom_format::manifest::{Manifest, SnapshotBody, Totals};
use strongroom_format::node::{ListItem, Node, TreeRef};
use strongroom_format::pack::KeyRef;
use strongroom_format::path::EntryPath;
use strongroom_format::registry::{Codec, ObjectKind, Purpose, Roles};
use strongroom_format::tree_entry::{Content, EntryKind, Metadata, TreeEntry};
use strongroom_format::{IndexId, KeyId, RecipientId, Salt};
use strongroom_keys::Secret;
use strongroom_keys::derive::{Identity, commitment, content_hash};
use strongroom_keys::frame::FrameKey;
use strongroom_keys::key_file;
use strongroom_keys::random::{self, Random, SeededRandom};
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::Signer;
use strongroom_keys::unlock::{Credential, Reach, Unlocker, key_name};
use strongroom_keys::wrap::{Argon2Costs, NamedKey, WrapTo, x25519_public};
use strongroom_repository::administration::NewWriter;
use strongroom_repository::backup::BackupOptions;
use strongroom_repository::check::CheckOptions;
use strongroom_repository::clock::FixedClock;
use strongroom_repository::monitor::Silent;
use strongroom_repository::{InitOptions, OpenOptions, Repository, RepositoryError, init};
use strongroom_store::{LocalStore, ObjectName, Store};

use crate::fixed::noise;
use crate::frames::Plain;
use crate::pack_maker::{PackMaker, Sealed};

const PASSPHRASE: &str = "correct horse battery staple";
const START_NS: i64 = 1_767_225_600_000_000_000;

fn symmetric_key() -> Secret {
    Secret::new([0x42; 32])
}

/// The private key of somebody who may read everything.
fn recovery_key() -> Secret {
    Secret::new([0x43; 32])
}

/// The private key of a host that may write and list.
fn host_key() -> Secret {
    Secret::new([0x44; 32])
}

/// Makes it.
///
/// # Errors
/// What cannot be written.
pub fn make(folder: &Path) -> Result<()> {
    let path = folder.join("repository");
    fs::create_dir_all(folder)?;
    let store: Arc<dyn Store> = Arc::new(LocalStore::create(&path)?);
    let random = SeededRandom::new(b"repository-v1");
    let costs = Argon2Costs { memory_kib: 64, passes: 1, lanes: 1 };
    let recipients = [
        WrapTo::KeyFile { key: symmetric_key() },
        WrapTo::passphrase(PASSPHRASE, costs, &random)?,
        WrapTo::x25519(x25519_public(&recovery_key())?),
    ];
    let fingerprint = init(&store, &recipients, InitOptions::of_host("db1"), &random)?.fingerprint;
    fs::write(folder.join("key"), key_file::encode(&symmetric_key(), &fingerprint).as_bytes())?;
    fs::write(folder.join("recovery-key"), key_file::encode_x25519(&recovery_key())?.as_bytes())?;
    fs::write(folder.join("host-key"), key_file::encode_x25519(&host_key())?.as_bytes())?;
    fs::write(folder.join("passphrase"), format!("{PASSPHRASE}\n"))?;
    let random: Arc<dyn Random> = Arc::new(random);
    let mut repository = open(&store, &random)?;
    let mut snapshots = vec![backup_tree(&mut repository)?];
    let host = WrapTo::x25519(x25519_public(&host_key())?);
    let writer =
        NewWriter { name: "web1", roles: Roles::WRITE, sources: vec!["web".into()], recipient: &host };
    repository.add_writer(&writer)?;
    repository.load_index()?;
    let report = repository.check(&CheckOptions { read_data: true, ..CheckOptions::default() }, &Silent)?;
    ensure!(repository.attest(&report.opened)? == 2, "both packs are attested");
    repository.rotate()?;
    snapshots.push(backup_streams(&mut repository)?);
    let tagged = repository.snapshots()[0].id();
    repository.tag(tagged, &["weekly".into()], &["nightly".into()])?;
    repository.note("restore", Some(tagged), "{\"target\":\"/tmp/x\"}")?;
    snapshots.push(append_deltas(&store, &repository, &*random)?);
    fs::remove_dir_all(path.join("tmp")).context("the folder of temporary files")?;
    let expected = json!({ "fingerprint": fingerprint, "snapshots": snapshots });
    fs::write(folder.join("expected.json"), format!("{expected:#}\n"))?;
    Ok(())
}

fn open(store: &Arc<dyn Store>, random: &Arc<dyn Random>) -> Result<Repository> {
    let options = OpenOptions::new(
        vec![Credential::KeyFile(symmetric_key())],
        Arc::clone(random),
        Arc::new(FixedClock(AtomicI64::new(START_NS))),
    );
    Ok(Repository::open(Arc::clone(store), options)?)
}

fn options(source: &str, engine: &str) -> BackupOptions {
    BackupOptions {
        source: source.into(),
        engine: engine.into(),
        host: "db1".into(),
        user: "postgres".into(),
        tool: "strongroom 0.1.0".into(),
        arguments: Vec::new(),
        tags: vec!["nightly".into()],
        copied: None,
        force: false,
        delta: false,
        keep_base_keys: false,
        compression_level: 3,
        workers: 1,
        uploads: 1,
    }
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

fn backup_tree(repository: &mut Repository) -> Result<Value> {
    let text = b"row of a table that compresses well\n".repeat(3000);
    let blob = noise("blob", 40_000);
    let hole = 3 << 20;
    let metadata = |mode| {
        Some(Metadata {
            mode,
            uid: 1000,
            gid: 100,
            user: Some("ann".into()),
            group: Some("users".into()),
            mtime_ns: START_NS + 123_456_789,
            ctime_ns: 1,
            inode: 2,
            xattrs: Vec::new(),
        })
    };
    let entry = |path: &[u8], kind, mode| -> Result<TreeEntry> {
        Ok(TreeEntry { path: EntryPath::new(path)?, kind, metadata: metadata(mode), link_to: None })
    };
    let file = || EntryKind::File(Content::Inline(Vec::new()));
    let mut entries = vec![
        (entry(b"srv", EntryKind::Directory, 0o755)?, None),
        (entry(b"srv/data", EntryKind::Directory, 0o750)?, None),
    ];
    entries.push((entry(b"srv/data/blob", file(), 0o600)?, Some(blob.clone())));
    entries.push((entry(b"srv/data/empty", file(), 0o644)?, Some(Vec::new())));
    entries.push((entry(b"srv/data/link", EntryKind::Symlink { target: b"blob".to_vec() }, 0o777)?, None));
    let mut linked = entry(b"srv/data/same", file(), 0o600)?;
    linked.link_to = Some(EntryPath::new("srv/data/blob")?);
    entries.push((linked, Some(blob.clone())));
    entries.push((entry(b"srv/data/text", file(), 0o644)?, Some(text.clone())));
    entries.push((entry(b"srv/data/\xff\xfename", file(), 0o644)?, Some(b"not UTF-8".to_vec())));
    let sparse = entry(b"srv/sparse", file(), 0o644)?;
    let report = repository.backup::<RepositoryError>(&options("/srv", "files"), &Silent, |sink| {
        let mut lane = sink.ordered_lane(ChunkerParams::default())?;
        for (entry, content) in entries {
            match content {
                None => lane.entry(entry)?,
                Some(bytes) => {
                    lane.content(&"memory", &mut &bytes[..])?;
                    lane.end(entry)?;
                }
            }
        }
        lane.content(&"memory", &mut &b"begin"[..])?;
        lane.hole(hole)?;
        lane.content(&"memory", &mut &b"end"[..])?;
        lane.end(sparse)?;
        sink.cut(Vec::new(), ChunkerParams::default(), 0);
        lane.finish()
    })?;
    let sparse = [&b"begin"[..], &vec![0; usize::try_from(hole)?], b"end"].concat();
    let files = [
        ("srv/data/blob", &blob[..]),
        ("srv/data/empty", b""),
        ("srv/data/same", &blob),
        ("srv/data/text", &text),
        ("srv/sparse", &sparse),
    ];
    let mut contents: serde_json::Map<String, Value> =
        files.iter().map(|(path, bytes)| ((*path).to_owned(), hash(bytes).into())).collect();
    contents.insert("hex:".to_owned() + &hex::encode(b"srv/data/\xff\xfename"), hash(b"not UTF-8").into());
    Ok(
        json!({ "id": report.id.to_hex(), "files": contents, "symlinks": { "srv/data/link": "blob" }, "mtime_ns": START_NS + 123_456_789 }),
    )
}

fn backup_streams(repository: &mut Repository) -> Result<Value> {
    let dump = noise("dump", 700_000);
    let roles = b"CREATE ROLE app;\n".to_vec();
    let report =
        repository.backup::<RepositoryError>(&options("coordinator-db", "command"), &Silent, |sink| {
            for (name, bytes) in [("dump.sql", &dump), ("roles.sql", &roles)] {
                let mut lane = sink.stream_lane(ChunkerParams::default())?;
                let length = lane.content(&name, &mut &bytes[..])?;
                sink.cut(name.into(), ChunkerParams::default(), length);
                let path = EntryPath::new(name)
                    .map_err(|source| RepositoryError::Unstorable { what: name.into(), source })?;
                lane.end(TreeEntry {
                    path,
                    kind: EntryKind::Stream(Content::Inline(Vec::new())),
                    metadata: None,
                    link_to: None,
                })?;
                lane.finish()?;
            }
            sink.facts(b"{\"rows\":{\"jobs\":7}}".to_vec());
            Ok(())
        })?;
    Ok(
        json!({ "id": report.id.to_hex(), "files": { "dump.sql": hash(&dump), "roles.sql": hash(&roles) }, "facts": { "rows": { "jobs": 7 } } }),
    )
}

/// The keys that the hand-made snapshot is sealed and signed with.
struct Keys {
    metadata: MetadataKey,
    identity: Identity,
    signer: Signer,
    data: FrameKey,
    data_ref: KeyRef,
}

impl Keys {
    fn open(store: &Arc<dyn Store>, repository: &Repository, random: &dyn Random) -> Result<Self> {
        let policy = &repository.state().policy;
        let id = repository.config().repository;
        let unlocker =
            Unlocker::new(Arc::clone(store), id, vec![Credential::KeyFile(symmetric_key())], Vec::new());
        let direct = |key, purpose| unlocker.with_credentials(key, purpose, &Reach::ALL);
        let vault = direct(policy.vault.id, Purpose::Vault)?;
        let through = |key, purpose| unlocker.with_vault(key, purpose, policy.vault.id, &vault);
        let signer =
            Signer::new(policy.signers[0].id, &direct(KeyId(policy.signers[0].id.0), Purpose::Signing)?);
        let data = NamedKey {
            id: KeyId(random::array(random)?),
            purpose: Purpose::Data,
            secret: Secret::new(random::array(random)?),
        };
        let to = WrapTo::X25519 { recipient: RecipientId(policy.vault.id.0), public: policy.vault_public };
        let _ = store.put_if_absent(
            &key_name(data.id, to.recipient())?,
            &to.wrap(&data, id, &signer, random)?.encode(),
        )?;
        Ok(Self {
            metadata: MetadataKey::new(
                policy.metadata.id,
                id,
                &through(policy.metadata.id, Purpose::Metadata)?,
            ),
            identity: Identity::new(&through(policy.identity.id, Purpose::Identity)?),
            signer,
            data_ref: KeyRef {
                id: data.id,
                commitment: commitment(&data.secret, id, data.id, Purpose::Data),
            },
            data: FrameKey::from_data_key(data.id, id, &data.secret),
        })
    }
}

fn append_deltas(store: &Arc<dyn Store>, repository: &Repository, random: &dyn Random) -> Result<Value> {
    let keys = Keys::open(store, repository, random)?;
    let first = [&0xEC30_A437_u32.to_le_bytes()[..], &noise("delta", 30_000)].concat();
    let edit = |bytes: &[u8], at: usize| {
        let mut out = bytes.to_vec();
        out[at..at + 5].copy_from_slice(b"EDIT!");
        out
    };
    let second = edit(&first, 10_000);
    let third = edit(&second, 20_000);
    let frame = |chunk: &Vec<u8>, bases: Vec<Vec<u8>>, depth: u8| Plain {
        chunks: vec![chunk.clone()],
        closure: depth.into(),
        codec: if depth == 0 { Codec::Raw } else { Codec::Zstd },
        bases,
        depth,
    };
    let data = pack(
        &keys,
        ObjectKind::DataPack,
        &[
            frame(&first, vec![], 0),
            frame(&second, vec![first.clone()], 1),
            frame(&third, vec![second.clone()], 2),
        ],
        random,
    )?;
    let items = [&first, &second, &third]
        .iter()
        .map(|chunk| Ok(ListItem { id: keys.identity.chunk_id(chunk), length: u32::try_from(chunk.len())? }))
        .collect::<Result<Vec<_>>>()?;
    let entry = TreeEntry {
        path: EntryPath::new("deltas.bin")?,
        kind: EntryKind::Stream(Content::Inline(items)),
        metadata: None,
        link_to: None,
    };
    let bytes = entry.bytes();
    let node = Node::Entries(vec![entry]).encode()?;
    let root = keys.identity.node_id(&node);
    let nodes = Plain { chunks: vec![node], bases: vec![], codec: Codec::Raw, depth: 0, closure: 0 };
    let nodes = pack(&keys, ObjectKind::MetadataPack, &[nodes], random)?;
    let mut packs = Vec::new();
    for (kind, pack, stored) in
        [(ObjectKind::DataPack, &data.0, &data.1), (ObjectKind::MetadataPack, &nodes.0, &nodes.1)]
    {
        let folder = if kind == ObjectKind::DataPack { "packs" } else { "meta" };
        let name = ObjectName::new(format!("{folder}/{:02x}/{}", pack.id.0[0], pack.id))?;
        let _ = store.put_if_absent(&name, stored)?;
        packs.push(PackRef { kind, id: pack.id, length: stored.len() as u64 });
    }
    let source_tag = keys.identity.source_tag("coordinator-db");
    let index = Index { source_tag, packs: vec![data.0, nodes.0] }.encode()?;
    let sealed = keys.metadata.seal(
        ObjectKind::Index,
        "",
        4096,
        &index,
        &keys.signer,
        Salt(random::array(random)?),
    )?;
    let index = IndexRef { id: IndexId(content_hash(&sealed).0), source_tag, length: sealed.len() as u64 };
    let _ = store.put_if_absent(&ObjectName::new(format!("index/{source_tag}/{}", index.id))?, &sealed)?;
    let manifest = Manifest {
        source: "coordinator-db".into(),
        engine: "command".into(),
        host: "db1".into(),
        user: "postgres".into(),
        tool: "made by hand".into(),
        started_ns: START_NS,
        finished_ns: START_NS,
        parent: repository.snapshots().last().map(strongroom_repository::state::Snapshot::id),
        generation: 1,
        tree: TreeRef { root, level: 0, entries: 1, bytes },
        streams: Vec::new(),
        facts: None,
        totals: Totals { entries: 1, files: 1, bytes, ..Totals::default() },
        nonce: random::array(random)?,
        arguments: Vec::new(),
        tags: Vec::new(),
        origin: None,
    }
    .encode();
    let id = keys.identity.snapshot_id(&manifest);
    let state = repository.state();
    let number = state.number + 1;
    let previous_time_ms =
        store.stat(&ObjectName::new(format!("journal/{:016x}", state.number))?)?.modified_ms;
    let body = SnapshotBody { manifest, packs, indexes: vec![index], keys: vec![keys.data_ref] };
    let entry = JournalEntry {
        number,
        base: state.number,
        previous: state.chain,
        previous_time_ms,
        statement: Statement::Snapshot(Box::new(body)),
    };
    let name = format!("journal/{number:016x}");
    let sealed = keys.metadata.seal(
        ObjectKind::Entry,
        &name,
        1024,
        &entry.encode(),
        &keys.signer,
        Salt(random::array(random)?),
    )?;
    let _ = store.put_if_absent(&ObjectName::new(name)?, &sealed)?;
    Ok(json!({ "id": id.to_hex(), "files": { "deltas.bin": hash(&[first, second, third].concat()) } }))
}

/// A pack of these frames, as an index describes it, and its bytes.
fn pack(
    keys: &Keys,
    kind: ObjectKind,
    frames: &[Plain],
    random: &dyn Random,
) -> Result<(IndexedPack, Vec<u8>)> {
    let is_data = kind == ObjectKind::DataPack;
    let (key, reference) = if is_data {
        (&keys.data, keys.data_ref)
    } else {
        let metadata = &keys.metadata;
        (metadata.node_key(), KeyRef { id: metadata.id(), commitment: metadata.commitment() })
    };
    let id =
        |bytes: &[u8]| if is_data { keys.identity.chunk_id(bytes) } else { keys.identity.node_id(bytes) };
    let mut maker = PackMaker::new(kind, &keys.metadata, vec![reference], vec![keys.signer.id()], random)?;
    for plain in frames {
        let payload = plain.payload()?;
        let records = plain.records(payload.len(), &id)?;
        maker.push(Sealed::new(records, &payload, key, &keys.signer, random)?, 0, 0)?;
    }
    maker.finish(&keys.signer, 64)
}
