//! What somebody tries with the credentials of `db1`, and what comes of it.

use std::collections::BTreeSet;

use strongroom_format::entry::{
    Attestation, ForgetBody, IndexRef, JournalEntry, NoteBody, PolicyBody, ReindexBody, RetireBody, Statement,
};
use strongroom_format::index::{Index, IndexedPack};
use strongroom_format::key_object::{KeyObject, SignedKey, Wrap};
use strongroom_format::manifest::{Manifest, SnapshotBody};
use strongroom_format::pack::Footer;
use strongroom_format::policy::Signer as ListedSigner;
use strongroom_format::registry::{ObjectKind, Purpose, Roles};
use strongroom_format::{ContentHash, IndexId, KeyId, SnapshotId};
use strongroom_keys::derive::{content_hash, root_key_id};
use strongroom_keys::kms::{EncryptionContext, Kms as _, KmsBlob, KmsTrouble};
use strongroom_keys::random::OsRandom;
use strongroom_keys::seal::sign_footer;
use strongroom_keys::sign::sign_policy;
use strongroom_keys::unlock::key_name;
use strongroom_keys::wrap::{NamedKey, WrapTo, x25519_public};
use strongroom_keys::{KeysError, Secret};
use strongroom_repository::Repository;
use strongroom_tests::noise::noise;
use strongroom_tests::proxy::iam::roles::Role;
use strongroom_tests::sandbox::{id_of, text};
use strongroom_tests::services::aws::{object, refused};

use super::Way;
use super::estate::{Estate, Finding, Host, PREFIX};
use super::thief::{CREATE_ONLY, Thief, entry_name};

/// What no stored object may hold as it is.
const MARKER: &[u8] = b"card 4111 1111 1111 1111";

/// Some hundred KB that do not compress, with a line that is easy to find.
fn dump(seed: u64) -> Vec<u8> {
    let mut data = noise(300_000, seed);
    data.splice(150_000..150_000, MARKER.iter().copied());
    data
}

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
    assert!(estate.objects() == before, "what was refused changed something");
    let _refused = db1.try_backup("b", &dump(3)).assert_code(1).assert_says(["may not write the source `b`"]);
    // But for the note that says so.
    assert_eq!(estate.objects().len(), before.len() + 1);
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

/// Every kind of object, the newest entry and checkpoint among them, against every request that replaces or deletes.
pub fn nothing_is_overwritten_or_deleted(way: Way) {
    let Some(estate) = Estate::new(way, "overwriting") else { return };
    let _ = estate.db1.backup("a", &dump(1));
    let _ = estate.db2.backup("b", &dump(2));
    estate.write_checkpoint();
    let before = estate.objects();
    let kinds: BTreeSet<&str> = before.iter().map(|(key, _)| kind(key)).collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["checkpoints", "config", "index", "journal", "keys", "meta", "packs"]
    );
    let s3 = &estate.thief().s3;
    let bucket = &estate.bucket;
    for (key, _) in &before {
        let target = object(bucket, key);
        let source = format!("{bucket}/{key}");
        let other = format!("{bucket}/{PREFIX}config");
        for (method, query, headers) in [
            ("PUT", "", &[][..]),
            ("PUT", "", &[("x-amz-copy-source", &source[..])]),
            ("PUT", "", &[("x-amz-copy-source", &other[..])]),
            ("PUT", "?acl", &[]),
            ("PUT", "?partNumber=1&uploadId=2", &[]),
            ("POST", "?uploads", &[]),
            ("DELETE", "", &[]),
            ("DELETE", "?versionId=null", &[]),
        ] {
            let answer = s3.s3(method, &format!("{target}{query}"), headers, b"other").unwrap();
            refused(&answer, 403, "AccessDenied").unwrap();
        }
        let around = s3.s3("PUT", &target, &[("If-None-Match", "\"another\"")], b"other").unwrap();
        assert!([403, 501].contains(&around.head.status), "{key}: {}", around.text());
        let again = s3.s3("PUT", &target, &CREATE_ONLY, b"other").unwrap();
        // Nor may it create these at all.
        let never = ["config", "checkpoints"].contains(&kind(key));
        assert_eq!(again.head.status, if never { 403 } else { 412 }, "{key}: {}", again.text());
        let many = format!("<Delete><Object><Key>{key}</Key></Object></Delete>");
        let deleted = s3.s3("POST", &format!("/{bucket}?delete"), &[], many.as_bytes()).unwrap();
        refused(&deleted, 403, "AccessDenied").unwrap();
    }
    for (method, query) in [
        ("PUT", "?policy"),
        ("DELETE", "?policy"),
        ("PUT", "?lifecycle"),
        ("PUT", "?versioning"),
        ("PUT", "?object-lock"),
        ("DELETE", ""),
    ] {
        let answer = s3.s3(method, &format!("/{bucket}{query}"), &[], b"").unwrap();
        refused(&answer, 403, "AccessDenied").unwrap();
    }
    assert!(estate.objects() == before, "something was changed");
    estate.db2.assert_clean();
}

