//! Objects of a log archive (`format-spec/wal.md`): a head, sealed under the metadata key and signed, that says what
//! the body is; and the body, sealed under a data key.

use crate::cbor::{Decoder, Encoder};
use crate::header::HEADER_LENGTH;
use crate::pack::{KeyRef, TAG_LENGTH};
use crate::padme::padme;
use crate::policy::{decode_key, encode_key};
use crate::registry::Codec;
use crate::wal_file::{LogFile, SEGMENT_MAX_BYTES};
use crate::{ContentHash, FormatError};

/// Header and sealed head: all that tells what an object is.
pub const HEAD_LENGTH: usize = 4096;
/// Plaintext of the head, a signed body, whatever it says.
pub const HEAD_PLAIN_BYTES: u64 = (HEAD_LENGTH - HEADER_LENGTH - TAG_LENGTH) as u64;
/// Largest content of the head: what its signed body has room for.
pub const HEAD_CONTENT_LIMIT: u64 = HEAD_PLAIN_BYTES - 84;
/// Plaintext of a part, bytes; a file's last part is what remains.
pub const PART_BYTES: u32 = 32 << 20;
/// Smallest plaintext of a body: what payloads are padded to.
pub const BODY_FLOOR_BYTES: u64 = 256 << 10;
/// Salt and commitment before the segments of a body.
pub const BODY_PREFIX_LENGTH: usize = 64;
/// Plaintext of a segment of a body.
pub const BODY_SEGMENT_BYTES: u64 = 1 << 20;
/// Largest file, bytes: a segment of 1 GiB.
pub const FILE_LIMIT_BYTES: u64 = SEGMENT_MAX_BYTES;
/// Most attempts at a part.
pub const ATTEMPT_LIMIT: u32 = 64;
/// Longest name of a source, bytes.
pub const SOURCE_LIMIT_BYTES: usize = 1024;
/// Largest object a reader accepts, bytes.
pub const OBJECT_LIMIT_BYTES: u64 = object_length(PART_BYTES);

/// What an object's name is made of: it is where it is looked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalPart {
    /// Whose log it is.
    pub source: String,
    /// The database system identifier: another one is another archive.
    pub system: u64,
    /// The file.
    pub file: LogFile,
    /// Which part of it, from 0 on.
    pub part: u32,
    /// Which attempt to store it, from 0 on.
    pub attempt: u32,
}

/// What the head of an object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalHead {
    /// What it is a part of.
    pub part: WalPart,
    /// Length of the whole file, bytes.
    pub file_bytes: u64,
    /// Keyed hash of the whole file.
    pub file_hash: ContentHash,
    /// Keyed hash of this part's plaintext.
    pub part_hash: ContentHash,
    /// The data key that the body is sealed under.
    pub key: KeyRef,
    /// How the plaintext was made a payload.
    pub codec: Codec,
    /// Length of the payload, bytes.
    pub payload_bytes: u32,
    /// BLAKE3-256 of the stored body.
    pub body_hash: ContentHash,
}

/// Parts of a file of that length.
#[must_use]
pub fn part_count(file_bytes: u64) -> u32 {
    // At most 32 for what is a file at all.
    u32::try_from(file_bytes.div_ceil(PART_BYTES.into())).unwrap_or(u32::MAX)
}

/// The plaintext that a payload is padded to.
#[must_use]
pub const fn padded_length(payload_bytes: u32) -> u64 {
    padme(payload_bytes as u64, BODY_FLOOR_BYTES)
}

/// Length of a stored body.
#[must_use]
pub const fn body_length(payload_bytes: u32) -> u64 {
    let padded = padded_length(payload_bytes);
    BODY_PREFIX_LENGTH as u64 + padded + padded.div_ceil(BODY_SEGMENT_BYTES) * TAG_LENGTH as u64
}

/// Length of an object.
#[must_use]
pub const fn object_length(payload_bytes: u32) -> u64 {
    HEAD_LENGTH as u64 + body_length(payload_bytes)
}

/// Whether an object may have this length: that of a padded payload.
#[must_use]
pub fn is_object_length(length: u64) -> bool {
    let sealed = length.saturating_sub((HEAD_LENGTH + BODY_PREFIX_LENGTH) as u64);
    // Each segment has a tag.
    let segments = sealed.div_ceil(BODY_SEGMENT_BYTES + TAG_LENGTH as u64);
    let padded = sealed.saturating_sub(segments * TAG_LENGTH as u64);
    u32::try_from(padded).is_ok_and(|payload| payload <= PART_BYTES && object_length(payload) == length)
}

impl WalPart {
    /// What an object's name is the keyed hash of. No two of them have the same bytes.
    #[must_use]
    pub fn name_message(&self) -> Vec<u8> {
        let file = self.file.to_string();
        let mut message = Vec::with_capacity(24 + file.len() + self.source.len());
        message.extend_from_slice(b"wal");
        message.extend_from_slice(&self.system.to_le_bytes());
        message.extend_from_slice(&self.part.to_le_bytes());
        message.extend_from_slice(&self.attempt.to_le_bytes());
        // At most 40.
        message.push(u8::try_from(file.len()).unwrap_or(u8::MAX));
        message.extend_from_slice(file.as_bytes());
        message.extend_from_slice(self.source.as_bytes());
        message
    }
}

