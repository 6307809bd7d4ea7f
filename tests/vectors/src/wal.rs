//! Objects of a log archive: of one part and of several, and such as are refused.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use strongroom_format::registry::Codec;
use strongroom_format::wal::{HEAD_LENGTH, WalHead, WalPart};
use strongroom_format::wal_file::{LogFile, Segment};
use strongroom_format::{ContentHash, FormatError, Salt};
use strongroom_keys::Secret;
use strongroom_keys::derive::content_hash;
use strongroom_keys::wal::{WalKey, open_head, seal_object, whole_body};

use crate::fixed::{self, DATA_ID, REPOSITORY, counting};

const SYSTEM: u64 = 7_311_000_000_000_000_001;

/// `wal.json`.
///
/// # Errors
/// Whatever fails: never, unless the code is wrong.
pub fn all() -> Result<Value> {
    let segment = LogFile::Segment(Segment { timeline: 1, place: 0x0a_0000_0003 });
    let names: Vec<Value> = [
        segment,
        LogFile::Partial(Segment { timeline: 0x1f, place: 0xff }),
        LogFile::Backup(Segment { timeline: 1, place: 0x0a_0000_0003 }, 0x28),
        LogFile::History(2),
    ]
    .into_iter()
    .flat_map(|file| [(file, 0, 0), (file, 1, 0), (file, 0, 1)])
    .map(|(file, part, attempt)| {
        let part = part_of(file, part, attempt);
        let id = fixed::identity().wal_id(&part);
        json!({ "file": file.to_string(), "part": part.part, "attempt": attempt, "id": id.to_hex() })
    })
    .collect();
    let history = b"1\tA/3000028\tno recovery target specified\n".to_vec();
    let objects = [
        object("a history", part_of(LogFile::History(2), 0, 0), &history, &history)?,
        object(
            "of two segments, the second time",
            part_of(segment, 0, 1),
            &counting(1_500_000),
            &counting(1_500_000),
        )?,
        {
            let last = counting(70_000);
            let mut file = vec![0; 32 << 20];
            file.extend_from_slice(&last);
            object(
                "the last part of a file: 32 MiB of zeros, then this",
                part_of(segment, 1, 0),
                &file,
                &last,
            )?
        },
    ];
    let refused = refused(part_of(segment, 0, 0), &counting(1000))?;
    Ok(json!({
        "inputs": {
            "source": "postgres", "system_identifier": SYSTEM.to_string(), "identity": hex::encode([1; 32]),
            "data_key": hex::encode([3; 32]), "plaintext": "byte i is i mod 251, where it is not given",
        },
        "names": names,
        "objects": objects,
        "refused": refused,
    }))
}

fn part_of(file: LogFile, part: u32, attempt: u32) -> WalPart {
    WalPart { source: "postgres".into(), system: SYSTEM, file, part, attempt }
}

fn key() -> WalKey {
    WalKey::from_data_key(DATA_ID, REPOSITORY, &Secret::new([3; 32]))
}

fn name_of(part: &WalPart) -> String {
    format!("wal/{}", fixed::identity().wal_id(part))
}

fn hash(bytes: &[u8]) -> ContentHash {
    ContentHash(*fixed::identity().log_file_hasher().update(bytes).finalize().as_bytes())
}

/// A part as it is stored, raw: compressed bytes are those of `frames.json`.
fn sealed(part: WalPart, file: &[u8], plain: &[u8]) -> Result<(WalHead, Vec<u8>)> {
    let name = name_of(&part);
    let body = key().seal_body(&name, plain, Salt([0x41; 32]))?;
    let head = WalHead {
        part,
        file_bytes: file.len() as u64,
        file_hash: hash(file),
        part_hash: hash(plain),
        key: fixed::data().1,
        codec: Codec::Raw,
        payload_bytes: u32::try_from(plain.len())?,
        body_hash: content_hash(&body),
    };
    let stored = seal_object(&fixed::metadata(), &name, &head, &body, &fixed::author(), Salt([0x42; 32]))?;
    Ok((head, stored))
}

fn object(what: &str, part: WalPart, file: &[u8], plain: &[u8]) -> Result<Value> {
    let (head, stored) = sealed(part, file, plain)?;
    let name = name_of(&head.part);
    let opened = open_head(&fixed::metadata(), &name, &stored)?.verify(&fixed::author().public())?;
    let payload = key().open_body(&name, whole_body(&opened, &stored)?, opened.payload_bytes)?;
    ensure!(opened == head && payload == plain, "{what} does not open");
    let given = (plain.len() < 100).then(|| hex::encode(plain));
    Ok(json!({
        "what": what, "name": name, "head": hex::encode(head.encode()?), "plaintext": given, "plain_length": plain.len(),
        "stored_head": hex::encode(&stored[..HEAD_LENGTH]), "stored_length": stored.len(), "stored_blake3": content_hash(&stored).to_hex(),
        // Of which all can be made again.
        "body_salt": hex::encode([0x41; 32]), "segments": (stored.len() - HEAD_LENGTH - 64).div_ceil((1 << 20) + 16),
    }))
}

/// A change of a head.
type Change = fn(&mut WalHead);

/// Contents of heads that contradict themselves.
fn refused(part: WalPart, plain: &[u8]) -> Result<Vec<Value>> {
    let (head, _) = sealed(part, plain, plain)?;
    let good = head.encode()?;
    let changes: [(&str, Change); 9] = [
        ("no source", |head| head.part.source = String::new()),
        ("a source of 1025 bytes", |head| head.part.source = "s".repeat(1025)),
        ("attempt 64", |head| head.part.attempt = 64),
        ("a part behind the last", |head| head.part.part = 1),
        ("an empty file", |head| head.file_bytes = 0),
        ("a file of more than 1 GiB", |head| head.file_bytes = (1 << 30) + 1),
        ("a raw payload that is shorter than its part", |head| head.payload_bytes = 999),
        ("a compressed payload that is no shorter than its part", |head| head.codec = Codec::Zstd),
        ("a compressed payload of nothing", |head| {
            head.codec = Codec::Zstd;
            head.payload_bytes = 0;
        }),
    ];
    let mut out = Vec::new();
    for (what, change) in changes {
        let mut bad = head.clone();
        change(&mut bad);
        let content = bad.encode_unchecked();
        ensure!(WalHead::decode(&content).is_err(), "{what} is not refused");
        out.push(json!({ "what": what, "head": hex::encode(content) }));
    }
    // Names that no server gives.
    let name = head.part.file.to_string();
    for (what, other) in [
        ("lowercase digits", name.to_lowercase()),
        ("timeline 0", format!("00000000{}", &name[8..])),
        ("another suffix", format!("{}.gz", &name[..21])),
    ] {
        let other = other.as_bytes();
        let at = good.windows(name.len()).position(|some| some == name.as_bytes());
        let at = at.ok_or(FormatError::Missing { what: "name" })?;
        let mut content = good.clone();
        content[at..at + name.len()].copy_from_slice(&other[..name.len()]);
        ensure!(WalHead::decode(&content).is_err(), "{what} is not refused");
        out.push(json!({ "what": what, "head": hex::encode(content) }));
    }
    Ok(out)
}
