//! What the tests of this crate share: repositories in memory, backups of streams, and a look behind the scenes.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

pub mod logs;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom_chunker::ChunkerParams;
use strongroom_format::config::Config;
use strongroom_format::entry::{JournalEntry, Statement};
use strongroom_format::index::Index;
use strongroom_format::pack::{Footer, FrameRecord};
use strongroom_format::path::EntryPath;
use strongroom_format::policy::Policy;
use strongroom_format::registry::{ObjectKind, Purpose, Roles};
use strongroom_format::tree_entry::{Content, EntryKind, TreeEntry};
use strongroom_format::{ContentHash, KeyId, Salt, SnapshotId, WriterId, body};
use strongroom_keys::Secret;
use strongroom_keys::derive::{Identity, chain, content_hash, root_key_id};
use strongroom_keys::kms::{Kms, MemoryKms};
use strongroom_keys::random::{self, Random, SeededRandom};
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::Signer;
use strongroom_keys::unlock::{Credential, Reach, Unlocker};
use strongroom_keys::wrap::{WrapTo, x25519_public};
use strongroom_repository::administration::NewWriter;
use strongroom_repository::backup::{BackupOptions, BackupReport, Sink};
use strongroom_repository::check::{CheckOptions, CheckReport, Finding, Severity};
use strongroom_repository::clock::FixedClock;
use strongroom_repository::monitor::{Monitor, Silent};
use strongroom_repository::reader::Reader;
use strongroom_repository::restore::write_in_order;
use strongroom_repository::tree::EntryCursor;
use strongroom_repository::{InitOptions, OpenOptions, Repository, RepositoryError, init};
use strongroom_store::{MemoryStore, ObjectName, Store};

/// What a snapshot holds: path → bytes.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The key file of every test repository.
pub fn key() -> Secret {
    Secret::new([0x42; 32])
}

/// Randomness that no other call gives.
pub fn fresh_random() -> Arc<dyn Random> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let seed = COUNTER.fetch_add(1, Ordering::Relaxed);
    Arc::new(SeededRandom::new(&seed.to_le_bytes()))
}

pub fn name(name: &str) -> ObjectName {
    ObjectName::new(name).unwrap()
}

pub fn new_repository(store: &Arc<dyn Store>) {
    init(store, &[WrapTo::KeyFile { key: key() }], InitOptions::of_host("db1"), &*fresh_random()).unwrap();
}

pub fn open_options() -> OpenOptions {
    OpenOptions::new(vec![Credential::KeyFile(key())], fresh_random(), Arc::new(FixedClock::default()))
}

pub fn try_open(store: &Arc<dyn Store>) -> Result<Repository, RepositoryError> {
    Repository::open(Arc::clone(store), open_options())
}

pub fn open(store: &Arc<dyn Store>) -> Repository {
    try_open(store).unwrap()
}

pub fn options(source: &str) -> BackupOptions {
    BackupOptions {
        source: source.into(),
        engine: "stdin".into(),
        host: "db1".into(),
        user: "postgres".into(),
        tool: "test".into(),
        arguments: vec![],
        tags: vec![],
        copied: None,
        force: false,
        delta: true,
        keep_base_keys: false,
        compression_level: 3,
        workers: 2,
        uploads: 2,
    }
}

pub fn try_backup(
    repository: &mut Repository,
    source: &str,
    files: &Files,
) -> Result<BackupReport, RepositoryError> {
    repository.backup(&options(source), &Silent, |sink| write_files(sink, files))
}

