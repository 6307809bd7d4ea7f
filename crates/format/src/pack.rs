//! Packs: `header | frames | padding | sealed footer | trailer` (`format-spec/objects.md#pack`).
//!
//! Only lengths are stored, never offsets: a frame lies where the lengths before it say. The footer carries
//! all that opening a frame needs, so a pack can be read, scrubbed and repacked on its own.

use std::ops::Range;

use crate::header::HEADER_LENGTH;
use crate::little_endian::Fields;
use crate::registry::Codec;
use crate::{ChunkId, Commitment, ContentHash, FormatError, KeyId, Signature, WriterId};

/// Largest pack a reader accepts, bytes.
pub const PACK_LIMIT_BYTES: u64 = 128 << 20;
/// Largest plaintext of a frame, and of its prefix, bytes.
pub const FRAME_LIMIT_BYTES: u32 = 8 << 20;
/// Largest chunk, bytes.
pub const CHUNK_LIMIT_BYTES: u32 = 8 << 20;
/// Longest chain of deltas.
pub const DEPTH_LIMIT: u8 = 8;
/// Most frames that opening one frame may need besides itself.
pub const CLOSURE_LIMIT: u16 = 32;
/// What sealing adds to a frame: salt 32, commitment 32, tag 16, author's signature 64.
pub const FRAME_OVERHEAD: u32 = 144;
/// Length of a frame record, bytes.
pub const FRAME_RECORD_LENGTH: usize = 32;
/// Length of a chunk record or base record, bytes.
pub const CHUNK_RECORD_LENGTH: usize = 36;
/// Length of the trailer, bytes.
pub const TRAILER_LENGTH: usize = 16;
/// The last eight bytes of a pack.
pub const END_MAGIC: [u8; 8] = *b"STRNGEND";
/// The plaintext of a footer is padded to a multiple of this.
pub const FOOTER_UNIT: usize = 4096;
/// Length of an AEAD tag, bytes.
pub const TAG_LENGTH: usize = 16;

const FOOTER_VERSION: u16 = 1;
const FIXED_LENGTH: usize = 36;
const SIGNATURE_LENGTH: usize = 64;

/// What a frame is; `encode_bound` is what its author and its AEAD bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRecord {
    /// Stored length, bytes, overhead included.
    pub sealed_length: u32,
    /// Length of the plaintext, bytes: the sum of its chunks.
    pub plain_length: u32,
    /// Length of the zstd prefix, bytes: the sum of its bases.
    pub prefix_length: u32,
    /// Index of its first chunk record in the footer.
    pub first_chunk: u32,
    /// Index of its first base record in the footer.
    pub first_base: u32,
    /// How many chunks it holds.
    pub chunk_count: u16,
    /// How many base chunks its prefix has.
    pub base_count: u16,
    /// Index of its key in the footer's key table.
    pub key: u16,
    /// Index of its author in the footer's author table.
    pub author: u16,
    /// How the plaintext is stored.
    pub codec: Codec,
    /// 0 without bases, else larger than the depth of every base's frame.
    pub depth: u8,
    /// How many other frames opening this one needs, transitively.
    pub closure: u16,
}

