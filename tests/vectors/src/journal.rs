//! Journals: a chain in which every reason to be void comes once, what damage does to it, and repositories that must
//! not open. All of them are small stores, told as a base and what is exchanged in it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use strongroom_format::checkpoint::Checkpoint;
use strongroom_format::config::Config;
use strongroom_format::entry::{
    Attestation, IndexRef, JournalEntry, NoteBody, PackRef, PolicyBody, ReindexBody, Statement, TagBody,
};
use strongroom_format::key_object::{KeyObject, SignedKey, Wrap};
use strongroom_format::manifest::{Manifest, SnapshotBody};
use strongroom_format::pack::KeyRef;
use strongroom_format::policy::Policy;
use strongroom_format::registry::{ObjectKind, Purpose, Roles};
use strongroom_format::{
    Commitment, ContentHash, IndexId, KeyId, PackId, RepositoryId, Salt, SourceTag, body,
};
use strongroom_keys::Secret;
use strongroom_keys::key_file;
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::Signer;
use strongroom_keys::unlock::Credential;
use strongroom_keys::wrap::key_file_recipient;

use crate::chain::{self, Chain, Objects, entry_name, idle, root, stranger, to_json, web};
use crate::fixed::{self, REPOSITORY};
use crate::golden::{self, KMS_ARN};
use crate::opening::{apply, code, open, open_with, state};
use crate::retiring;

/// `journal.json`.
///
/// # Errors
/// Whatever fails: never, unless the code is wrong.
pub fn all() -> Result<Value> {
    let short = short()?;
    Ok(json!({
        "inputs": "the keys of the other vectors; each credential gives the same states; each case is the base with some objects exchanged, null: missing; steps: the fields of the state that each entry changes, from entry 0 on",
        "key_file": *key_file::encode(&chain::key_file(), "0011 2233"),
        "recovery_key": *key_file::encode_x25519(&chain::recovery_key())?,
        "host_key": *key_file::encode_x25519(&chain::host_key())?,
        "chains": chains()?,
        "base": to_json(&short.objects),
        "states": states(&short)?,
        "refused": refused(&short)?,
    }))
}

fn folded(objects: &Objects) -> Result<Value> {
    let with_key_file = state(&open(objects)??);
    for key in [chain::recovery_key(), chain::host_key()] {
        let other = state(&open_with(objects, Credential::X25519(key))??);
        ensure!(other == with_key_file, "another credential gives another state");
    }
    Ok(with_key_file)
}

/// Whole repositories, each with the state that its journal gives.
fn chains() -> Result<Value> {
    let mut out = Vec::new();
    let mut add = |what: &str, objects: &Objects| -> Result<()> {
        let state = folded(objects).with_context(|| what.to_owned())?;
        out.push(json!({ "what": what, "objects": to_json(objects), "state": state }));
        Ok(())
    };
    add("every reason to be void", &every_void()?.objects)?;
    add("attested packs", &attested()?.objects)?;
    add("another metadata key from entry 4 on", &rotated()?.objects)?;
    let (garbage, run) = garbage_run()?;
    add("a run of garbage, which the signer behind it saw", &garbage.objects)?;
    let mut changed = garbage.objects.clone();
    flip(&mut changed, run)?;
    add("garbage and damage between two signers: all of it is damaged", &changed)?;
    let mut missing = garbage.objects;
    missing.remove(&entry_name(run));
    add("one missing among the garbage: all of it is damaged", &missing)?;
    for (what, settled) in [("settled", 5), ("settled in part", 3)] {
        let settled = settled_after_damage(settled)?;
        add(&format!("damage, {what}"), &settled.objects)?;
    }
    add("a signer who follows what never was, behind garbage", &false_chain()?.objects)?;
    for told in retiring::all()? {
        let state = folded(&told.objects).with_context(|| told.what)?;
        let mut case = json!({ "what": told.what, "objects": to_json(&told.objects), "state": state });
        if !told.steps.is_empty() {
            case["steps"] = json!(told.steps);
        }
        out.push(case);
    }
    Ok(json!(out))
}

fn flip(objects: &mut Objects, number: u64) -> Result<()> {
    *objects.get_mut(&entry_name(number)).and_then(|bytes| bytes.get_mut(700)).context("an entry")? ^= 1;
    Ok(())
}

