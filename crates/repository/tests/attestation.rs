//! What writers deduplicate against: their own packs, and what a verifier has attested.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::sync::Arc;

use strongroom_format::ContentHash;
use strongroom_format::entry::{Attestation, IndexRef, Statement};
use strongroom_format::index::{Index, IndexedPack};
use strongroom_format::manifest::{Manifest, SnapshotBody};
use strongroom_format::pack::Footer;
use strongroom_format::policy::Policy;
use strongroom_format::registry::{ObjectKind, Roles, Trust};
use strongroom_format::{IndexId, SourceTag};
use strongroom_keys::derive::content_hash;
use strongroom_keys::seal::sign_footer;
use strongroom_keys::sign::sign_policy;
use strongroom_repository::check::{CheckOptions, Severity};
use strongroom_repository::monitor::Silent;
use strongroom_repository::{OpenOptions, Repository, RepositoryError};
use strongroom_store::{MemoryStore, Store};
use support::*;

/// Files in which nothing of another set's occurs.
fn set(seed: u64) -> Files {
    files([("dump.sql", noise(seed, 400_000)), ("small.sql", noise(seed + 1000, 3_000))])
}

/// An admin, who verifies too, and two hosts.
struct Fixture {
    memory: Arc<MemoryStore>,
    store: Arc<dyn Store>,
    a: Host,
    b: Host,
}

impl Fixture {
    fn new() -> Self {
        let (memory, store) = memory();
        new_repository(&store);
        let a = Host::add(&store, "a", Roles::WRITE, &["*"]);
        let b = Host::add(&store, "b", Roles::WRITE, &["*"]);
        Self { memory, store, a, b }
    }

    /// Bytes that a host stores anew when it backs up a set for the first time.
    fn new_bytes(&self, host: &Host, source: &str, seed: u64) -> u64 {
        let report = backup(&mut host.open(&self.store), source, &set(seed));
        assert!(restore(&mut open(&self.store), report.id) == set(seed));
        report.totals.new_bytes
    }

    fn verify(&self) -> usize {
        let mut admin = open(&self.store);
        let report = check(&admin);
        admin.attest(&report.opened).unwrap()
    }

    fn packs(&self) -> usize {
        open(&self.store).state().packs.len()
    }
}

const ALL: u64 = 403_000;

#[test]
fn others_packs_count_when_a_verifier_has_read_them() {
    let fixture = Fixture::new();
    for seed in [1, 2, 3] {
        assert_eq!(fixture.new_bytes(&fixture.a, "a", seed), ALL);
    }
    assert_eq!(fixture.new_bytes(&fixture.b, "b", 1), ALL, "nobody vouches for it yet");
    // Looking without reading proves nothing.
    let mut admin = open(&fixture.store);
    for options in [CheckOptions::default(), CheckOptions { packs: true, ..CheckOptions::default() }] {
        let report = admin.check(&options, &Silent).unwrap();
        assert!(report.opened.is_empty());
        assert_eq!(admin.attest(&report.opened).unwrap(), 0);
    }
    assert_eq!(fixture.new_bytes(&fixture.b, "b", 2), ALL);
    let packs = fixture.packs();
    assert_eq!(fixture.verify(), packs);
    assert_eq!(fixture.new_bytes(&fixture.b, "b", 3), 0);
    // The other way round too, trees included: nothing is stored but the entry.
    let before = names(&*fixture.store, "").len();
    assert_eq!(fixture.new_bytes(&fixture.a, "b", 3), 0);
    assert_eq!(names(&*fixture.store, "").len(), before + 1);
    // What came since is attested by the next one; and of the others it is known when they were opened last.
    assert_eq!(fixture.new_bytes(&fixture.a, "a", 4), ALL);
    assert_eq!(fixture.verify(), fixture.packs());
    let state = open(&fixture.store).state().clone();
    assert!(state.attested.len() == fixture.packs() && state.packs.len() > packs);
    assert!(state.attested.values().all(|by| by.last == state.number));
    assert_clean(&fixture.store);
    // It is in checkpoints as well.
    open(&fixture.store).write_checkpoint().unwrap();
    assert_eq!(fixture.new_bytes(&fixture.b, "b", 4), 0);
}

#[test]
fn a_sample_attests_what_it_opened_and_no_more() {
    let fixture = Fixture::new();
    for seed in 1..=4 {
        fixture.new_bytes(&fixture.a, "a", seed);
    }
    let mut admin = open(&fixture.store);
    let options = CheckOptions { sample_percent: Some(25), ..CheckOptions::default() };
    let report = admin.check(&options, &Silent).unwrap();
    assert_eq!(admin.attest(&report.opened).unwrap(), fixture.packs().div_ceil(4));
    assert_eq!(open(&fixture.store).state().attested.len(), fixture.packs().div_ceil(4));
}