impl WalHead {
    /// Length of this part's plaintext.
    #[must_use]
    pub fn part_bytes(&self) -> u32 {
        let before = u64::from(self.part.part) * u64::from(PART_BYTES);
        let rest = self.file_bytes.saturating_sub(before).min(PART_BYTES.into());
        u32::try_from(rest).unwrap_or(PART_BYTES)
    }

    /// Length of the object that it is the head of.
    #[must_use]
    pub fn object_bytes(&self) -> u64 {
        object_length(self.payload_bytes)
    }

    /// The content of the signed body.
    ///
    /// # Errors
    /// `Limit`, `Rule`: what a reader would refuse.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        self.check()?;
        let content = self.encode_unchecked();
        limit("head of a log archive", content.len() as u64, HEAD_CONTENT_LIMIT)?;
        Ok(content)
    }

    /// The same without looking whether a reader would take it: for vectors of what is refused.
    #[doc(hidden)]
    #[must_use]
    pub fn encode_unchecked(&self) -> Vec<u8> {
        let mut encoder = Encoder::default();
        encoder.map(|map| {
            map.text(1, &self.part.source);
            map.uint(2, self.part.system);
            map.text(3, &self.part.file.to_string());
            map.uint(4, self.part.part.into());
            map.uint(5, self.part.attempt.into());
            map.uint(6, self.file_bytes);
            map.bytes(7, &self.file_hash.0);
            map.bytes(8, &self.part_hash.0);
            map.field(9, |e| encode_key(e, &self.key));
            map.uint(10, self.codec.number().into());
            map.uint(11, self.payload_bytes.into());
            map.bytes(12, &self.body_hash.0);
        });
        encoder.into_bytes()
    }

    /// Reads the content of the signed body.
    ///
    /// # Errors
    /// `Cbor`, `Missing`, `UnknownField`, `Unknown`, `Limit`, `Rule`.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields::default();
        let mut decoder = Decoder::new(bytes);
        decoder.map("head of a log archive", |key, value| fields.read(key, value))?;
        decoder.end("head of a log archive")?;
        let head = fields.into_head()?;
        head.check()?;
        Ok(head)
    }

    fn check(&self) -> Result<(), FormatError> {
        let rule = |what, rule| Err(FormatError::Rule { what, rule });
        if self.part.source.is_empty() {
            return rule("source of a log archive", "it has a name");
        }
        limit("source of a log archive", self.part.source.len() as u64, SOURCE_LIMIT_BYTES as u64)?;
        limit("attempt", self.part.attempt.into(), u64::from(ATTEMPT_LIMIT - 1))?;
        if self.file_bytes == 0 {
            return rule("log file", "it is not empty");
        }
        limit("log file", self.file_bytes, FILE_LIMIT_BYTES)?;
        limit("part of a log file", self.part.part.into(), u64::from(part_count(self.file_bytes) - 1))?;
        let plain = self.part_bytes();
        match self.codec {
            Codec::Raw if self.payload_bytes != plain => rule("raw payload", "it is as long as its part"),
            Codec::Zstd if self.payload_bytes >= plain || self.payload_bytes == 0 => {
                rule("compressed payload", "it is shorter than its part")
            }
            _ => Ok(()),
        }
    }
}

#[derive(Default)]
struct Fields {
    source: Option<String>,
    system: Option<u64>,
    file: Option<LogFile>,
    part: Option<u32>,
    attempt: Option<u32>,
    file_bytes: Option<u64>,
    hashes: [Option<ContentHash>; 3],
    key: Option<KeyRef>,
    codec: Option<Codec>,
    payload_bytes: Option<u32>,
}

