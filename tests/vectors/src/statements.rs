//! One journal entry of each kind, with every field that it can have.

use anyhow::Result;
use strongroom_format::entry::{
    Attestation, ExpireBody, ForgetBody, HoldBody, IndexRef, JournalEntry, NoteBody, PackRef, PolicyBody,
    ReindexBody, RetireBody, SegmentRange, Statement, TagBody,
};
use strongroom_format::manifest::SnapshotBody;
use strongroom_format::registry::ObjectKind;
use strongroom_format::{ContentHash, IndexId, KeyId, PackId, Salt, SnapshotId, SourceTag};
use strongroom_keys::sign::sign_policy;

use crate::fixed::{self, REPOSITORY};
use crate::golden::{key_ref, manifest, policy};

/// What they say, by its name in objects.json.
pub(crate) fn statements() -> Vec<(&'static str, Statement)> {
    let index = IndexRef { id: IndexId([6; 32]), source_tag: SourceTag([7; 16]), length: 4224 };
    let body = SnapshotBody {
        manifest: manifest().encode(),
        packs: vec![PackRef { kind: ObjectKind::DataPack, id: PackId([5; 32]), length: 1 << 24 }],
        indexes: vec![index],
        keys: vec![key_ref(13)],
    };
    let encoded = policy().encode();
    let root_signature = sign_policy(&fixed::author(), REPOSITORY, &encoded);
    vec![
        ("policy", Statement::Policy(PolicyBody { policy: encoded, root_signature })),
        ("snapshot", Statement::Snapshot(Box::new(body))),
        (
            "reindex",
            Statement::Reindex(ReindexBody {
                added: vec![index],
                removed: vec![IndexId([8; 32]), IndexId([9; 32]), IndexId([10; 32])],
            }),
        ),
        (
            "attested",
            Statement::Attested(vec![Attestation {
                pack: PackId([5; 32]),
                description: ContentHash([12; 32]),
            }]),
        ),
        (
            "tag",
            Statement::Tag(TagBody {
                snapshot: SnapshotId([1; 32]),
                add: vec!["weekly".into()],
                remove: vec!["nightly".into()],
            }),
        ),
        (
            "note",
            Statement::Note(NoteBody {
                event: "restore".into(),
                snapshot: Some(SnapshotId([1; 32])),
                time_ns: -1,
                detail: "{}".into(),
            }),
        ),
        // Behind the others, whose numbers and bytes stay as they were.
        (
            "forget",
            Statement::Forget(ForgetBody {
                snapshots: vec![SnapshotId([1; 32]), SnapshotId([13; 32])],
                reason: "older than 30 days".into(),
            }),
        ),
        (
            "retire",
            Statement::Retire(RetireBody {
                retired: vec![PackId([5; 32]), PackId([14; 32])],
                packs: vec![PackRef { kind: ObjectKind::DataPack, id: PackId([15; 32]), length: 1 << 23 }],
                indexes: vec![index],
                keys: vec![key_ref(16)],
                retired_keys: vec![KeyId([13; 16]), KeyId([14; 16])],
            }),
        ),
        (
            "hold",
            Statement::Hold(HoldBody {
                snapshots: vec![SnapshotId([1; 32]), SnapshotId([13; 32])],
                name: "legal".into(),
                is_on: true,
                reason: "case 7".into(),
            }),
        ),
        (
            "expire",
            Statement::Expire(ExpireBody {
                source: "postgres".into(),
                system: 7_311_000_000_000_000_001,
                ranges: vec![
                    SegmentRange { timeline: 1, first: 0, last: 0x0a_0000_0002 },
                    SegmentRange { timeline: 1, first: 0x0a_0000_0007, last: 0x0a_0000_0007 },
                    SegmentRange { timeline: 2, first: 0, last: 0x0a_0000_0007 },
                ],
                reason: "older than 30 days".into(),
            }),
        ),
    ]
}

/// The content of an entry that says this, and its stored bytes.
pub(crate) fn sealed_entry(number: u64, statement: Statement) -> Result<(Vec<u8>, Vec<u8>)> {
    let entry = JournalEntry {
        number,
        base: number.saturating_sub(1),
        previous: ContentHash([14; 32]),
        previous_time_ms: 1_767_225_600_000,
        statement,
    };
    let content = entry.encode();
    let name = format!("journal/{number:016x}");
    let salt = Salt([u8::try_from(number)?; 32]);
    let sealed = fixed::metadata().seal(ObjectKind::Entry, &name, 1024, &content, &fixed::author(), salt)?;
    Ok((content, sealed))
}