/// Packs that a snapshot brings and a verifier attests: one of them as something else, one again.
fn attested() -> Result<Chain> {
    let mut chain = Chain::new(b"attested")?;
    let pack = |byte: u8| PackRef { kind: ObjectKind::DataPack, id: PackId([byte; 32]), length: 4096 };
    let said = |pack: u8, description: u8| Attestation {
        pack: PackId([pack; 32]),
        description: ContentHash([description; 32]),
    };
    let body = SnapshotBody {
        manifest: manifest("coordinator-db"),
        packs: vec![pack(1), pack(2), pack(3)],
        indexes: vec![],
        keys: vec![],
    };
    chain.append(Statement::Snapshot(Box::new(body)))?;
    let by_writer = chain.entry(Statement::Attested(vec![said(3, 3)]));
    chain.append_by(&by_writer, &web())?;
    chain.append(Statement::Attested(vec![said(1, 1), said(9, 9)]))?;
    chain.append(Statement::Attested(vec![said(2, 2), said(1, 7), said(2, 8)]))?;
    chain.append(Statement::Attested(vec![said(3, 3), said(2, 2), said(3, 9)]))?;
    chain.append(Statement::Attested(vec![]))?;
    Ok(chain)
}

/// A policy that puts another metadata key in force, and entries on both sides of it.
fn rotated() -> Result<Chain> {
    let mut chain = Chain::new(b"rotated")?;
    let (first, second) = (manifest("coordinator-db"), manifest("web"));
    chain.append(snapshot(first.clone()))?;
    chain.append(note())?;
    chain.rotate(KeyId([22; 16]), 22)?;
    chain.append(tag(&first, "weekly"))?;
    let entry = chain.entry(snapshot(second));
    chain.append_by(&entry, &web())?;
    // Under the old key nothing opens any more.
    let content = chain.entry(note()).encode();
    let (name, salt) = (entry_name(chain.next), Salt([1; 32]));
    let old = fixed::metadata();
    let bytes =
        old.seal(ObjectKind::Entry, &name, body::ENTRY_FLOOR_BYTES, &content, &fixed::author(), salt)?;
    chain.append_bytes(bytes);
    chain.append(note())?;
    Ok(chain)
}

/// A run of garbage between entries, and the number of one that is garbage in the middle of it.
fn garbage_run() -> Result<(Chain, u64)> {
    let mut chain = Chain::new(b"garbage run")?;
    let first = manifest("coordinator-db");
    chain.append(snapshot(first.clone()))?;
    chain.append_bytes(fixed::noise("garbage", 1152));
    chain.append_bytes(fixed::noise("more garbage", 1152));
    chain.append_bytes(Vec::new());
    chain.append(tag(&first, "weekly"))?;
    chain.append(note())?;
    Ok((chain, 3))
}

/// A snapshot's entry that was damaged after others followed it, garbage behind it, and a policy that settles entries.
fn settled_after_damage(settled: u64) -> Result<Chain> {
    let mut chain = Chain::new(b"settled")?;
    chain.append(note())?;
    chain.append(snapshot(manifest("coordinator-db")))?;
    chain.append_bytes(fixed::noise("garbage", 1152));
    chain.append_bytes(fixed::noise("more garbage", 1152));
    // Its signer saw entry 2 as it was.
    chain.append(note())?;
    flip(&mut chain.objects, 2)?;
    let policy = Policy { sequence: 1, settled, ..chain.policy.clone() };
    chain.append(chain.policy_statement(&policy))?;
    chain.append(note())?;
    Ok(chain)
}

/// A listed signer who says he followed other bytes than those that anybody ever saw: his word is taken, and others
/// follow it.
fn false_chain() -> Result<Chain> {
    let mut chain = Chain::new(b"false chain")?;
    chain.append(snapshot(manifest("coordinator-db")))?;
    chain.append_bytes(fixed::noise("garbage", 1152));
    chain.previous = ContentHash([3; 32]);
    let entry = chain.entry(note());
    chain.append_by(&entry, &idle())?;
    chain.append(snapshot(manifest("old-db")))?;
    Ok(chain)
}

fn note() -> Statement {
    Statement::Note(NoteBody { event: "test".into(), snapshot: None, time_ns: 0, detail: "{}".into() })
}

pub(crate) fn manifest(source: &str) -> Vec<u8> {
    Manifest { source: source.into(), parent: None, facts: None, ..golden::manifest() }.encode()
}

