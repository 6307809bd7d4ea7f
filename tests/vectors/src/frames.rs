//! Golden frames: raw, zstd, and deltas of depth 1 and 2. Compressed bytes change with zstd's version, so frames that
//! were made once are kept, and only opened again.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use strongroom_format::Salt;
use strongroom_format::pack::{ChunkRecord, FRAME_OVERHEAD, FrameRecord};
use strongroom_format::registry::Codec;
use strongroom_keys::frame::{BoundRecord, verify_author};
use strongroom_repository::zstd::Decompressor;
use zstd_safe::{CCtx, CParameter};

use crate::fixed::{self, noise};

/// One frame before it is sealed.
pub(crate) struct Plain {
    pub(crate) chunks: Vec<Vec<u8>>,
    pub(crate) bases: Vec<Vec<u8>>,
    pub(crate) codec: Codec,
    pub(crate) depth: u8,
    pub(crate) closure: u16,
}

/// zstd as the format wants it: one segment, sized, raw-content prefix.
pub(crate) fn compress(plain: &[u8], prefix: &[u8]) -> Result<Vec<u8>> {
    let mut context = CCtx::create();
    for parameter in [
        CParameter::CompressionLevel(3),
        CParameter::WindowLog(23),
        CParameter::ContentSizeFlag(true),
        CParameter::ChecksumFlag(false),
        CParameter::DictIdFlag(false),
    ] {
        context.set_parameter(parameter).map_err(|code| anyhow::anyhow!(zstd_safe::get_error_name(code)))?;
    }
    if !prefix.is_empty() {
        context.ref_prefix(prefix).map_err(|code| anyhow::anyhow!(zstd_safe::get_error_name(code)))?;
    }
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(plain.len()));
    context.compress2(&mut out, plain).map_err(|code| anyhow::anyhow!(zstd_safe::get_error_name(code)))?;
    Ok(out)
}

impl Plain {
    /// The records of chunks and bases, and the frame's.
    pub(crate) fn records(
        &self,
        payload_length: usize,
        id: &dyn Fn(&[u8]) -> strongroom_format::ChunkId,
    ) -> Result<(FrameRecord, Vec<ChunkRecord>, Vec<ChunkRecord>)> {
        let records = |parts: &[Vec<u8>]| -> Result<Vec<ChunkRecord>> {
            parts
                .iter()
                .map(|part| Ok(ChunkRecord { id: id(part), length: u32::try_from(part.len())? }))
                .collect()
        };
        let (chunks, bases) = (records(&self.chunks)?, records(&self.bases)?);
        let record = FrameRecord {
            sealed_length: u32::try_from(payload_length)? + FRAME_OVERHEAD,
            plain_length: chunks.iter().map(|chunk| chunk.length).sum(),
            prefix_length: bases.iter().map(|base| base.length).sum(),
            first_chunk: 0,
            first_base: 0,
            chunk_count: u16::try_from(chunks.len())?,
            base_count: u16::try_from(bases.len())?,
            key: 0,
            author: 0,
            codec: self.codec,
            depth: self.depth,
            closure: self.closure,
        };
        Ok((record, chunks, bases))
    }

    pub(crate) fn payload(&self) -> Result<Vec<u8>> {
        let plain = self.chunks.concat();
        if self.codec == Codec::Raw { Ok(plain) } else { compress(&plain, &self.bases.concat()) }
    }
}

fn edited(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out[at] ^= 0x55;
    out
}