impl FrameRecord {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME_RECORD_LENGTH] {
        let mut out = [0; FRAME_RECORD_LENGTH];
        for (at, value) in
            [self.sealed_length, self.plain_length, self.prefix_length, self.first_chunk, self.first_base]
                .iter()
                .enumerate()
        {
            out[at * 4..at * 4 + 4].copy_from_slice(&value.to_le_bytes());
        }
        for (at, value) in [self.chunk_count, self.base_count, self.key, self.author].iter().enumerate() {
            out[20 + at * 2..22 + at * 2].copy_from_slice(&value.to_le_bytes());
        }
        out[28] = self.codec.number();
        out[29] = self.depth;
        out[30..].copy_from_slice(&self.closure.to_le_bytes());
        out
    }

    /// The form that is bound into the frame: without the fields that say where in a pack it lies.
    #[must_use]
    pub fn encode_bound(&self) -> [u8; FRAME_RECORD_LENGTH] {
        Self { first_chunk: 0, first_base: 0, key: 0, author: 0, ..*self }.encode()
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            sealed_length: fields.u32()?,
            plain_length: fields.u32()?,
            prefix_length: fields.u32()?,
            first_chunk: fields.u32()?,
            first_base: fields.u32()?,
            chunk_count: fields.u16()?,
            base_count: fields.u16()?,
            key: fields.u16()?,
            author: fields.u16()?,
            codec: Codec::try_from(u64::from(fields.u8()?))?,
            depth: fields.u8()?,
            closure: fields.u16()?,
        })
    }

    fn validate(&self) -> Result<(), FormatError> {
        limit("frame length", self.plain_length, FRAME_LIMIT_BYTES)?;
        limit("prefix length", self.prefix_length, FRAME_LIMIT_BYTES)?;
        limit("sealed length", self.sealed_length, self.plain_length + FRAME_OVERHEAD)?;
        limit("delta depth", self.depth.into(), DEPTH_LIMIT.into())?;
        limit("delta closure", self.closure.into(), CLOSURE_LIMIT.into())?;
        rule(self.sealed_length > FRAME_OVERHEAD, "frame", "it holds at least a byte")?;
        rule(self.chunk_count > 0, "frame", "it holds at least a chunk")?;
        rule(
            (self.depth == 0) == (self.base_count == 0),
            "frame",
            "its depth is 0 exactly when it has no bases",
        )?;
        rule(
            (self.closure == 0) == (self.base_count == 0),
            "frame",
            "its closure is 0 exactly when it has no bases",
        )?;
        rule(
            self.codec == Codec::Zstd
                || (self.base_count == 0 && self.sealed_length == self.plain_length + FRAME_OVERHEAD),
            "frame",
            "a raw frame has no bases and is stored as it is",
        )
    }
}

/// A chunk (or a base chunk) and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkRecord {
    /// Its ID.
    pub id: ChunkId,
    /// Its length, bytes: 1 to [`CHUNK_LIMIT_BYTES`].
    pub length: u32,
}

impl ChunkRecord {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> [u8; CHUNK_RECORD_LENGTH] {
        let mut out = [0; CHUNK_RECORD_LENGTH];
        out[..32].copy_from_slice(&self.id.0);
        out[32..].copy_from_slice(&self.length.to_le_bytes());
        out
    }

    /// Reads the stored form.
    #[must_use]
    pub fn decode(bytes: &[u8; CHUNK_RECORD_LENGTH]) -> Self {
        let mut id = [0; 32];
        id.copy_from_slice(&bytes[..32]);
        Self { id: ChunkId(id), length: u32::from_le_bytes([bytes[32], bytes[33], bytes[34], bytes[35]]) }
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, FormatError> {
        let record = Self { id: ChunkId(fields.array()?), length: fields.u32()? };
        limit("chunk length", record.length, CHUNK_LIMIT_BYTES)?;
        rule(record.length > 0, "chunk", "it is at least a byte long")?;
        rule(record.id != ChunkId::HOLE, "chunk", "the ID of zeros means a hole")?;
        Ok(record)
    }
}

/// A key that frames of the pack are sealed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRef {
    /// The key.
    pub id: KeyId,
    /// Its commitment.
    pub commitment: Commitment,
}

/// What a pack holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// Length of the whole object, bytes.
    pub pack_length: u64,
    /// Length of the padding between frames and footer, bytes, its tag included.
    pub padding_length: u32,
    /// Keys of the frames.
    pub keys: Vec<KeyRef>,
    /// Authors of the frames.
    pub authors: Vec<WriterId>,
    /// The frames, in order.
    pub frames: Vec<FrameRecord>,
    /// Their chunks, in order.
    pub chunks: Vec<ChunkRecord>,
    /// Their base chunks, in order.
    pub bases: Vec<ChunkRecord>,
    /// BLAKE3-256 of all bytes of the object before the sealed footer.
    pub content_hash: ContentHash,
    /// Who wrote the pack.
    pub signer: WriterId,
    /// Signs the header and the footer up to here.
    pub signature: Signature,
}

