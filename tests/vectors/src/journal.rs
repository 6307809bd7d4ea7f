//! Journals: a chain in which every reason to be void comes once, what damage does to it, and repositories that must
//! not open. All of them are small stores, told as a base and what is exchanged in it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use strongroom_format::checkpoint::Checkpoint;
use strongroom_format::config::Config;
use strongroom_format::entry::{
    IndexRef, JournalEntry, NoteBody, PolicyBody, ReindexBody, Statement, TagBody,
};
use strongroom_format::key_object::{KeyObject, SignedKey, Wrap};
use strongroom_format::manifest::{Manifest, SnapshotBody};
use strongroom_format::policy::Policy;
use strongroom_format::registry::{ObjectKind, Roles};
use strongroom_format::{Commitment, ContentHash, IndexId, KeyId, RepositoryId, Salt, SourceTag, body};
use strongroom_keys::Secret;
use strongroom_keys::key_file;
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::Signer;

use crate::chain::{self, Chain, Objects, entry_name, idle, root, stranger, to_json, web};
use crate::fixed::{self, REPOSITORY};
use crate::golden;
use crate::opening::{apply, code, open, state};

/// `journal.json`.
///
/// # Errors
/// Whatever fails: never, unless the code is wrong.
pub fn all() -> Result<Value> {
    let chain = every_void()?;
    let short = short()?;
    Ok(json!({
        "inputs": "the keys of the other vectors; each case is the base with some objects exchanged, null: missing",
        "key_file": *key_file::encode(&chain::key_file(), "0011 2233"),
        "chain": { "objects": to_json(&chain.objects), "state": folded(&chain.objects)? },
        "base": to_json(&short.objects),
        "states": states(&short)?,
        "refused": refused(&short)?,
    }))
}

fn folded(objects: &Objects) -> Result<Value> {
    Ok(state(&open(objects)??))
}

fn note() -> Statement {
    Statement::Note(NoteBody { event: "test".into(), snapshot: None, time_ns: 0, detail: "{}".into() })
}

fn manifest(source: &str) -> Vec<u8> {
    Manifest { source: source.into(), parent: None, facts: None, ..golden::manifest() }.encode()
}

fn snapshot(manifest: Vec<u8>) -> Statement {
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
    // A kind that is reserved, said by nobody who counts: no reason to stop.
    let content = reserved_kind(&chain.entry(note()))?;
    let bytes = chain.seal(&content, &stranger())?;
    chain.append_bytes(bytes);
    Ok(())
}

fn reserved_kind(entry: &JournalEntry) -> Result<Vec<u8>> {
    let mut content = entry.encode();
    let at = content.windows(2).position(|pair| pair == [5, 11]).context("field 5: kind 11, a note")?;
    content[at + 1] = 12;
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
    let mut revoking = Policy { forgotten: vec![fixed::identity().snapshot_id(forgotten)], ..next };
    revoking.signers[1].roles = Roles(0);
    chain.append(chain.policy_statement(&revoking))?;
    chain.append(snapshot(forgotten.to_vec()))?;
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

/// A checkpoint of entry 3 by a maintainer, who may say what is not so: its name and bytes.
fn checkpoint(short: &Chain, change: impl FnOnce(&mut Checkpoint)) -> Result<(String, String)> {
    let mut before = short.objects.clone();
    before.remove(&entry_name(4));
    let mut checkpoint = open(&before)??.state().to_checkpoint();
    change(&mut checkpoint);
    let name = format!("checkpoints/{:016x}", u64::MAX - 3);
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
    let honest = checkpoint(short, |_| {})?;
    let other = checkpoint(short, |checkpoint| checkpoint.entry_hash = ContentHash([3; 32]))?;
    let renamed = [("checkpoints/fffffffffffffffb".to_owned(), honest.1.clone())];
    let forged = checkpoint(short, |checkpoint| checkpoint.policies[0].1.root_signature.0[3] ^= 1)?;
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
    let content = reserved_kind(&short.entry(note()))?;
    let newer = hex::encode(short.seal(&content, &fixed::author())?);
    cases.push(("a reserved kind, said by a listed signer", json!({ entry_name(short.next): newer })));
    cases.extend(wraps(short)?);
    let mut out = Vec::new();
    for (what, changes) in cases {
        let opened = open(&apply(&short.objects, &changes)?)?;
        let error = opened.err().with_context(|| format!("{what} is accepted"))?;
        out.push(json!({ "what": what, "objects": changes, "error": code(&error) }));
    }
    Ok(json!(out))
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
    let metadata = key(&format!("keys/{}/", fixed::METADATA_ID))?;
    let vault = key(&format!("keys/{}/", KeyId([14; 16])))?;
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
    let mut out = vec![("no wrap of the metadata key", json!({ metadata.clone(): null }))];
    for (what, name, change) in changes {
        let signed = SignedKey::decode(&short.objects[name])?;
        let mut object = KeyObject::decode(&signed.body)?;
        change(&mut object);
        let body = object.encode();
        let signature = fixed::author().sign_object(ObjectKind::Key, &[&REPOSITORY.0, &body]);
        out.push((what, json!({ name.clone(): hex::encode(SignedKey { body, signature }.encode()) })));
    }
    Ok(out)
}
