//! The journal: what is void, what goes on behind it, checkpoints, compaction, and what an append costs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use strongroom_format::entry::{
    IndexRef, JournalEntry, NoteBody, PackRef, PolicyBody, ReindexBody, Statement, TagBody,
};
use strongroom_format::manifest::{Manifest, SnapshotBody};
use strongroom_format::policy::{self, Policy};
use strongroom_format::registry::{ObjectKind, Roles};
use strongroom_format::{ContentHash, IndexId, KeyId, Salt, SnapshotId, SourceTag, WriterId, body};
use strongroom_keys::Secret;
use strongroom_keys::derive::content_hash;
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::{Signer, sign_policy};
use strongroom_repository::RepositoryError;
use strongroom_repository::check::{FindingKind, Severity};
use strongroom_store::{MemoryStore, Operation, RecordStore, Store};
use support::*;

fn data() -> Files {
    files([("dump.sql", noise(1, 700_000)), ("roles.sql", b"create role".to_vec())])
}

fn note() -> Statement {
    Statement::Note(NoteBody { event: "test".into(), snapshot: None, time_ns: 0, detail: "{}".into() })
}

/// A repository with a snapshot of `db`, and two signers more: one who may write `web` only, one with no role.
struct Fixture {
    memory: Arc<MemoryStore>,
    store: Arc<dyn Store>,
    keys: Keys,
    web: Signer,
    idle: Signer,
    snapshot: SnapshotId,
}

impl Fixture {
    fn new() -> Self {
        let (memory, store) = memory();
        new_repository(&store);
        let snapshot = backup(&mut open(&store), "db", &data()).id;
        let mut keys = Keys::of(&store);
        let web = Signer::new(WriterId([1; 16]), &Secret::new([1; 32]));
        let idle = Signer::new(WriterId([2; 16]), &Secret::new([2; 32]));
        let listed = |signer: &Signer, roles, source: &str| policy::Signer {
            id: signer.id(),
            public: signer.public(),
            roles,
            sources: vec![source.into()],
            name: source.into(),
        };
        let mut policy = keys.policy.clone();
        policy.sequence += 1;
        policy.signers.push(listed(&web, Roles::WRITE, "web"));
        policy.signers.push(listed(&idle, Roles(0), "*"));
        let entry = next_entry(&*store, policy_statement(&keys, &policy));
        put(&*store, &entry_name(entry.number), &keys.seal(&entry, &keys.signer));
        keys.policy = open(&store).state().policy.clone();
        assert_eq!(keys.policy, policy);
        Self { memory, store, keys, web, idle, snapshot }
    }

    fn next(&self, statement: Statement) -> JournalEntry {
        next_entry(&*self.store, statement)
    }

    /// Puts bytes where the next entry belongs, and gives its number.
    fn append(&self, bytes: &[u8]) -> u64 {
        let number = names(&*self.store, "journal/").len() as u64;
        put(&*self.store, &entry_name(number), bytes);
        number
    }

    fn manifest(&self, source: &str) -> Vec<u8> {
        let repository = open(&self.store);
        let manifest = repository.snapshots()[0].manifest.clone();
        Manifest { source: source.into(), nonce: [9; 16], ..manifest }.encode()
    }

    fn snapshot_of(&self, source: &str) -> Statement {
        snapshot_body(self.manifest(source))
    }
}

fn snapshot_body(manifest: Vec<u8>) -> Statement {
    Statement::Snapshot(Box::new(SnapshotBody { manifest, packs: vec![], indexes: vec![], keys: vec![] }))
}

fn policy_statement(keys: &Keys, policy: &Policy) -> Statement {
    let policy = policy.encode();
    let root_signature = sign_policy(&keys.root, keys.repository, &policy);
    Statement::Policy(PolicyBody { policy, root_signature })
}

