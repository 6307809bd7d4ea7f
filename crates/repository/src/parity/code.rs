//! The Reed-Solomon code: a stripe of all blocks at a time, so that the work fits a processor's cache and not much
//! memory is taken. Each 64 bytes of a block are coded for themselves, so stripes make no difference to what comes out.

use reed_solomon_simd::Error;
use reed_solomon_simd::engine::DefaultEngine;
use reed_solomon_simd::rate::{HighRateDecoder, HighRateEncoder, RateDecoder, RateEncoder};
use strongroom_format::parity::ParityHeader;

/// About what a stripe of all blocks takes while it is coded, bytes. Whole blocks take three times as long, because they fit
/// no cache, and stripes of 128 bytes twice as long.
const ENCODED_AT_ONCE_BYTES: usize = 1 << 20;
/// The same for decoding, where each stripe has a cost of its own whatever its length.
const DECODED_AT_ONCE_BYTES: usize = 8 << 20;
/// What is coded as one.
const UNIT_BYTES: usize = 64;

/// Computes the recovery blocks of a pack into `out`, which is as long as they are.
pub(super) fn recover(header: &ParityHeader, pack: &[u8], out: &mut [u8]) -> Result<(), Error> {
    let (block, count) = (header.block_bytes(), header.data_blocks());
    let most = stripe(ENCODED_AT_ONCE_BYTES, count, block);
    let mut encoder = HighRateEncoder::new(count, header.recovery_blocks, most, DefaultEngine::new(), None)?;
    let mut filled = Vec::new();
    for start in (0..block).step_by(most) {
        let width = most.min(block - start);
        encoder.reset(count, header.recovery_blocks, width)?;
        for number in 0..count {
            let at = number * block + start;
            match pack.get(at..at + width) {
                Some(stripe) => encoder.add_original_shard(stripe)?,
                // The last block is filled up with zeros.
                None => {
                    filled.clear();
                    filled.extend_from_slice(pack.get(at..).unwrap_or_default());
                    filled.resize(width, 0);
                    encoder.add_original_shard(&filled)?;
                }
            }
        }
        let encoded = encoder.encode()?;
        for (number, stripe) in encoded.recovery_iter().enumerate() {
            out[number * block + start..][..width].copy_from_slice(stripe);
        }
    }
    Ok(())
}

/// Computes the blocks of a pack that are bad from the others and from recovery blocks, as many as are bad, into their
/// places. `pack` is as long as its blocks are together.
pub(super) fn restore(
    header: &ParityHeader,
    pack: &mut [u8],
    is_bad: &[bool],
    recovery: &[(usize, &[u8])],
) -> Result<(), Error> {
    let (block, count) = (header.block_bytes(), header.data_blocks());
    // The work has room for twice as many blocks, rounded up.
    let most = stripe(DECODED_AT_ONCE_BYTES, 2 * count.next_power_of_two(), block);
    let mut decoder = HighRateDecoder::new(count, header.recovery_blocks, most, DefaultEngine::new(), None)?;
    for start in (0..block).step_by(most) {
        let width = most.min(block - start);
        decoder.reset(count, header.recovery_blocks, width)?;
        for (number, data) in pack.chunks_exact(block).enumerate() {
            if !is_bad[number] {
                decoder.add_original_shard(number, &data[start..start + width])?;
            }
        }
        for (number, data) in recovery {
            decoder.add_recovery_shard(*number, &data[start..start + width])?;
        }
        let decoded = decoder.decode()?;
        for (number, stripe) in decoded.restored_original_iter() {
            pack[number * block + start..][..width].copy_from_slice(stripe);
        }
    }
    Ok(())
}

/// How wide a stripe is, bytes: all blocks' together take about so many.
fn stripe(at_once_bytes: usize, blocks: usize, block: usize) -> usize {
    let units = (at_once_bytes / blocks / UNIT_BYTES).max(1);
    block.min(units * UNIT_BYTES)
}
