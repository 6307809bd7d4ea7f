//! Parity objects: of small packs all bytes, of others how they are cut and a hash.

use anyhow::Result;
use serde_json::{Value, json};
use strongroom_format::PackId;
use strongroom_format::parity::ParityHeader;
use strongroom_format::registry::ObjectKind;
use strongroom_keys::derive::content_hash;
use strongroom_repository::parity::encode;

use crate::fixed::counting;

/// Longest object that stands here in full, bytes.
const SHOWN_BYTES: usize = 8000;

/// Length of the pack, percent, kind.
const CASES: [(usize, u8, ObjectKind); 8] = [
    (1, 1, ObjectKind::DataPack),
    (1024, 100, ObjectKind::MetadataPack),
    (2100, 100, ObjectKind::DataPack),
    (5000, 40, ObjectKind::DataPack),
    (20_000, 5, ObjectKind::MetadataPack),
    (70_000, 7, ObjectKind::DataPack),
    ((1 << 20) + 1, 1, ObjectKind::DataPack),
    (16 << 20, 5, ObjectKind::DataPack),
];

/// The file.
///
/// # Errors
/// Never, unless the code is wrong.
pub fn all() -> Result<Value> {
    let mut cases = Vec::new();
    for (length, percent, kind) in CASES {
        let pack = counting(length);
        let id = PackId(content_hash(&pack).0);
        let header = ParityHeader::new(kind, id, pack.len() as u64, percent)?;
        let object = encode(&header, &pack)?;
        let mut case = json!({
            "pack_length": length, "percent": percent, "kind": kind.number(), "pack_id": id.to_hex(),
            "block_bytes": header.block_bytes(), "data_blocks": header.data_blocks(),
            "recovery_blocks": header.recovery_blocks, "length": object.len(), "blake3": content_hash(&object).to_hex(),
        });
        if object.len() <= SHOWN_BYTES {
            case["object"] = json!(hex::encode(&object));
        }
        cases.push(case);
    }
    Ok(json!({ "inputs": { "pack": "byte i is i mod 251" }, "cases": cases }))
}