pub(crate) fn snapshot(manifest: Vec<u8>) -> Statement {
    Statement::Snapshot(Box::new(SnapshotBody { manifest, packs: vec![], indexes: vec![], keys: vec![] }))
}

fn tag(manifest: &[u8], add: &str) -> Statement {
    let snapshot = fixed::identity().snapshot_id(manifest);
    Statement::Tag(TagBody { snapshot, add: vec![add.into()], remove: vec!["nightly".into()] })
}

fn reindex(removed: Vec<IndexId>) -> Statement {
    let index = IndexRef { id: IndexId([6; 32]), source_tag: SourceTag([7; 16]), length: 4224 };
    Statement::Reindex(ReindexBody { added: vec![index], removed })
}

/// Entries that do not open under the name they have.
fn garbage(chain: &mut Chain) -> Result<()> {
    chain.append_bytes(fixed::noise("garbage", 1152));
    chain.append(note())?;
    let other = MetadataKey::new(KeyId([5; 16]), REPOSITORY, &Secret::new([5; 32]));
    let (name, content) = (entry_name(chain.next), chain.entry(note()).encode());
    let salt = Salt([1; 32]);
    let bytes =
        other.seal(ObjectKind::Entry, &name, body::ENTRY_FLOOR_BYTES, &content, &fixed::author(), salt)?;
    chain.append_bytes(bytes);
    chain.append(note())?;
    let renamed = chain.objects[&entry_name(1)].clone();
    chain.append_bytes(renamed);
    chain.append(note())
}

/// Entries of those who may not say it.
fn unauthorized(chain: &mut Chain) -> Result<()> {
    let forger = Signer::new(fixed::AUTHOR_ID, &Secret::new([5; 32]));
    let next = Policy { sequence: 1, ..chain.policy.clone() };
    for (statement, signer) in [
        (note(), stranger()),
        (note(), forger),
        (snapshot(manifest("web")), idle()),
        (snapshot(manifest("db")), web()),
        (reindex(vec![]), web()),
        (chain.policy_statement(&next), web()),
    ] {
        let entry = chain.entry(statement);
        chain.append_by(&entry, &signer)?;
    }
    // Kinds that this version does not have, whoever says them: no reason to stop.
    for (kind, signer) in [(12, stranger()), (12, fixed::author()), (23, web()), (8, fixed::author())] {
        let content = another_kind(&chain.entry(note()), kind)?;
        let bytes = chain.seal(&content, &signer)?;
        chain.append_bytes(bytes);
    }
    // Nor is a field that it does not know.
    let content = unknown_field(&chain.entry(note()))?;
    let bytes = chain.seal(&content, &web())?;
    chain.append_bytes(bytes);
    Ok(())
}

fn another_kind(entry: &JournalEntry, kind: u8) -> Result<Vec<u8>> {
    let mut content = entry.encode();
    let at = content.windows(2).position(|pair| pair == [5, 11]).context("field 5: kind 11, a note")?;
    content[at + 1] = kind;
    Ok(content)
}

/// Field 7 of an entry is none.
fn unknown_field(entry: &JournalEntry) -> Result<Vec<u8>> {
    let mut content = entry.encode();
    ensure!(content[0] == 0xa6, "an entry has six fields");
    content[0] = 0xa7;
    content.extend_from_slice(&[7, 0]);
    Ok(content)
}

/// Entries of the owner that break a rule.
fn inconsistent(chain: &mut Chain, seen: &[u8]) -> Result<()> {
    let owner = fixed::author();
    for change in [
        |entry: &mut JournalEntry| entry.previous = ContentHash([3; 32]),
        |entry: &mut JournalEntry| entry.base -= 1,
        |entry: &mut JournalEntry| entry.number += 1,
    ] {
        let mut entry = chain.entry(note());
        change(&mut entry);
        let bytes = chain.seal(&entry.encode(), &owner)?;
        chain.append_bytes(bytes);
    }
    for statement in
        [snapshot(seen.to_vec()), snapshot(vec![0xa0]), tag(b"nothing", "x"), reindex(vec![IndexId([1; 32])])]
    {
        chain.append(statement)?;
    }
    let malformed = chain.seal(b"\xa1\x01", &owner)?;
    chain.append_bytes(malformed);
    Ok(())
}