impl Footer {
    /// The bytes that are signed: all but the signature.
    ///
    /// # Errors
    /// `Limit` when a table is longer than its count can say.
    pub fn signed_part(&self) -> Result<Vec<u8>, FormatError> {
        let mut out = Vec::with_capacity(self.unpadded_length());
        out.extend_from_slice(&FOOTER_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        for count in [self.frames.len(), self.chunks.len(), self.bases.len()] {
            out.extend_from_slice(&u32::try_from(count).map_err(|_| too_many(count))?.to_le_bytes());
        }
        for count in [self.keys.len(), self.authors.len()] {
            out.extend_from_slice(&u16::try_from(count).map_err(|_| too_many(count))?.to_le_bytes());
        }
        out.extend_from_slice(&self.pack_length.to_le_bytes());
        out.extend_from_slice(&self.padding_length.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for key in &self.keys {
            out.extend_from_slice(&key.id.0);
            out.extend_from_slice(&key.commitment.0);
        }
        self.authors.iter().for_each(|author| out.extend_from_slice(&author.0));
        self.frames.iter().for_each(|frame| out.extend_from_slice(&frame.encode()));
        self.chunks.iter().chain(&self.bases).for_each(|chunk| out.extend_from_slice(&chunk.encode()));
        out.extend_from_slice(&self.content_hash.0);
        out.extend_from_slice(&self.signer.0);
        Ok(out)
    }

    /// The stored form, signature included, without padding.
    ///
    /// # Errors
    /// As [`Footer::signed_part`].
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let mut out = self.signed_part()?;
        out.extend_from_slice(&self.signature.0);
        Ok(out)
    }

    /// Length of [`Footer::encode`], bytes.
    #[must_use]
    pub fn unpadded_length(&self) -> usize {
        unpadded_length(
            self.keys.len(),
            self.authors.len(),
            self.frames.len(),
            self.chunks.len() + self.bases.len(),
        )
    }

    /// Reads a footer; zeros may follow. Every rule of the format that needs no key is checked.
    ///
    /// # Errors
    /// `Truncated`, `Unknown`, `Limit`, `Rule`.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields::new(bytes, "pack footer");
        let version = fields.u16()?;
        if version != FOOTER_VERSION {
            return Err(FormatError::Unknown { what: "pack footer version", value: version.into() });
        }
        let flags = fields.u16()?;
        if flags != 0 {
            return Err(FormatError::Unknown { what: "pack footer flags", value: flags.into() });
        }
        let (frames, chunks, bases) =
            (fields.u32()? as usize, fields.u32()? as usize, fields.u32()? as usize);
        let (keys, authors) = (usize::from(fields.u16()?), usize::from(fields.u16()?));
        let pack_length = fields.u64()?;
        let padding_length = fields.u32()?;
        rule(fields.u32()? == 0, "pack footer", "reserved bytes are zeros")?;
        // Counts are bounded by the bytes that are there before anything is allocated for them.
        let needed = FRAME_RECORD_LENGTH as u128 * frames as u128
            + CHUNK_RECORD_LENGTH as u128 * (chunks as u128 + bases as u128)
            + 48 * keys as u128
            + 16 * authors as u128;
        if needed > fields.rest().len() as u128 {
            return Err(FormatError::Truncated { what: "pack footer" });
        }
        let footer = Self {
            pack_length,
            padding_length,
            keys: (0..keys)
                .map(|_| Ok(KeyRef { id: KeyId(fields.array()?), commitment: Commitment(fields.array()?) }))
                .collect::<Result<_, FormatError>>()?,
            authors: (0..authors).map(|_| fields.array().map(WriterId)).collect::<Result<_, _>>()?,
            frames: (0..frames).map(|_| FrameRecord::decode(&mut fields)).collect::<Result<_, _>>()?,
            chunks: (0..chunks).map(|_| ChunkRecord::read(&mut fields)).collect::<Result<_, _>>()?,
            bases: (0..bases).map(|_| ChunkRecord::read(&mut fields)).collect::<Result<_, _>>()?,
            content_hash: ContentHash(fields.array()?),
            signer: WriterId(fields.array()?),
            signature: Signature(fields.array()?),
        };
        fields.zeros_to_end()?;
        footer.validate()?;
        Ok(footer)
    }