/// What an engine of streams does.
pub fn write_files(sink: &Sink<'_, '_>, files: &Files) -> Result<(), RepositoryError> {
    for (name, data) in files {
        let mut lane = sink.stream_lane(ChunkerParams::default())?;
        lane.against(sink.base(&EntryPath::new(&**name).unwrap()))?;
        let bytes = lane.content(name, &mut &data[..])?;
        sink.cut(name.as_bytes().to_vec(), ChunkerParams::default(), bytes);
        lane.end(TreeEntry {
            path: EntryPath::new(&**name).unwrap(),
            kind: EntryKind::Stream(Content::Inline(vec![])),
            metadata: None,
            link_to: None,
        })?;
        lane.finish()?;
    }
    sink.facts(br#"{"rows":3}"#.to_vec());
    Ok(())
}

pub fn backup(repository: &mut Repository, source: &str, files: &Files) -> BackupReport {
    try_backup(repository, source, files).unwrap()
}

/// Path → its bytes, or why there are none.
pub type Restored = BTreeMap<String, Result<Vec<u8>, RepositoryError>>;

/// What can be restored of a snapshot: for each path its bytes or an error; and an error when the tree ends early.
pub fn try_restore(repository: &Repository, snapshot: SnapshotId) -> (Restored, Option<RepositoryError>) {
    let reader = Reader::new(repository);
    let tree = repository.snapshots().iter().find(|s| s.id() == snapshot).unwrap().manifest.tree;
    let mut out = BTreeMap::new();
    let mut cursor = match EntryCursor::new(&reader, &tree) {
        Ok(cursor) => cursor,
        Err(error) => return (out, Some(error)),
    };
    let mut failed = None;
    // A few errors are passed over: the cursor goes on behind what it cannot read.
    for _ in 0..100_000 {
        match cursor.next_entry() {
            Ok(None) => break,
            Ok(Some(entry)) => {
                let mut bytes = Vec::new();
                let restored = match entry.content().unwrap() {
                    // Without threads: there are many small ones.
                    Content::Inline(items) => items.iter().try_for_each(|item| {
                        bytes.extend_from_slice(reader.chunk(item.id)?.as_bytes());
                        Ok(())
                    }),
                    list => write_in_order(&reader, list, &mut bytes, &Silent, 2),
                };
                out.insert(entry.path.to_string(), restored.map(|()| bytes));
            }
            Err(error) => failed = Some(error),
        }
    }
    (out, failed)
}

/// All of a snapshot.
pub fn restore(repository: &mut Repository, snapshot: SnapshotId) -> Files {
    repository.load_index().unwrap();
    let (files, failed) = try_restore(repository, snapshot);
    assert!(failed.is_none(), "{failed:?}");
    files.into_iter().map(|(path, bytes)| (path, bytes.unwrap())).collect()
}

/// Bytes that do not compress.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub fn files<const N: usize>(files: [(&str, Vec<u8>); N]) -> Files {
    files.into_iter().map(|(path, bytes)| (path.to_owned(), bytes)).collect()
}

pub fn thorough() -> CheckOptions {
    CheckOptions { packs: true, read_data: true, sample_percent: None, keys: true, share: None, workers: 2 }
}

pub fn check(repository: &Repository) -> CheckReport {
    repository.check(&thorough(), &Silent).unwrap()
}

pub fn assert_clean(store: &Arc<dyn Store>) {
    let report = check(&open(store));
    assert!(report.is_clean(), "{:#?}", report.findings);
}

/// Names of objects that begin so.
pub fn names(store: &dyn Store, prefix: &str) -> Vec<ObjectName> {
    let mut names = Vec::new();
    store
        .list(prefix, &mut |name, _| {
            names.push(name);
            Ok(())
        })
        .unwrap();
    names
}

pub fn read(store: &dyn Store, name: &ObjectName) -> Vec<u8> {
    store.get(name, u64::MAX).unwrap()
}

/// The keys of a test repository, for making what no program would write.
pub struct Keys {
    pub repository: strongroom_format::RepositoryId,
    pub metadata_secret: Secret,
    pub metadata: MetadataKey,
    pub identity: Identity,
    pub signer: Signer,
    pub root: Signer,
    pub policy: Policy,
}

impl Keys {
    pub fn of(store: &Arc<dyn Store>) -> Self {
        let config = Config::decode(&read(&**store, &name("config"))).unwrap();
        let policy = open(store).state().policy.clone();
        let credentials = vec![Credential::KeyFile(key())];
        let unlocker = Unlocker::new(Arc::clone(store), config.repository, credentials, Vec::new());
        let direct = |key, purpose| unlocker.with_credentials(key, purpose, &Reach::ALL).unwrap();
        let vault = direct(policy.vault.id, Purpose::Vault);
        let with_vault = |key, purpose| unlocker.with_vault(key, purpose, policy.vault.id, &vault).unwrap();
        let metadata_secret = with_vault(policy.metadata.id, Purpose::Metadata);
        let signer = policy.signers[0].id;
        let seed = direct(KeyId(signer.0), Purpose::Signing);
        let root = direct(root_key_id(&policy.root), Purpose::Root);
        Self {
            repository: config.repository,
            metadata: MetadataKey::new(policy.metadata.id, config.repository, &metadata_secret),
            metadata_secret,
            identity: Identity::new(&with_vault(policy.identity.id, Purpose::Identity)),
            signer: Signer::new(signer, &seed),
            root: Signer::new(signer, &root),
            policy,
        }
    }

