//! Who may open the repository, under which keys: recipients, rewrapping, rotation, settling.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use strongroom_format::key_object::KeyObject;
use strongroom_format::policy::Recipient;
use strongroom_format::registry::{ObjectKind, Purpose, Roles};
use strongroom_format::{KeyId, RecipientId};
use strongroom_keys::derive::root_key_id;
use strongroom_keys::kms::{KmsTrouble, MemoryKms};
use strongroom_keys::unlock::{Credential, key_name};
use strongroom_keys::wrap::{Argon2Costs, WrapTo, aws_kms_recipient};
use strongroom_keys::{KeysError, Secret};
use strongroom_repository::administration::{Grant, Rewrapped};
use strongroom_repository::check::{FindingKind, Severity};
use strongroom_repository::monitor::{Monitor, Silent};
use strongroom_repository::{InitOptions, OpenOptions, Repository, RepositoryError, init};
use strongroom_store::{MemoryStore, RecordStore, Store};
use support::*;

/// A repository with a KMS key and an offline recovery key.
struct Fixture {
    kms: Arc<MemoryKms>,
    memory: Arc<RecordStore<MemoryStore>>,
    store: Arc<dyn Store>,
}

fn recovery() -> Secret {
    Secret::new([0x77; 32])
}

fn day(day: u64) -> Files {
    files([("dump.sql", noise(day, 4_000)), ("roles.sql", b"create role".to_vec())])
}

impl Fixture {
    fn new() -> Self {
        let memory = Arc::new(RecordStore::new(MemoryStore::new()));
        let store: Arc<dyn Store> = Arc::clone(&memory) as Arc<dyn Store>;
        let kms = kms();
        let recipients = [to_kms(&kms, ONE), to_x25519(&recovery())];
        init(&store, &recipients, InitOptions::of_host("db1"), &*fresh_random()).unwrap();
        Self { kms, memory, store }
    }

    fn by_kms(&self) -> Repository {
        try_open_with(&self.store, vec![kms_credential(&self.kms)]).unwrap()
    }

    fn by_recovery(&self) -> Repository {
        try_open_with(&self.store, vec![Credential::X25519(recovery())]).unwrap()
    }

    fn wraps_for(&self, recipient: RecipientId) -> usize {
        let suffix = format!("/{recipient}");
        names(&*self.store, "keys/").iter().filter(|name| name.as_str().ends_with(&suffix)).count()
    }

    fn assert_clean(&self) {
        for repository in [self.by_kms(), self.by_recovery()] {
            let report = check(&repository);
            assert!(report.is_clean(), "{:#?}", report.findings);
        }
    }
}

fn recipient_of(repository: &Repository, id: RecipientId) -> Option<Recipient> {
    repository.state().policy.recipients.iter().find(|known| known.id == id).cloned()
}