fn kind(key: &str) -> &str {
    key.strip_prefix(PREFIX).unwrap().split('/').next().unwrap()
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

/// Entries of every kind that he has no right to, and garbage: all void. The other source goes on; revoked, he can write
/// nothing that counts and read nothing new, and what he wrote before restores.
pub fn forged_entries_count_for_nobody(way: Way) {
    let Some(estate) = Estate::new(way, "forging") else { return };
    let (restore, audit) = (reader(&estate), auditor(&estate));
    let [a1, a2, b1, b2] = [1, 2, 3, 4].map(dump);
    let (first, _) = estate.db1.backup("a", &a1);
    let (theirs, _) = estate.db2.backup("b", &b1);
    let (second, _) = estate.db1.backup("a", &a2);
    let thief = estate.thief();
    let policies = thief.open().state().policies.len();
    let forged = forge_entries(&thief);
    // Whoever follows it shows that it was there before.
    let (next, report) = estate.db2.backup("b", &b2);
    assert_eq!(report["parent"], theirs[..]);

    let all = [&first, &theirs, &second, &next].map(Clone::clone);
    for host in [&estate.db2, &restore, &audit, &estate.admin] {
        assert_eq!(host.sees(), all, "{}", host.name);
    }
    assert_eq!(thief.open().state().policies.len(), policies);
    let found = audit.findings(&[]);
    assert_eq!(found.len(), forged.len(), "{found:#?}");
    for (finding, (object, reason)) in found.iter().zip(&forged) {
        let said = (&finding.severity[..], &finding.kind[..], &finding.object[..]);
        assert_eq!(said, ("suspicious", "Void", &object[..]));
        assert!(finding.detail.contains(reason), "{object}: {} is not {reason:?}", finding.detail);
    }
    for host in [&restore, &estate.admin] {
        for (snapshot, data) in [(&first, &a1), (&theirs, &b1), (&second, &a2), (&next, &b2)] {
            host.assert_restores(snapshot, data);
        }
    }

    let revoked = estate.admin.run(["key", "revoke-writer", "db1", "--forget", &second]);
    let _revoked = revoked.assert_code(0);
    let _settled = estate.admin.run(["journal", "settle"]).assert_code(0);
    let _rotated = estate.admin.run(["key", "rotate"]).assert_code(0);
    audit.assert_clean();
    let last = nothing_more_comes_of_it(&estate, &thief, &audit);
    let left = [first.clone(), theirs, next, last];
    for host in [&estate.db2, &restore, &audit] {
        assert_eq!(host.sees(), left, "{}", host.name);
    }
    restore.assert_restores(&first, &a1);
}

/// What he appends: the names of the entries, and why they are void.
fn forge_entries(thief: &Thief) -> Vec<(String, &'static str)> {
    let me = &thief.loot.signer;
    let repository = thief.open();
    let state = repository.state();
    let manifest_of = |source: &str| {
        let known = state.snapshots.iter().find(|snapshot| snapshot.manifest.source == source).unwrap();
        Manifest { nonce: [7; 16], ..known.manifest.clone() }
    };
    let snapshot = |source: &str| snapshot_of(&manifest_of(source), vec![]);
    let packs = state.packs.keys().map(|pack| Attestation { pack: *pack, description: ContentHash([1; 32]) });
    let mut forged = vec![
        (thief.append(snapshot("b"), me), "may not write this source"),
        (thief.append(snapshot("a"), &thief.stranger()), "signed by nobody the policy lists"),
        (thief.append(own_policy(thief, &repository), me), "lacks the role"),
        // An older one, which the root key did sign.
        (thief.append(Statement::Policy(state.policies[0].1.clone()), me), "lacks the role"),
        (thief.append(Statement::Attested(packs.collect()), me), "lacks the role"),
        (
            thief.append(
                Statement::Reindex(ReindexBody {
                    added: vec![],
                    removed: state.indexes.keys().copied().collect(),
                }),
                me,
            ),
            "lacks the role",
        ),
    ];
    let theirs = state.snapshots.iter().find(|snapshot| snapshot.manifest.source == "b").unwrap().id();
    let forget = ForgetBody { snapshots: vec![theirs], reason: "too old".into() };
    forged.push((thief.append(Statement::Forget(forget), me), "lacks the role"));
    let retired = state.packs.keys().copied().collect();
    let retire = RetireBody { retired, ..RetireBody::default() };
    forged.push((thief.append(Statement::Retire(retire), me), "lacks the role"));
    // To expire, and something that nobody knows.
    for kind in [6, 23] {
        forged.push((append_kind(thief, kind), "no well-formed entry"));
    }
    let head = thief.open().state().number;
    for number in head + 1..=head + 3 {
        let name = entry_name(number);
        thief.create(&name, &noise(2000, number));
        forged.push((name, "does not open"));
    }
    forged
}

fn snapshot_of(manifest: &Manifest, indexes: Vec<IndexRef>) -> Statement {
    let body = SnapshotBody { manifest: manifest.encode(), packs: vec![], indexes, keys: vec![] };
    Statement::Snapshot(Box::new(body))
}

/// A policy that lets a stranger do everything, with the best root signature that he can make.
fn own_policy(thief: &Thief, repository: &Repository) -> Statement {
    let mut policy = repository.state().policy.clone();
    policy.sequence += 1;
    policy.signers.push(ListedSigner {
        id: thief.stranger().id(),
        public: thief.stranger().public(),
        roles: Roles::ALL,
        sources: vec!["*".into()],
        name: "stranger".into(),
    });
    let policy = policy.encode();
    let root_signature = sign_policy(&thief.loot.signer, repository.config().repository, &policy);
    Statement::Policy(PolicyBody { policy, root_signature })
}

/// A note whose kind is changed to another.
fn append_kind(thief: &Thief, kind: u8) -> String {
    let note = NoteBody { event: "x".into(), snapshot: None, time_ns: 0, detail: "{}".into() };
    let entry = thief.next_entry(Statement::Note(note));
    let mut content = entry.encode();
    let at = content.windows(2).position(|pair| pair == [5, 11]).unwrap();
    content[at + 1] = kind;
    thief.append_content(entry.number, &content, &thief.loot.signer)
}

/// With his old credentials, after he was revoked and the metadata key rotated. Gives the snapshot that somebody else
/// makes meanwhile.
fn nothing_more_comes_of_it(estate: &Estate, thief: &Thief, audit: &Host) -> String {
    let journal = estate.root().list(&estate.bucket, &format!("{PREFIX}journal/")).unwrap();
    let name = |number: usize| entry_name(u64::try_from(number).unwrap());
    if estate.way == Way::Kms {
        // As long as his role may open the metadata key he reads names; nothing of his counts all the same.
        let forged = thief.try_open().unwrap();
        assert!(!forged.state().policy.signers.iter().any(|signer| signer.name == "db1"));
        let policy = estate.policy_of_store(&estate.db1, Role::Backup);
        estate.proxy.grant(&estate.db1.credentials.access_key, "backup", vec![policy]);
    }
    assert!(thief.try_open().is_err(), "he reads what is new");
    let _refused = estate.db1.run(["snapshots"]).assert_code(5);
    let _refused = estate.db1.try_backup("a", &dump(9)).assert_code(5);
    let newest = thief.read(&name(journal.len() - 1));
    assert!(thief.loot.metadata.open(ObjectKind::Entry, &name(journal.len() - 1), &newest).is_err());
    // He still has the key that signed for him, and the old metadata key.
    let content = noise(100, 1);
    let last = name(journal.len());
    thief.create(&last, &thief.seal(ObjectKind::Entry, &last, &content, &thief.loot.signer));
    let (meanwhile, _) = estate.db2.backup("b", &dump(4));
    let found: Vec<_> = audit.findings(&[]).into_iter().map(|finding| finding.object).collect();
    assert_eq!(found, [last]);
    let _settled = estate.admin.run(["journal", "settle"]).assert_code(0);
    audit.assert_clean();
    meanwhile
}

/// A checkpoint is not his to write; one that comes there all the same, signed by him, is passed over.
pub fn a_fake_checkpoint_is_passed_over(way: Way) {
    let Some(estate) = Estate::new(way, "checkpoint") else { return };
    let audit = auditor(&estate);
    let (first, _) = estate.db1.backup("a", &dump(1));
    let (theirs, _) = estate.db2.backup("b", &dump(2));
    let thief = estate.thief();
    let state = thief.open().state().clone();
    let mut fake = state.to_checkpoint();
    fake.snapshots.retain(|snapshot| snapshot.signer == thief.loot.signer.id());
    let name = format!("checkpoints/{:016x}", u64::MAX - state.number);
    let bytes = thief.seal(ObjectKind::Checkpoint, &name, &fake.encode(), &thief.loot.signer);
    refused(&thief.try_create(&name, &bytes), 403, "s3:PutObject").unwrap();
    estate.root().put(&estate.bucket, &format!("{PREFIX}{name}"), &bytes).unwrap();
    for host in [&estate.db2, &audit, &estate.admin] {
        assert_eq!(host.sees(), [first.clone(), theirs.clone()], "{}", host.name);
        let listed = host.run(["snapshots", "--no-cache"]).assert_code(0);
        let _warned = listed.assert_says([&name[..], "lacks the role maintain"]);
    }
    let found = audit.findings(&[]);
    assert_eq!(objects_of(&found), [&name[..]], "{found:#?}");
    // Whoever prunes may take it away.
    let mut prune = estate.host("prune");
    estate.add_writer(&mut prune, Role::Prune, &["--role", "maintain"]);
    estate.client(&prune).delete(&estate.bucket, &format!("{PREFIX}{name}")).unwrap();
    audit.assert_clean();
}

fn objects_of(found: &[Finding]) -> Vec<&str> {
    found.iter().map(|finding| &finding.object[..]).collect()
}

/// An index object and a snapshot of his that say where the next dump of `b` lies already: in a pack of his.
pub fn a_poisoned_index_deceives_no_writer(way: Way) {
    let Some(estate) = Estate::new(way, "poison") else { return };
    let (restore, audit) = (reader(&estate), auditor(&estate));
    // Each is one chunk.
    let [decoy, next] = [1, 2].map(|seed| noise(8192, seed));
    let (honest, _) = estate.db1.backup("a", &decoy);
    let thief = estate.thief();
    let poisonous = poison(&thief, &next);
    let (snapshot, report) = estate.db2.backup("b", &next);
    assert_eq!(report["new_bytes"], 8192, "{report}");
    restore.assert_restores(&snapshot, &next);
    restore.assert_restores(&honest, &decoy);
    estate.admin.assert_restores(&snapshot, &next);
    let found = audit.findings(&[]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((&found[0].kind[..], &found[0].severity[..]), ("Contradiction", "suspicious"));
    // He says the true thing too, which nobody has attested: still it is not relied on.
    let (_, report) = estate.db1.backup("a", &dump(5));
    assert!(report["new_bytes"].as_u64().unwrap() > 0);
    let (again, report) = estate.db2.backup("b", &dump(5));
    assert_eq!(report["new_bytes"], dump(5).len());
    restore.assert_restores(&again, &dump(5));
    // Once a verifier has opened the pack, what is true of it is known.
    let _checked = restore.run(["check", "--read-data", "--no-cache"]).assert_says(["attested"]);
    let revoke = ["key", "revoke-writer", "db1", "--forget", &poisonous];
    let _revoked = estate.admin.run(revoke).assert_code(0);
    audit.assert_clean();
    restore.assert_restores(&honest, &decoy);
    restore.assert_restores(&snapshot, &next);
}

/// Says that his pack holds `data`; gives the snapshot that says so.
fn poison(thief: &Thief, data: &[u8]) -> String {
    let loot = &thief.loot;
    let repository = thief.open();
    let state = repository.state();
    let tag = loot.identity.source_tag("a");
    let honest = state.indexes.values().find(|index| index.source_tag == tag).unwrap();
    let stored = thief.read(&format!("index/{tag}/{}", honest.id));
    let opened = loot.metadata.open(ObjectKind::Index, "", &stored).unwrap();
    let index = Index::decode(opened.body().unwrap().content).unwrap();
    let lie = |pack: &IndexedPack| {
        let mut footer = Footer::decode(&pack.footer).unwrap();
        assert_eq!((footer.chunks.len(), footer.chunks[0].length as usize), (1, data.len()));
        footer.chunks[0].id = loot.identity.chunk_id(data);
        let signed = footer.signed_part().unwrap();
        footer.signature = sign_footer(&loot.signer, ObjectKind::DataPack, &pack.header, &signed);
        IndexedPack { footer: footer.encode().unwrap(), ..pack.clone() }
    };
    let is_data = |pack: &&IndexedPack| pack.decoded_header().unwrap().kind == ObjectKind::DataPack;
    let packs: Vec<_> = index.packs.iter().filter(is_data).map(lie).collect();
    assert_eq!(packs.len(), 1);
    let content = Index { source_tag: tag, packs }.encode().unwrap();
    let bytes = thief.seal(ObjectKind::Index, "", &content, &loot.signer);
    let id = IndexId(content_hash(&bytes).0);
    thief.create(&format!("index/{tag}/{id}"), &bytes);
    let added = IndexRef { id, source_tag: tag, length: bytes.len() as u64 };
    let manifest = Manifest { nonce: [9; 16], ..state.snapshots[0].manifest.clone() };
    let _entry = thief.append(snapshot_of(&manifest, vec![added]), &loot.signer);
    let snapshot: SnapshotId = loot.identity.snapshot_id(&manifest.encode());
    snapshot.to_hex()
}

/// An entry of his behind a free name, to be filled later with what nobody behind it follows: it stops nobody, and what
/// others append stays.
pub fn a_gap_in_the_journal_undoes_nothing(way: Way) {
    let Some(estate) = Estate::new(way, "gap") else { return };
    let audit = auditor(&estate);
    let (first, _) = estate.db2.backup("b", &dump(1));
    let thief = estate.thief();
    let note = NoteBody { event: "x".into(), snapshot: None, time_ns: 0, detail: "{}".into() };
    let filling = thief.next_entry(Statement::Note(note));
    let free = entry_name(filling.number);
    let (number, base) = (filling.number + 1, filling.number);
    let behind = JournalEntry { number, base, ..filling.clone() };
    let _entry = thief.append_content(number, &behind.encode(), &thief.loot.signer);
    // One who has seen the journal before, and one who has not.
    let (second, _) = estate.db2.backup("b", &dump(2));
    let anew = ["backup", "stdin", "--json", "--no-cache", "--source", "b", "--name", "dump.sql"];
    let third = estate.db2.sandbox.feed(anew, &dump(3)).assert_code(0).one("backup");
    let fill = thief.seal(ObjectKind::Entry, &free, &filling.encode(), &thief.loot.signer);
    refused(&thief.try_create(&free, &fill), 412, "PreconditionFailed").unwrap();
    let all = [first, second, id_of(&third)];
    for host in [&estate.db2, &audit, &estate.admin] {
        assert_eq!(host.sees(), all, "{}", host.name);
    }
    estate.admin.assert_restores(&all[2], &dump(3));
    let found = audit.findings(&[]);
    assert_eq!(objects_of(&found), [&free[..]], "{found:#?}");
    let _revoked = estate.admin.run(["key", "revoke-writer", "db1"]).assert_code(0);
    let _settled = estate.admin.run(["journal", "settle"]).assert_code(0);
    audit.assert_clean();
    assert_eq!(audit.sees(), all);
}

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

/// The roles restore, audit and prune do what they are for with exactly their policies.
pub fn roles_have_the_rights_they_need(way: Way) {
    let Some(estate) = Estate::new(way, "roles") else { return };
    let (snapshot, _) = estate.db1.backup("a", &dump(1));
    let _ = estate.db2.backup("b", &dump(2));
    let (restore, audit) = (reader(&estate), auditor(&estate));
    let mut prune = estate.host("prune");
    estate.add_writer(&mut prune, Role::Prune, &["--role", "maintain"]);
    estate.proxy.forget();
    for host in [&restore, &audit, &prune] {
        assert_eq!(host.sees().len(), 2);
        let _listed = host.run(["ls", &snapshot]).assert_code(0);
        host.assert_clean();
    }
    restore.assert_restores(&snapshot, &dump(1));
    let written = restore.run(["cat", &snapshot, "dump.sql"]).assert_code(0);
    assert!(written.stdout == dump(1));
    let _checked = restore.run(["check", "--read-data"]).assert_code(0).assert_says(["attested"]);
    estate.assert_nothing_denied();
    // Attested, it need not be stored again by another.
    let (_, report) = estate.db2.backup("b", &dump(1));
    assert_eq!(report["new_bytes"], 0, "{report}");

    for host in [&audit, &prune] {
        let target = host.sandbox.path("x");
        let arguments = ["restore", &snapshot, "--target", &target.to_string_lossy()];
        let _refused = host.run(arguments).assert_code(5).assert_says(["vault"]);
    }
    for host in [&restore, &audit, &prune] {
        let _refused = host.try_backup("a", &dump(9)).assert_code(5);
        let _refused = host.run(["key", "rotate"]).assert_code(5);
    }
}

/// Everything that is retired goes at once, leftovers too.
const PRUNE: [&str; 6] = ["prune", "--json", "--grace", "0", "--orphan-age", "0"];

/// Prune forgets, retires and deletes without opening anything that was backed up; who lacks a right is told which.
pub fn prune_needs_no_data_key(way: Way) {
    let Some(estate) = Estate::new(way, "prune") else { return };
    let (restore, audit) = (reader(&estate), auditor(&estate));
    let (first, _) = estate.db1.backup("a", &dump(1));
    let (theirs, _) = estate.db2.backup("b", &dump(2));
    let (second, _) = estate.db1.backup("a", &dump(3));
    // What nobody names.
    let stray = format!("{PREFIX}packs/aa/{}", "aa".repeat(32));
    let target = object(&estate.bucket, &stray);
    let created = estate.client(&estate.db1).s3("PUT", &target, &CREATE_ONLY, b"garbage").unwrap();
    assert_eq!(created.head.status, 200);
    for host in [&estate.db1, &restore, &audit, &estate.admin] {
        let answer = estate.client(host).s3("DELETE", &target, &[], b"").unwrap();
        refused(&answer, 403, "s3:DeleteObject").unwrap();
    }
    for host in [&estate.db1, &restore, &audit] {
        for arguments in [&["forget", &theirs][..], &PRUNE] {
            let _refused = host.run(arguments).assert_code(5).assert_says(["role `maintain`"]);
        }
    }

    let mut prune = estate.host("prune");
    estate.add_writer(&mut prune, Role::Prune, &["--role", "maintain"]);
    // A signer that may retire, on a host that the store lets delete nothing.
    let mut weak = estate.host("weak");
    estate.add_writer(&mut weak, Role::Audit, &["--role", "maintain"]);
    let _forgotten = weak.run(["forget", &first]).assert_code(0);
    let before = estate.objects();
    let denied = weak.run(PRUNE).assert_code(5).assert_says([
        "no permission to delete",
        "s3:DeleteObject",
        "deploy/iam/prune.json",
    ]);
    assert!(!denied.stderr.contains("kms:"), "{denied}");
    // Its entries are there, and everything else still is.
    let after = estate.objects();
    assert!(before.iter().all(|object| after.contains(object)) && after.len() == before.len() + 2);
    for (snapshot, data) in [(&theirs, dump(2)), (&second, dump(3))] {
        restore.assert_restores(snapshot, &data);
    }

    estate.proxy.forget();
    let pruned = prune.run(PRUNE).assert_code(0).one("prune");
    // The first snapshot's data and nodes, and the stray.
    assert_eq!(pruned["deleted"]["objects"], 3, "{pruned}");
    estate.assert_nothing_denied();
    let kms: BTreeSet<String> = estate
        .proxy
        .decisions()
        .iter()
        .filter(|decision| decision.action.starts_with("kms:"))
        .map(|decision| decision.encryption_context("sr:purpose").unwrap_or_default().to_owned())
        .collect();
    let expected: &[&str] = if way == Way::Kms { &["identity", "metadata", "signing"] } else { &[] };
    assert_eq!(kms.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    for host in [&estate.db2, &restore, &audit, &prune] {
        assert_eq!(host.sees(), [theirs.clone(), second.clone()], "{}", host.name);
    }
    for (snapshot, data) in [(&theirs, dump(2)), (&second, dump(3))] {
        restore.assert_restores(snapshot, &data);
    }
    audit.assert_clean();
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

/// A host that restores, and attests what it has opened.
fn reader(estate: &Estate) -> Host {
    let mut host = estate.host("restore");
    estate.add_writer(&mut host, Role::Restore, &["--role", "verify"]);
    if let Some(file) = &host.key_file {
        let recipient = format!("key-file:{}", file.display());
        let _added = estate.admin.run(["key", "add-recipient", &recipient]).assert_code(0);
    }
    host
}

/// A host that checks the structure.
fn auditor(estate: &Estate) -> Host {
    let mut host = estate.host("audit");
    estate.add_writer(&mut host, Role::Audit, &["--role", "verify"]);
    host
}
