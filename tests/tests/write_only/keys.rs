//! Keys: recipients that are swapped, a data key that is retired.

use std::collections::BTreeSet;

use strongroom_format::registry::{ObjectKind, Purpose};
use strongroom_keys::Secret;
use strongroom_keys::derive::root_key_id;
use strongroom_keys::random::OsRandom;
use strongroom_keys::unlock::key_name;
use strongroom_keys::wrap::{NamedKey, WrapTo, x25519_public};
use strongroom_tests::proxy::iam::roles::Role;
use strongroom_tests::sandbox::text;
use strongroom_tests::services::aws::{object, refused};

use super::Way;
use super::estate::{Estate, PREFIX};
use super::fixtures::{PRUNE, auditor, dump, reader};
use super::thief::entry_name;

/// Keys under names of recipients of his: nobody takes them for what they are not, nobody wraps anything for them, and
/// they open nothing new once he is revoked.
pub fn swapped_recipients_let_nobody_in(way: Way) {
    let Some(estate) = Estate::new(way, "recipients") else { return };
    let (restore, audit) = (reader(&estate), auditor(&estate));
    let (snapshot, _) = estate.db2.backup("b", &dump(1));
    let thief = estate.thief();
    let private = Secret::new([0x66; 32]);
    let own = WrapTo::x25519(x25519_public(&private).unwrap());
    let foreign = estate.kms_key_of_somebody_else();
    let repository = thief.open();
    let policy = repository.state().policy.clone();
    let wrap = |to: &WrapTo, id, purpose, secret: &Secret| {
        let key = NamedKey { id, purpose, secret: secret.clone() };
        let id = repository.config().repository;
        let wrapped = to.wrap(&key, id, &thief.loot.signer, &OsRandom).unwrap();
        let name = key_name(key.id, to.recipient()).unwrap();
        thief.create(name.as_str(), &wrapped.encode());
        name.to_string()
    };
    let mut put = Vec::new();
    for to in [&own, &foreign] {
        put.push(wrap(to, policy.vault.id, Purpose::Vault, &private));
        put.push(wrap(to, root_key_id(&policy.root), Purpose::Root, &private));
        put.push(wrap(to, policy.metadata.id, Purpose::Metadata, &thief.loot.metadata_secret));
        put.push(wrap(to, policy.identity.id, Purpose::Identity, &private));
    }
    // What is wrapped already stays.
    let vault = key_name(policy.metadata.id, strongroom_format::RecipientId(policy.vault.id.0)).unwrap();
    refused(&thief.try_create(vault.as_str(), b"other"), 412, "PreconditionFailed").unwrap();

    restore.assert_restores(&snapshot, &dump(1));
    let (next, _) = estate.db2.backup("b", &dump(2));
    let _added =
        estate.admin.run(["key", "add-recipient", &estate.admin.generate_key("other.key")]).assert_code(0);
    let _revoked = estate.admin.run(["key", "revoke-writer", "db1"]).assert_code(0);
    let _rotated = estate.admin.run(["key", "rotate"]).assert_code(0);
    let (last, _) = estate.db2.backup("b", &dump(3));
    for host in [&restore, &estate.admin] {
        for (snapshot, seed) in [(&snapshot, 1), (&next, 2), (&last, 3)] {
            host.assert_restores(snapshot, &dump(seed));
        }
    }
    let keys = estate.root().list(&estate.bucket, &format!("{PREFIX}keys/")).unwrap();
    let of_his = [own.recipient(), foreign.recipient()].map(|id| id.to_hex());
    let his: BTreeSet<_> = keys
        .iter()
        .map(|key| key.strip_prefix(PREFIX).unwrap().to_owned())
        .filter(|key| of_his.iter().any(|recipient| key.ends_with(recipient)))
        .collect();
    assert_eq!(his, put.iter().cloned().collect(), "somebody wrapped something for him");
    let head = thief.s3.list(&estate.bucket, &format!("{PREFIX}journal/")).unwrap().len() as u64 - 1;
    let newest = thief.read(&entry_name(head));
    assert!(thief.loot.metadata.open(ObjectKind::Entry, &entry_name(head), &newest).is_err());

    // They are found by whoever looks at the keys, and go when somebody with the right deletes them.
    let found = audit.findings(&["--keys"]);
    let wrong = [policy.vault.id, policy.identity.id].map(|key| format!("keys/{key}/"));
    assert_eq!(found.len(), 4, "{found:#?}");
    for finding in found {
        assert_eq!(finding.severity, "suspicious");
        assert!(put.contains(&finding.object) && wrong.iter().any(|key| finding.object.starts_with(key)));
    }
    for name in &put {
        let key = format!("{PREFIX}{name}");
        let denied = thief.s3.s3("DELETE", &object(&estate.bucket, &key), &[], b"").unwrap();
        refused(&denied, 403, "s3:DeleteObject").unwrap();
        estate.client(&estate.admin).delete(&estate.bucket, &key).unwrap();
    }
    let _clean = audit.run(["check", "--keys", "--no-cache"]).assert_code(0);
    let _clean = restore.run(["check", "--keys", "--no-cache"]).assert_code(0);
}

/// The admin takes the data key of a run out of use; hosts go on as before.
pub fn a_data_key_is_retired(way: Way) {
    let Some(estate) = Estate::new(way, "retire") else { return };
    let (restore, audit) = (reader(&estate), auditor(&estate));
    let (snapshot, _) = estate.db1.backup("a", &dump(1));
    let shown = estate.admin.run(["show", &snapshot, "--json"]).assert_code(0).one("snapshot");
    let key = text(&shown["data_keys"][0]);
    for host in [&estate.db1, &audit, &restore] {
        let _refused = host.run(["key", "retire", &key]).assert_code(5);
    }
    let retired = estate.admin.run(["key", "retire", &key, "--json"]).assert_code(0).one("retire");
    assert_eq!(retired["packs"], 1);
    restore.assert_restores(&snapshot, &dump(1));
    // What is not deleted yet still needs it.
    let waiting = estate.admin.run(["key", "retire", &key]).assert_code(3);
    let _said = waiting.assert_prints(["strongroom prune"]);
    let mut prune = estate.host("prune");
    estate.add_writer(&mut prune, Role::Prune, &["--role", "maintain"]);
    let _pruned = prune.run(PRUNE).assert_code(0);
    let _deleted = estate.admin.run(["key", "retire", &key]).assert_code(0);
    assert!(!estate.objects().iter().any(|(name, _)| name.contains(&key)));
    restore.assert_restores(&snapshot, &dump(1));
    // The admin has opened every chunk, and attested what it sealed: the host need not store it again.
    let (next, report) = estate.db1.backup("a", &dump(1));
    assert_eq!(report["new_bytes"], 0, "{report}");
    restore.assert_restores(&next, &dump(1));
    let _checked = restore.run(["check", "--read-data", "--keys", "--no-cache"]).assert_code(0);
    audit.assert_clean();
}