fn unlock_error(opened: Result<Repository, RepositoryError>) -> KeysError {
    match opened {
        Err(RepositoryError::Unlock { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn either_recipient_opens_everything() {
    let fixture = Fixture::new();
    let monday = backup(&mut fixture.by_kms(), "db", &day(1)).id;
    assert!(restore(&mut fixture.by_kms(), monday) == day(1));
    fixture.assert_clean();
    // The recovery key alone, and the service gone.
    fixture.kms.set_unreachable(true);
    let mut recovered = fixture.by_recovery();
    assert!(restore(&mut recovered, monday) == day(1));
    recovered.tag(monday, &["kept".into()], &[]).unwrap();
    let tuesday = backup(&mut recovered, "db", &day(2)).id;
    recovered.add_recipient(&WrapTo::KeyFile { key: key() }, Grant::Admin, None).unwrap();
    assert!(restore(&mut open(&fixture.store), tuesday) == day(2));
    match unlock_error(try_open_with(&fixture.store, vec![kms_credential(&fixture.kms)])) {
        KeysError::Kms(error) => {
            assert!(matches!(error.trouble, KmsTrouble::Unreachable { .. }), "{error}");
            assert_eq!((error.action, &*error.key), ("kms:Decrypt", ONE));
        }
        error => panic!("{error:?}"),
    }
    fixture.kms.set_unreachable(false);
    // What was written without it opens by it: data keys are sealed to the vault.
    assert!(restore(&mut fixture.by_kms(), tuesday) == day(2));
}

#[test]
fn what_lies_at_hand_is_tried_before_the_service() {
    let fixture = Fixture::new();
    let folder = tempfile::tempdir().unwrap();
    let with = |credentials| {
        let cache_folder = Some(folder.path().to_owned());
        let options = OpenOptions { credentials, cache_folder, ..open_options() };
        Repository::open(Arc::clone(&fixture.store), options).unwrap()
    };
    let both = || vec![kms_credential(&fixture.kms), Credential::X25519(recovery())];
    // This host's cache remembers that the service opened everything the last time.
    let id = backup(&mut with(vec![kms_credential(&fixture.kms)]), "db", &day(1)).id;
    assert!(fixture.kms.call_count() > 0);
    for unreachable in [false, true] {
        fixture.kms.forget_calls();
        fixture.kms.set_unreachable(unreachable);
        let mut repository = with(both());
        assert!(restore(&mut repository, id) == day(1));
        backup(&mut repository, "db", &day(2));
        assert_eq!(fixture.kms.calls(), []);
    }
    fixture.kms.set_unreachable(false);
    // One that only reads asks the service a single time.
    drop(with(vec![kms_credential(&fixture.kms)]));
    fixture.kms.forget_calls();
    let options = OpenOptions {
        credentials: vec![kms_credential(&fixture.kms)],
        reads_content: true,
        ..open_options()
    };
    let mut reader = Repository::open(Arc::clone(&fixture.store), options).unwrap();
    assert!(restore(&mut reader, id) == day(1));
    let purposes: Vec<_> = fixture.kms.calls().iter().map(|call| call.context.unwrap().purpose).collect();
    assert_eq!(purposes, [Purpose::Vault, Purpose::Signing]);
}

#[test]
fn recipients_come_and_go() {
    let fixture = Fixture::new();
    let id = backup(&mut fixture.by_kms(), "db", &day(1)).id;
    let file = WrapTo::KeyFile { key: key() };
    let mut admin = fixture.by_kms();
    admin.add_recipient(&file, Grant::Admin, Some("the safe")).unwrap();
    assert_eq!(recipient_of(&admin, file.recipient()).unwrap().label, "the safe");
    assert!(restore(&mut open(&fixture.store), id) == day(1));
    // Again: nothing is added, and the label stays.
    let before = names(&*fixture.store, "keys/");
    admin.add_recipient(&file, Grant::Admin, None).unwrap();
    assert_eq!(names(&*fixture.store, "keys/"), before);
    assert_eq!(recipient_of(&admin, file.recipient()).unwrap().label, "the safe");
    fixture.assert_clean();
    // One that may read, and not sign.
    let auditor = Secret::new([0x55; 32]);
    admin.add_recipient(&to_x25519(&auditor), Grant::Read, None).unwrap();
    let mut reader = try_open_with(&fixture.store, vec![Credential::X25519(auditor.clone())]).unwrap();
    assert!(restore(&mut reader, id) == day(1));
    let error = try_backup(&mut reader, "db", &day(2)).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSigner { .. }), "{error}");
    // Removed: it opens nothing, and its wraps are gone.
    let removed = admin.remove_recipient(to_x25519(&auditor).recipient()).unwrap();
    assert_eq!((removed.deleted, removed.left), (1, vec![]));
    assert_eq!(fixture.wraps_for(to_x25519(&auditor).recipient()), 0);
    unlock_error(try_open_with(&fixture.store, vec![Credential::X25519(auditor.clone())]));
    let error = admin.remove_recipient(to_x25519(&auditor).recipient()).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSuchRecipient { .. }), "{error}");
    // The last one stays.
    for recipient in [aws_kms_recipient(ONE), to_x25519(&recovery()).recipient()] {
        open(&fixture.store).remove_recipient(recipient).unwrap();
        assert_eq!(fixture.wraps_for(recipient), 0);
    }
    let error = unlock_error(admin.rotate().map(|_| unreachable!()));
    assert!(matches!(&error, KeysError::NoCredential { kinds } if kinds == "a key file"), "{error:?}");
    let mut last = open(&fixture.store);
    let error = last.remove_recipient(file.recipient()).unwrap_err();
    assert!(matches!(error, RepositoryError::LastRecipient { .. }), "{error}");
    assert!(fixture.wraps_for(file.recipient()) > 0);
    assert!(restore(&mut last, id) == day(1));
    assert_clean(&fixture.store);
}

