#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use strongroom_engines::postgres::archive::{ArchiveError, ArchiveReader, BlockKind};

/// Of each block: its entry, what it holds, how many, and what they come to.
type Blocks = Vec<(i64, BlockKind, u64, Option<String>)>;

fuzz_target!(|bytes: &[u8]| {
    let (pieces, whole) = (read(Pieces { bytes, next: 1 }), read(bytes));
    match (whole, pieces) {
        (Ok((all, blocks)), Ok((of_pieces, blocks_of_pieces))) => {
            // Whatever it was taken for, no byte of it is lost, and how it came does not matter.
            assert!(all == bytes && of_pieces == bytes);
            assert_eq!(blocks, blocks_of_pieces);
        }
        (Err(whole), Err(pieces)) => assert_eq!(whole.to_string(), pieces.to_string()),
        (whole, pieces) => panic!("whole {whole:?}, in pieces {pieces:?}"),
    }
});

fn read(input: impl Read) -> Result<(Vec<u8>, Blocks), ArchiveError> {
    let mut archive = ArchiveReader::new(input)?.with_fingerprints(true);
    let (mut all, mut blocks) = (archive.head().to_vec(), Vec::new());
    while let Some(mut block) = archive.next_block()? {
        block.read_to_end(&mut all).map_err(ArchiveError::Read)?;
        blocks.push((block.dump_id(), block.kind(), block.count(), block.fingerprint()));
    }
    Ok((all, blocks))
}

/// Gives a few bytes at a time.
struct Pieces<'b> {
    bytes: &'b [u8],
    next: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.next = 1 + self.next * 5 % 13;
        let (piece, rest) = self.bytes.split_at(self.next.min(self.bytes.len()).min(out.len()));
        out[..piece.len()].copy_from_slice(piece);
        self.bytes = rest;
        Ok(piece.len())
    }
}
