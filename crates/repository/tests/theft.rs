//! What a thief of a writing host's secrets can do: nothing to others.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use strongroom_format::checkpoint::Checkpoint;
use strongroom_format::entry::{
    Attestation, IndexRef, NoteBody, PackRef, PolicyBody, ReindexBody, Statement, TagBody,
};
use strongroom_format::index::{Index, IndexedPack};
use strongroom_format::manifest::{Manifest, SnapshotBody};
use strongroom_format::pack::Footer;
use strongroom_format::policy;
use strongroom_format::registry::{ObjectKind, Purpose, Roles};
use strongroom_format::{ContentHash, IndexId, KeyId, SourceTag, WriterId};
use strongroom_keys::Secret;
use strongroom_keys::derive::content_hash;
use strongroom_keys::seal::sign_footer;
use strongroom_keys::sign::sign_policy;
use strongroom_keys::unlock::key_name;
use strongroom_keys::wrap::{NamedKey, WrapTo};
use strongroom_repository::RepositoryError;
use strongroom_repository::check::{FindingKind, Severity};
use strongroom_store::{MemoryStore, Store};
use support::*;

fn data() -> Files {
    files([("dump.sql", noise(1, 300_000)), ("roles.sql", b"create role".to_vec())])
}

fn other() -> Files {
    files([("site.html", noise(2, 200_000))])
}

/// A repository of three: an admin who backs up `db`, an honest host that backs up `mail`, and one for `web` whose
/// secrets were stolen. The first two have snapshots.
struct Theft {
    memory: Arc<MemoryStore>,
    store: Arc<dyn Store>,
    honest: Host,
    robbed: Host,
    thief: Keys,
    before: [(strongroom_format::SnapshotId, Files); 3],
}

impl Theft {
    fn new() -> Self {
        let (memory, store) = memory();
        new_repository(&store);
        let honest = Host::add(&store, "mail1", Roles::WRITE, &["mail"]);
        let robbed = Host::add(&store, "web1", Roles::WRITE, &["web"]);
        let mail = files([("inbox", noise(5, 150_000))]);
        let before = [
            (backup(&mut open(&store), "db", &data()).id, data()),
            (backup(&mut honest.open(&store), "mail", &mail).id, mail),
            (backup(&mut robbed.open(&store), "web", &other()).id, other()),
        ];
        let thief = robbed.stolen(&store);
        Self { memory, store, honest, robbed, thief, before }
    }

    fn manifest(&self, source: &str, nonce: u8) -> Manifest {
        let repository = open(&self.store);
        Manifest { source: source.into(), nonce: [nonce; 16], ..repository.snapshots()[0].manifest.clone() }
    }

    fn append(&self, statement: Statement) -> u64 {
        self.thief.append(&*self.store, statement)
    }

    /// The others go on as if nothing was.
    fn assert_others_go_on(&self, what: &str) {
        let mail = files([("inbox", noise(5, 150_000)), ("new", noise(what.len() as u64 + 900, 3_000))]);
        let mut host = self.honest.open(&self.store);
        // What came last may still turn out to be damage: nobody honest has followed it yet.
        assert!(host.warnings().iter().all(|warning| warning.starts_with("journal entry")), "{what}");
        let report = backup(&mut host, "mail", &mail);
        assert!(report.totals.new_bytes < 10_000, "{what}: its own packs still count");
        let mut admin = open(&self.store);
        backup(&mut admin, "db", &data());
        for (id, files) in self.before.iter().chain([&(report.id, mail)]) {
            assert!(restore(&mut admin, *id) == *files, "{what}");
        }
        let report = check(&admin);
        assert_eq!(damage(&report), Vec::<&_>::new(), "{what}");
    }

    /// The entry changes nothing for anybody, and check reports it.
    fn assert_void(&self, what: &str, number: u64) {
        self.assert_others_go_on(what);
        let admin = open(&self.store);
        assert!(admin.state().voids.iter().any(|void| void.number == number), "{what}");
        let report = check(&admin);
        let found = severity_of(&report, entry_name(number).as_str());
        assert_eq!(found, Some(Severity::Suspicious), "{what}");
    }
}

fn bare(manifest: &Manifest) -> Statement {
    let body = SnapshotBody { manifest: manifest.encode(), packs: vec![], indexes: vec![], keys: vec![] };
    Statement::Snapshot(Box::new(body))
}