#[test]
fn a_recipient_that_may_only_read_does_not_keep_the_last_admin_from_staying() {
    let (_, store) = memory();
    new_repository(&store);
    let mut admin = open(&store);
    admin.add_recipient(&to_x25519(&recovery()), Grant::Read, None).unwrap();
    let error = admin.remove_recipient(WrapTo::KeyFile { key: key() }.recipient()).unwrap_err();
    assert!(matches!(error, RepositoryError::LastRecipient { purpose: Purpose::Root }), "{error}");
}

#[test]
fn a_passphrase_is_added_and_used() {
    let fixture = Fixture::new();
    let id = backup(&mut fixture.by_kms(), "db", &day(1)).id;
    let costs = Argon2Costs { memory_kib: 64, passes: 1, lanes: 1 };
    let passphrase = WrapTo::passphrase("correct horse", costs, &*fresh_random()).unwrap();
    fixture.by_kms().add_recipient(&passphrase, Grant::Admin, None).unwrap();
    let with = |passphrase: &str| {
        try_open_with(&fixture.store, vec![Credential::Passphrase(passphrase.to_owned().into())])
    };
    let mut opened = with("correct horse").unwrap();
    assert!(restore(&mut opened, id) == day(1));
    backup(&mut opened, "db", &day(2));
    let error = unlock_error(with("battery staple"));
    assert!(matches!(error, KeysError::WrongCredential { tried: 1 }), "{error:?}");
    // Whoever has only that can administer too.
    opened.remove_recipient(aws_kms_recipient(ONE)).unwrap();
    with("correct horse").unwrap().rotate().unwrap();
    assert!(restore(&mut with("correct horse").unwrap(), id) == day(1));
}