impl Fields {
    fn read(&mut self, key: u64, value: &mut Decoder<'_>) -> Result<bool, FormatError> {
        match key {
            1 => self.source = Some(value.text()?.to_owned()),
            2 => self.system = Some(value.uint()?),
            3 => self.file = Some(value.text()?.parse()?),
            4 => self.part = Some(number("part of a log file", value)?),
            5 => self.attempt = Some(number("attempt", value)?),
            6 => self.file_bytes = Some(value.uint()?),
            7 => self.hashes[0] = Some(ContentHash::try_from(value.bytes()?)?),
            8 => self.hashes[1] = Some(ContentHash::try_from(value.bytes()?)?),
            9 => self.key = Some(decode_key(value)?),
            10 => self.codec = Some(Codec::try_from(value.uint()?)?),
            11 => self.payload_bytes = Some(number("payload of a log archive", value)?),
            12 => self.hashes[2] = Some(ContentHash::try_from(value.bytes()?)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn into_head(self) -> Result<WalHead, FormatError> {
        let missing = |what| FormatError::Missing { what };
        let [file_hash, part_hash, body_hash] = self.hashes;
        Ok(WalHead {
            part: WalPart {
                source: self.source.ok_or(missing("source of a log archive"))?,
                system: self.system.ok_or(missing("system identifier"))?,
                file: self.file.ok_or(missing("log file"))?,
                part: self.part.ok_or(missing("part of a log file"))?,
                attempt: self.attempt.ok_or(missing("attempt"))?,
            },
            file_bytes: self.file_bytes.ok_or(missing("length of a log file"))?,
            file_hash: file_hash.ok_or(missing("hash of a log file"))?,
            part_hash: part_hash.ok_or(missing("hash of a part"))?,
            key: self.key.ok_or(missing("data key of a log archive"))?,
            codec: self.codec.ok_or(missing("codec"))?,
            payload_bytes: self.payload_bytes.ok_or(missing("length of the payload"))?,
            body_hash: body_hash.ok_or(missing("hash of the body"))?,
        })
    }
}

fn number(what: &'static str, value: &mut Decoder<'_>) -> Result<u32, FormatError> {
    let value = value.uint()?;
    u32::try_from(value).map_err(|_| FormatError::Limit { what, value, limit: u32::MAX.into() })
}

fn limit(what: &'static str, value: u64, limit: u64) -> Result<(), FormatError> {
    if value > limit { Err(FormatError::Limit { what, value, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal_file::Segment;
    use crate::{Commitment, KeyId};

    fn head() -> WalHead {
        WalHead {
            part: WalPart {
                source: "postgres".into(),
                system: 7_311_000_000_000_000_001,
                file: LogFile::Segment(Segment { timeline: 1, place: 3 }),
                part: 0,
                attempt: 0,
            },
            file_bytes: 16 << 20,
            file_hash: ContentHash([1; 32]),
            part_hash: ContentHash([2; 32]),
            key: KeyRef { id: KeyId([3; 16]), commitment: Commitment([4; 32]) },
            codec: Codec::Zstd,
            payload_bytes: 1 << 20,
            body_hash: ContentHash([5; 32]),
        }
    }

    #[test]
    fn round_trip() {
        assert_eq!(WalHead::decode(&head().encode().unwrap()), Ok(head()));
        let mut longest = head();
        longest.part.source = "s".repeat(SOURCE_LIMIT_BYTES);
        assert_eq!(WalHead::decode(&longest.encode().unwrap()), Ok(longest));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let changes: [fn(&mut WalHead); 9] = [
            |head| head.part.source = String::new(),
            |head| head.part.source = "s".repeat(SOURCE_LIMIT_BYTES + 1),
            |head| head.part.attempt = ATTEMPT_LIMIT,
            |head| head.part.part = 1,
            |head| head.file_bytes = 0,
            |head| head.file_bytes = FILE_LIMIT_BYTES + 1,
            |head| head.payload_bytes = 16 << 20,
            |head| head.payload_bytes = 0,
            |head| head.codec = Codec::Raw,
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut bad = head();
            change(&mut bad);
            assert!(bad.encode().is_err(), "{at}");
        }
    }

    #[test]
    fn lengths_are_those_of_the_spec() {
        assert_eq!(padme(HEAD_PLAIN_BYTES, 0), HEAD_PLAIN_BYTES, "the head is padded to just its room");
        assert_eq!(body_length(1), 64 + (256 << 10) + 16);
        assert_eq!(object_length(16 << 20), 4096 + 64 + (16 << 20) + 16 * 16);
        assert_eq!(OBJECT_LIMIT_BYTES, 4096 + 64 + (32 << 20) + 32 * 16);
        assert_eq!((part_count(1), part_count(32 << 20), part_count((32 << 20) + 1)), (1, 1, 2));
        assert_eq!(part_count(FILE_LIMIT_BYTES), 32);
        for payload in [1, 262_144, 262_145, 1 << 20, (1 << 20) + 1, 5_000_000, 16 << 20, PART_BYTES] {
            let length = object_length(payload);
            assert!(is_object_length(length), "{payload}");
            assert!(!is_object_length(length - 1) && !is_object_length(length + 1), "{payload}");
        }
        assert!(!is_object_length(0) && !is_object_length(u64::MAX));
        let last = WalHead { part: WalPart { part: 1, ..head().part }, file_bytes: (32 << 20) + 9, ..head() };
        assert_eq!(last.part_bytes(), 9);
    }

    #[test]
    fn no_two_names_are_made_of_the_same() {
        let of = |change: fn(&mut WalPart)| {
            let mut part = head().part;
            change(&mut part);
            part.name_message()
        };
        let messages = [
            of(|_| {}),
            of(|part| part.source = "postgre".into()),
            of(|part| part.system += 1),
            of(|part| part.file = LogFile::History(1)),
            of(|part| part.part = 1),
            of(|part| part.attempt = 1),
        ];
        for (at, message) in messages.iter().enumerate() {
            assert!(!messages[..at].contains(message), "{at}");
        }
    }
}