/// Also where there is only one writer, to whom it says nothing new.
#[test]
fn samples_read_everything_in_the_course_of_time() {
    let (_, store) = memory();
    new_repository(&store);
    let mut repository = open(&store);
    for seed in 1..=6 {
        backup(&mut repository, "db", &set(seed));
    }
    let options = CheckOptions { sample_percent: Some(10), ..CheckOptions::default() };
    let packs = repository.state().packs.len();
    assert!(packs > 10, "two at a time");
    let mut rounds = 0;
    while repository.state().attested.len() < packs {
        let report = repository.check(&options, &Silent).unwrap();
        assert_eq!(repository.attest(&report.opened).unwrap(), packs.div_ceil(10));
        rounds += 1;
        assert!(rounds <= packs, "at least one of two is a new one");
    }
    assert_clean(&store);
}

#[test]
fn damaged_packs_are_not_attested() {
    let fixture = Fixture::new();
    fixture.new_bytes(&fixture.a, "a", 1);
    let pack = names(&*fixture.store, "packs/")[0].clone();
    let mut bytes = read(&*fixture.store, &pack);
    let good = bytes.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fixture.memory.overwrite(&pack, &bytes);
    assert_eq!(fixture.verify(), fixture.packs() - 1);
    let report = backup(&mut fixture.b.open(&fixture.store), "b", &set(1));
    assert!(report.totals.new_bytes > 0);
    assert!(restore(&mut open(&fixture.store), report.id) == set(1));
    fixture.memory.overwrite(&pack, &good);
    assert_clean(&fixture.store);
}

#[test]
fn whoever_may_not_verify_attests_nothing() {
    let fixture = Fixture::new();
    fixture.new_bytes(&fixture.a, "a", 1);
    // By the programs of a host that cannot even read data.
    let mut host = fixture.a.open(&fixture.store);
    let report = host.check(&thorough(), &Silent).unwrap();
    let data_packs = names(&*fixture.store, "packs/");
    assert!(
        report
            .opened
            .iter()
            .all(|said| !data_packs.iter().any(|n| n.as_str().ends_with(&said.pack.to_hex())))
    );
    let opened = check(&open(&fixture.store)).opened;
    let error = host.attest(&opened).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSigner { role: "verify" }), "{error:?}");
    // By hand: it is void.
    let number =
        fixture.a.stolen(&fixture.store).append(&*fixture.store, Statement::Attested(opened.clone()));
    assert_eq!(fixture.new_bytes(&fixture.b, "b", 1), ALL);
    let admin = open(&fixture.store);
    assert!(admin.state().attested.is_empty());
    assert_eq!(severity_of(&check(&admin), entry_name(number).as_str()), Some(Severity::Suspicious));
    // A verifier that only verifies may.
    let key = strongroom_keys::Secret::new([0x71; 32]);
    let mut admin = open(&fixture.store);
    add_writer(&fixture.store, "auditor", Roles::VERIFY, &[], &to_x25519(&key));
    admin.refresh().unwrap();
    admin.add_recipient(&to_x25519(&key), strongroom_repository::administration::Grant::Read, None).unwrap();
    let credentials = vec![strongroom_keys::unlock::Credential::X25519(key)];
    let mut auditor = try_open_with(&fixture.store, credentials).unwrap();
    let report = check(&auditor);
    assert_eq!(auditor.attest(&report.opened).unwrap(), fixture.packs());
    let error = try_backup(&mut auditor, "db", &set(9)).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSigner { role: "write" }), "{error:?}");
}

#[test]
fn another_description_of_an_attested_pack_is_not_trusted() {
    let fixture = Fixture::new();
    fixture.new_bytes(&fixture.a, "a", 1);
    let thief = fixture.a.stolen(&fixture.store);
    // What the honest index says, with chunk IDs of what the other host is about to store.
    let copy: Arc<dyn Store> = Arc::new((*fixture.memory).clone());
    backup(&mut fixture.a.open(&copy), "a", &set(2));
    let wanted: Vec<_> = data_packs(&copy, &thief)
        .into_iter()
        .filter(|(pack, _)| !open(&fixture.store).state().packs.contains_key(&pack.id))
        .flat_map(|(_, footer)| footer.chunks)
        .collect();
    let packs = data_packs(&fixture.store, &thief)
        .into_iter()
        .map(|(pack, mut footer)| {
            for (chunk, wanted) in footer.chunks.iter_mut().zip(&wanted) {
                chunk.id = wanted.id;
            }
            let signed = footer.signed_part().unwrap();
            footer.signature = sign_footer(&thief.signer, ObjectKind::DataPack, &pack.header, &signed);
            IndexedPack { footer: footer.encode().unwrap(), ..pack }
        })
        .collect();
    let lie = Index { source_tag: SourceTag([5; 16]), packs };
    let bytes = thief.seal_object(ObjectKind::Index, "", &lie.encode().unwrap());
    let id = IndexId(content_hash(&bytes).0);
    put(&*fixture.store, &name(&format!("index/{}/{id}", lie.source_tag)), &bytes);
    let indexes = vec![IndexRef { id, source_tag: lie.source_tag, length: bytes.len() as u64 }];
    let manifest = open(&fixture.store).snapshots()[0].manifest.clone();
    let manifest = Manifest { nonce: [8; 16], ..manifest }.encode();
    let body = SnapshotBody { manifest, packs: vec![], indexes, keys: vec![] };
    thief.append(&*fixture.store, Statement::Snapshot(Box::new(body)));

    assert!(fixture.verify() > 0, "the pack is what it says of itself");
    assert_eq!(fixture.new_bytes(&fixture.b, "b", 1), 0, "in that description it is trusted");
    assert_eq!(fixture.new_bytes(&fixture.b, "b", 2), ALL, "and in no other");
    // Nor when the lie was known first, nor for what a verifier of another opinion says later.
    let other = Attestation {
        pack: *open(&fixture.store).state().attested.keys().next().unwrap(),
        description: ContentHash([1; 32]),
    };
    let before = open(&fixture.store).state().attested.clone();
    Keys::of(&fixture.store).append(&*fixture.store, Statement::Attested(vec![other]));
    assert_eq!(open(&fixture.store).state().attested, before);
}

