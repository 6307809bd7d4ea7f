//! Each stage of the pipeline by itself, on one core.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use strongroom_chunker::{Chunker, ChunkerParams, GearTable};
use strongroom_format::pack::{ChunkRecord, FRAME_OVERHEAD, FrameRecord, KeyRef};
use strongroom_format::registry::{Codec, ObjectKind, Purpose};
use strongroom_format::{ChunkId, KeyId, RepositoryId, Salt, WriterId};
use strongroom_keys::Secret;
use strongroom_keys::derive::{Identity, commitment};
use strongroom_keys::frame::{BoundRecord, FrameKey};
use strongroom_keys::random::OsRandom;
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::sign::Signer;
use strongroom_repository::cache::scale::{GeneratedIndex, chunk};
use strongroom_repository::pack_writer::{PackWriter, SealedFrame};
use strongroom_repository::zstd::{Compressor, Decompressor};

const FRAME: usize = 1 << 20;
const CHUNK: usize = 64 << 10;
const REPOSITORY: RepositoryId = RepositoryId([1; 16]);
const KEY: KeyId = KeyId([2; 16]);

fn main() {
    divan::main();
}

/// Rows as a database dumps them.
fn rows(length: usize) -> Vec<u8> {
    let mut rows = Vec::with_capacity(length + 200);
    for id in 0_u64.. {
        if rows.len() >= length {
            break;
        }
        let hash = blake3::hash(&id.to_le_bytes()).to_hex();
        let row = format!(
            "{id}\t{}\tuser-{}@example.org\tcompleted\t{}\n",
            &hash[..32],
            id % 977,
            id * 7919 % 4096
        );
        rows.extend_from_slice(row.as_bytes());
    }
    rows.truncate(length);
    rows
}

/// Bytes without any order.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn secret() -> Secret {
    Secret::new([3; 32])
}

fn identity() -> Identity {
    Identity::new(&secret())
}

fn signer() -> Signer {
    Signer::new(WriterId([4; 16]), &secret())
}

#[divan::bench]
fn chunking(bencher: Bencher<'_, '_>) {
    let gear = GearTable::from_bytes(identity().gear_table());
    let chunker = Chunker::new(ChunkerParams::default(), Arc::new(gear)).unwrap();
    let data = rows(16 << 20);
    bencher.counter(BytesCount::of_slice(&data)).bench_local(|| {
        let mut left = &data[..];
        let mut chunks = 0;
        while let Some(length) = chunker.next_cut(left, true) {
            left = &left[length..];
            chunks += 1;
        }
        chunks
    });
}

#[divan::bench]
fn hashing(bencher: Bencher<'_, '_>) {
    let (identity, data) = (identity(), rows(CHUNK));
    bencher.counter(BytesCount::of_slice(&data)).bench_local(|| identity.chunk_id(&data));
}

#[divan::bench(args = ["rows", "noise"])]
fn compressing(bencher: Bencher<'_, '_>, kind: &str) {
    let data = if kind == "rows" { rows(FRAME) } else { noise(FRAME) };
    let mut compressor = Compressor::new(3).unwrap();
    let mut out = Vec::new();
    bencher
        .counter(BytesCount::of_slice(&data))
        .bench_local(|| compressor.compress(&data, &mut out).unwrap());
}

#[divan::bench]
fn compressing_a_delta(bencher: Bencher<'_, '_>) {
    let base = rows(FRAME);
    let mut data = base[..FRAME / 2].to_vec();
    data.iter_mut().step_by(15_000).for_each(|byte| *byte ^= 1);
    let compressor = Compressor::new(3).unwrap();
    let mut out = Vec::new();
    bencher
        .counter(BytesCount::of_slice(&data))
        .bench_local(|| compressor.compress_against(&base, &data, &mut out).unwrap());
}

#[divan::bench]
fn decompressing(bencher: Bencher<'_, '_>) {
    let data = rows(FRAME);
    let mut compressed = Vec::new();
    assert!(Compressor::new(3).unwrap().compress(&data, &mut compressed).unwrap());
    let mut decompressor = Decompressor::new();
    let length = u32::try_from(data.len()).unwrap();
    let mut plain = Vec::new();
    bencher
        .counter(BytesCount::of_slice(&data))
        .bench_local(|| decompressor.decompress(&compressed, &[], length, &mut plain).unwrap());
}