    /// The rules of the format that hold between fields; a writer checks them too, before it stores anything.
    ///
    /// # Errors
    /// `Limit`, `Rule`.
    pub fn validate(&self) -> Result<(), FormatError> {
        rule(!self.frames.is_empty(), "pack", "it holds at least a frame")?;
        if self.pack_length > PACK_LIMIT_BYTES {
            return Err(FormatError::Limit {
                what: "pack length",
                value: self.pack_length,
                limit: PACK_LIMIT_BYTES,
            });
        }
        let (mut chunk, mut base, mut end) = (0_usize, 0_usize, HEADER_LENGTH as u64);
        for frame in &self.frames {
            frame.validate()?;
            rule(usize::from(frame.key) < self.keys.len(), "frame", "its key is in the key table")?;
            rule(
                usize::from(frame.author) < self.authors.len(),
                "frame",
                "its author is in the author table",
            )?;
            rule(
                frame.first_chunk as usize == chunk && frame.first_base as usize == base,
                "frame",
                "its records follow those of the frame before",
            )?;
            chunk += usize::from(frame.chunk_count);
            base += usize::from(frame.base_count);
            let chunks = self
                .chunks
                .get(frame.first_chunk as usize..chunk)
                .ok_or(FormatError::Truncated { what: "chunk records" })?;
            let bases = self
                .bases
                .get(frame.first_base as usize..base)
                .ok_or(FormatError::Truncated { what: "base records" })?;
            rule(
                sum(chunks) == u64::from(frame.plain_length),
                "frame",
                "its length is the sum of its chunks",
            )?;
            rule(
                sum(bases) == u64::from(frame.prefix_length),
                "frame",
                "its prefix is the sum of its bases",
            )?;
            end += u64::from(frame.sealed_length);
        }
        rule(
            chunk == self.chunks.len() && base == self.bases.len(),
            "pack",
            "every record belongs to a frame",
        )?;
        rule(
            self.padding_length == 0 || self.padding_length as usize >= TAG_LENGTH,
            "pack",
            "padding has room for its tag",
        )?;
        let sealed_footer = (self.unpadded_length().next_multiple_of(FOOTER_UNIT) + TAG_LENGTH) as u64;
        rule(
            end + u64::from(self.padding_length) + sealed_footer + TRAILER_LENGTH as u64 == self.pack_length,
            "pack",
            "its length is the sum of its parts",
        )
    }

    /// Where frame number `index` lies in the object, or `None` when there is no such frame.
    #[must_use]
    pub fn frame_range(&self, index: usize) -> Option<Range<u64>> {
        let length = u64::from(self.frames.get(index)?.sealed_length);
        let start = HEADER_LENGTH as u64
            + self.frames[..index].iter().map(|frame| u64::from(frame.sealed_length)).sum::<u64>();
        Some(start..start + length)
    }

    /// The chunks of a frame of this footer.
    #[must_use]
    pub fn chunks_of(&self, frame: &FrameRecord) -> &[ChunkRecord] {
        slice(&self.chunks, frame.first_chunk, frame.chunk_count)
    }

    /// The bases of a frame of this footer.
    #[must_use]
    pub fn bases_of(&self, frame: &FrameRecord) -> &[ChunkRecord] {
        slice(&self.bases, frame.first_base, frame.base_count)
    }
}

