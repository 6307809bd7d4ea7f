//! Cut points of three streams (`format-spec/chunking.md`, section "Vectors").

use std::sync::Arc;

use anyhow::Result;
use serde_json::{Value, json};
use strongroom_chunker::{BatchReader, Chunker, ChunkerParams, GearTable};

use crate::fixed;

/// `chunking.json`.
///
/// # Errors
/// Never: memory can be read.
pub fn all() -> Result<Value> {
    let gear = Arc::new(GearTable::from_bytes(fixed::identity().gear_table()));
    let mut streams = Vec::new();
    for (name, data) in
        [("random", random(1_000_003)), ("text", text(1_000_000)), ("zeros", vec![0; 600_001])]
    {
        for (chunker, params) in [
            ("16384/65536/262144, level 2", ChunkerParams::default()),
            ("4096/8192/16384, level 0", ChunkerParams::fast_cdc(4096, 8192, 16_384, 0)?),
            ("fixed, 262144", ChunkerParams::fixed(262_144)?),
        ] {
            let mut reader = BatchReader::new(&data[..], Chunker::new(params, Arc::clone(&gear))?);
            let mut lengths = Vec::new();
            while let Some(batch) = reader.next_batch(Vec::new())? {
                lengths.extend(batch.lengths);
            }
            streams.push(json!({
                "stream": name, "bytes": data.len(), "blake3": blake3::hash(&data).to_hex().to_string(),
                "chunker": chunker, "lengths": lengths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            }));
        }
    }
    Ok(json!({
        "inputs": { "identity": hex::encode([1; 32]), "streams": "as format-spec/chunking.md says" },
        "gear_table": hex::encode(fixed::identity().gear_table()),
        "cuts": streams,
    }))
}

fn random(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(length.div_ceil(8))
    .flatten()
    .collect();
    out.truncate(length);
    out
}

fn text(length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length + 64);
    for i in 0_u64.. {
        if out.len() >= length {
            break;
        }
        out.extend_from_slice(format!("{i}\tcustomer-{}\t2026-01-01\tpaid\n", i * 7919 % 1000).as_bytes());
    }
    out.truncate(length);
    out
}