/// Policies that do not count, and one that does: it revokes a signer and forgets a snapshot.
fn policies(chain: &mut Chain, forgotten: &[u8]) -> Result<()> {
    let next = Policy { sequence: 1, ..chain.policy.clone() };
    let policy = next.encode();
    let root_signature = strongroom_keys::sign::sign_policy(&stranger(), REPOSITORY, &policy);
    chain.append(Statement::Policy(PolicyBody { policy, root_signature }))?;
    chain.append(chain.policy_statement(&Policy { sequence: 2, ..next.clone() }))?;
    let mut identity = next.clone();
    identity.identity.id = KeyId([8; 16]);
    chain.append(chain.policy_statement(&identity))?;
    // One that was there, and one that is yet to come.
    let coming = manifest("coming-db");
    let gone = [forgotten, &coming[..]].map(|manifest| fixed::identity().snapshot_id(manifest));
    let mut revoking = Policy { forgotten: gone.to_vec(), ..next };
    revoking.signers[1].roles = Roles(0);
    chain.append(chain.policy_statement(&revoking))?;
    chain.append(snapshot(forgotten.to_vec()))?;
    chain.append(snapshot(coming))?;
    let entry = chain.entry(snapshot(manifest("web")));
    chain.append_by(&entry, &web())
}

/// A chain in which every reason to be void comes once, some more often.
fn every_void() -> Result<Chain> {
    let mut chain = Chain::new(b"every void")?;
    let (kept, forgotten) = (manifest("coordinator-db"), manifest("old-db"));
    chain.append(snapshot(kept.clone()))?;
    chain.append(snapshot(forgotten.clone()))?;
    chain.append(reindex(vec![]))?;
    garbage(&mut chain)?;
    unauthorized(&mut chain)?;
    inconsistent(&mut chain, &kept)?;
    policies(&mut chain, &forgotten)?;
    chain.append(tag(&kept, "weekly"))?;
    Ok(chain)
}

/// A policy, two snapshots, a tag, a note.
fn short() -> Result<Chain> {
    let mut chain = Chain::new(b"short")?;
    let first = manifest("coordinator-db");
    chain.append(snapshot(first.clone()))?;
    let web_entry = chain.entry(snapshot(manifest("web")));
    chain.append_by(&web_entry, &web())?;
    chain.append(tag(&first, "weekly"))?;
    chain.append(note())?;
    Ok(chain)
}

/// A checkpoint of an entry by a maintainer, who may say what is not so: its name and bytes.
pub(crate) fn checkpoint(
    objects: &Objects,
    number: u64,
    change: impl FnOnce(&mut Checkpoint),
) -> Result<(String, String)> {
    let mut before = objects.clone();
    before.retain(|name, _| !name.starts_with("journal/") || *name <= entry_name(number));
    let mut checkpoint = open(&before)??.state().to_checkpoint();
    change(&mut checkpoint);
    let name = format!("checkpoints/{:016x}", u64::MAX - number);
    let stored = fixed::metadata().seal(
        ObjectKind::Checkpoint,
        &name,
        body::OBJECT_FLOOR_BYTES,
        &checkpoint.encode(),
        &fixed::author(),
        Salt([2; 32]),
    )?;
    Ok((name, hex::encode(stored)))
}

fn flipped(objects: &Objects, name: &str, at: usize) -> Result<String> {
    let mut bytes = objects.get(name).with_context(|| format!("there is no {name}"))?.clone();
    bytes[at] ^= 1;
    Ok(hex::encode(bytes))
}