#[test]
fn a_squatted_name_is_told_and_left_alone() {
    let fixture = Fixture::new();
    let host = {
        fixture.by_kms().add_recipient(&WrapTo::KeyFile { key: key() }, Grant::Admin, None).unwrap();
        Host::add(&fixture.store, "db2", Roles::WRITE, &["web"])
    };
    let mut admin = fixture.by_kms();
    let policy = admin.state().policy.clone();
    // A writer signs what looks like a wrap of the vault's key, and holds nothing.
    let stolen = host.stolen(&fixture.store);
    let new = to_x25519(&Secret::new([0x56; 32]));
    let lie = {
        let made_up = strongroom_keys::wrap::NamedKey {
            id: policy.vault.id,
            purpose: Purpose::Vault,
            secret: Secret::new([1; 32]),
        };
        let signed = new.wrap(&made_up, stolen.repository, &stolen.signer, &*fresh_random()).unwrap();
        let object = KeyObject::decode(&signed.body).unwrap();
        let body = KeyObject { commitment: policy.vault.commitment, ..object }.encode();
        let signature = stolen.signer.sign_object(ObjectKind::Key, &[&stolen.repository.0, &body]);
        strongroom_format::key_object::SignedKey { body, signature }.encode()
    };
    for squat in [b"junk".to_vec(), vec![], lie] {
        let name = key_name(policy.vault.id, new.recipient()).unwrap();
        put(&*fixture.store, &name, &squat);
        match admin.add_recipient(&new, Grant::Admin, None) {
            Err(RepositoryError::Inconsistent { object, reason }) => {
                assert_eq!(object, name.as_str());
                assert!(reason.contains("taken"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(read(&*fixture.store, &name), squat, "nothing is replaced");
        assert!(recipient_of(&fixture.by_kms(), new.recipient()).is_none());
        fixture.store.delete(&name).unwrap();
    }
    admin.add_recipient(&new, Grant::Admin, None).unwrap();
    try_open_with(&fixture.store, vec![Credential::X25519(Secret::new([0x56; 32]))]).unwrap();
    // The same before keys move to another KMS key.
    let name = key_name(policy.vault.id, aws_kms_recipient(TWO)).unwrap();
    put(&*fixture.store, &name, b"junk");
    let error = admin.rewrap(aws_kms_recipient(ONE), &to_kms(&fixture.kms, TWO), &Silent).unwrap_err();
    assert!(
        matches!(&error, RepositoryError::Inconsistent { object, .. } if object == name.as_str()),
        "{error}"
    );
    assert!(recipient_of(&fixture.by_kms(), aws_kms_recipient(TWO)).is_none());
    fixture.store.delete(&name).unwrap();
    admin.rewrap(aws_kms_recipient(ONE), &to_kms(&fixture.kms, TWO), &Silent).unwrap();
}

#[test]
fn a_wrap_of_another_key_locks_nobody_out() {
    let fixture = Fixture::new();
    fixture.by_kms().add_recipient(&WrapTo::KeyFile { key: key() }, Grant::Admin, None).unwrap();
    let host = Host::add(&fixture.store, "db2", Roles::WRITE, &["web"]);
    let id = backup(&mut fixture.by_kms(), "db", &day(1)).id;
    let policy = fixture.by_kms().state().policy.clone();
    // The thief has a KMS key of his own, that everybody may use, and adds wraps of his own keys for it.
    let stolen = host.stolen(&fixture.store);
    let own = to_kms(&fixture.kms, TWO);
    let keys = [
        (policy.metadata.id, Purpose::Metadata),
        (policy.identity.id, Purpose::Identity),
        (policy.vault.id, Purpose::Vault),
        (root_key_id(&policy.root), Purpose::Root),
        (KeyId(policy.signers[0].id.0), Purpose::Signing),
    ];
    for (id, purpose) in keys {
        let made_up = strongroom_keys::wrap::NamedKey { id, purpose, secret: Secret::new([9; 32]) };
        let wrapped = own.wrap(&made_up, stolen.repository, &stolen.signer, &*fresh_random()).unwrap();
        put(&*fixture.store, &key_name(id, own.recipient()).unwrap(), &wrapped.encode());
    }
    for reads_content in [false, true] {
        let options =
            OpenOptions { credentials: vec![kms_credential(&fixture.kms)], reads_content, ..open_options() };
        let mut admin = Repository::open(Arc::clone(&fixture.store), options).unwrap();
        assert!(restore(&mut admin, id) == day(1));
        backup(&mut admin, "db", &day(2));
        admin.add_recipient(&to_x25519(&Secret::new([3; 32])), Grant::Admin, None).unwrap();
    }
    let report = check(&fixture.by_kms());
    for (id, _) in keys {
        let name = key_name(id, own.recipient()).unwrap();
        assert_eq!(severity_of(&report, name.as_str()), Some(Severity::Suspicious), "{:#?}", report.findings);
    }
    assert_eq!(damage(&report), Vec::<&_>::new());
}

/// Stops after so many questions.
struct Impatient(AtomicUsize);

impl Monitor for Impatient {
    fn is_cancelled(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
    }
}

#[test]
fn keys_of_a_hundred_runs_move_to_another_kms_key_without_touching_a_pack() {
    let fixture = Fixture::new();
    let mut snapshots = Vec::new();
    let mut writer = fixture.by_kms();
    for run in 0..100 {
        snapshots.push((backup(&mut writer, "db", &day(run)).id, day(run)));
    }
    let mut admin = fixture.by_kms();
    // Vault, root, signing, metadata, identity, and a data key a run.
    let all = 105;
    assert_eq!(fixture.wraps_for(aws_kms_recipient(ONE)), all);
    fixture.memory.take_calls();
    fixture.kms.forget_calls();
    let to = to_kms(&fixture.kms, TWO);
    let stopped = admin.rewrap(aws_kms_recipient(ONE), &to, &Impatient(AtomicUsize::new(40)));
    assert!(matches!(stopped, Err(RepositoryError::Interrupted)), "{stopped:?}");
    assert_eq!(fixture.wraps_for(to.recipient()), 40);
    assert!(recipient_of(&fixture.by_kms(), to.recipient()).is_none(), "it is named when it has everything");
    // Another process goes on; throttling is no reason to stop.
    fixture.kms.throttle(2);
    let mut admin = fixture.by_kms();
    let report = admin.rewrap(aws_kms_recipient(ONE), &to, &Silent).unwrap();
    assert_eq!(report, Rewrapped { wrapped: all - 40, kept: 40 });
    let moved = fixture.kms.calls().iter().filter(|call| call.action == "kms:ReEncrypt*").count();
    assert_eq!(moved, all);
    let generated = fixture.kms.calls().iter().filter(|call| call.action == "kms:GenerateDataKey").count();
    assert_eq!(generated, 0);
    let touched: Vec<_> = fixture
        .memory
        .take_calls()
        .into_iter()
        .map(|call| call.object)
        .filter(|object| ["packs", "meta", "index"].iter().any(|folder| object.starts_with(folder)))
        .collect();
    assert_eq!(touched, Vec::<String>::new());
    let named = recipient_of(&admin, to.recipient()).unwrap();
    assert_eq!(named.public, TWO.as_bytes());
    assert_eq!(named.purposes, recipient_of(&admin, aws_kms_recipient(ONE)).unwrap().purposes);
    // A run that began before goes on; then the first key goes.
    snapshots.push((backup(&mut writer, "db", &day(100)).id, day(100)));
    let removed = admin.remove_recipient(aws_kms_recipient(ONE)).unwrap();
    assert_eq!((removed.deleted, removed.left), (all + 1, vec![]));
    fixture.kms.set_trouble(ONE, Some(KmsTrouble::Disabled));
    fixture.kms.forget_calls();
    let mut repository = fixture.by_kms();
    for (id, files) in &snapshots {
        assert!(restore(&mut repository, *id) == *files);
    }
    let id = backup(&mut repository, "db", &day(101)).id;
    assert!(restore(&mut fixture.by_kms(), id) == day(101));
    assert!(fixture.kms.calls().iter().all(|call| call.key == TWO));
    fixture.kms.set_trouble(ONE, None);
    fixture.assert_clean();
}

#[test]
fn data_keys_come_from_the_kms_key_that_let_the_host_in() {
    let fixture = Fixture::new();
    fixture.by_kms().add_recipient(&to_kms(&fixture.kms, TWO), Grant::Admin, None).unwrap();
    // Its region is away: the other one's key does.
    for (away, left) in [(ONE, TWO), (TWO, ONE)] {
        fixture.kms.set_trouble(away, Some(KmsTrouble::Disabled));
        let mut repository = fixture.by_kms();
        fixture.kms.forget_calls();
        let id = backup(
            &mut repository,
            "db",
            &files([("a", noise(away.len() as u64 + 7, 5_000)), (left, left.into())]),
        )
        .id;
        assert!(fixture.kms.calls().iter().all(|call| call.key == left), "{:?}", fixture.kms.calls());
        restore(&mut fixture.by_kms(), id);
        fixture.kms.set_trouble(away, None);
    }
    fixture.assert_clean();
}

#[test]
fn keys_move_from_the_service_to_a_key_file_too() {
    let fixture = Fixture::new();
    let id = backup(&mut fixture.by_kms(), "db", &day(1)).id;
    let mut admin = fixture.by_kms();
    let file = WrapTo::KeyFile { key: key() };
    admin.rewrap(aws_kms_recipient(ONE), &file, &Silent).unwrap();
    admin.remove_recipient(aws_kms_recipient(ONE)).unwrap();
    fixture.kms.set_unreachable(true);
    let mut repository = open(&fixture.store);
    assert!(restore(&mut repository, id) == day(1));
    backup(&mut repository, "db", &day(2));
    repository.rotate().unwrap();
    assert_clean(&fixture.store);
    let error = repository.rewrap(aws_kms_recipient(TWO), &file, &Silent).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSuchRecipient { .. }), "{error}");
}

/// The metadata key that a stored entry is sealed under.
fn key_of_entry(store: &dyn Store, number: u64) -> KeyId {
    strongroom_format::header::Header::decode(&read(store, &entry_name(number))).unwrap().key
}

#[test]
fn a_new_metadata_key_seals_what_comes_and_the_old_one_still_opens() {
    let fixture = Fixture::new();
    let mut reader = fixture.by_recovery();
    let mut writer = fixture.by_kms();
    let monday = backup(&mut writer, "db", &day(1)).id;
    let mut admin = fixture.by_kms();
    let old = admin.state().policy.metadata.id;
    let new = admin.rotate().unwrap();
    assert_ne!(old, new);
    let rotated_at = admin.state().number;
    assert_eq!(key_of_entry(&*fixture.store, rotated_at), old, "the policy itself is sealed as before");
    // Who had it open before goes on.
    let tuesday = backup(&mut writer, "db", &day(2)).id;
    assert_eq!(key_of_entry(&*fixture.store, rotated_at + 1), new);
    reader.refresh().unwrap();
    assert_eq!(reader.state().policy.metadata.id, new);
    assert!(restore(&mut reader, monday) == day(1));
    assert!(restore(&mut reader, tuesday) == day(2));
    // So does who opens it now, from the first entry and from checkpoints on either side.
    fixture.by_kms().write_checkpoint().unwrap();
    let error = fixture.by_recovery().rotate().unwrap_err();
    assert!(matches!(error, RepositoryError::RecipientElsewhere { .. }), "{error}");
    let both = vec![Credential::X25519(recovery()), kms_credential(&fixture.kms)];
    let newer = try_open_with(&fixture.store, both).unwrap().rotate().unwrap();
    let wednesday = backup(&mut fixture.by_kms(), "db", &day(3)).id;
    for with_checkpoint in [true, false] {
        if !with_checkpoint {
            for name in names(&*fixture.store, "checkpoints/") {
                fixture.store.delete(&name).unwrap();
            }
        }
        for mut repository in [fixture.by_kms(), fixture.by_recovery()] {
            assert_eq!(repository.warnings(), Vec::<String>::new());
            assert_eq!(repository.state().policy.metadata.id, newer);
            for (id, data) in [(monday, day(1)), (tuesday, day(2)), (wednesday, day(3))] {
                assert!(restore(&mut repository, id) == data);
            }
        }
    }
    fixture.by_kms().write_checkpoint().unwrap();
    assert!(restore(&mut fixture.by_recovery(), wednesday) == day(3));
    fixture.assert_clean();
    // Somebody who comes later gets the old keys as well.
    fixture.by_kms().add_recipient(&to_kms(&fixture.kms, TWO), Grant::Admin, None).unwrap();
    fixture.kms.set_trouble(ONE, Some(KmsTrouble::Disabled));
    assert!(restore(&mut fixture.by_kms(), monday) == day(1));
}

#[test]
fn a_run_under_way_survives_a_rotation() {
    let fixture = Fixture::new();
    let mut writer = fixture.by_kms();
    let data = day(1);
    let report: Result<_, RepositoryError> = writer.backup(&options("db"), &Silent, |sink| {
        fixture.by_kms().rotate().unwrap();
        let mut lane = sink.stream_lane(Default::default())?;
        let bytes = lane.content(&"dump.sql", &mut &data["dump.sql"][..])?;
        sink.cut(b"dump.sql".to_vec(), Default::default(), bytes);
        lane.end(strongroom_format::tree_entry::TreeEntry {
            path: strongroom_format::path::EntryPath::new("dump.sql").unwrap(),
            kind: strongroom_format::tree_entry::EntryKind::Stream(
                strongroom_format::tree_entry::Content::Inline(vec![]),
            ),
            metadata: None,
            link_to: None,
        })?;
        lane.finish()?;
        Ok(())
    });
    let report = report.unwrap();
    assert_eq!(report.entry, 2);
    for mut repository in [writer, fixture.by_kms()] {
        assert!(restore(&mut repository, report.id)["dump.sql"] == data["dump.sql"]);
    }
    fixture.assert_clean();
}

#[test]
fn a_removed_host_reads_nothing_new_after_a_rotation() {
    let (_, store) = memory();
    new_repository(&store);
    let host = Host::add(&store, "db2", Roles::WRITE, &["web"]);
    let before = backup(&mut host.open(&store), "web", &day(1)).id;
    // It keeps copies of its wraps, and puts them back.
    let recipient = to_x25519(&host.private).recipient();
    let mine = |name: &strongroom_store::ObjectName| name.as_str().ends_with(&recipient.to_hex());
    let kept: Vec<_> =
        names(&*store, "keys/").into_iter().filter(mine).map(|n| (read(&*store, &n), n)).collect();
    assert_eq!(kept.len(), 3);
    let mut admin = open(&store);
    admin.remove_recipient(recipient).unwrap();
    unlock_error(host.try_open(&store));
    for (bytes, name) in &kept {
        put(&*store, name, bytes);
    }
    host.open(&store);
    admin.rotate().unwrap();
    let after = backup(&mut admin, "web", &day(2)).id;
    let error = unlock_error(host.try_open(&store));
    assert!(matches!(error, KeysError::NoCredential { .. }), "{error:?}");
    for (id, data) in [(before, day(1)), (after, day(2))] {
        assert!(restore(&mut open(&store), id) == data);
    }
}

#[test]
fn a_recipient_whose_secret_is_elsewhere_stops_a_rotation() {
    let (_, store) = memory();
    new_repository(&store);
    let file = WrapTo::KeyFile { key: Secret::new([0x31; 32]) };
    add_writer(&store, "db2", Roles::WRITE, &["web"], &file);
    let mut admin = open(&store);
    let before = admin.state().policy.metadata;
    match admin.rotate() {
        Err(RepositoryError::RecipientElsewhere { label }) => assert_eq!(label, "db2"),
        other => panic!("{other:?}"),
    }
    assert_eq!(open(&store).state().policy.metadata, before);
    let both = vec![Credential::KeyFile(key()), Credential::KeyFile(Secret::new([0x31; 32]))];
    try_open_with(&store, both).unwrap().rotate().unwrap();
    let theirs = vec![Credential::KeyFile(Secret::new([0x31; 32]))];
    backup(&mut try_open_with(&store, theirs).unwrap(), "web", &day(1));
    assert_clean(&store);
}

#[test]
fn what_was_looked_at_is_settled() {
    let (_, store) = memory();
    new_repository(&store);
    let host = Host::add(&store, "db2", Roles::WRITE, &["web"]);
    let stolen = host.stolen(&store);
    let forged = stolen.append(&*store, strongroom_format::entry::Statement::Attested(vec![]));
    let garbage = forged + 1;
    put(&*store, &entry_name(garbage), b"garbage");
    let severity = |number: u64| {
        let report = check(&open(&store));
        severity_of(&report, entry_name(number).as_str())
    };
    assert_eq!(severity(forged), Some(Severity::Suspicious));
    assert_eq!(severity(garbage), Some(Severity::Damage));
    let error = host.open(&store).settle().unwrap_err();
    assert!(matches!(error, RepositoryError::NoSigner { role: "admin" }), "{error}");
    assert_eq!(open(&store).settle().unwrap(), garbage);
    assert_eq!(severity(forged), Some(Severity::Info));
    assert_eq!(severity(garbage), Some(Severity::Info));
    assert_clean(&store);
    // What comes later is not.
    let later = stolen.append(&*store, strongroom_format::entry::Statement::Attested(vec![]));
    assert_eq!(severity(later), Some(Severity::Suspicious));
}

#[test]
fn a_missing_right_on_the_service_is_named() {
    let fixture = Fixture::new();
    let limited = Arc::new(fixture.kms.restricted(|action, context| {
        action == "kms:Decrypt" && context.is_some_and(|context| context.purpose == Purpose::Root)
    }));
    let mut operator = try_open_with(&fixture.store, vec![kms_credential(&limited)]).unwrap();
    backup(&mut operator, "db", &day(1));
    match operator.rotate() {
        Err(error @ RepositoryError::Unlock { what: "the root key", .. }) => {
            let RepositoryError::Unlock { source: KeysError::Kms(kms), .. } = &error else {
                panic!("{error:?}")
            };
            let said = kms.to_string();
            assert!(said.contains("kms:Decrypt") && said.contains(ONE) && said.contains("root"), "{said}");
        }
        other => panic!("{other:?}"),
    }
    let report = operator.check(&thorough(), &Silent).unwrap();
    let root = key_name(root_key_id(&operator.state().policy.root), aws_kms_recipient(ONE)).unwrap();
    let unopened: Vec<_> = report.findings.iter().filter(|f| f.kind == FindingKind::KeyUnopened).collect();
    assert_eq!(unopened.iter().map(|f| &*f.object).collect::<Vec<_>>(), [root.as_str()]);
    assert!(report.is_clean());
}
