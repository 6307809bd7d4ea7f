//! Forging: entries and checkpoints that are not for a writer to make, garbage, gaps.

use strongroom_format::ContentHash;
use strongroom_format::entry::{
    Attestation, ForgetBody, JournalEntry, NoteBody, PolicyBody, ReindexBody, RetireBody, Statement,
};
use strongroom_format::manifest::Manifest;
use strongroom_format::policy::Signer as ListedSigner;
use strongroom_format::registry::{ObjectKind, Roles};
use strongroom_keys::sign::sign_policy;
use strongroom_repository::Repository;
use strongroom_tests::noise::noise;
use strongroom_tests::proxy::iam::roles::Role;
use strongroom_tests::sandbox::id_of;
use strongroom_tests::services::aws::refused;

use super::Way;
use super::estate::{Estate, Host, PREFIX};
use super::fixtures::{auditor, dump, objects_of, reader, snapshot_of};
use super::thief::{Thief, entry_name};

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
        assert_eq!(said, ("suspicious", "void", &object[..]));
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
    // The last: a hash stands before it, in which these two may be as well.
    let at = content.windows(2).rposition(|pair| pair == [5, 11]).unwrap();
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