/// Changes that a reader gets over, and the state that is left.
fn states(short: &Chain) -> Result<Value> {
    let flip = |number| flipped(&short.objects, &entry_name(number), 700);
    let garbage = hex::encode(fixed::noise("garbage", 1152));
    let cases = [
        ("nothing", json!({})),
        ("a snapshot's entry changed: damaged, and what tags it is void", json!({ entry_name(1): flip(1)? })),
        (
            "an entry's repository ID changed",
            json!({ entry_name(4): flipped(&short.objects, &entry_name(4), 16)? }),
        ),
        ("an entry's kind changed", json!({ entry_name(3): flipped(&short.objects, &entry_name(3), 8)? })),
        (
            "the last entry changed: nothing behind it tells whether it ever opened",
            json!({ entry_name(4): flip(4)? }),
        ),
        ("garbage at the head", json!({ entry_name(5): garbage })),
        ("an entry of no bytes at the head", json!({ entry_name(5): "" })),
        ("a name far behind the head", json!({ "journal/ffffffffffffffff": garbage })),
        ("a checkpoint that does not open", json!({ "checkpoints/fffffffffffffffb": garbage })),
    ];
    let honest = checkpoint(&short.objects, 3, |_| {})?;
    let other = checkpoint(&short.objects, 3, |checkpoint| checkpoint.entry_hash = ContentHash([3; 32]))?;
    let renamed = [("checkpoints/fffffffffffffffb".to_owned(), honest.1.clone())];
    let forged = checkpoint(&short.objects, 3, |checkpoint| {
        checkpoint.policies[0].1.root_signature.0[3] ^= 1;
    })?;
    let checkpoints = [
        ("a checkpoint", json!({ honest.0: honest.1 })),
        ("a checkpoint of another journal", json!({ other.0: other.1 })),
        ("a checkpoint under another's name", renamed.into_iter().collect()),
        ("a checkpoint whose policy the root key did not sign", json!({ forged.0: forged.1 })),
    ];
    let mut out = Vec::new();
    for (what, changes) in cases.into_iter().chain(checkpoints) {
        let state = folded(&apply(&short.objects, &changes)?).with_context(|| what.to_owned())?;
        out.push(json!({ "what": what, "objects": changes, "state": state }));
    }
    Ok(json!(out))
}

/// Changes to which every reader says no.
fn refused(short: &Chain) -> Result<Value> {
    let config = |repository, root: &Signer| hex::encode(Config { repository, root: root.public() }.encode());
    let mut cases = vec![
        ("another repository's config", json!({ "config": config(RepositoryId([11; 16]), &root()) })),
        ("a config with another root key", json!({ "config": config(REPOSITORY, &stranger()) })),
        ("no config", json!({ "config": null })),
        ("no entry 0", json!({ entry_name(0): null })),
        ("a damaged entry 0", json!({ entry_name(0): flipped(&short.objects, &entry_name(0), 700)? })),
        ("an entry 0 of another kind", json!({ entry_name(0): first_entry(note(), &fixed::author())? })),
        ("an entry 0 by a stranger", json!({ entry_name(0): first_policy(|_| {}, &stranger())? })),
        ("an entry 0 by a signer who is not admin", json!({ entry_name(0): first_policy(|_| {}, &web())? })),
        (
            "a first policy of sequence 1",
            json!({ entry_name(0): first_policy(|p| p.sequence = 1, &fixed::author())? }),
        ),
        (
            "a first policy with another root key",
            json!({ entry_name(0): first_policy(|p| p.root = stranger().public(), &fixed::author())? }),
        ),
        (
            "a first policy with another commitment of the metadata key",
            json!({ entry_name(0): first_policy(|p| p.metadata.commitment.0[0] ^= 1, &fixed::author())? }),
        ),
        (
            "a first policy with another commitment of the vault",
            json!({ entry_name(0): first_policy(|p| p.vault.commitment.0[0] ^= 1, &fixed::author())? }),
        ),
        (
            "a first policy with another public key of the vault",
            json!({ entry_name(0): first_policy(|p| p.vault_public.0[0] ^= 1, &fixed::author())? }),
        ),
        (
            "a first policy with another commitment of the identity secret",
            json!({ entry_name(0): first_policy(|p| p.identity.commitment.0[0] ^= 1, &fixed::author())? }),
        ),
        (
            "a required feature that is not known",
            json!({ entry_name(0): first_policy(|p| p.required_features.push("time-travel".into()), &fixed::author())? }),
        ),
    ];
    cases.extend(later_policies(short)?);
    cases.extend(wraps(short)?);
    let mut out = Vec::new();
    for (what, changes) in cases {
        let opened = open(&apply(&short.objects, &changes)?)?;
        let error = opened.err().with_context(|| format!("{what} is accepted"))?;
        out.push(json!({ "what": what, "objects": changes, "error": code(&error) }));
    }
    Ok(json!(out))
}

