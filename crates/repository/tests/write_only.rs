//! Hosts that write and cannot read what is stored. For what a thief of one's secrets can do see `theft.rs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use strongroom_format::WriterId;
use strongroom_format::registry::{Purpose, Roles};
use strongroom_keys::kms::MemoryKms;
use strongroom_keys::wrap::WrapTo;
use strongroom_keys::{KeysError, Secret};
use strongroom_repository::administration::{Grant, NewWriter};
use strongroom_repository::monitor::Silent;
use strongroom_repository::reader::Reader;
use strongroom_repository::tree::EntryCursor;
use strongroom_repository::{OpenOptions, Repository, RepositoryError};
use strongroom_store::{FaultStore, MemoryStore, Operation, RecordStore, Store};
use support::*;

fn data() -> Files {
    files([("dump.sql", noise(1, 300_000)), ("roles.sql", b"create role".to_vec())])
}

fn other() -> Files {
    files([("site.html", noise(2, 200_000))])
}

/// A listing, as `ls` gives it.
fn paths(repository: &mut Repository) -> Vec<String> {
    repository.load_index().unwrap();
    let reader = Reader::new(repository);
    let mut paths = Vec::new();
    for snapshot in repository.snapshots() {
        let mut cursor = EntryCursor::new(&reader, &snapshot.manifest.tree).unwrap();
        while let Some(entry) = cursor.next_entry().unwrap() {
            paths.push(format!("{}:{}", snapshot.manifest.source, entry.path));
        }
    }
    paths
}

/// What such a host can do, and what not; `is_refusal` looks at why it cannot read.
fn assert_writes_only(
    store: &Arc<dyn Store>,
    open_host: &dyn Fn() -> Repository,
    is_refusal: &dyn Fn(&KeysError) -> bool,
) {
    let admins = backup(&mut open(store), "db", &data()).id;
    let hosts = backup(&mut open_host(), "web", &other()).id;
    let again = backup(&mut open_host(), "web", &other());
    assert_eq!(again.totals.new_bytes, 0, "it knows what it stored itself");
    let mut host = open_host();
    assert_eq!(host.snapshots().len(), 3);
    assert_eq!(paths(&mut host), ["db:dump.sql", "db:roles.sql", "web:site.html", "web:site.html"]);
    let report = host.check(&Default::default(), &Silent).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
    // Not even what it stored itself can be read.
    for id in [admins, hosts] {
        for result in try_restore(&host, id).0.into_values() {
            match result {
                Err(RepositoryError::DataKey { source, .. }) => assert!(is_refusal(&source), "{source:?}"),
                other => panic!("{other:?}"),
            }
        }
    }
    match host.require_read_access() {
        Err(RepositoryError::DataKey { source, .. }) => assert!(is_refusal(&source), "{source:?}"),
        other => panic!("{other:?}"),
    }
    open(store).require_read_access().unwrap();
    // Administering is not its business either.
    let mut host = open_host();
    let error = host.add_recipient(&to_x25519(&Secret::new([4; 32])), Grant::Admin, None).unwrap_err();
    assert!(matches!(error, RepositoryError::Unlock { what: "the root key", .. }), "{error:?}");
    let error = host.settle().unwrap_err();
    assert!(matches!(error, RepositoryError::NoSigner { role: "admin" }), "{error:?}");
    let error = host.write_checkpoint().unwrap_err();
    assert!(matches!(error, RepositoryError::NoSigner { role: "maintain" }), "{error:?}");
    // An admin restores it: its data keys are sealed to the vault.
    assert!(restore(&mut open(store), hosts) == other());
    assert!(restore(&mut open(store), admins) == data());
    assert_clean(store);
}

#[test]
fn a_host_with_an_x25519_key_of_its_own() {
    let (_, store) = memory();
    new_repository(&store);
    let host = Host::add(&store, "db2", Roles::WRITE, &["web"]);
    assert_writes_only(&store, &|| host.open(&store), &|error| {
        matches!(error, KeysError::NoCredential { .. })
    });
}

#[test]
fn a_host_with_a_key_file_of_its_own() {
    let (_, store) = memory();
    new_repository(&store);
    let file = || Secret::new([0x51; 32]);
    add_writer(&store, "db2", Roles::WRITE, &["web"], &WrapTo::KeyFile { key: file() });
    let host = || try_open_with(&store, vec![strongroom_keys::unlock::Credential::KeyFile(file())]).unwrap();
    // Its key file is of the kind that opens the vault, and is another one.
    assert_writes_only(&store, &host, &|error| matches!(error, KeysError::WrongCredential { .. }));
}

/// A repository with a KMS key beside the admin's key file, and a host whose role allows what `deploy/iam` does.
struct KmsHost {
    kms: Arc<MemoryKms>,
    limited: Arc<MemoryKms>,
    denials: Arc<AtomicUsize>,
    store: Arc<dyn Store>,
    id: WriterId,
}