/// The entry is void for every reader, says why, changes nothing, and the journal goes on behind it.
fn assert_void(fixture: &Fixture, what: &str, bytes: &[u8]) {
    let before = open(&fixture.store);
    let number = fixture.append(bytes);
    // The entry behind it, by a program that has seen it.
    open(&fixture.store).note("next", None, "{}").unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let after = open(&fixture.store);
    let (was, is) = (before.state(), after.state());
    assert_eq!(is.number, number + 1, "{what}");
    assert_eq!(is.voids.len(), was.voids.len() + 1, "{what}: {:?} {:?}", is.voids, is.damaged);
    assert_eq!(is.voids.last().unwrap().number, number, "{what}");
    assert!(is.damaged.is_empty(), "{what}");
    let (was, is) = (was.to_checkpoint(), is.to_checkpoint());
    assert_eq!((was.indexes, was.packs, was.policies), (is.indexes, is.packs, is.policies), "{what}");
    let ids = |snapshots: &[strongroom_format::checkpoint::SnapshotState]| {
        snapshots.iter().map(|s| (s.id, s.tags.clone())).collect::<Vec<_>>()
    };
    assert_eq!(ids(&was.snapshots), ids(&is.snapshots), "{what}");
    let report = check(&after);
    let voids: Vec<_> = report.findings.iter().filter(|finding| finding.kind == FindingKind::Void).collect();
    assert_eq!(voids.last().unwrap().object, entry_name(number).to_string(), "{what}");
    assert!(report.findings.iter().all(|finding| finding.severity != Severity::Damage), "{what}");
    assert!(!report.is_clean(), "{what}");
}

#[test]
fn whoever_may_not_say_it_says_nothing() {
    let fixture = Fixture::new();
    let keys = &fixture.keys;
    let by = |statement, signer: &Signer| keys.seal(&fixture.next(statement), signer);
    let stranger = Signer::new(WriterId([7; 16]), &Secret::new([7; 32]));
    assert_void(&fixture, "a stranger", &by(note(), &stranger));
    let forger = Signer::new(keys.signer.id(), &Secret::new([7; 32]));
    assert_void(&fixture, "another's name", &by(note(), &forger));
    let tag = TagBody { snapshot: fixture.snapshot, add: vec!["x".into()], remove: vec![] };
    assert_void(&fixture, "a stranger's tag", &by(Statement::Tag(tag), &stranger));
    assert_void(&fixture, "no role to write", &by(fixture.snapshot_of("db"), &fixture.idle));
    assert_void(&fixture, "another source", &by(fixture.snapshot_of("db"), &fixture.web));
    let reindex = Statement::Reindex(ReindexBody { added: vec![], removed: vec![] });
    assert_void(&fixture, "no role to maintain", &by(reindex, &fixture.web));
    let mut policy = keys.policy.clone();
    policy.sequence += 1;
    assert_void(&fixture, "no role admin", &by(policy_statement(keys, &policy), &fixture.web));
    // The same things by those who may.
    let before = open(&fixture.store).snapshots().len();
    fixture.append(&by(fixture.snapshot_of("web"), &fixture.web));
    fixture.append(&by(note(), &fixture.idle));
    assert_eq!(open(&fixture.store).snapshots().len(), before + 1);
}

#[test]
fn what_does_not_follow_says_nothing() {
    let fixture = Fixture::new();
    let keys = &fixture.keys;
    let seal = |entry: &JournalEntry| keys.seal(entry, &keys.signer);
    let entry = || fixture.next(note());
    assert_void(&fixture, "previous", &seal(&JournalEntry { previous: ContentHash([3; 32]), ..entry() }));
    let base = entry().base - 1;
    assert_void(&fixture, "base", &seal(&JournalEntry { base, ..entry() }));
    // The name is bound into the sealing, the number is what the signer says: both must be right.
    let wrong = JournalEntry { number: entry().number + 1, ..entry() };
    let bytes = keys.seal_content(entry().number, &wrong.encode(), &keys.signer);
    assert_void(&fixture, "number", &bytes);
    let seen = open(&fixture.store).snapshots()[0].state.manifest.clone();
    assert_void(&fixture, "snapshot seen before", &seal(&fixture.next(snapshot_body(seen))));
    assert_void(&fixture, "no manifest", &seal(&fixture.next(snapshot_body(vec![0xa0]))));
    let tag = TagBody { snapshot: SnapshotId([1; 32]), add: vec![], remove: vec![] };
    assert_void(&fixture, "no such snapshot", &seal(&fixture.next(Statement::Tag(tag))));
    let reindex = ReindexBody { added: vec![], removed: vec![IndexId([1; 32])] };
    assert_void(&fixture, "no such index", &seal(&fixture.next(Statement::Reindex(reindex))));
    let malformed = keys.seal_content(entry().number, b"\xa1\x01", &keys.signer);
    assert_void(&fixture, "malformed", &malformed);
}

