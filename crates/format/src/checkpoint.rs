//! Checkpoints: the state after an entry, so that opening reads one object and a short tail of the journal
//! (`format-spec/objects.md#checkpoint`). A cache: everything in it can be folded from the journal again.

use crate::cbor::{Decoder, Encoder};
use crate::entry::{Attestation, IndexRef, PackRef, PolicyBody};
use crate::expire::{SegmentRange, timeline};
use crate::pack::KeyRef;
use crate::policy::{decode_key, encode_key};
use crate::reference::{
    decode_attestation, decode_index, decode_pack, encode_attestation, encode_index, encode_pack,
};
use crate::{ContentHash, FormatError, KeyId, PackId, Signature, SnapshotId, WriterId};

/// Largest checkpoint a reader accepts, bytes.
pub const CHECKPOINT_LIMIT_BYTES: u64 = 128 << 20;

/// A snapshot as the state knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotState {
    /// Its entry.
    pub number: u64,
    /// Its ID.
    pub id: SnapshotId,
    /// Who signed its entry.
    pub signer: WriterId,
    /// BLAKE3-256 of its entry's stored bytes.
    pub entry_hash: ContentHash,
    /// The store's time of its entry, ms since 1970; 0 until the next entry says it.
    pub time_ms: u64,
    /// Its manifest, encoded.
    pub manifest: Vec<u8>,
    /// Data keys that its frames need.
    pub keys: Vec<KeyRef>,
    /// Its tags now, sorted.
    pub tags: Vec<String>,
    /// Its holds now, sorted by name.
    pub holds: Vec<Hold>,
}

/// A legal hold that a snapshot is under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Its name.
    pub name: String,
    /// The entry that put it on.
    pub number: u64,
}

/// An entry that changes nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoidEntry {
    /// Its number.
    pub number: u64,
    /// Why, for people.
    pub reason: String,
}

/// Segments of a log archive that may be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredLog {
    /// Whose log it is.
    pub source: String,
    /// The database system identifier.
    pub system: u64,
    /// Which, in order, none overlapping another; and the entry that said so first of each.
    pub ranges: Vec<(SegmentRange, u64)>,
}

/// The folded state after entry `number`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last entry folded.
    pub number: u64,
    /// BLAKE3-256 of its stored bytes.
    pub entry_hash: ContentHash,
    /// The chain up to it.
    pub chain: ContentHash,
    /// Every policy with its entry's number; each is signed by the root key that the one before names.
    pub policies: Vec<(u64, PolicyBody)>,
    /// Snapshots, by number.
    pub snapshots: Vec<SnapshotState>,
    /// Index objects that count.
    pub indexes: Vec<IndexRef>,
    /// Packs that count, and who signed the entry that brought each.
    pub packs: Vec<(PackRef, WriterId)>,
    /// Entries that change nothing.
    pub voids: Vec<VoidEntry>,
    /// Packs that a verifier attested, by ID, and the entry that attested each last.
    pub attested: Vec<(Attestation, u64)>,
    /// Snapshots that forget entries forgot, by ID.
    pub forgotten: Vec<SnapshotId>,
    /// Packs that no longer count, by ID, and the entry that retired each.
    pub retired: Vec<(PackId, u64)>,
    /// Data keys that no longer count, by ID, and the entry that retired each.
    pub retired_keys: Vec<(KeyId, u64)>,
    /// What may be deleted of log archives, by source and system identifier.
    pub expired: Vec<ExpiredLog>,
}