/// Length of an encoded footer with these counts, bytes, without padding.
#[must_use]
pub fn unpadded_length(keys: usize, authors: usize, frames: usize, records: usize) -> usize {
    FIXED_LENGTH
        + keys * 48
        + authors * 16
        + frames * FRAME_RECORD_LENGTH
        + records * CHUNK_RECORD_LENGTH
        + 32
        + 16
        + SIGNATURE_LENGTH
}

/// The last 16 bytes of a pack.
#[must_use]
pub fn encode_trailer(sealed_footer_length: u32) -> [u8; TRAILER_LENGTH] {
    let mut out = [0; TRAILER_LENGTH];
    out[..4].copy_from_slice(&sealed_footer_length.to_le_bytes());
    out[8..].copy_from_slice(&END_MAGIC);
    out
}

/// Reads the trailer of an object of `object_length` bytes: where its sealed footer lies.
///
/// # Errors
/// `Truncated`, `Magic`, `Limit`, `Rule`.
pub fn decode_trailer(trailer: &[u8; TRAILER_LENGTH], object_length: u64) -> Result<Range<u64>, FormatError> {
    if object_length > PACK_LIMIT_BYTES {
        return Err(FormatError::Limit {
            what: "pack length",
            value: object_length,
            limit: PACK_LIMIT_BYTES,
        });
    }
    let mut fields = Fields::new(trailer, "pack trailer");
    let length = u64::from(fields.u32()?);
    let zero = fields.u32()?;
    if fields.array::<8>()? != END_MAGIC {
        return Err(FormatError::Magic { what: "pack trailer" });
    }
    rule(zero == 0, "pack trailer", "reserved bytes are zeros")?;
    let unit = FOOTER_UNIT as u64;
    rule(
        length > unit && length % unit == TAG_LENGTH as u64,
        "footer length",
        "it is a multiple of 4096, and a tag",
    )?;
    let end =
        object_length.checked_sub(TRAILER_LENGTH as u64).ok_or(FormatError::Truncated { what: "pack" })?;
    match end.checked_sub(length) {
        Some(start) if start >= HEADER_LENGTH as u64 => Ok(start..end),
        _ => Err(FormatError::Limit {
            what: "footer length",
            value: length,
            limit: end.saturating_sub(HEADER_LENGTH as u64),
        }),
    }
}

fn slice(records: &[ChunkRecord], first: u32, count: u16) -> &[ChunkRecord] {
    records.get(first as usize..first as usize + usize::from(count)).unwrap_or_default()
}

fn sum(records: &[ChunkRecord]) -> u64 {
    records.iter().map(|record| u64::from(record.length)).sum()
}

fn limit(what: &'static str, value: u32, limit: u32) -> Result<(), FormatError> {
    if value > limit {
        Err(FormatError::Limit { what, value: value.into(), limit: limit.into() })
    } else {
        Ok(())
    }
}

fn rule(holds: bool, what: &'static str, rule: &'static str) -> Result<(), FormatError> {
    if holds { Ok(()) } else { Err(FormatError::Rule { what, rule }) }
}