fn plains() -> Vec<(&'static str, Plain)> {
    let text = b"row 000007 of the day before\n".repeat(300);
    let magic = [&0xEC30_A437_u32.to_le_bytes()[..], &noise("base", 9000)].concat();
    let (day2, day3) = (edited(&magic, 5000), edited(&edited(&magic, 5000), 7000));
    let plain = |chunks, bases: Vec<Vec<u8>>, codec, depth: u8| Plain {
        chunks,
        closure: depth.into(),
        bases,
        codec,
        depth,
    };
    vec![
        ("raw", plain(vec![b"hello".to_vec()], vec![], Codec::Raw, 0)),
        ("zstd, two chunks", plain(vec![text.clone(), text[..1000].to_vec()], vec![], Codec::Zstd, 0)),
        (
            "delta of depth 1, base beginning 37 a4 30 ec",
            plain(vec![day2.clone()], vec![magic.clone()], Codec::Zstd, 1),
        ),
        ("delta of depth 2", plain(vec![day3], vec![day2.clone()], Codec::Zstd, 2)),
        (
            "delta with a prefix longer than the frame, of two bases",
            plain(vec![magic[..3000].to_vec()], vec![day2, magic], Codec::Zstd, 2),
        ),
    ]
}

/// Makes the frames anew.
///
/// # Errors
/// Whatever fails: never, unless the code is wrong.
pub fn make() -> Result<Value> {
    let (identity, (key, _), author) = (fixed::identity(), fixed::data(), fixed::author());
    let mut out = Vec::new();
    for (number, (name, plain)) in plains().into_iter().enumerate() {
        let payload = plain.payload()?;
        let (record, chunks, bases) = plain.records(payload.len(), &|bytes| identity.chunk_id(bytes))?;
        let mut sealed = Vec::new();
        key.seal(
            &BoundRecord::new(&record, &chunks, &bases),
            &payload,
            &author,
            Salt([u8::try_from(number)? + 0x41; 32]),
            &mut sealed,
        )?;
        // As another pack describes it: nothing of that is bound.
        let moved = FrameRecord { first_chunk: 77, first_base: 5, key: 1, author: 2, ..record };
        let records =
            |list: &[ChunkRecord]| hex::encode(list.iter().flat_map(ChunkRecord::encode).collect::<Vec<_>>());
        out.push(json!({
            "name": name, "record": hex::encode(record.encode()), "moved_record": hex::encode(moved.encode()), "chunks": records(&chunks), "bases": records(&bases),
            "prefix": hex::encode(plain.bases.concat()), "plain": hex::encode(plain.chunks.concat()), "sealed": hex::encode(sealed),
        }));
    }
    Ok(json!(out))
}

/// Opens stored frames again.
///
/// # Errors
/// What does not open, or opens to something else.
pub fn verify(stored: &Value) -> Result<()> {
    let (identity, (key, _), author) = (fixed::identity(), fixed::data(), fixed::author());
    let made = plains();
    let stored = stored.as_array().context("frames.json is an array")?;
    ensure!(stored.len() == made.len(), "there are {} frames, not {}", stored.len(), made.len());
    for (frame, (name, plain)) in stored.iter().zip(made) {
        let field = |field: &str| -> Result<Vec<u8>> {
            Ok(hex::decode(frame[field].as_str().context("hexadecimal")?)?)
        };
        let sealed = field("sealed")?;
        let (record, chunks, bases) =
            plain.records(sealed.len() - FRAME_OVERHEAD as usize, &|bytes| identity.chunk_id(bytes))?;
        ensure!(record.encode().to_vec() == field("record")?, "{name}: the record");
        let bound = BoundRecord::new(&FrameRecord { first_chunk: 77, key: 1, ..record }, &chunks, &bases);
        verify_author(&author.public(), &bound, &sealed).with_context(|| format!("{name}: the author"))?;
        let mut payload = Vec::new();
        key.open(&bound, &sealed, &mut payload).with_context(|| format!("{name} does not open"))?;
        let opened = if record.codec == Codec::Raw {
            payload
        } else {
            let mut decompressed = Vec::new();
            let prefix = plain.bases.concat();
            Decompressor::new().decompress(&payload, &prefix, record.plain_length, &mut decompressed)?;
            decompressed
        };
        ensure!(opened == plain.chunks.concat() && opened == field("plain")?, "{name}: the plaintext");
    }
    Ok(())
}
