//! Pages of relations, and their checksums (`src/include/storage/checksum_impl.h` of PostgreSQL).

/// Bytes of a page; other builds are refused.
pub(super) const PAGE_BYTES: usize = 8192;
/// Pages of a file of a relation; then comes the next file of it.
pub(super) const PAGES_A_SEGMENT: u64 = (1 << 30) / PAGE_BYTES as u64;

const LANES: usize = 32;
const FNV_PRIME: u32 = 16_777_619;
const BASE_OFFSETS: [u32; LANES] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

/// How a page looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageState {
    /// Its checksum is right, or it has never been used.
    Good,
    /// Written since `start`: what is torn of it, the WAL makes whole.
    Newer,
    /// Neither.
    Bad,
}

/// Looks at a page of [`PAGE_BYTES`]; `block` is its number in the relation.
pub(super) fn state_of(page: &[u8; PAGE_BYTES], block: u32, start: u64) -> PageState {
    let at = |offset: usize| u16::from_le_bytes([page[offset], page[offset + 1]]);
    // Where free space ends: never 0 in a page that was used.
    if at(14) == 0 {
        return PageState::Good;
    }
    let half = |offset: usize| u32::from(at(offset)) | u32::from(at(offset + 2)) << 16;
    let lsn = u64::from(half(0)) << 32 | u64::from(half(4));
    match at(8) == checksum(page, block) {
        true => PageState::Good,
        false if lsn >= start => PageState::Newer,
        false => PageState::Bad,
    }
}

/// The checksum of a page, whatever it says itself.
fn checksum(page: &[u8; PAGE_BYTES], block: u32) -> u16 {
    let mut sums = BASE_OFFSETS;
    let mix = |sum: u32, value: u32| {
        let mixed = sum ^ value;
        mixed.wrapping_mul(FNV_PRIME) ^ (mixed >> 17)
    };
    let (rows, _) = page.as_chunks::<{ LANES * 4 }>();
    for (number, row) in rows.iter().enumerate() {
        let (words, _) = row.as_chunks::<4>();
        for (at, (sum, word)) in sums.iter_mut().zip(words).enumerate() {
            let mut value = u32::from_le_bytes(*word);
            // The third word begins with the checksum itself; flags are behind it.
            if number == 0 && at == 2 {
                value &= 0xFFFF_0000;
            }
            *sum = mix(*sum, value);
        }
    }
    for _ in 0..2 {
        for sum in &mut sums {
            *sum = mix(*sum, 0);
        }
    }
    let all = sums.iter().fold(0, |all, sum| all ^ sum) ^ block;
    // Below 65536 by the remainder.
    u16::try_from(all % 65_535 + 1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        for (at, byte) in page.iter_mut().enumerate() {
            *byte = u8::try_from(at * 7 % 251).unwrap();
        }
        page[..8].copy_from_slice(&[1, 0, 0, 0, 0x10, 0, 0, 0]);
        let sum = checksum(&page, 5);
        page[8..10].copy_from_slice(&sum.to_le_bytes());
        page
    }

    #[test]
    fn a_flipped_bit_is_found_unless_the_page_is_newer() {
        let good = page();
        assert_eq!(state_of(&good, 5, 0), PageState::Good);
        assert_eq!(state_of(&good, 6, u64::MAX), PageState::Bad, "another block");
        let mut bad = good;
        bad[4000] ^= 1;
        assert_eq!(state_of(&bad, 5, (1 << 32) + 0x11), PageState::Bad);
        assert_eq!(state_of(&bad, 5, (1 << 32) + 0x10), PageState::Newer);
        assert_eq!(state_of(&[0; PAGE_BYTES], 5, 0), PageState::Good);
    }
}