impl Checkpoint {
    /// The content of the sealed object.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::default();
        encoder.map(|map| {
            map.uint(1, self.number);
            map.bytes(2, &self.entry_hash.0);
            map.field(3, |e| {
                e.array(&self.policies, |e, (number, body)| {
                    e.array_head(3);
                    e.uint(*number);
                    e.bytes(&body.policy);
                    e.bytes(&body.root_signature.0);
                });
            });
            map.field(4, |e| e.array(&self.snapshots, encode_snapshot));
            map.field(5, |e| e.array(&self.indexes, encode_index));
            map.field(6, |e| {
                e.array(&self.packs, |e, (pack, signer)| {
                    e.array_head(2);
                    encode_pack(e, pack);
                    e.bytes(&signer.0);
                });
            });
            map.field(7, |e| {
                e.array(&self.voids, |e, void| {
                    e.array_head(2);
                    e.uint(void.number);
                    e.text(&void.reason);
                });
            });
            map.bytes(8, &self.chain.0);
            map.field(9, |e| {
                e.array(&self.attested, |e, (said, number)| {
                    e.array_head(2);
                    encode_attestation(e, said);
                    e.uint(*number);
                });
            });
            map.field(10, |e| e.array(&self.forgotten, |e, id| e.bytes(&id.0)));
            map.field(11, |e| {
                e.array(&self.retired, |e, (pack, number)| {
                    e.array_head(2);
                    e.bytes(&pack.0);
                    e.uint(*number);
                });
            });
            map.field(12, |e| {
                e.array(&self.retired_keys, |e, (key, number)| {
                    e.array_head(2);
                    e.bytes(&key.0);
                    e.uint(*number);
                });
            });
            if !self.expired.is_empty() {
                map.field(13, |e| e.array(&self.expired, encode_expired));
            }
        });
        encoder.into_bytes()
    }

    /// Reads the content of a sealed object.
    ///
    /// # Errors
    /// `Cbor`, `Missing`, `UnknownField`.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut number, mut hash, mut policies, mut snapshots, mut indexes, mut packs, mut voids) =
            (None, None, None, None, None, None, None);
        let (mut chain, mut attested) = (None, None);
        let (mut forgotten, mut retired, mut retired_keys) = (None, None, None);
        let mut expired = Vec::new();
        let mut decoder = Decoder::new(bytes);
        decoder.map("checkpoint", |key, value| {
            match key {
                1 => number = Some(value.uint()?),
                2 => hash = Some(ContentHash::try_from(value.bytes()?)?),
                3 => policies = Some(value.array(decode_policy)?),
                4 => snapshots = Some(value.array(decode_snapshot)?),
                5 => indexes = Some(value.array(decode_index)?),
                6 => {
                    packs =
                        Some(value.array(|v| {
                            v.tuple(2, |v| Ok((decode_pack(v)?, WriterId::try_from(v.bytes()?)?)))
                        })?)
                }
                7 => {
                    voids = Some(value.array(|v| {
                        v.tuple(2, |v| Ok(VoidEntry { number: v.uint()?, reason: v.text()?.to_owned() }))
                    })?)
                }
                8 => chain = Some(ContentHash::try_from(value.bytes()?)?),
                9 => {
                    attested = Some(value.array(|v| v.tuple(2, |v| Ok((decode_attestation(v)?, v.uint()?))))?)
                }
                10 => forgotten = Some(value.array(|v| SnapshotId::try_from(v.bytes()?))?),
                11 => {
                    retired = Some(
                        value.array(|v| v.tuple(2, |v| Ok((PackId::try_from(v.bytes()?)?, v.uint()?))))?,
                    )
                }
                12 => {
                    retired_keys =
                        Some(value.array(|v| v.tuple(2, |v| Ok((KeyId::try_from(v.bytes()?)?, v.uint()?))))?)
                }
                13 => expired = value.array(decode_expired)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        decoder.end("checkpoint")?;
        let missing = |what| FormatError::Missing { what };
        Ok(Self {
            number: number.ok_or(missing("checkpoint's number"))?,
            entry_hash: hash.ok_or(missing("checkpoint's entry hash"))?,
            policies: policies.ok_or(missing("checkpoint's policies"))?,
            snapshots: snapshots.ok_or(missing("checkpoint's snapshots"))?,
            indexes: indexes.ok_or(missing("checkpoint's index objects"))?,
            packs: packs.ok_or(missing("checkpoint's packs"))?,
            voids: voids.ok_or(missing("checkpoint's void entries"))?,
            chain: chain.ok_or(missing("checkpoint's chain"))?,
            attested: attested.ok_or(missing("checkpoint's attested packs"))?,
            forgotten: forgotten.ok_or(missing("checkpoint's forgotten snapshots"))?,
            retired: retired.ok_or(missing("checkpoint's retired packs"))?,
            retired_keys: retired_keys.ok_or(missing("checkpoint's retired keys"))?,
            expired,
        })
    }
}

fn encode_snapshot(encoder: &mut Encoder, snapshot: &SnapshotState) {
    encoder.array_head(9);
    encoder.uint(snapshot.number);
    encoder.bytes(&snapshot.id.0);
    encoder.bytes(&snapshot.signer.0);
    encoder.bytes(&snapshot.entry_hash.0);
    encoder.uint(snapshot.time_ms);
    encoder.bytes(&snapshot.manifest);
    encoder.array(&snapshot.keys, encode_key);
    encoder.array(&snapshot.tags, |e, tag| e.text(tag));
    encoder.array(&snapshot.holds, |e, hold| {
        e.array_head(2);
        e.text(&hold.name);
        e.uint(hold.number);
    });
}

fn decode_snapshot(decoder: &mut Decoder<'_>) -> Result<SnapshotState, FormatError> {
    decoder.tuple(9, |v| {
        Ok(SnapshotState {
            number: v.uint()?,
            id: SnapshotId::try_from(v.bytes()?)?,
            signer: WriterId::try_from(v.bytes()?)?,
            entry_hash: ContentHash::try_from(v.bytes()?)?,
            time_ms: v.uint()?,
            manifest: v.bytes()?.to_vec(),
            keys: v.array(decode_key)?,
            tags: v.array(|v| v.text().map(str::to_owned))?,
            holds: v.array(|v| v.tuple(2, |v| Ok(Hold { name: v.text()?.to_owned(), number: v.uint()? })))?,
        })
    })
}

fn encode_expired(encoder: &mut Encoder, log: &ExpiredLog) {
    encoder.array_head(3);
    encoder.text(&log.source);
    encoder.uint(log.system);
    encoder.array(&log.ranges, |e, (range, number)| {
        e.array_head(4);
        e.uint(range.timeline.into());
        e.uint(range.first);
        e.uint(range.last);
        e.uint(*number);
    });
}

fn decode_expired(decoder: &mut Decoder<'_>) -> Result<ExpiredLog, FormatError> {
    decoder.tuple(3, |v| {
        let (source, system) = (v.text()?.to_owned(), v.uint()?);
        let ranges = v.array(|v| {
            v.tuple(4, |v| {
                let range = SegmentRange { timeline: timeline(v)?, first: v.uint()?, last: v.uint()? };
                Ok((range, v.uint()?))
            })
        })?;
        Ok(ExpiredLog { source, system, ranges })
    })
}

fn decode_policy(decoder: &mut Decoder<'_>) -> Result<(u64, PolicyBody), FormatError> {
    decoder.tuple(3, |v| {
        Ok((
            v.uint()?,
            PolicyBody { policy: v.bytes()?.to_vec(), root_signature: Signature::try_from(v.bytes()?)? },
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let body = crate::manifest::tests::body();
        let checkpoint = Checkpoint {
            number: 9,
            entry_hash: ContentHash([1; 32]),
            chain: ContentHash([10; 32]),
            policies: vec![(
                0,
                PolicyBody {
                    policy: crate::policy::tests::example().encode(),
                    root_signature: Signature([2; 64]),
                },
            )],
            snapshots: vec![SnapshotState {
                number: 4,
                id: SnapshotId([3; 32]),
                signer: WriterId([8; 16]),
                entry_hash: ContentHash([4; 32]),
                time_ms: 5,
                manifest: body.manifest.clone(),
                keys: body.keys.clone(),
                tags: vec!["a".into(), "b".into()],
                holds: vec![
                    Hold { name: "audit".into(), number: 6 },
                    Hold { name: "legal".into(), number: 5 },
                ],
            }],
            indexes: body.indexes.clone(),
            packs: body.packs.iter().map(|pack| (*pack, WriterId([9; 16]))).collect(),
            voids: vec![VoidEntry { number: 6, reason: "signed by nobody the policy lists".into() }],
            attested: vec![(Attestation { pack: PackId([11; 32]), description: ContentHash([12; 32]) }, 6)],
            forgotten: vec![SnapshotId([13; 32])],
            retired: vec![(PackId([14; 32]), 7)],
            retired_keys: vec![(KeyId([15; 16]), 8)],
            expired: Vec::new(),
        };
        assert_eq!(Checkpoint::decode(&checkpoint.encode()), Ok(checkpoint.clone()));
        let range = SegmentRange { timeline: 1, first: 0, last: 9 };
        let log = ExpiredLog { source: "db".into(), system: 7, ranges: vec![(range, 3)] };
        let expired = Checkpoint { expired: vec![log], ..checkpoint };
        assert_eq!(Checkpoint::decode(&expired.encode()), Ok(expired));
    }
}