#[test]
fn a_thief_forges_nothing_in_the_journal() {
    let theft = Theft::new();
    let of_db = theft.append(bare(&theft.manifest("db", 1)));
    theft.assert_void("a snapshot of another source", of_db);
    assert_eq!(open(&theft.store).snapshots().iter().filter(|s| s.id() == theft.before[0].0).count(), 1);

    let mut policy = theft.thief.policy.clone();
    policy.sequence = open(&theft.store).state().policy.sequence + 1;
    policy.signers.push(policy::Signer { roles: Roles::ALL, ..policy.signers[0].clone() });
    policy.forgotten = vec![theft.before[0].0];
    let encoded = policy.encode();
    let root_signature = sign_policy(&theft.thief.root, theft.thief.repository, &encoded);
    let number = theft.append(Statement::Policy(PolicyBody { policy: encoded, root_signature }));
    theft.assert_void("a policy", number);
    // One that the root key once signed, again.
    let (_, old) = open(&theft.store).state().policies[1].clone();
    theft.assert_void("an old policy", theft.append(Statement::Policy(old)));

    let removed = open(&theft.store).state().indexes.keys().copied().collect();
    let number = theft.append(Statement::Reindex(ReindexBody { added: vec![], removed }));
    theft.assert_void("reindex without the role", number);
    let packs = open(&theft.store).state().packs.keys().copied().collect::<Vec<_>>();
    let description = ContentHash([7; 32]);
    let attested = packs.iter().map(|pack| Attestation { pack: *pack, description }).collect();
    theft.assert_void("attestations without the role", theft.append(Statement::Attested(attested)));
    assert!(open(&theft.store).state().attested.is_empty());

    // Forget, retire, expire, verified, hold, reinstate, and kinds that nobody knows: written by hand.
    for kind in [3, 5, 6, 8, 10, 12, 13, 23] {
        let entry = next_entry(
            &*theft.store,
            Statement::Note(NoteBody {
                event: "x".into(),
                snapshot: Some(theft.before[0].0),
                time_ns: 0,
                detail: "{}".into(),
            }),
        );
        let mut content = entry.encode();
        let at = content.windows(2).position(|pair| pair == [5, 11]).unwrap();
        content[at + 1] = kind;
        let sealed = theft.thief.seal_content(entry.number, &content, &theft.thief.signer);
        put(&*theft.store, &entry_name(entry.number), &sealed);
        theft.assert_void(&format!("kind {kind}"), entry.number);
    }

    let first = names(&*theft.store, "journal/").len() as u64;
    for number in first..first + 20 {
        put(&*theft.store, &entry_name(number), &noise(number, 900));
    }
    theft.assert_void("a run of garbage", first + 19);
    // Another history from before the theft, signed by the thief, does not follow.
    let mut entry = next_entry(&*theft.store, bare(&theft.manifest("web", 9)));
    entry.previous = chain_to(&*theft.store, 3);
    put(&*theft.store, &entry_name(entry.number), &theft.thief.seal(&entry, &theft.thief.signer));
    theft.assert_void("another history", entry.number);
    // The admin has seen all of it.
    let settled = open(&theft.store).settle().unwrap();
    assert_eq!(settled + 2, names(&*theft.store, "journal/").len() as u64);
    let report = check(&open(&theft.store));
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[test]
fn what_any_listed_writer_may_say_harms_nobody() {
    let theft = Theft::new();
    let note = NoteBody {
        event: "restore\u{202e}; rm -rf".into(),
        snapshot: Some(strongroom_format::SnapshotId([9; 32])),
        time_ns: i64::MIN,
        detail: "not JSON".into(),
    };
    theft.append(Statement::Note(note));
    theft.append(Statement::Tag(TagBody {
        snapshot: theft.before[0].0,
        add: vec!["x".into()],
        remove: vec![],
    }));
    // A snapshot of its own source with a tree that is another's, and one that is nowhere.
    theft.append(bare(&theft.manifest("web", 2)));
    theft.assert_others_go_on("notes, tags and a tree");
    let mut nowhere = theft.manifest("web", 3);
    nowhere.tree.root.0 = [1; 32];
    theft.append(bare(&nowhere));
    // Its own source is damaged by it, and nobody else's.
    let mut admin = open(&theft.store);
    let forged = admin.snapshots().last().unwrap().id();
    for (id, files) in &theft.before {
        assert!(restore(&mut admin, *id) == *files);
    }
    let report = check(&admin);
    assert!(!damage(&report).is_empty());
    assert!(damage(&report).iter().all(|finding| finding.snapshots == [forged]), "{:#?}", report.findings);
    open(&theft.store).revoke_writer(theft.robbed.id, &[forged]).unwrap();
    assert_clean(&theft.store);
}

#[test]
fn a_made_up_checkpoint_misleads_nobody() {
    for number in [3_u64, 6, 7, 500, u64::MAX / 2, u64::MAX - 1] {
        let theft = Theft::new();
        let state = open(&theft.store).state().clone();
        // The state without the snapshots of the others, and with the thief as admin.
        let mut content: Checkpoint = state.to_checkpoint();
        content.number = number;
        content.snapshots.truncate(1);
        let plain = content.encode();
        let mut policy = state.policy.clone();
        policy.signers.iter_mut().for_each(|signer| signer.roles = Roles::ALL);
        policy.sequence += 1;
        let policy = policy.encode();
        let root_signature = sign_policy(&theft.thief.root, theft.thief.repository, &policy);
        content.policies.push((number, PolicyBody { policy, root_signature }));
        let object = name(&format!("checkpoints/{:016x}", u64::MAX - number));
        let sealed = |content| theft.thief.seal_object(ObjectKind::Checkpoint, object.as_str(), content);
        for bytes in [sealed(&plain), sealed(&content.encode()), b"junk".to_vec(), vec![]] {
            theft.memory.overwrite(&object, &bytes);
            for mut repository in [open(&theft.store), theft.honest.open(&theft.store)] {
                assert_eq!(repository.state().to_checkpoint(), state.to_checkpoint(), "{number}");
                assert!(repository.warnings().iter().any(|w| w.contains("checkpoint")), "{number}");
                repository.load_index().unwrap();
            }
            let report = check(&open(&theft.store));
            assert!(severity_of(&report, object.as_str()).is_some_and(|found| found > Severity::Info));
            // Others are not kept from writing.
            backup(&mut theft.honest.open(&theft.store), "mail", &theft.before[1].1);
            let state_then = open(&theft.store).state().clone();
            assert_eq!(state_then.snapshots.len(), 4);
            theft.store.delete(&entry_name(state_then.number)).unwrap();
        }
    }
}

#[test]
fn poison_is_deduplicated_against_by_nobody() {
    let theft = Theft::new();
    let victim = files([("ledger", noise(40, 250_000))]);
    // The thief knows what will be backed up: in a copy of the store he learns its chunk IDs.
    let copy: Arc<dyn Store> = Arc::new((*theft.memory).clone());
    backup(&mut theft.robbed.open(&copy), "web", &victim);
    let learnt = described(&copy, &theft.thief);
    // Junk of the same lengths, in a pack of his own, which he stores; the index says it is the victim's data.
    let junk_copy: Arc<dyn Store> = Arc::new((*theft.memory).clone());
    let junk = files([("ledger", noise(41, 250_000))]);
    backup(&mut theft.robbed.open(&junk_copy), "web", &junk);
    let state = open(&junk_copy).state().clone();
    let known = open(&theft.store).state().packs.clone();
    let brought: Vec<PackRef> =
        state.packs.values().filter(|pack| !known.contains_key(&pack.id)).copied().collect();
    for name in names(&*junk_copy, "") {
        let is_new = theft.store.stat(&name).is_err();
        if is_new && !name.as_str().starts_with("journal/") && !name.as_str().starts_with("index/") {
            put(&*theft.store, &name, &read(&*junk_copy, &name));
        }
    }
    let wanted: Vec<_> = learnt
        .iter()
        .filter(|(kind, pack, _)| *kind == ObjectKind::DataPack && !known.contains_key(&pack.id))
        .flat_map(|(_, _, footer)| footer.chunks.iter().copied())
        .collect();
    assert!(wanted.len() > 1);
    let mut packs = Vec::new();
    for (kind, pack, mut footer) in described(&junk_copy, &theft.thief) {
        if known.contains_key(&pack.id) {
            continue;
        }
        if kind != ObjectKind::DataPack {
            packs.push(pack);
            continue;
        }
        for (chunk, wanted) in footer.chunks.iter_mut().zip(&wanted) {
            chunk.id = wanted.id;
        }
        footer.signature =
            sign_footer(&theft.thief.signer, kind, &pack.header, &footer.signed_part().unwrap());
        packs.push(IndexedPack { footer: footer.encode().unwrap(), ..pack });
    }
    assert!(packs.len() > 1);
    let source_tag = theft.thief.identity.source_tag("web");
    let lie = Index { source_tag, packs };
    let bytes = theft.thief.seal_object(ObjectKind::Index, "", &lie.encode().unwrap());
    let id = IndexId(content_hash(&bytes).0);
    put(&*theft.store, &name(&format!("index/{source_tag}/{id}")), &bytes);
    let indexes = vec![IndexRef { id, source_tag, length: bytes.len() as u64 }];
    let body = SnapshotBody {
        manifest: theft.manifest("web", 7).encode(),
        packs: brought.clone(),
        indexes,
        keys: vec![],
    };
    theft.append(Statement::Snapshot(Box::new(body)));
    let forged = open(&theft.store).snapshots().last().unwrap().id();

    // Neither the admin nor the host counts those chunks as stored, and both get back what they stored.
    for (mut repository, source) in [(open(&theft.store), "db"), (theft.honest.open(&theft.store), "mail")] {
        let report = backup(&mut repository, source, &victim);
        assert!(report.totals.new_bytes > 200_000, "{source}: {:?}", report.totals);
        assert!(restore(&mut open(&theft.store), report.id) == victim, "{source}");
    }
    theft.assert_others_go_on("poison");
    // The lie is found by whoever reads packs, and none of it is attested.
    let report = check(&open(&theft.store));
    let lies = report.findings.iter().filter(|f| f.kind == FindingKind::Contradiction).count();
    assert!(lies > 0, "{:#?}", report.findings);
    let data_packs: Vec<_> = brought.iter().filter(|pack| pack.kind == ObjectKind::DataPack).collect();
    assert!(report.opened.iter().all(|said| data_packs.iter().all(|pack| pack.id != said.pack)));
    // The thief's own run says what it likes of its own packs; once it is gone everybody else's data is there.
    open(&theft.store).revoke_writer(theft.robbed.id, &[forged]).unwrap();
    theft.assert_others_go_on("poison, its author revoked");
}

/// What index objects say of packs.
fn described(store: &Arc<dyn Store>, keys: &Keys) -> Vec<(ObjectKind, IndexedPack, Footer)> {
    let mut found = Vec::new();
    for name in names(&**store, "index/") {
        let opened = keys.metadata.open(ObjectKind::Index, "", &read(&**store, &name)).unwrap();
        for pack in Index::decode(opened.body().unwrap().content).unwrap().packs {
            let footer = Footer::decode(&pack.footer).unwrap();
            found.push((pack.decoded_header().unwrap().kind, pack, footer));
        }
    }
    found
}

#[test]
fn index_objects_that_no_entry_names_say_nothing() {
    let theft = Theft::new();
    let tag = SourceTag([3; 16]);
    let honest = described(&theft.store, &theft.thief);
    let packs = honest.into_iter().map(|(_, pack, _)| pack).collect();
    let bytes =
        theft.thief.seal_object(ObjectKind::Index, "", &Index { source_tag: tag, packs }.encode().unwrap());
    put(&*theft.store, &name(&format!("index/{tag}/{}", IndexId(content_hash(&bytes).0))), &bytes);
    put(&*theft.store, &name("index/junk"), b"junk");
    put(&*theft.store, &name("packs/00/junk"), b"junk");
    put(&*theft.store, &name(&format!("packs/00/{}", IndexId([0; 32]))), b"junk");
    put(&*theft.store, &name("keys/junk"), b"junk");
    put(&*theft.store, &name("checkpoints/zz"), b"junk");
    put(&*theft.store, &name("journal/zz"), b"junk");
    let report = check(&open(&theft.store));
    for stray in ["index/junk", "packs/00/junk", "keys/junk", "checkpoints/zz", "journal/zz"] {
        assert_eq!(severity_of(&report, stray), Some(Severity::Suspicious), "{stray}");
    }
    let mut host = theft.honest.open(&theft.store);
    backup(&mut host, "mail", &theft.before[1].1);
    for (id, files) in &theft.before {
        assert!(restore(&mut open(&theft.store), *id) == *files);
    }
    assert_eq!(damage(&check(&open(&theft.store))), Vec::<&_>::new());
}

#[test]
fn keys_that_a_thief_adds_open_nothing_for_others() {
    let theft = Theft::new();
    let (thief, policy) = (&theft.thief, &theft.thief.policy);
    // The metadata key wrapped for somebody else, who the policy does not name; keys of the thief's own wrapped for
    // everybody who has a public key; junk under every name that is foreseeable.
    let friend = to_x25519(&Secret::new([0x66; 32]));
    let metadata = NamedKey {
        id: policy.metadata.id,
        purpose: Purpose::Metadata,
        secret: thief.metadata_secret.clone(),
    };
    let mut added = Vec::new();
    let mut add = |recipient: &WrapTo, key: &NamedKey| {
        let wrapped = recipient.wrap(key, thief.repository, &thief.signer, &*fresh_random()).unwrap();
        let name = key_name(key.id, recipient.recipient()).unwrap();
        if theft.store.stat(&name).is_err() {
            put(&*theft.store, &name, &wrapped.encode());
            added.push(name);
        }
    };
    add(&friend, &metadata);
    let purposes = [
        (policy.metadata.id, Purpose::Metadata),
        (policy.identity.id, Purpose::Identity),
        (policy.vault.id, Purpose::Vault),
        (KeyId(theft.honest.id.0), Purpose::Signing),
        (KeyId(policy.signers[0].id.0), Purpose::Signing),
    ];
    let everybody = [to_x25519(&theft.honest.private), friend];
    for recipient in &everybody {
        for (id, purpose) in purposes {
            add(recipient, &NamedKey { id, purpose, secret: Secret::new([0xee; 32]) });
        }
    }
    assert!(added.len() >= 6, "{added:?}");
    for (id, _) in purposes {
        let junk = key_name(id, strongroom_format::RecipientId([0; 16])).unwrap();
        put(&*theft.store, &junk, b"junk");
        added.push(junk);
    }
    theft.assert_others_go_on("added keys");
    let report = check(&open(&theft.store));
    for junk in added.iter().filter(|name| read(&*theft.store, name) == b"junk") {
        assert_eq!(severity_of(&report, junk.as_str()), Some(Severity::Suspicious), "{junk}");
    }
    // What is there cannot be replaced, and a host cannot name a recipient.
    let vault = names(&*theft.store, &format!("keys/{}/", policy.vault.id));
    assert!(vault.iter().all(|name| {
        let outcome = theft.store.put_if_absent(name, b"mine").unwrap();
        outcome == strongroom_store::PutOutcome::AlreadyExists
    }));
    let recipients = |store| open(store).state().policy.recipients.clone();
    assert_eq!(recipients(&theft.store), policy.recipients);
}

#[test]
fn revocation_acts_forward_and_takes_nothing_from_others() {
    let theft = Theft::new();
    let mut robbed = theft.robbed.open(&theft.store);
    let later = backup(&mut robbed, "web", &data()).id;
    assert_eq!(open(&theft.store).snapshots().len(), 4);
    let mut admin = open(&theft.store);
    let error = admin.revoke_writer(theft.robbed.id, &[strongroom_format::SnapshotId([1; 32])]).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSuchSnapshot { .. }), "{error:?}");
    let error = admin.revoke_writer(WriterId([1; 16]), &[]).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSuchWriter { .. }), "{error:?}");
    let myself = admin.state().policy.signers[0].id;
    let error = admin.revoke_writer(myself, &[]).unwrap_err();
    assert!(matches!(error, RepositoryError::LastAdmin), "{error:?}");
    assert_eq!(open(&theft.store).snapshots().len(), 4);

    let revoked = admin.revoke_writer(theft.robbed.id, &[later]).unwrap();
    assert_eq!((revoked.forgotten, revoked.left), (vec![later], vec![]));
    let own = to_x25519(&theft.robbed.private).recipient();
    assert!(!names(&*theft.store, "keys/").iter().any(|name| name.as_str().ends_with(&own.to_hex())));
    assert!(theft.robbed.try_open(&theft.store).is_err());
    // What it had open, and what a thief kept, writes nothing that counts.
    assert!(try_backup(&mut robbed, "web", &other()).is_err());
    let number = theft.append(bare(&theft.manifest("web", 5)));
    theft.assert_void("after the revocation", number);
    // Nor does the forgotten snapshot come back.
    let state = open(&theft.store).state().clone();
    assert!(!state.snapshots.iter().any(|snapshot| snapshot.id() == later));
    assert!(state.snapshots.iter().any(|snapshot| snapshot.id() == theft.before[2].0));
    // A new host for the source has its own key, and stores what it needs itself.
    let new = Host::add(&theft.store, "web1-again", Roles::WRITE, &["web"]);
    let report = backup(&mut new.open(&theft.store), "web", &other());
    assert!(report.totals.new_bytes > 150_000);
    assert!(restore(&mut open(&theft.store), report.id) == other());
    open(&theft.store).rotate().unwrap();
    theft.assert_others_go_on("after a rotation");
}