    /// Seals an entry as `signer` would.
    pub fn seal(&self, entry: &JournalEntry, signer: &Signer) -> Vec<u8> {
        self.seal_content(entry.number, &entry.encode(), signer)
    }

    pub fn seal_content(&self, number: u64, content: &[u8], signer: &Signer) -> Vec<u8> {
        let name = format!("journal/{number:016x}");
        let salt = Salt(random::array(&*fresh_random()).unwrap());
        self.metadata.seal(ObjectKind::Entry, &name, body::ENTRY_FLOOR_BYTES, content, signer, salt).unwrap()
    }

    /// What a thief has of a host's secrets: its signer, the metadata key and the identity secret. The root key here is
    /// one that he made up.
    pub fn stolen(store: &Arc<dyn Store>, credentials: Vec<Credential>, writer: WriterId) -> Self {
        let config = Config::decode(&read(&**store, &name("config"))).unwrap();
        let policy = open(store).state().policy.clone();
        let unlocker = Unlocker::new(Arc::clone(store), config.repository, credentials, Vec::new());
        let open = |key, purpose| unlocker.with_credentials(key, purpose, &Reach::ALL).unwrap();
        let metadata_secret = open(policy.metadata.id, Purpose::Metadata);
        Self {
            repository: config.repository,
            metadata: MetadataKey::new(policy.metadata.id, config.repository, &metadata_secret),
            metadata_secret,
            identity: Identity::new(&open(policy.identity.id, Purpose::Identity)),
            signer: Signer::new(writer, &open(KeyId(writer.0), Purpose::Signing)),
            root: Signer::new(writer, &Secret::new([0xbb; 32])),
            policy,
        }
    }

    /// Appends an entry that says this, signed by the signer; gives its number.
    pub fn append(&self, store: &dyn Store, statement: Statement) -> u64 {
        let entry = next_entry(store, statement);
        put(store, &entry_name(entry.number), &self.seal(&entry, &self.signer));
        entry.number
    }

    /// A sealed object that is named by its hash, or by this name.
    pub fn seal_object(&self, kind: ObjectKind, logical_path: &str, content: &[u8]) -> Vec<u8> {
        let salt = Salt(random::array(&*fresh_random()).unwrap());
        self.metadata.seal(kind, logical_path, body::OBJECT_FLOOR_BYTES, content, &self.signer, salt).unwrap()
    }
}

/// KMS keys of a test.
pub const ONE: &str = "arn:aws:kms:eu-central-1:111122223333:key/11111111-1111-1111-1111-111111111111";
pub const TWO: &str = "arn:aws:kms:us-east-1:111122223333:key/22222222-2222-2222-2222-222222222222";

/// A service with both keys.
pub fn kms() -> Arc<MemoryKms> {
    let kms = MemoryKms::new(SeededRandom::new(b"kms"));
    kms.add_key(ONE).unwrap();
    kms.add_key(TWO).unwrap();
    Arc::new(kms)
}

pub fn kms_credential(kms: &Arc<MemoryKms>) -> Credential {
    Credential::Kms(Arc::clone(kms) as Arc<dyn Kms>)
}

pub fn to_kms(kms: &Arc<MemoryKms>, arn: &str) -> WrapTo {
    WrapTo::aws_kms(arn, Arc::clone(kms) as Arc<dyn Kms>).unwrap()
}

pub fn to_x25519(private: &Secret) -> WrapTo {
    WrapTo::x25519(x25519_public(private).unwrap())
}

pub fn try_open_with(
    store: &Arc<dyn Store>,
    credentials: Vec<Credential>,
) -> Result<Repository, RepositoryError> {
    Repository::open(Arc::clone(store), OpenOptions { credentials, ..open_options() })
}

/// Adds a writer who may write these sources.
pub fn add_writer(
    store: &Arc<dyn Store>,
    name: &str,
    roles: Roles,
    sources: &[&str],
    recipient: &WrapTo,
) -> WriterId {
    let sources = sources.iter().map(|source| (*source).to_owned()).collect();
    open(store).add_writer(&NewWriter { name, roles, sources, recipient }).unwrap()
}

/// A host that only writes: its X25519 key, and the writer it is.
pub struct Host {
    pub private: Secret,
    pub id: WriterId,
    pub name: String,
}