#[test]
fn policies_need_the_root_key_and_the_next_sequence() {
    let fixture = Fixture::new();
    let keys = &fixture.keys;
    let next = Policy { sequence: keys.policy.sequence + 1, ..keys.policy.clone() };
    let seal = |statement| keys.seal(&fixture.next(statement), &keys.signer);
    let Statement::Policy(mut body) = policy_statement(keys, &next) else { panic!() };
    body.root_signature.0[3] ^= 1;
    assert_void(&fixture, "root signature", &seal(Statement::Policy(body)));
    assert_void(&fixture, "same sequence", &seal(policy_statement(keys, &keys.policy)));
    let skipped = Policy { sequence: next.sequence + 1, ..next.clone() };
    assert_void(&fixture, "sequence skipped", &seal(policy_statement(keys, &skipped)));
    let mut identity = next.clone();
    identity.identity.id = KeyId([8; 16]);
    assert_void(&fixture, "another identity secret", &seal(policy_statement(keys, &identity)));
    // A policy that forgets a snapshot: for good, also for clients that begin at a checkpoint.
    let manifest = open(&fixture.store).snapshots()[0].state.manifest.clone();
    let forgetting = Policy { forgotten: vec![fixture.snapshot], ..next };
    fixture.append(&seal(policy_statement(keys, &forgetting)));
    assert!(open(&fixture.store).snapshots().is_empty());
    open(&fixture.store).write_checkpoint().unwrap();
    assert_void(&fixture, "a forgotten snapshot", &seal(snapshot_body(manifest)));
}

#[test]
fn what_does_not_open_is_garbage_once_somebody_went_on() {
    let fixture = Fixture::new();
    let keys = &fixture.keys;
    let entry = fixture.next(note());
    let other = MetadataKey::new(KeyId([5; 16]), keys.repository, &Secret::new([5; 32]));
    let name = entry_name(entry.number);
    let seal = |key: &MetadataKey, name: &str| {
        key.seal(
            ObjectKind::Entry,
            name,
            body::ENTRY_FLOOR_BYTES,
            &entry.encode(),
            &keys.signer,
            Salt([1; 32]),
        )
        .unwrap()
    };
    let foreign = seal(&other, name.as_str());
    // At the head nobody knows yet what it was.
    let number = fixture.append(&foreign);
    let state = open(&fixture.store).state().clone();
    assert_eq!(state.damaged.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [number]);
    fixture.memory.delete(&entry_name(number)).unwrap();
    assert_void(&fixture, "another metadata key", &foreign);
    let entry = fixture.next(note());
    let garbage = noise(3, 1000);
    assert_void(&fixture, "garbage", &garbage);
    let renamed = keys.seal_content(entry.number, &entry.encode(), &keys.signer);
    assert_void(&fixture, "under another's name", &renamed);
    assert_void(&fixture, "nothing", &[]);
}

#[test]
fn what_no_feature_brings_is_void_whoever_signs_it() {
    let fixture = Fixture::new();
    let keys = &fixture.keys;
    let mut content = fixture.next(note()).encode();
    // The entry's kind: field 5 is 11, a note; 12 is reserved, and 23 nothing that anybody knows.
    let at = content.windows(2).position(|pair| pair == [5, 11]).unwrap();
    for kind in [12, 23] {
        content[at + 1] = kind;
        let number = names(&*fixture.store, "journal/").len() as u64;
        let sealed = keys.seal_content(number, &content, &keys.signer);
        assert_void(&fixture, "a kind that no feature brings", &sealed);
    }
}