/// Policies that the root key signed, and that need a newer program.
fn later_policies(short: &Chain) -> Result<Vec<(&'static str, Value)>> {
    let next = Policy { sequence: 1, ..short.policy.clone() };
    let feature = Policy { required_features: vec!["time-travel".into()], ..next.clone() };
    let mut field = next.encode();
    ensure!(field[0] == 0xab, "a policy has eleven fields");
    field[0] = 0xac;
    // The last of those that are critical.
    field.extend_from_slice(&[0x18, 127, 0]);
    let lost = KeyRef { id: KeyId([23; 16]), ..next.metadata };
    let lost = Policy { metadata: lost, ..next };
    let mut out = Vec::new();
    for (what, policy) in [
        ("a later policy with a required feature that is not known", feature.encode()),
        ("a later policy with an unknown critical field", field),
        ("a later policy with a metadata key that is wrapped for nobody", lost.encode()),
    ] {
        let root_signature = strongroom_keys::sign::sign_policy(&root(), REPOSITORY, &policy);
        let entry = short.entry(Statement::Policy(PolicyBody { policy, root_signature }));
        let stored = short.seal(&entry.encode(), &fixed::author())?;
        out.push((what, json!({ entry_name(short.next): hex::encode(stored) })));
    }
    Ok(out)
}

/// An entry 0 that says something else.
fn first_entry(statement: Statement, by: &Signer) -> Result<String> {
    let mut chain = Chain::new(b"first entry")?;
    let previous = strongroom_keys::derive::content_hash(&chain.objects["config"]);
    chain.next = 0;
    let entry = JournalEntry { previous, ..chain.entry(statement) };
    ensure!((entry.number, entry.base) == (0, 0), "entry 0");
    Ok(hex::encode(chain.seal(&entry.encode(), by)?))
}

fn first_policy(change: impl FnOnce(&mut Policy), by: &Signer) -> Result<String> {
    let chain = Chain::new(b"first policy")?;
    let mut policy = chain.policy.clone();
    change(&mut policy);
    first_entry(chain.policy_statement(&policy), by)
}

/// Key objects that are not what they should be.
fn wraps(short: &Chain) -> Result<Vec<(&'static str, Value)>> {
    type Change = fn(&mut KeyObject);
    let key = |prefix: &str| {
        short.objects.keys().find(|name| name.starts_with(prefix)).cloned().context("a key object")
    };
    let metadata = key(&format!("keys/{}/{}", fixed::METADATA_ID, KeyId([14; 16])))?;
    let vault = key(&format!("keys/{}/{}", KeyId([14; 16]), key_file_recipient(&chain::key_file())))?;
    let changes: [(&str, &String, Change); 5] = [
        ("a key blob that misses its commitment", &metadata, |key| key.commitment = Commitment([1; 32])),
        ("a key blob under another's name", &metadata, |key| key.key = KeyId([1; 16])),
        ("an encapsulated key of low order", &metadata, |key| {
            if let Wrap::X25519 { encapsulated, .. } = &mut key.wrap {
                *encapsulated = [0; 32];
            }
        }),
        ("a wrap that was changed", &vault, |key| {
            if let Wrap::KeyFile { sealed, .. } = &mut key.wrap {
                sealed[47] ^= 1;
            }
        }),
        ("a wrap of another commitment", &vault, |key| {
            if let Wrap::KeyFile { commitment, .. } = &mut key.wrap {
                commitment.0[31] ^= 1;
            }
        }),
    ];
    let mut out = vec![("no wrap of the metadata key for the vault", json!({ metadata.clone(): null }))];
    let kms = KeyObject {
        key: KeyId([14; 16]),
        purpose: Purpose::Vault,
        ..golden::kms_object(KMS_ARN, vec![9; 184])
    };
    let for_kms = key_object(&kms);
    let kms = format!("keys/{}/{}", kms.key, kms.recipient);
    out.push(("a vault that is left to a KMS only", json!({ vault.clone(): null, kms: for_kms })));
    for (what, name, change) in changes {
        let signed = SignedKey::decode(&short.objects[name])?;
        let mut object = KeyObject::decode(&signed.body)?;
        change(&mut object);
        out.push((what, json!({ name.clone(): key_object(&object) })));
    }
    Ok(out)
}

fn key_object(object: &KeyObject) -> String {
    let body = object.encode();
    let signature = fixed::author().sign_object(ObjectKind::Key, &[&REPOSITORY.0, &body]);
    hex::encode(SignedKey { body, signature }.encode())
}