impl Host {
    pub fn add(store: &Arc<dyn Store>, name: &str, roles: Roles, sources: &[&str]) -> Self {
        let private = Secret::new(*blake3::hash(name.as_bytes()).as_bytes());
        let id = add_writer(store, name, roles, sources, &to_x25519(&private));
        Self { private, id, name: name.to_owned() }
    }

    pub fn credentials(&self) -> Vec<Credential> {
        vec![Credential::X25519(self.private.clone())]
    }

    pub fn try_open(&self, store: &Arc<dyn Store>) -> Result<Repository, RepositoryError> {
        let options = OpenOptions {
            credentials: self.credentials(),
            writer: Some(self.name.clone()),
            ..open_options()
        };
        Repository::open(Arc::clone(store), options)
    }

    pub fn open(&self, store: &Arc<dyn Store>) -> Repository {
        self.try_open(store).unwrap()
    }

    pub fn stolen(&self, store: &Arc<dyn Store>) -> Keys {
        Keys::stolen(store, self.credentials(), self.id)
    }
}

/// The worst that was found about an object.
pub fn severity_of(report: &CheckReport, object: &str) -> Option<Severity> {
    report.findings.iter().filter(|finding| finding.object == object).map(|finding| finding.severity).max()
}

/// Findings that say that something is lost.
pub fn damage(report: &CheckReport) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.severity == Severity::Damage).collect()
}

pub fn entry_name(number: u64) -> ObjectName {
    name(&format!("journal/{number:016x}"))
}

/// The chain of all that is stored up to an entry.
pub fn chain_to(store: &dyn Store, last: u64) -> ContentHash {
    let config = content_hash(&read(store, &name("config")));
    (0..=last).fold(config, |before, number| chain(before, content_hash(&read(store, &entry_name(number)))))
}

/// The entry that would follow now.
pub fn next_entry(store: &dyn Store, statement: Statement) -> JournalEntry {
    let last = names(store, "journal/").len() as u64 - 1;
    JournalEntry {
        number: last + 1,
        base: last,
        previous: chain_to(store, last),
        previous_time_ms: 5,
        statement,
    }
}

pub fn put(store: &dyn Store, name: &ObjectName, bytes: &[u8]) {
    let _ = store.put_if_absent(name, bytes).unwrap();
}

pub fn memory() -> (Arc<MemoryStore>, Arc<dyn Store>) {
    let memory = Arc::new(MemoryStore::new());
    let store: Arc<dyn Store> = Arc::clone(&memory) as Arc<dyn Store>;
    (memory, store)
}

/// Rows of text; a row changes its last digits on days of its own, one in a hundred a day.
pub fn table(day: u64) -> Vec<u8> {
    let mut rows = String::new();
    for row in 0..20_000_u64 {
        let last = (1..=day).rev().find(|day| noise(day * 1_000_000 + row, 1)[0] < 3).unwrap_or(0);
        let chance = blake3::hash(&row.to_le_bytes()).to_hex();
        rows.push_str(&format!("{row:08}\t{chance}\tuser-{}@example.org\t{:06}\n", row % 977, last * 7919));
    }
    rows.into_bytes()
}

/// What a database holds on a day.
pub fn day(number: u64) -> Files {
    files([("dump.sql", table(number))])
}

/// Every frame of data that the index describes.
pub fn frames(store: &Arc<dyn Store>) -> Vec<FrameRecord> {
    let keys = Keys::of(store);
    let mut frames = Vec::new();
    for name in names(&**store, "index/") {
        let stored = read(&**store, &name);
        let opened = keys.metadata.open(ObjectKind::Index, "", &stored).unwrap();
        for pack in Index::decode(opened.body().unwrap().content).unwrap().packs {
            if pack.decoded_header().unwrap().kind == ObjectKind::DataPack {
                frames.extend(Footer::decode(&pack.footer).unwrap().frames);
            }
        }
    }
    frames
}

pub fn deltas(store: &Arc<dyn Store>) -> usize {
    frames(store).iter().filter(|frame| frame.depth > 0).count()
}

/// New data of a backup, compressed and sealed, without what packs are padded with.
pub fn sealed_bytes(store: &Arc<dyn Store>) -> u64 {
    frames(store).iter().map(|frame| u64::from(frame.sealed_length)).sum()
}

/// A backup that tells `monitor` how it goes.
pub fn backup_with(
    repository: &mut Repository,
    options: &BackupOptions,
    files: &Files,
    monitor: &dyn Monitor,
) -> Result<BackupReport, RepositoryError> {
    repository.backup(options, monitor, |sink: &Sink<'_, '_>| write_files(sink, files))
}
