//! Whole packs, and an index compacted from three. Large packs are told by recipe, length and ID.

use anyhow::Result;
use serde_json::{Value, json};
use strongroom_format::index::{Index, IndexedPack};
use strongroom_format::pack::TAG_LENGTH;
use strongroom_format::padme;
use strongroom_format::registry::{Codec, ObjectKind};
use strongroom_format::{Salt, SourceTag};
use strongroom_keys::random::SeededRandom;

use crate::fixed::{self, noise};
use crate::frames::Plain;
use crate::pack_maker::{PackMaker, Sealed};

/// Length of a full data pack, bytes.
const FULL_BYTES: usize = 16 << 20;
/// Shortest last data pack of a run, bytes.
const FLOOR_BYTES: u64 = 256 << 10;

/// `packs.json`.
///
/// # Errors
/// Whatever fails: never, unless the code is wrong.
pub fn all() -> Result<Value> {
    let (one, one_bytes) = pack("one chunk", &[vec![b"x".to_vec()]], |_| 0)?;
    let (padded, padded_bytes) =
        pack("padded", &[vec![noise("padded 0", 1000), noise("padded 1", 2000)]], |smallest| {
            let length = padme(smallest as u64, FLOOR_BYTES);
            TAG_LENGTH + usize::try_from(length).unwrap_or(smallest) - smallest
        })?;
    let frames: Vec<Vec<Vec<u8>>> =
        (0..15_u8).map(|frame| vec![noise(&format!("full {frame}"), 1 << 20)]).collect();
    let (full, full_bytes) = pack("full", &frames, |smallest| TAG_LENGTH + FULL_BYTES - smallest)?;
    let told = |what: &str, recipe: &str, pack: &IndexedPack, bytes: &[u8]| json!({ "what": what, "recipe": recipe, "length": bytes.len(), "id": pack.id.to_hex(), "header": hex::encode(pack.header), "footer": hex::encode(&pack.footer) });
    let told = json!([
        told("one chunk, no padding", "the byte 78, raw", &one, &one_bytes),
        told(
            "padded to Padmé of its length, at least 256 KiB",
            "one raw frame of the chunks noise(`padded 0`, 1000) and noise(`padded 1`, 2000)",
            &padded,
            &padded_bytes
        ),
        told(
            "padded to 16 MiB",
            "15 raw frames of one chunk each: noise(`full 0` to `full 14`, 2^20)",
            &full,
            &full_bytes
        ),
    ]);
    let index = Index { source_tag: SourceTag([7; 16]), packs: vec![one, padded, full] }.encode()?;
    let stored =
        fixed::metadata().seal(ObjectKind::Index, "", 4096, &index, &fixed::author(), Salt([0x34; 32]))?;
    Ok(json!({
        "inputs": "noise(seed, n): the first n bytes of BLAKE3's extended output for the seed in ASCII; salts are seeded and stand in what is stored",
        "packs": told,
        "one_chunk": hex::encode(one_bytes),
        "compacted_index": { "content": hex::encode(index), "stored": hex::encode(stored) },
    }))
}

/// A data pack of raw frames; `padding` is told the length with the smallest padding, and gives the padding's.
fn pack(
    seed: &str,
    frames: &[Vec<Vec<u8>>],
    padding: impl FnOnce(usize) -> usize,
) -> Result<(IndexedPack, Vec<u8>)> {
    let (identity, (key, reference), author) = (fixed::identity(), fixed::data(), fixed::author());
    let random = SeededRandom::new(seed.as_bytes());
    let mut maker = PackMaker::new(
        ObjectKind::DataPack,
        &fixed::metadata(),
        vec![reference],
        vec![author.id()],
        &random,
    )?;
    for chunks in frames {
        let plain = Plain { chunks: chunks.clone(), bases: vec![], codec: Codec::Raw, depth: 0, closure: 0 };
        let payload = plain.payload()?;
        let records = plain.records(payload.len(), &|bytes| identity.chunk_id(bytes))?;
        maker.push(Sealed::new(records, &payload, &key, &author, &random)?, 0, 0)?;
    }
    let padding = padding(maker.length(TAG_LENGTH));
    maker.finish(&author, padding)
}