#[test]
fn nobody_misdescribes_what_others_stored() {
    let fixture = Fixture::new();
    let keys = &fixture.keys;
    let state = open(&fixture.store).state().clone();
    let packs = state.packs.values().map(|pack| PackRef { length: pack.length + 1, ..*pack }).collect();
    let indexes =
        state.indexes.values().map(|index| IndexRef { source_tag: SourceTag([1; 16]), ..*index }).collect();
    let lie = SnapshotBody { manifest: fixture.manifest("web"), packs, indexes, keys: vec![] };
    fixture.append(&keys.seal(&fixture.next(Statement::Snapshot(Box::new(lie))), &fixture.web));
    let mut repository = open(&fixture.store);
    assert_eq!((&repository.state().packs, &repository.state().indexes), (&state.packs, &state.indexes));
    assert!(restore(&mut repository, fixture.snapshot) == data());
}

#[test]
fn an_index_object_that_lies_hides_nothing() {
    use strongroom_format::index::{Index, IndexedPack};
    use strongroom_format::pack::Footer;
    use strongroom_keys::seal::sign_footer;
    let fixture = Fixture::new();
    let keys = &fixture.keys;
    let honest = open(&fixture.store).state().indexes.values().next().copied().unwrap();
    let object = name(&format!("index/{}/{}", honest.source_tag, honest.id));
    let opened = keys.metadata.open(ObjectKind::Index, "", &read(&*fixture.store, &object)).unwrap();
    let index = Index::decode(opened.body().unwrap().content).unwrap();
    // A writer of another source describes the packs of `db` with chunks it names itself.
    let packs = index.packs.iter().map(|pack| {
        let mut footer = Footer::decode(&pack.footer).unwrap();
        footer.chunks.iter_mut().for_each(|chunk| chunk.id.0[0] ^= 1);
        footer.signer = fixture.web.id();
        let kind = pack.decoded_header().unwrap().kind;
        footer.signature = sign_footer(&fixture.web, kind, &pack.header, &footer.signed_part().unwrap());
        IndexedPack { footer: footer.encode().unwrap(), ..pack.clone() }
    });
    // Many, so that most of the time some come before the honest one and some behind it; any order must do.
    let mut added = Vec::new();
    let packs: Vec<_> = packs.collect();
    for salt in 0..8 {
        let lie = Index { source_tag: SourceTag([1; 16]), packs: packs.clone() };
        let bytes = keys
            .metadata
            .seal(
                ObjectKind::Index,
                "",
                body::OBJECT_FLOOR_BYTES,
                &lie.encode().unwrap(),
                &fixture.web,
                Salt([salt; 32]),
            )
            .unwrap();
        let id = IndexId(content_hash(&bytes).0);
        put(&*fixture.store, &name(&format!("index/{}/{id}", SourceTag([1; 16]))), &bytes);
        added.push(IndexRef { id, source_tag: SourceTag([1; 16]), length: bytes.len() as u64 });
    }
    let lie = SnapshotBody { manifest: fixture.manifest("web"), packs: vec![], indexes: added, keys: vec![] };
    fixture.append(&keys.seal(&fixture.next(Statement::Snapshot(Box::new(lie))), &fixture.web));
    let mut repository = open(&fixture.store);
    assert!(restore(&mut repository, fixture.snapshot) == data());
    let report = backup(&mut repository, "db", &data());
    assert_eq!(report.totals.new_bytes, 0, "what is true is still known");
    let findings = check(&repository).findings;
    assert!(findings.iter().any(|f| f.kind == FindingKind::Contradiction), "{findings:#?}");
    assert!(findings.iter().all(|f| f.severity != Severity::Damage), "{findings:#?}");
}