fn too_many(count: usize) -> FormatError {
    FormatError::Limit { what: "pack footer count", value: count as u64, limit: u32::MAX.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn footer(frames: usize, chunks_each: u16) -> Footer {
        let chunks: Vec<_> = (0..frames * usize::from(chunks_each))
            .map(|i| ChunkRecord { id: ChunkId([u8::try_from(i % 255).unwrap() + 1; 32]), length: 100 })
            .collect();
        let mut footer = Footer {
            pack_length: 0,
            padding_length: 16,
            keys: vec![KeyRef { id: KeyId([1; 16]), commitment: Commitment([2; 32]) }],
            authors: vec![WriterId([3; 16])],
            frames: (0..frames)
                .map(|i| FrameRecord {
                    sealed_length: 300,
                    plain_length: 100 * u32::from(chunks_each),
                    prefix_length: 0,
                    first_chunk: u32::try_from(i).unwrap() * u32::from(chunks_each),
                    first_base: 0,
                    chunk_count: chunks_each,
                    base_count: 0,
                    key: 0,
                    author: 0,
                    codec: Codec::Zstd,
                    depth: 0,
                    closure: 0,
                })
                .collect(),
            chunks,
            bases: Vec::new(),
            content_hash: ContentHash([4; 32]),
            signer: WriterId([3; 16]),
            signature: Signature([5; 64]),
        };
        footer.pack_length =
            (112 + 300 * frames + 16 + footer.unpadded_length().next_multiple_of(4096) + 16 + 16) as u64;
        footer
    }

    #[test]
    fn footers_round_trip_and_ranges_add_up() {
        let footer = footer(3, 4);
        let mut bytes = footer.encode().unwrap();
        assert_eq!(bytes.len(), footer.unpadded_length());
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
        assert_eq!(Footer::decode(&bytes).unwrap(), footer);
        assert_eq!(footer.frame_range(2), Some(712..1012));
        assert_eq!(footer.frame_range(3), None);
    }

    #[test]
    fn rules_broken_once_each() {
        type Change = fn(&mut Footer);
        let cases: [(Change, &str); 12] = [
            (|f| f.frames[1].plain_length += 1, "its length is the sum of its chunks"),
            (|f| f.frames[1].depth = 1, "its depth is 0 exactly when it has no bases"),
            (|f| f.frames[1].closure = 1, "its closure is 0 exactly when it has no bases"),
            (|f| f.frames[1].key = 1, "its key is in the key table"),
            (|f| f.frames[1].author = 1, "its author is in the author table"),
            (|f| f.frames[1].first_chunk = 0, "its records follow those of the frame before"),
            (|f| f.frames[1].codec = Codec::Raw, "a raw frame has no bases and is stored as it is"),
            (|f| f.frames[1].sealed_length = 144, "it holds at least a byte"),
            (|f| f.frames[1].chunk_count = 0, "it holds at least a chunk"),
            (|f| f.padding_length = 3, "padding has room for its tag"),
            (|f| f.pack_length += 1, "its length is the sum of its parts"),
            (|f| f.frames.clear(), "it holds at least a frame"),
        ];
        for (change, expected) in cases {
            let mut bad = footer(2, 4);
            change(&mut bad);
            match Footer::decode(&bad.encode().unwrap()) {
                Err(FormatError::Rule { rule, .. }) => assert_eq!(rule, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
        let limits: [(Change, &str); 4] = [
            (|f| f.frames[0].depth = 9, "delta depth"),
            (|f| f.frames[0].closure = 33, "delta closure"),
            (|f| f.frames[0].plain_length = (8 << 20) + 1, "frame length"),
            (|f| f.frames[0].sealed_length = 400 + 145, "sealed length"),
        ];
        for (change, expected) in limits {
            let mut bad = footer(2, 4);
            change(&mut bad);
            match Footer::decode(&bad.encode().unwrap()) {
                Err(FormatError::Limit { what, .. }) => assert_eq!(what, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
    }

    #[test]
    fn trailers() {
        assert_eq!(decode_trailer(&encode_trailer(4112), 10_000), Ok(10_000 - 16 - 4112..10_000 - 16));
        for (length, size) in [(0, 10_000), (16, 10_000), (4096, 10_000), (8208, 8000), (u32::MAX, 10_000)] {
            assert!(decode_trailer(&encode_trailer(length), size).is_err(), "{length} in {size}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_without_panic(bytes: Vec<u8>, at in 0..200_usize, value: u8) {
            let _ = Footer::decode(&bytes);
            let mut changed = footer(2, 3).encode().unwrap();
            let at = at % changed.len();
            changed[at] = value;
            if let Ok(footer) = Footer::decode(&changed) {
                prop_assert_eq!(footer.encode().unwrap(), changed);
            }
        }
    }
}