/// Data packs, as the index describes them.
fn data_packs(store: &Arc<dyn Store>, keys: &Keys) -> Vec<(IndexedPack, Footer)> {
    let mut found = Vec::new();
    for name in names(&**store, "index/") {
        let opened = keys.metadata.open(ObjectKind::Index, "", &read(&**store, &name)).unwrap();
        for pack in Index::decode(opened.body().unwrap().content).unwrap().packs {
            if pack.decoded_header().unwrap().kind == ObjectKind::DataPack {
                found.push((pack.clone(), Footer::decode(&pack.footer).unwrap()));
            }
        }
    }
    found
}

fn with_cache(store: &Arc<dyn Store>, host: &Host, folder: &Path) -> Repository {
    let options = OpenOptions {
        credentials: host.credentials(),
        cache_folder: Some(folder.to_owned()),
        ..open_options()
    };
    Repository::open(Arc::clone(store), options).unwrap()
}

#[test]
fn a_shared_cache_trusts_for_whoever_asks() {
    let fixture = Fixture::new();
    let folder = tempfile::tempdir().unwrap();
    let new_bytes = |host: &Host, seed| {
        let mut repository = with_cache(&fixture.store, host, folder.path());
        backup(&mut repository, "x", &set(seed)).totals.new_bytes
    };
    assert_eq!(new_bytes(&fixture.a, 1), ALL);
    assert_eq!(new_bytes(&fixture.a, 1), 0);
    assert_eq!(new_bytes(&fixture.b, 1), ALL, "the same cache, another writer");
    assert_eq!(new_bytes(&fixture.b, 1), 0);
    assert_eq!(new_bytes(&fixture.a, 2), ALL);
    assert_eq!(new_bytes(&fixture.a, 1), 0, "his own are his again");
    fixture.verify();
    assert_eq!(new_bytes(&fixture.b, 2), 0, "and attested ones everybody's");
}

#[test]
fn the_policy_may_trust_nobody_or_everybody() {
    let fixture = Fixture::new();
    let folder = tempfile::tempdir().unwrap();
    let set_trust = |trust| {
        let keys = Keys::of(&fixture.store);
        let policy = Policy { trust, sequence: keys.policy.sequence + 1, ..keys.policy.clone() }.encode();
        let root_signature = sign_policy(&keys.root, keys.repository, &policy);
        let body = strongroom_format::entry::PolicyBody { policy, root_signature };
        keys.append(&*fixture.store, Statement::Policy(body));
    };
    let new_bytes = |host: &Host, seed| {
        let mut repository = with_cache(&fixture.store, host, folder.path());
        backup(&mut repository, "x", &set(seed)).totals.new_bytes
    };
    for seed in 1..=4 {
        new_bytes(&fixture.a, seed);
    }
    fixture.verify();
    assert_eq!(new_bytes(&fixture.b, 1), 0);
    set_trust(Trust::Own);
    assert_eq!(new_bytes(&fixture.b, 2), ALL, "the same cache, under another policy");
    assert_eq!(new_bytes(&fixture.a, 2), 0);
    set_trust(Trust::All);
    assert_eq!(new_bytes(&fixture.a, 5), ALL);
    assert_eq!(new_bytes(&fixture.b, 5), 0, "without anybody's word");
    set_trust(Trust::Attested);
    assert_eq!(new_bytes(&fixture.a, 6), ALL);
    assert_eq!(new_bytes(&fixture.b, 6), ALL);
    assert_eq!(new_bytes(&fixture.b, 3), 0);
    assert_clean(&fixture.store);
}
