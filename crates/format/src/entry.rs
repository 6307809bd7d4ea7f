//! Journal entries (`format-spec/objects.md#journal-entry`).

use crate::cbor::{Decoder, Encoder};
pub use crate::expire::{ExpireBody, SegmentRange};
use crate::manifest::SnapshotBody;
use crate::pack::KeyRef;
use crate::policy::{decode_key, encode_key};
pub use crate::reference::{Attestation, IndexRef, PackRef};
use crate::reference::{
    decode_attestation, decode_index, decode_pack, encode_attestation, encode_index, encode_pack,
};
use crate::registry::{EntryKind, Roles};
use crate::{ContentHash, FormatError, IndexId, KeyId, PackId, Signature, SnapshotId};

/// Largest journal entry a reader accepts, bytes.
pub const ENTRY_LIMIT_BYTES: u64 = 64 << 20;

/// One entry, as its signer wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its place in the journal.
    pub number: u64,
    /// The entry it was decided at: `number - 1`, or 0 for the first.
    pub base: u64,
    /// The chain up to the entry before: every byte stored since `config` (`format-spec/journal.md#chain`).
    pub previous: ContentHash,
    /// The store's time of the entry before, of `config` for the first, ms since 1970.
    pub previous_time_ms: u64,
    /// What it says.
    pub statement: Statement,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// Signers, recipients, features.
    Policy(PolicyBody),
    /// A snapshot.
    Snapshot(Box<SnapshotBody>),
    /// Snapshots are gone.
    Forget(ForgetBody),
    /// New index objects replace old ones.
    Reindex(ReindexBody),
    /// Packs no longer count.
    Retire(RetireBody),
    /// Segments of a log archive may be deleted.
    Expire(ExpireBody),
    /// Packs of which every chunk was opened.
    Attested(Vec<Attestation>),
    /// Tags of a snapshot.
    Tag(TagBody),
    /// A legal hold, put on snapshots or taken off.
    Hold(HoldBody),
    /// Something for the audit trail.
    Note(NoteBody),
}

/// A policy and the root key's signature of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyBody {
    /// [`crate::policy::Policy::encode`].
    pub policy: Vec<u8>,
    /// By the root key in force before it.
    pub root_signature: Signature,
}

/// New index objects that say all that the old ones said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReindexBody {
    /// What is new.
    pub added: Vec<IndexRef>,
    /// What no longer counts.
    pub removed: Vec<IndexId>,
}

/// Snapshots that are gone for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgetBody {
    /// Which.
    pub snapshots: Vec<SnapshotId>,
    /// Why, for people.
    pub reason: String,
}

/// Packs that no snapshot needs any more, and what replaces them where one still needs some of what they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetireBody {
    /// Packs that no longer count, and never will again; or that never did.
    pub retired: Vec<PackId>,
    /// Packs that hold what is still needed of them.
    pub packs: Vec<PackRef>,
    /// Index objects that describe those.
    pub indexes: Vec<IndexRef>,
    /// Data keys that their frames are sealed under and that no snapshot has brought.
    pub keys: Vec<KeyRef>,
    /// Data keys that nothing is sealed under any more, once the retired packs are deleted.
    pub retired_keys: Vec<KeyId>,
}

/// Tags added to and taken from a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagBody {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Added.
    pub add: Vec<String>,
    /// Taken off.
    pub remove: Vec<String>,
}

/// A legal hold: while a snapshot has one, no entry can forget it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldBody {
    /// Which.
    pub snapshots: Vec<SnapshotId>,
    /// The hold's name: a snapshot may have several.
    pub name: String,
    /// Whether it is put on, or taken off.
    pub is_on: bool,
    /// Why, for people.
    pub reason: String,
}

/// Audit of what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteBody {
    /// `restore`, `check`, `backup-failed`, ...
    pub event: String,
    /// The snapshot it concerns.
    pub snapshot: Option<SnapshotId>,
    /// The client's time, ns since 1970.
    pub time_ns: i64,
    /// JSON (RFC 8259), for people and reports.
    pub detail: String,
}