#[test]
fn names_far_behind_the_head_are_no_entries() {
    let fixture = Fixture::new();
    for number in [u64::MAX, u64::MAX / 2, 1 << 20] {
        put(&*fixture.store, &entry_name(number), b"garbage");
    }
    let mut repository = open(&fixture.store);
    assert!(repository.state().damaged.is_empty());
    backup(&mut repository, "db", &data());
    let report = check(&repository);
    let strays = report.findings.iter().filter(|finding| finding.kind == FindingKind::Stray).count();
    assert_eq!((strays, report.is_clean()), (3, false));
}

#[test]
fn a_checkpoint_is_written_every_256_entries_and_read_instead_of_them() {
    let memory = Arc::new(RecordStore::new(MemoryStore::new()));
    let store: Arc<dyn Store> = Arc::clone(&memory) as Arc<dyn Store>;
    new_repository(&store);
    let mut repository = open(&store);
    let id = backup(&mut repository, "db", &data()).id;
    while repository.state().number < 255 {
        repository.note("filler", None, "{}").unwrap();
    }
    assert_eq!(names(&*store, "checkpoints/"), []);
    repository.note("due", None, "{}").unwrap();
    assert_eq!(names(&*store, "checkpoints/"), [name(&format!("checkpoints/{:016x}", u64::MAX - 256))]);
    repository.note("tail", None, "{}").unwrap();
    memory.take_calls();
    let mut repository = open(&store);
    let entries: Vec<_> = memory
        .take_calls()
        .into_iter()
        .filter(|call| call.operation == Operation::Get && call.object.starts_with("journal/"))
        .map(|call| call.object)
        .collect();
    // Its own entry is read to see that it is of this journal; none before it.
    assert_eq!(entries, [256, 257, 258].map(|number| entry_name(number).to_string()));
    assert!(restore(&mut repository, id) == data());
    let report = check(&repository);
    assert!(report.is_clean(), "{:#?}", report.findings);
    assert_eq!((report.checked.entries, report.checked.checkpoints), (258, 1));
}

#[test]
fn many_index_objects_become_few_and_everything_restores() {
    let (_, store) = memory();
    new_repository(&store);
    let mut repository = open(&store);
    let mut snapshots = Vec::new();
    for day in 0..50 {
        let files = files([("dump.sql", noise(day, 20_000))]);
        snapshots.push((backup(&mut repository, "db", &files).id, files));
        assert!(repository.state().indexes.len() < 24, "day {day}");
    }
    for mut repository in [repository, open(&store)] {
        for (id, files) in &snapshots {
            assert!(restore(&mut repository, *id) == *files);
        }
    }
    let report = check(&open(&store));
    assert!(report.is_clean(), "{:#?}", report.findings);
    // The merged objects stay in the store until they are pruned.
    let leftover = report.findings.iter().find(|finding| finding.kind == FindingKind::Leftover).unwrap();
    assert_eq!((leftover.severity, leftover.object.as_str()), (Severity::Info, "index/"));
}

#[test]
fn an_unchanged_backup_is_one_put() {
    let memory = Arc::new(RecordStore::new(MemoryStore::new()));
    let store: Arc<dyn Store> = Arc::clone(&memory) as Arc<dyn Store>;
    new_repository(&store);
    let folder = tempfile::tempdir().unwrap();
    let cached = || {
        let options = strongroom_repository::OpenOptions {
            cache_folder: Some(folder.path().to_owned()),
            ..open_options()
        };
        strongroom_repository::Repository::open(Arc::clone(&store), options).unwrap()
    };
    backup(&mut cached(), "db", &data());
    memory.take_calls();
    let mut repository = cached();
    memory.take_calls();
    backup(&mut repository, "db", &data());
    let calls = memory.take_calls();
    let puts: Vec<_> = calls.iter().filter(|call| call.operation == Operation::Put).collect();
    assert_eq!(puts.len(), 1, "{calls:#?}");
    assert_eq!(puts[0].object, entry_name(2).to_string());
    assert!(calls.len() <= 5, "{calls:#?}");
}