impl KmsHost {
    /// `arn` is the key that the host is let in by; [`ONE`] is the admins' too.
    fn new(arn: &str) -> Self {
        let (_, store) = memory();
        new_repository(&store);
        let kms = kms();
        open(&store).add_recipient(&to_kms(&kms, ONE), Grant::Admin, Some("eu")).unwrap();
        let id = add_writer(&store, "db2", Roles::WRITE, &["web"], &to_kms(&kms, arn));
        let denials = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&denials);
        let limited = Arc::new(kms.restricted(move |action, context| {
            let allowed = context.is_some_and(|context| match context.purpose {
                Purpose::Data => action == "kms:GenerateDataKey" && context.writer == id,
                Purpose::Metadata | Purpose::Identity => action == "kms:Decrypt",
                Purpose::Signing => action == "kms:Decrypt" && context.writer == id,
                Purpose::Vault | Purpose::Root => false,
            });
            counted.fetch_add(usize::from(!allowed), Ordering::Relaxed);
            !allowed
        }));
        Self { kms, limited, denials, store, id }
    }

    fn open(&self, writer: Option<&str>) -> Repository {
        let options = OpenOptions {
            credentials: vec![kms_credential(&self.limited)],
            writer: writer.map(str::to_owned),
            ..open_options()
        };
        Repository::open(Arc::clone(&self.store), options).unwrap()
    }

    fn is_refusal(error: &KeysError) -> bool {
        let KeysError::Kms(error) = error else { return false };
        let said = error.to_string();
        // The first is what would do best: the right on the vault.
        error.is_denied()
            && said.contains("kms:Decrypt")
            && said.contains(ONE)
            && said.contains("purpose vault")
    }
}

#[test]
fn a_host_that_a_kms_lets_in() {
    let fixture = KmsHost::new(ONE);
    assert_writes_only(&fixture.store, &|| fixture.open(Some("db2")), &KmsHost::is_refusal);
    // Who shares a recipient changes neither its name nor what it may.
    let policy = open(&fixture.store).state().policy.clone();
    let shared = policy.recipients.iter().find(|known| known.public == ONE.as_bytes()).unwrap();
    assert_eq!((&*shared.label, shared.writer), ("eu", None));
    assert!(shared.gets(Purpose::Root));
    // Revoked, it cannot sign, and the shared recipient stays.
    open(&fixture.store).revoke_writer(fixture.id, &[]).unwrap();
    let mut revoked = fixture.open(Some("db2"));
    let error = try_backup(&mut revoked, "web", &other()).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSigner { .. }), "{error:?}");
    let admin = try_open_with(&fixture.store, vec![kms_credential(&fixture.kms)]).unwrap();
    admin.require_read_access().unwrap();
}

#[test]
fn a_host_with_a_kms_key_of_its_own_draws_data_keys_from_that() {
    let fixture = KmsHost::new(TWO);
    fixture.kms.set_trouble(ONE, Some(strongroom_keys::kms::KmsTrouble::Disabled));
    let id = backup(&mut fixture.open(Some("db2")), "web", &other()).id;
    let policy = open(&fixture.store).state().policy.clone();
    let own = policy.recipients.iter().find(|known| known.public == TWO.as_bytes()).unwrap();
    assert_eq!((&*own.label, own.writer), ("db2", Some(fixture.id)));
    assert!(restore(&mut open(&fixture.store), id) == other());
    let revoked = open(&fixture.store).revoke_writer(fixture.id, &[]).unwrap();
    assert_eq!((revoked.forgotten, revoked.left), (vec![], vec![]));
    assert!(try_open_with(&fixture.store, vec![kms_credential(&fixture.limited)]).is_err());
    assert!(restore(&mut open(&fixture.store), id) == other());
    assert_clean(&fixture.store);
}

#[test]
fn a_backup_asks_its_kms_for_nothing_that_it_may_not() {
    let fixture = KmsHost::new(ONE);
    backup(&mut open(&fixture.store), "db", &data());
    fixture.kms.forget_calls();
    backup(&mut fixture.open(Some("db2")), "web", &other());
    let calls = fixture.kms.calls();
    let asked: Vec<_> = calls.iter().map(|call| (call.action, call.context.unwrap().purpose)).collect();
    let decrypt = "kms:Decrypt";
    let keys = [(decrypt, Purpose::Metadata), (decrypt, Purpose::Identity), (decrypt, Purpose::Signing)];
    assert_eq!(asked, [&keys[..], &[("kms:GenerateDataKey", Purpose::Data)]].concat());
    assert_eq!(fixture.denials.load(Ordering::Relaxed), 0);
    // Listing draws no data key.
    fixture.kms.forget_calls();
    let mut lister = fixture.open(Some("db2"));
    assert_eq!(paths(&mut lister).len(), 3);
    lister.check(&Default::default(), &Silent).unwrap();
    assert_eq!(fixture.kms.calls().len(), 3);
    assert_eq!(fixture.denials.load(Ordering::Relaxed), 0);
    // Without its name it tries which signer it is; the vault it asks for in no case.
    fixture.kms.forget_calls();
    backup(&mut fixture.open(None), "web", &data());
    assert!(fixture.kms.calls().iter().all(|call| call.context.unwrap().purpose != Purpose::Vault));
}

