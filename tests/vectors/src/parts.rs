//! Parts of groups: their names, one as it is stored, and such as are refused.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use strongroom_format::entry::{IndexRef, PackRef};
use strongroom_format::manifest::{Manifest, Origin, Totals};
use strongroom_format::node::TreeRef;
use strongroom_format::part::{COUNT_LIMIT, Part, ReliedPack};
use strongroom_format::registry::ObjectKind;
use strongroom_format::{ChunkId, IndexId, PackId, RepositoryId, Salt, SnapshotId, body};

use crate::fixed;

const GROUP: &str = "nightly-2026-11-22";

/// `parts.json`.
///
/// # Errors
/// Whatever fails: never, unless the code is wrong.
pub fn all() -> Result<Value> {
    let identity = fixed::identity();
    let names: Vec<Value> = [GROUP, "g", "ü/ö"]
        .into_iter()
        .map(|group| {
            let nonce = hex::encode(identity.group_nonce(group));
            json!({ "group": group, "tag": identity.group_tag(group).to_hex(), "nonce": nonce })
        })
        .collect();
    let (part, name) = (part(), format!("parts/{}/{:08x}", identity.group_tag(GROUP), 2));
    let content = part.encode()?;
    let (metadata, author) = (fixed::metadata(), fixed::author());
    let floor = body::OBJECT_FLOOR_BYTES;
    let stored = metadata.seal(ObjectKind::Part, &name, floor, &content, &author, Salt([0x43; 32]))?;
    let opened = metadata.open(ObjectKind::Part, &name, &stored)?;
    ensure!(Part::decode(opened.verify(&author.public())?)? == part, "a part does not open");
    ensure!(metadata.open(ObjectKind::Part, "parts/other", &stored).is_err(), "its name is not bound");
    Ok(json!({
        "inputs": { "identity": hex::encode([1; 32]), "metadata_key": hex::encode([2; 32]), "author": hex::encode([7; 32]) },
        "groups": names,
        "part": { "name": name, "content": hex::encode(&content), "salt": hex::encode([0x43; 32]), "stored": hex::encode(&stored) },
        "refused": refused(&part)?,
    }))
}

fn manifest() -> Manifest {
    Manifest {
        source: "s3:media".into(),
        engine: "s3".into(),
        host: "group".into(),
        user: "backup".into(),
        tool: "strongroom 0.1.0".into(),
        started_ns: 1_700_000_000_000_000_000,
        finished_ns: 1_700_000_001_000_000_000,
        parent: Some(SnapshotId([1; 32])),
        generation: 3,
        tree: TreeRef { root: ChunkId([2; 32]), level: 1, entries: 500, bytes: 1 << 40 },
        streams: Vec::new(),
        facts: None,
        totals: Totals {
            entries: 500,
            files: 400,
            bytes: 1 << 40,
            new_bytes: 7,
            stored_bytes: 8,
            unreadable: 0,
        },
        nonce: [4; 16],
        arguments: vec![b"media".to_vec()],
        tags: Vec::new(),
        origin: None,
    }
}

fn part() -> Part {
    let source_tag = fixed::identity().source_tag("s3:media");
    Part {
        group: GROUP.into(),
        number: 2,
        count: 3,
        base: 17,
        manifest: manifest().encode(),
        packs: vec![PackRef { kind: ObjectKind::DataPack, id: PackId([5; 32]), length: 1 << 24 }],
        indexes: vec![IndexRef { id: IndexId([6; 32]), source_tag, length: 4096 }],
        keys: vec![fixed::data().1],
        relied: vec![ReliedPack::new(PackId([7; 32]), [0, 9]), ReliedPack::new(PackId([8; 32]), [7])],
        reuses_parent: true,
    }
}

/// A change of a part.
type Change<'c> = &'c dyn Fn(&mut Part);

/// Contents of parts that contradict themselves.
fn refused(good: &Part) -> Result<Vec<Value>> {
    let origin = Origin { repository: RepositoryId([1; 16]), snapshot: SnapshotId([2; 32]), time_ms: 3 };
    let copied = Manifest { origin: Some(origin), ..manifest() }.encode();
    let changes: [(&str, Change<'_>); 10] = [
        ("no group", &|part| part.group.clear()),
        ("a group with a line feed", &|part| part.group = "a\nb".into()),
        ("a group of 256 bytes", &|part| part.group = "g".repeat(256)),
        ("part 0", &|part| part.number = 0),
        ("a part behind the last", &|part| part.number = 4),
        ("4097 parts", &|part| part.count = COUNT_LIMIT + 1),
        ("the manifest of a copy", &|part| part.manifest.clone_from(&copied)),
        ("a manifest that goes on", &|part| part.manifest.push(0)),
        ("packs that are not sorted", &|part| part.relied.reverse()),
        ("bits that end with zeros", &|part| part.relied[0].frames.push(0)),
    ];
    let mut out = Vec::new();
    for (what, change) in changes {
        let mut bad = good.clone();
        change(&mut bad);
        let content = bad.encode_unchecked();
        ensure!(Part::decode(&content).is_err(), "{what} is not refused");
        out.push(json!({ "what": what, "content": hex::encode(content) }));
    }
    Ok(out)
}
