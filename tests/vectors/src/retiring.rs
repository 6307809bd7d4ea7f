//! Forget, hold and retire entries: chains in which each says what may be said and what may not, what comes behind it, and
//! what each entry changes in the state.

use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};
use strongroom_format::entry::{
    Attestation, ForgetBody, HoldBody, IndexRef, PackRef, ReindexBody, RetireBody, Statement, TagBody,
};
use strongroom_format::manifest::SnapshotBody;
use strongroom_format::pack::KeyRef;
use strongroom_format::policy::{self, Policy};
use strongroom_format::registry::{ObjectKind, Roles};
use strongroom_format::{Commitment, ContentHash, IndexId, KeyId, PackId, SnapshotId, SourceTag};
use strongroom_keys::sign::Signer;

use crate::chain::{Chain, Objects, entry_name, idle, signer};
use crate::fixed;
use crate::journal::{checkpoint, manifest, snapshot};
use crate::opening::{open, state};

/// A whole repository.
pub(crate) struct Told {
    pub(crate) what: &'static str,
    pub(crate) objects: Objects,
    /// What each entry changes in the state, field by field.
    pub(crate) steps: Vec<Value>,
}

/// Them all.
pub(crate) fn all() -> Result<Vec<Told>> {
    let (forgotten, held, retired) = (forgotten()?, held()?, retired()?);
    let mut with_checkpoint = retired.objects.clone();
    // Behind it comes what names the retired and the forgotten again.
    let (name, stored) = checkpoint(&with_checkpoint, 8, |_| {})?;
    with_checkpoint.insert(name, hex::decode(stored)?);
    let (before, after) = (state(&open(&retired.objects)??), state(&open(&with_checkpoint)??));
    ensure!(before == after, "a checkpoint gives another state");
    let mut held_with_checkpoint = held.objects.clone();
    let (name, stored) = checkpoint(&held_with_checkpoint, 7, |_| {})?;
    held_with_checkpoint.insert(name, hex::decode(stored)?);
    let (before, after) = (state(&open(&held.objects)??), state(&open(&held_with_checkpoint)??));
    ensure!(before == after, "a checkpoint gives another state");
    Ok(vec![
        Told { steps: steps(&forgotten)?, what: "forgotten snapshots", objects: forgotten.objects },
        Told { steps: steps(&retired)?, what: "retired packs and data keys", objects: retired.objects },
        Told {
            what: "retired packs and data keys, and a checkpoint of entry 8",
            objects: with_checkpoint,
            steps: Vec::new(),
        },
        Told { steps: steps(&held)?, what: "held snapshots", objects: held.objects },
        Told {
            what: "held snapshots, and a checkpoint of entry 7",
            objects: held_with_checkpoint,
            steps: Vec::new(),
        },
    ])
}