#[test]
fn a_gap_is_closed_before_anything_is_appended_behind_it() {
    let (memory, store) = memory();
    new_repository(&store);
    let mut behind = open(&store);
    let mut ahead = open(&store);
    ahead.note("first", None, "{}").unwrap();
    ahead.note("second", None, "{}").unwrap();
    let lost = entry_name(1);
    let bytes = store.get(&lost, 1 << 20).unwrap();
    store.delete(&lost).unwrap();
    // Whoever was there before the gap, and whoever opens behind it.
    let mut late = open(&store);
    assert_eq!(behind.note("third", None, "{}").unwrap(), 3);
    assert_eq!(read(&*store, &lost), b"");
    assert_eq!(late.note("fourth", None, "{}").unwrap(), 4);
    let damaged = |store| open(store).state().damaged.iter().map(|(number, _)| *number).collect::<Vec<_>>();
    assert_eq!(damaged(&store), [1]);
    // Brought back all the same, it counts, and so does what came since.
    memory.overwrite(&lost, &bytes);
    assert_clean(&store);
    assert_eq!(open(&store).state().number, 4);
}

#[test]
fn a_gap_that_only_garbage_makes_is_filled() {
    let (_, store) = memory();
    new_repository(&store);
    put(&*store, &entry_name(9), b"garbage");
    assert_eq!(open(&store).note("first", None, "{}").unwrap(), 1);
    assert_eq!(open(&store).note("second", None, "{}").unwrap(), 2);
    assert_eq!(names(&*store, "journal/").len(), 4);
}

#[test]
fn garbage_behind_the_head_does_not_stop_anybody() {
    let (_, store) = memory();
    new_repository(&store);
    let mut repository = open(&store);
    assert_eq!(
        store.put_if_absent(&entry_name(2), b"garbage").unwrap(),
        strongroom_store::PutOutcome::Created
    );
    assert_eq!(repository.note("first", None, "{}").unwrap(), 1);
    assert_eq!(repository.note("second", None, "{}").unwrap(), 3);
}

#[test]
fn a_run_of_garbage_is_told_from_damage() {
    let (memory, store) = memory();
    new_repository(&store);
    let put = |number, bytes: &[u8]| {
        assert_eq!(
            store.put_if_absent(&entry_name(number), bytes).unwrap(),
            strongroom_store::PutOutcome::Created
        );
    };
    open(&store).note("first", None, "{}").unwrap();
    put(2, b"garbage");
    put(3, b"more of it");
    assert_eq!(open(&store).note("behind", None, "{}").unwrap(), 4);
    let found = |store: &Arc<dyn Store>| {
        let repository = open(store);
        let damaged: Vec<u64> = repository.state().damaged.iter().map(|(number, _)| *number).collect();
        let voids: Vec<u64> = repository.state().voids.iter().map(|void| void.number).collect();
        (damaged, voids)
    };
    assert_eq!(found(&store), (vec![], vec![2, 3]));
    // Whoever followed them saw other bytes: none of them can be told from damage any more.
    memory.overwrite(&entry_name(2), b"damaged");
    assert_eq!(found(&store), (vec![2, 3], vec![]));
    let report = check(&open(&store));
    assert!(report.findings.iter().any(|finding| finding.severity == Severity::Damage));
    // It is said so for good, and hides nothing that comes later.
    assert_eq!(open(&store).note("on", None, "{}").unwrap(), 5);
    assert_eq!(found(&store), (vec![2, 3], vec![]));
    // Until somebody with the root key has looked at it.
    assert_eq!(open(&store).settle().unwrap(), 5);
    assert_eq!(found(&store), (vec![], vec![2, 3]));
    let report = check(&open(&store));
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[test]
fn a_required_feature_that_is_not_known_is_named() {
    let fixture = Fixture::new();
    let keys = &fixture.keys;
    let next = Policy {
        sequence: keys.policy.sequence + 1,
        required_features: vec!["warp-drive".into()],
        ..keys.policy.clone()
    };
    fixture.append(&keys.seal(&fixture.next(policy_statement(keys, &next)), &keys.signer));
    match strongroom_repository::Repository::open(Arc::clone(&fixture.store), open_options()) {
        Err(RepositoryError::UnknownFeature { feature }) => assert_eq!(feature, "warp-drive"),
        other => panic!("{other:?}"),
    }
}
