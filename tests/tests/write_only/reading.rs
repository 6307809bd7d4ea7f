//! Reading: what a write-only host may see, and what stays sealed to it.

use std::collections::BTreeSet;

use strongroom_format::KeyId;
use strongroom_format::key_object::{KeyObject, SignedKey, Wrap};
use strongroom_format::registry::Purpose;
use strongroom_keys::KeysError;
use strongroom_keys::derive::root_key_id;
use strongroom_keys::kms::{EncryptionContext, Kms as _, KmsBlob, KmsTrouble};
use strongroom_keys::unlock::key_name;
use strongroom_repository::Repository;

use super::Way;
use super::estate::Estate;
use super::fixtures::{MARKER, dump};
use super::thief::Thief;

/// `backup`, `snapshots`, `ls` and `check` need no right that the role lacks; what reads or administers says which
/// right is missing, on which key, and changes nothing.
pub fn a_host_writes_and_lists_and_reads_nothing(way: Way) {
    let Some(estate) = Estate::new(way, "reading") else { return };
    let db1 = &estate.db1;
    estate.proxy.forget();
    let (snapshot, _) = db1.backup("a", &dump(1));
    let _ = db1.backup("a", &dump(2));
    assert_eq!(db1.sees().len(), 2);
    let _listed = db1.run(["ls", &snapshot]).assert_code(0).assert_prints(["dump.sql"]);
    db1.assert_clean();
    estate.assert_nothing_denied();
    assert_kms_was_asked_only_for_what_it_writes(&estate);

    let before = estate.objects();
    let file = db1.sandbox.path("x");
    let target = file.to_string_lossy();
    for arguments in [
        &["restore", &snapshot, "--target", &target][..],
        &["cat", &snapshot, "dump.sql"],
        &["check", "--read-data"],
    ] {
        let refused = db1.run(arguments).assert_code(5).assert_says(["vault"]);
        // It has no key of the vault's kind but by KMS, and no right to that.
        let _said = refused.assert_says(["kms:Decrypt", &estate.key, "restore.json"]);
    }
    assert!(!file.exists());
    let public = "x25519:4b1112935c20427b794de505b98e588abe3ba9aa710de2c2c3d38ea293f47f2a:ca539d55";
    for arguments in [
        &["key", "add-recipient", public][..],
        &["key", "add-writer", "mine", "--recipient", public, "--source", "b"],
        &["key", "rotate"],
        &["key", "revoke-writer", "db2"],
        &["journal", "settle"],
    ] {
        let _refused = db1.run(arguments).assert_code(5);
    }
    // But for the notes that say so, of the commands that came so far as to be refused by the repository.
    let after = estate.objects();
    assert!(before.iter().all(|object| after.contains(object)), "what was refused took something away");
    let is_entry = |name: &str| name.contains("/journal/") || name.contains("/checkpoints/");
    let changed = after.iter().filter(|object| !before.contains(object)).map(|(name, _)| name);
    for name in changed {
        assert!(is_entry(name), "what was refused changed {name}");
    }
    let _refused = db1.try_backup("b", &dump(3)).assert_code(1).assert_says(["may not write the source `b`"]);
    // But for the note that says so.
    assert_eq!(estate.objects().len(), after.len() + 1);
}

fn assert_kms_was_asked_only_for_what_it_writes(estate: &Estate) {
    let asked: BTreeSet<(String, String)> = estate
        .proxy
        .decisions()
        .into_iter()
        .filter(|decision| decision.action.starts_with("kms:"))
        .map(|decision| {
            let purpose = decision.encryption_context("sr:purpose").unwrap_or_default().to_owned();
            (decision.action, purpose)
        })
        .collect();
    let asked: Vec<_> = asked.iter().map(|(action, purpose)| (&action[..], &purpose[..])).collect();
    match estate.way {
        Way::X25519 => assert_eq!(asked, []),
        Way::Kms => assert_eq!(
            asked,
            [
                ("kms:Decrypt", "identity"),
                ("kms:Decrypt", "metadata"),
                ("kms:Decrypt", "signing"),
                ("kms:GenerateDataKey", "data"),
            ]
        ),
    }
}

/// He reads every object, and opens metadata; no key opens to him that opens stored data, signs for others or
/// administers.
pub fn stored_data_stays_sealed(way: Way) {
    let Some(estate) = Estate::new(way, "sealed") else { return };
    let _ = estate.db1.backup("a", &dump(1));
    let _ = estate.db2.backup("b", &dump(2));
    let thief = estate.thief();
    for (key, bytes) in estate.objects() {
        assert_eq!(thief.s3.get(&estate.bucket, &key).unwrap(), bytes);
        assert!(!bytes.windows(MARKER.len()).any(|part| part == MARKER), "{key}");
    }
    let repository = thief.open();
    let state = repository.state();
    assert_eq!(state.snapshots.len(), 2, "names and sizes he sees");
    let policy = &state.policy;
    let data: Vec<KeyId> = state.snapshots.iter().flat_map(|s| &s.state.keys).map(|key| key.id).collect();
    assert_eq!(data.len(), 2, "one a run");
    let others = policy.signers.iter().filter(|signer| signer.name != "db1");
    let wanted = data
        .iter()
        .map(|id| (*id, Purpose::Data))
        .chain([(policy.vault.id, Purpose::Vault), (root_key_id(&policy.root), Purpose::Root)])
        .chain(others.map(|signer| (KeyId(signer.id.0), Purpose::Signing)));
    for (key, purpose) in wanted {
        match thief.unlock(key, purpose) {
            Err(KeysError::Kms(error)) => assert!(error.is_denied(), "{error}"),
            // Wrapped for other keys than his.
            Err(KeysError::WrongCredential { .. } | KeysError::NoCredential { .. }) => {
                assert_eq!(way, Way::X25519);
            }
            other => panic!("{purpose:?}: {other:?}"),
        }
    }
    assert!(repository.require_read_access().is_err());
    if way == Way::Kms {
        kms_is_not_lied_to(&thief, &repository);
    }
}

/// A context that his role may use opens nothing that was wrapped with another.
fn kms_is_not_lied_to(thief: &Thief, repository: &Repository) {
    let state = repository.state();
    let kms = thief.kms();
    let data = state.snapshots[0].state.keys[0].id;
    let recipient = state.policy.recipients.iter().find(|recipient| recipient.gets(Purpose::Data)).unwrap();
    let stored = thief.read(key_name(data, recipient.id).unwrap().as_str());
    let object = KeyObject::decode(&SignedKey::decode(&stored).unwrap().body).unwrap();
    let Wrap::AwsKms { arn, writer, blob } = object.wrap else { panic!("not wrapped by KMS") };
    let blob = KmsBlob { arn, blob };
    let context = |purpose, writer| EncryptionContext {
        repository: repository.config().repository,
        purpose,
        key: data,
        writer,
    };
    let denied = kms.decrypt(&blob, &context(Purpose::Data, writer)).unwrap_err();
    assert!(denied.is_denied(), "{denied}");
    let lied = kms.decrypt(&blob, &context(Purpose::Metadata, writer)).unwrap_err();
    assert_eq!(lied.trouble, KmsTrouble::WrongBlob);
    let other = state.policy.signers.iter().find(|signer| signer.name == "db2").unwrap().id;
    let in_anothers_name = kms.generate(&blob.arn, &context(Purpose::Data, other)).unwrap_err();
    assert!(in_anothers_name.is_denied(), "{in_anothers_name}");
}