#[test]
fn what_the_service_refuses_is_named() {
    let fixture = KmsHost::new(ONE);
    let denying = |purpose: Purpose| {
        Arc::new(fixture.kms.restricted(move |_, context| context.is_some_and(|c| c.purpose == purpose)))
    };
    let kms_error = |error: RepositoryError| match error {
        RepositoryError::Unlock { source: KeysError::Kms(error), .. }
        | RepositoryError::Wrap { source: KeysError::Kms(error), .. } => error.to_string(),
        error => panic!("{error:?}"),
    };
    let no_data = denying(Purpose::Data);
    let mut host = try_open_with(&fixture.store, vec![kms_credential(&no_data)]).unwrap();
    let said = kms_error(try_backup(&mut host, "web", &other()).unwrap_err());
    assert!(said.contains("kms:GenerateDataKey") && said.contains(ONE) && said.contains("data"), "{said}");
    assert_eq!(open(&fixture.store).snapshots().len(), 0);
    // Without identity, metadata and vault nothing opens.
    let none = Arc::new(fixture.kms.restricted(|_, _| true));
    let said = kms_error(try_open_with(&fixture.store, vec![kms_credential(&none)]).unwrap_err());
    assert!(said.contains("kms:Decrypt") && said.contains(ONE) && said.contains("metadata"), "{said}");
}

#[test]
fn a_writer_writes_its_sources_only() {
    let record = Arc::new(RecordStore::new(MemoryStore::new()));
    let store: Arc<dyn Store> = Arc::clone(&record) as Arc<dyn Store>;
    new_repository(&store);
    let host = Host::add(&store, "db2", Roles::WRITE, &["web", "mail"]);
    let mut repository = host.open(&store);
    record.take_calls();
    match try_backup(&mut repository, "db", &data()) {
        Err(RepositoryError::NotItsSource { writer, wanted, allowed }) => {
            assert_eq!((&*writer, &*wanted, &*allowed), ("db2", "db", "web, mail"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(record.count(Operation::Put), 0, "nothing is stored for nothing");
    backup(&mut repository, "mail", &data());
    let reader = Host::add(&store, "lister", Roles(0), &[]);
    let error = try_backup(&mut reader.open(&store), "web", &data()).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSigner { role: "write" }), "{error:?}");
    let error = open(&store)
        .add_writer(&NewWriter {
            name: "db2",
            roles: Roles::WRITE,
            sources: vec!["*".into()],
            recipient: &to_x25519(&Secret::new([8; 32])),
        })
        .unwrap_err();
    assert!(matches!(&error, RepositoryError::WriterExists { name } if name == "db2"), "{error:?}");
    assert_clean(&store);
}

#[test]
fn a_source_taken_away_during_a_run_makes_no_void_entry() {
    let (_, store) = memory();
    new_repository(&store);
    let host = Host::add(&store, "db2", Roles::WRITE, &["web"]);
    let mut repository = host.open(&store);
    open(&store).revoke_writer(host.id, &[]).unwrap();
    let entries = names(&*store, "journal/").len();
    let error = try_backup(&mut repository, "web", &data()).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSigner { role: "write" }), "{error:?}");
    assert_eq!(names(&*store, "journal/").len(), entries);
    assert_clean(&store);
}

#[test]
fn an_added_writer_is_whole_or_can_be_added_again() {
    let (_, store) = memory();
    new_repository(&store);
    let base = {
        let copy = MemoryStore::new();
        for name in names(&*store, "") {
            put(&copy, &name, &read(&*store, &name));
        }
        copy
    };
    use strongroom_store::{Fault, When};
    for when in [When::BeforeEffect, When::AfterEffect] {
        for mutation in 1.. {
            let faulty = Arc::new(FaultStore::new(base.clone(), []));
            let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
            let mut admin = open(&store);
            faulty.add(Fault::Crash { mutation, when });
            let private = Secret::new([0x61; 32]);
            let recipient = to_x25519(&private);
            let add = |admin: &mut Repository| {
                let sources = vec!["web".to_owned()];
                admin.add_writer(&NewWriter {
                    name: "db2",
                    roles: Roles::WRITE,
                    sources,
                    recipient: &recipient,
                })
            };
            let added = add(&mut admin);
            let crashed = faulty.is_crashed();
            faulty.clear();
            if !crashed {
                added.unwrap();
                assert!(mutation > 4);
                break;
            }
            // The answer to the last entry may have been lost: then it is there already.
            match add(&mut open(&store)) {
                Ok(_) | Err(RepositoryError::WriterExists { .. }) => {}
                Err(error) => panic!("{when:?} at {mutation}: {error:?}"),
            }
            let host = Host { private, id: WriterId([0; 16]), name: "db2".into() };
            let id = backup(&mut host.open(&store), "web", &other()).id;
            assert!(restore(&mut open(&store), id) == other());
            assert_clean(&store);
        }
    }
}