/// A frame of one chunk, stored as it is.
fn record(payload: &[u8]) -> (FrameRecord, Vec<ChunkRecord>) {
    let length = u32::try_from(payload.len()).unwrap();
    let chunks = vec![ChunkRecord { id: ChunkId([5; 32]), length }];
    let record = FrameRecord {
        sealed_length: length + FRAME_OVERHEAD,
        plain_length: length,
        prefix_length: 0,
        first_chunk: 0,
        first_base: 0,
        chunk_count: 1,
        base_count: 0,
        key: 0,
        author: 0,
        codec: Codec::Raw,
        depth: 0,
        closure: 0,
    };
    (record, chunks)
}

fn seal(payload: &[u8], out: &mut Vec<u8>) {
    let (record, chunks) = record(payload);
    let key = FrameKey::from_data_key(KEY, REPOSITORY, &secret());
    key.seal(&BoundRecord::new(&record, &chunks, &[]), payload, &signer(), Salt([6; 32]), out).unwrap();
}

#[divan::bench]
fn sealing(bencher: Bencher<'_, '_>) {
    let payload = noise(FRAME / 4);
    bencher.counter(BytesCount::of_slice(&payload)).bench_local(|| {
        let mut sealed = Vec::with_capacity(payload.len() + FRAME_OVERHEAD as usize);
        seal(&payload, &mut sealed);
        sealed
    });
}

#[divan::bench]
fn opening(bencher: Bencher<'_, '_>) {
    let payload = noise(FRAME / 4);
    let mut sealed = Vec::new();
    seal(&payload, &mut sealed);
    let key = FrameKey::from_data_key(KEY, REPOSITORY, &secret());
    let (record, chunks) = record(&payload);
    let bound = BoundRecord::new(&record, &chunks, &[]);
    let mut out = Vec::new();
    bencher.counter(BytesCount::of_slice(&payload)).bench_local(|| {
        out.clear();
        key.open(&bound, &sealed, &mut out).unwrap();
    });
}

/// A full pack of sealed frames: copied, hashed, its footer sealed and signed.
#[divan::bench]
fn packing(bencher: Bencher<'_, '_>) {
    let payload = noise(FRAME / 4);
    let mut sealed = Vec::new();
    seal(&payload, &mut sealed);
    let metadata = MetadataKey::new(KEY, REPOSITORY, &secret());
    let reference = KeyRef { id: KEY, commitment: commitment(&secret(), REPOSITORY, KEY, Purpose::Data) };
    let (record, chunks) = record(&payload);
    let signer = signer();
    let frames = 60;
    bencher.counter(BytesCount::new(frames * sealed.len())).bench_local(|| {
        let mut pack = PackWriter::new(ObjectKind::DataPack, &metadata, &OsRandom).unwrap();
        for _ in 0..frames {
            let frame = SealedFrame {
                record,
                chunks: chunks.clone(),
                bases: Vec::new(),
                key: reference,
                author: signer.id(),
                sealed: sealed.clone(),
            };
            pack.push(frame).unwrap();
        }
        pack.finish(&signer, true).unwrap()
    });
}

/// A million chunks; 256 that are there, and 256 that are not, in an order without any.
#[divan::bench(args = ["there", "not there"])]
fn looking_up(bencher: Bencher<'_, '_>, kind: &str) {
    const CHUNKS: u64 = 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let index = GeneratedIndex::open(Some(folder.path()), CHUNKS, 512 << 20).unwrap();
    let _ = index.load().unwrap();
    let first = if kind == "there" { 0 } else { CHUNKS };
    let mut at = 0_u64;
    bencher.counter(ItemsCount::new(256_u32)).bench_local(|| {
        let ids: Vec<_> = (0..256)
            .map(|_| {
                at = (at + 618_033_989) % CHUNKS;
                chunk(first + at)
            })
            .collect();
        index.are_known(&ids).unwrap()
    });
}