impl JournalEntry {
    /// The content of the sealed object.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::default();
        encoder.map(|map| {
            map.uint(1, self.number);
            map.uint(2, self.base);
            map.bytes(3, &self.previous.0);
            map.uint(4, self.previous_time_ms);
            map.uint(5, self.statement.kind().number().into());
            map.field(6, |e| self.statement.encode(e));
        });
        encoder.into_bytes()
    }

    /// Reads the content of a sealed object.
    ///
    /// # Errors
    /// `Cbor`, `Missing`, `UnknownField`; `Unknown` for a kind this version does not know.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut number, mut base, mut previous, mut time, mut kind, mut statement) =
            (None, None, None, None, None, None);
        let mut decoder = Decoder::new(bytes);
        decoder.map("journal entry", |key, value| {
            match key {
                1 => number = Some(value.uint()?),
                2 => base = Some(value.uint()?),
                3 => previous = Some(ContentHash::try_from(value.bytes()?)?),
                4 => time = Some(value.uint()?),
                5 => kind = Some(EntryKind::try_from(value.uint()?)?),
                6 => {
                    statement = Some(Statement::decode(
                        kind.ok_or(FormatError::Missing { what: "entry kind" })?,
                        value,
                    )?)
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        decoder.end("journal entry")?;
        let missing = |what| FormatError::Missing { what };
        Ok(Self {
            number: number.ok_or(missing("entry number"))?,
            base: base.ok_or(missing("entry base"))?,
            previous: previous.ok_or(missing("previous hash"))?,
            previous_time_ms: time.ok_or(missing("previous time"))?,
            statement: statement.ok_or(missing("entry body"))?,
        })
    }
}

impl Statement {
    /// Its number in the registry.
    #[must_use]
    pub fn kind(&self) -> EntryKind {
        match self {
            Self::Policy(_) => EntryKind::Policy,
            Self::Snapshot(_) => EntryKind::Snapshot,
            Self::Forget(_) => EntryKind::Forget,
            Self::Reindex(_) => EntryKind::Reindex,
            Self::Retire(_) => EntryKind::Retire,
            Self::Expire(_) => EntryKind::Expire,
            Self::Attested(_) => EntryKind::Attested,
            Self::Tag(_) => EntryKind::Tag,
            Self::Hold(_) => EntryKind::Hold,
            Self::Note(_) => EntryKind::Note,
        }
    }

    /// The role that its signer needs: that of its kind, and admin to take a hold off.
    #[must_use]
    pub fn role(&self) -> Roles {
        match self {
            Self::Hold(body) if !body.is_on => Roles::ADMIN,
            other => other.kind().role(),
        }
    }

    fn encode(&self, encoder: &mut Encoder) {
        match self {
            Self::Policy(body) => encoder.map(|map| {
                map.bytes(1, &body.policy);
                map.bytes(2, &body.root_signature.0);
            }),
            Self::Snapshot(body) => body.encode(encoder),
            Self::Reindex(body) => encoder.map(|map| {
                map.field(1, |e| e.array(&body.added, encode_index));
                map.field(2, |e| e.array(&body.removed, |e, id| e.bytes(&id.0)));
            }),
            Self::Forget(body) => encoder.map(|map| {
                map.field(1, |e| e.array(&body.snapshots, |e, id| e.bytes(&id.0)));
                map.text(2, &body.reason);
            }),
            Self::Retire(body) => encoder.map(|map| {
                map.field(1, |e| e.array(&body.retired, |e, id| e.bytes(&id.0)));
                map.field(2, |e| e.array(&body.packs, encode_pack));
                map.field(3, |e| e.array(&body.indexes, encode_index));
                map.field(4, |e| e.array(&body.keys, encode_key));
                map.field(5, |e| e.array(&body.retired_keys, |e, id| e.bytes(&id.0)));
            }),
            Self::Expire(body) => body.encode(encoder),
            Self::Attested(packs) => encoder.map(|map| {
                map.field(1, |e| e.array(packs, encode_attestation));
            }),
            Self::Tag(body) => encoder.map(|map| {
                map.bytes(1, &body.snapshot.0);
                map.field(2, |e| e.array(&body.add, |e, tag| e.text(tag)));
                map.field(3, |e| e.array(&body.remove, |e, tag| e.text(tag)));
            }),
            Self::Hold(body) => encoder.map(|map| {
                map.field(1, |e| e.array(&body.snapshots, |e, id| e.bytes(&id.0)));
                map.text(2, &body.name);
                map.uint(3, body.is_on.into());
                map.text(4, &body.reason);
            }),
            Self::Note(body) => encoder.map(|map| {
                map.text(1, &body.event);
                if let Some(snapshot) = body.snapshot {
                    map.bytes(2, &snapshot.0);
                }
                map.int(3, body.time_ns);
                map.text(4, &body.detail);
            }),
        }
    }

    fn decode(kind: EntryKind, decoder: &mut Decoder<'_>) -> Result<Self, FormatError> {
        match kind {
            EntryKind::Policy => decode_policy(decoder).map(Self::Policy),
            EntryKind::Snapshot => SnapshotBody::decode(decoder).map(|body| Self::Snapshot(Box::new(body))),
            EntryKind::Forget => decode_forget(decoder).map(Self::Forget),
            EntryKind::Reindex => decode_reindex(decoder).map(Self::Reindex),
            EntryKind::Retire => decode_retire(decoder).map(Self::Retire),
            EntryKind::Expire => ExpireBody::decode(decoder).map(Self::Expire),
            EntryKind::Attested => decode_attested(decoder).map(Self::Attested),
            EntryKind::Tag => decode_tag(decoder).map(Self::Tag),
            EntryKind::Hold => decode_hold(decoder).map(Self::Hold),
            EntryKind::Note => decode_note(decoder).map(Self::Note),
            other => Err(FormatError::Unknown { what: "entry kind", value: other.number().into() }),
        }
    }
}

fn decode_policy(decoder: &mut Decoder<'_>) -> Result<PolicyBody, FormatError> {
    let (mut policy, mut signature) = (None, None);
    decoder.map("policy entry", |key, value| {
        match key {
            1 => policy = Some(value.bytes()?.to_vec()),
            2 => signature = Some(Signature::try_from(value.bytes()?)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(PolicyBody {
        policy: policy.ok_or(FormatError::Missing { what: "policy" })?,
        root_signature: signature.ok_or(FormatError::Missing { what: "root signature" })?,
    })
}

fn decode_reindex(decoder: &mut Decoder<'_>) -> Result<ReindexBody, FormatError> {
    let (mut added, mut removed) = (None, None);
    decoder.map("reindex entry", |key, value| {
        match key {
            1 => added = Some(value.array(decode_index)?),
            2 => removed = Some(value.array(|v| IndexId::try_from(v.bytes()?))?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(ReindexBody {
        added: added.ok_or(FormatError::Missing { what: "new index objects" })?,
        removed: removed.ok_or(FormatError::Missing { what: "old index objects" })?,
    })
}

fn decode_forget(decoder: &mut Decoder<'_>) -> Result<ForgetBody, FormatError> {
    let (mut snapshots, mut reason) = (None, None);
    decoder.map("forget entry", |key, value| {
        match key {
            1 => snapshots = Some(value.array(|v| SnapshotId::try_from(v.bytes()?))?),
            2 => reason = Some(value.text()?.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(ForgetBody {
        snapshots: snapshots.ok_or(FormatError::Missing { what: "forgotten snapshots" })?,
        reason: reason.ok_or(FormatError::Missing { what: "why they are forgotten" })?,
    })
}

fn decode_retire(decoder: &mut Decoder<'_>) -> Result<RetireBody, FormatError> {
    let (mut retired, mut packs, mut indexes, mut keys, mut retired_keys) = (None, None, None, None, None);
    decoder.map("retire entry", |key, value| {
        match key {
            1 => retired = Some(value.array(|v| PackId::try_from(v.bytes()?))?),
            2 => packs = Some(value.array(decode_pack)?),
            3 => indexes = Some(value.array(decode_index)?),
            4 => keys = Some(value.array(decode_key)?),
            5 => retired_keys = Some(value.array(|v| KeyId::try_from(v.bytes()?))?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let missing = |what| FormatError::Missing { what };
    Ok(RetireBody {
        retired: retired.ok_or(missing("retired packs"))?,
        packs: packs.ok_or(missing("packs in their place"))?,
        indexes: indexes.ok_or(missing("index objects of those"))?,
        keys: keys.ok_or(missing("keys of those"))?,
        retired_keys: retired_keys.ok_or(missing("retired keys"))?,
    })
}

fn decode_attested(decoder: &mut Decoder<'_>) -> Result<Vec<Attestation>, FormatError> {
    let mut packs = None;
    decoder.map("attested entry", |key, value| {
        match key {
            1 => packs = Some(value.array(decode_attestation)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    packs.ok_or(FormatError::Missing { what: "attested packs" })
}

fn decode_tag(decoder: &mut Decoder<'_>) -> Result<TagBody, FormatError> {
    let (mut snapshot, mut add, mut remove) = (None, None, None);
    decoder.map("tag entry", |key, value| {
        match key {
            1 => snapshot = Some(SnapshotId::try_from(value.bytes()?)?),
            2 => add = Some(value.array(|v| v.text().map(str::to_owned))?),
            3 => remove = Some(value.array(|v| v.text().map(str::to_owned))?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(TagBody {
        snapshot: snapshot.ok_or(FormatError::Missing { what: "tagged snapshot" })?,
        add: add.ok_or(FormatError::Missing { what: "tags added" })?,
        remove: remove.ok_or(FormatError::Missing { what: "tags removed" })?,
    })
}

fn decode_hold(decoder: &mut Decoder<'_>) -> Result<HoldBody, FormatError> {
    let (mut snapshots, mut name, mut is_on, mut reason) = (None, None, None, None);
    decoder.map("hold entry", |key, value| {
        match key {
            1 => snapshots = Some(value.array(|v| SnapshotId::try_from(v.bytes()?))?),
            2 => name = Some(value.text()?.to_owned()),
            3 => {
                is_on = Some(match value.uint()? {
                    0 => false,
                    1 => true,
                    value => return Err(FormatError::Unknown { what: "hold, on or off", value }),
                })
            }
            4 => reason = Some(value.text()?.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(HoldBody {
        snapshots: snapshots.ok_or(FormatError::Missing { what: "held snapshots" })?,
        name: name.ok_or(FormatError::Missing { what: "hold's name" })?,
        is_on: is_on.ok_or(FormatError::Missing { what: "whether the hold is put on" })?,
        reason: reason.ok_or(FormatError::Missing { what: "why they are held" })?,
    })
}

fn decode_note(decoder: &mut Decoder<'_>) -> Result<NoteBody, FormatError> {
    let (mut event, mut snapshot, mut time_ns, mut detail) = (None, None, None, None);
    decoder.map("note entry", |key, value| {
        match key {
            1 => event = Some(value.text()?.to_owned()),
            2 => snapshot = Some(SnapshotId::try_from(value.bytes()?)?),
            3 => time_ns = Some(value.int()?),
            4 => detail = Some(value.text()?.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(NoteBody {
        event: event.ok_or(FormatError::Missing { what: "note's event" })?,
        snapshot,
        time_ns: time_ns.ok_or(FormatError::Missing { what: "note's time" })?,
        detail: detail.ok_or(FormatError::Missing { what: "note's detail" })?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourceTag;

    fn entry(statement: Statement) -> JournalEntry {
        JournalEntry {
            number: 7,
            base: 6,
            previous: ContentHash([1; 32]),
            previous_time_ms: 1_700_000_000_000,
            statement,
        }
    }

    fn hold(is_on: bool) -> Statement {
        Statement::Hold(HoldBody {
            snapshots: vec![SnapshotId([6; 32]), SnapshotId([7; 32])],
            name: "legal".into(),
            is_on,
            reason: "case 7".into(),
        })
    }

    #[test]
    fn whoever_is_listed_holds_and_an_admin_lets_go() {
        assert_eq!((hold(true).role(), hold(false).role()), (Roles(0), Roles::ADMIN));
    }

    #[test]
    fn a_hold_is_on_or_off() {
        let mut content = entry(hold(true)).encode();
        let at = content.windows(4).position(|bytes| bytes == [3, 1, 4, 0x66]).unwrap();
        content[at + 1] = 2;
        assert_eq!(
            JournalEntry::decode(&content),
            Err(FormatError::Unknown { what: "hold, on or off", value: 2 })
        );
    }

    #[test]
    fn statements_round_trip() {
        let statements = [
            Statement::Policy(PolicyBody {
                policy: crate::policy::tests::example().encode(),
                root_signature: Signature([2; 64]),
            }),
            Statement::Snapshot(Box::new(crate::manifest::tests::body())),
            Statement::Reindex(ReindexBody {
                added: vec![IndexRef { id: IndexId([3; 32]), source_tag: SourceTag([4; 16]), length: 8192 }],
                removed: vec![IndexId([5; 32])],
            }),
            Statement::Forget(ForgetBody {
                snapshots: vec![SnapshotId([6; 32]), SnapshotId([7; 32])],
                reason: "older than 30 days".into(),
            }),
            Statement::Retire(RetireBody {
                retired: vec![PackId([7; 32])],
                packs: crate::manifest::tests::body().packs,
                indexes: crate::manifest::tests::body().indexes,
                keys: crate::manifest::tests::body().keys,
                retired_keys: vec![KeyId([3; 16])],
            }),
            Statement::Retire(RetireBody::default()),
            Statement::Attested(vec![Attestation {
                pack: PackId([7; 32]),
                description: ContentHash([8; 32]),
            }]),
            Statement::Tag(TagBody {
                snapshot: SnapshotId([6; 32]),
                add: vec!["weekly".into()],
                remove: vec![],
            }),
            hold(true),
            hold(false),
            Statement::Note(NoteBody {
                event: "restore".into(),
                snapshot: None,
                time_ns: -1,
                detail: "{}".into(),
            }),
        ];
        for statement in statements {
            let entry = entry(statement);
            assert_eq!(JournalEntry::decode(&entry.encode()), Ok(entry));
        }
    }

    #[test]
    fn reserved_kinds_are_refused() {
        let mut encoder = Encoder::default();
        encoder.map(|map| {
            map.uint(1, 7);
            map.uint(2, 6);
            map.bytes(3, &[0; 32]);
            map.uint(4, 0);
            map.uint(5, 8);
            map.field(6, |e| e.map(|_| ()));
        });
        assert_eq!(
            JournalEntry::decode(&encoder.into_bytes()),
            Err(FormatError::Unknown { what: "entry kind", value: 8 })
        );
    }
}