fn steps(chain: &Chain) -> Result<Vec<Value>> {
    let mut objects = chain.objects.clone();
    let mut states = Vec::new();
    for number in (0..chain.next).rev() {
        states.push(state(&open(&objects)??));
        objects.remove(&entry_name(number));
    }
    states.reverse();
    let mut before = json!({});
    let mut steps = Vec::new();
    for state in states {
        let fields = state.as_object().into_iter().flatten();
        let changed: Map<String, Value> = fields
            .filter(|(name, value)| before.get(name) != Some(value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        steps.push(Value::Object(changed));
        before = state;
    }
    Ok(steps)
}

/// Has the role maintain only.
fn maintainer() -> Signer {
    signer(3)
}

/// Has every other role.
fn no_maintainer() -> Signer {
    signer(4)
}

/// Entry 1 lists both.
fn with_maintainer(seed: &[u8]) -> Result<Chain> {
    let mut chain = Chain::new(seed)?;
    chain.policy.sequence += 1;
    for (signer, roles) in
        [(maintainer(), Roles::MAINTAIN), (no_maintainer(), Roles(Roles::ALL.0 ^ Roles::MAINTAIN.0))]
    {
        chain.policy.signers.push(policy::Signer {
            id: signer.id(),
            public: signer.public(),
            roles,
            sources: vec!["*".into()],
            name: signer.id().to_hex(),
        });
    }
    chain.append(chain.policy_statement(&chain.policy))?;
    Ok(chain)
}

fn append_by(chain: &mut Chain, statement: Statement, signer: &Signer) -> Result<()> {
    let entry = chain.entry(statement);
    chain.append_by(&entry, signer)
}

fn id(manifest: &[u8]) -> SnapshotId {
    fixed::identity().snapshot_id(manifest)
}

fn forget(snapshots: &[SnapshotId]) -> Statement {
    Statement::Forget(ForgetBody { snapshots: snapshots.to_vec(), reason: "older than 30 days".into() })
}

fn forgotten() -> Result<Chain> {
    let mut chain = with_maintainer(b"forgotten")?;
    let manifests = ["coordinator-db", "old-db", "web", "logs"].map(manifest);
    let [kept, old, web, logs] = manifests.each_ref().map(|manifest| id(manifest));
    for manifest in &manifests[..3] {
        chain.append(snapshot(manifest.clone()))?;
    }
    append_by(&mut chain, forget(&[old]), &no_maintainer())?;
    // One of them is not there: the other stays.
    append_by(&mut chain, forget(&[old, SnapshotId([1; 32])]), &maintainer())?;
    append_by(&mut chain, forget(&[old]), &maintainer())?;
    chain.append(forget(&[old]))?;
    chain.append(snapshot(manifests[1].clone()))?;
    chain.append(Statement::Tag(TagBody { snapshot: old, add: vec!["weekly".into()], remove: vec![] }))?;
    chain.append(snapshot(manifests[3].clone()))?;
    // The last one's time is not told yet; one is named twice.
    append_by(&mut chain, forget(&[web, logs, web]), &maintainer())?;
    append_by(&mut chain, forget(&[]), &maintainer())?;
    // What a policy forgets is in the policy.
    let policy =
        Policy { sequence: chain.policy.sequence + 1, forgotten: vec![kept], ..chain.policy.clone() };
    chain.append(chain.policy_statement(&policy))?;
    chain.append(forget(&[kept]))?;
    Ok(chain)
}

fn hold(snapshots: &[SnapshotId], name: &str, is_on: bool) -> Statement {
    Statement::Hold(HoldBody {
        snapshots: snapshots.to_vec(),
        name: name.into(),
        is_on,
        reason: "case 7".into(),
    })
}

fn held() -> Result<Chain> {
    let mut chain = with_maintainer(b"held")?;
    let manifests = ["coordinator-db", "old-db", "web"].map(manifest);
    let [kept, old, web] = manifests.each_ref().map(|manifest| id(manifest));
    for manifest in &manifests {
        chain.append(snapshot(manifest.clone()))?;
    }
    // Whoever is listed puts one on; all that it names must be there, and one may be named twice.
    append_by(&mut chain, hold(&[kept, SnapshotId([1; 32])], "legal", true), &maintainer())?;
    append_by(&mut chain, hold(&[kept, old, kept], "legal", true), &idle())?;
    append_by(&mut chain, hold(&[kept], "audit", true), &maintainer())?;
    // Again is no change.
    chain.append(hold(&[kept, web], "legal", true))?;
    chain.append(hold(&[], "none", true))?;
    // Nobody forgets what is held, nor what is named beside it.
    append_by(&mut chain, hold(&[web], "legal", false), &no_maintainer())?;
    append_by(&mut chain, forget(&[web, old]), &maintainer())?;
    let policy =
        Policy { sequence: chain.policy.sequence + 1, forgotten: vec![web, kept], ..chain.policy.clone() };
    chain.append(chain.policy_statement(&policy))?;
    // An admin takes one off, of all that he names or of none.
    append_by(&mut chain, hold(&[old], "legal", false), &maintainer())?;
    chain.append(hold(&[old, web], "legal", false))?;
    chain.append(hold(&[kept, old], "legal", false))?;
    append_by(&mut chain, forget(&[kept]), &maintainer())?;
    append_by(&mut chain, forget(&[web, old]), &maintainer())?;
    chain.append(hold(&[old], "legal", true))?;
    chain.append(hold(&[kept], "audit", false))?;
    chain.append(chain.policy_statement(&policy))?;
    Ok(chain)
}

fn pack(byte: u8) -> PackRef {
    let kind = if byte == 3 { ObjectKind::MetadataPack } else { ObjectKind::DataPack };
    PackRef { kind, id: PackId([byte; 32]), length: 4096 + u64::from(byte) }
}

fn index(byte: u8) -> IndexRef {
    IndexRef { id: IndexId([byte; 32]), source_tag: SourceTag([7; 16]), length: 4224 }
}

fn key(byte: u8) -> KeyRef {
    KeyRef { id: KeyId([byte; 16]), commitment: Commitment([byte; 32]) }
}

fn attested(packs: &[u8]) -> Statement {
    let said = |byte: &u8| Attestation { pack: PackId([*byte; 32]), description: ContentHash([*byte; 32]) };
    Statement::Attested(packs.iter().map(said).collect())
}

fn brings(source: &str, packs: &[u8], indexes: &[u8], keys: &[u8]) -> Statement {
    Statement::Snapshot(Box::new(SnapshotBody {
        manifest: manifest(source),
        packs: packs.iter().copied().map(pack).collect(),
        indexes: indexes.iter().copied().map(index).collect(),
        keys: keys.iter().copied().map(key).collect(),
    }))
}

fn retire(retired: &[u8], packs: &[u8], indexes: &[u8], keys: &[u8], retired_keys: &[u8]) -> RetireBody {
    RetireBody {
        retired: retired.iter().map(|byte| PackId([*byte; 32])).collect(),
        packs: packs.iter().copied().map(pack).collect(),
        indexes: indexes.iter().copied().map(index).collect(),
        keys: keys.iter().copied().map(key).collect(),
        retired_keys: retired_keys.iter().map(|byte| KeyId([*byte; 16])).collect(),
    }
}

fn retired() -> Result<Chain> {
    let mut chain = with_maintainer(b"retired")?;
    chain.append(brings("coordinator-db", &[1, 2, 3], &[1], &[31, 32]))?;
    chain.append(brings("web", &[4], &[2], &[33, 31]))?;
    chain.append(brings("logs", &[], &[], &[33]))?;
    chain.append(attested(&[1, 2, 4]))?;
    let first = retire(&[1, 7], &[5], &[3], &[34], &[31]);
    append_by(&mut chain, Statement::Retire(first.clone()), &no_maintainer())?;
    // Pack 7 no entry names; pack 6 it brings and retires; pack 2 it describes otherwise than the entry that brought it.
    let mut first = first;
    first.retired.push(pack(6).id);
    first.packs.extend([pack(6), PackRef { length: 99, ..pack(2) }]);
    append_by(&mut chain, Statement::Retire(first), &maintainer())?;
    append_by(&mut chain, forget(&[id(&manifest("logs"))]), &maintainer())?;
    // Packs 1, 6 and 7 never count again, and key 31 is dropped.
    chain.append(brings("old-db", &[1, 6, 7, 8], &[4], &[31, 35]))?;
    chain.append(attested(&[1, 8]))?;
    // Nor does a retire entry bring them back; what was retired stays retired by the first one. No snapshot has key 31 or
    // 39 any more, or yet: none gets key 36.
    let again = retire(&[1, 4, 9], &[1, 10], &[], &[36], &[31, 39]);
    append_by(&mut chain, Statement::Retire(again), &maintainer())?;
    // A snapshot that has the brought key 34 does not get it twice.
    append_by(&mut chain, Statement::Retire(retire(&[], &[], &[], &[34, 37], &[32])), &maintainer())?;
    chain.append(brings("new-db", &[9, 10, 11], &[], &[39, 34]))?;
    append_by(&mut chain, Statement::Retire(RetireBody::default()), &maintainer())?;
    // Index objects are not retired: a reindex entry removes those that describe retired packs.
    let reindex = ReindexBody { added: vec![index(5)], removed: vec![index(1).id, index(3).id] };
    append_by(&mut chain, Statement::Reindex(reindex), &maintainer())?;
    // What was forgotten before the checkpoint never comes again.
    chain.append(brings("logs", &[12], &[], &[]))?;
    Ok(chain)
}
