//! What each writer has to back up in each round: the same for the same seed, so that what is restored can be compared
//! with it, and nothing of it need be kept.

use std::collections::BTreeMap;

use strongroom_tests::noise::noise;

/// Parts of what a writer backs up.
const PARTS: u64 = 12;
/// Of these so many are the same for all writers in the same round.
const SHARED_PARTS: u64 = 4;

/// Numbers that look random, the same for the same seed.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(words: &[u64]) -> Self {
        Self(words.iter().fold(0x5DEE_CE66_D1CE_4E5B, |state, word| mix(state ^ mix(*word))))
    }

    /// Below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0) % bound
    }
}

/// The finaliser of SplitMix64.
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// What all have to back up.
#[derive(Debug)]
pub(super) struct Contents {
    seed: u64,
}

impl Contents {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Whether this writer backs up a folder of files; the others a stream.
    pub(super) fn is_files(writer: u64) -> bool {
        writer % 2 == 1
    }

    /// The files of a writer in a round, by name. Some never change, some change in a few bytes, some altogether, and
    /// some come and go.
    pub(super) fn files(&self, writer: u64, round: u64) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for part in 0..PARTS {
            let owner = if part < SHARED_PARTS { u64::MAX } else { writer };
            let mut random = Random::new(&[self.seed, owner, part]);
            let period = [1, 2, 3, 7, u64::MAX][below(&mut random, 5)];
            let length = 20_000 + below(&mut random, 180_000);
            let version = round / period;
            let mut content = if random.below(2) == 0 {
                let changes_whole = Random::new(&[self.seed, owner, part, version]).below(u64::MAX);
                noise(length, changes_whole)
            } else {
                let mut content = noise(length, random.below(u64::MAX));
                let at = below(&mut Random::new(&[part, version]), length - 8);
                content[at..at + 8].copy_from_slice(&version.to_le_bytes());
                content
            };
            if part % 5 == 4 && version % 2 == 1 {
                continue;
            }
            content.extend_from_slice(&part.to_le_bytes());
            files.insert(format!("part-{part:02}"), content);
        }
        files
    }

    /// The same as one stream.
    pub(super) fn stream(&self, writer: u64, round: u64) -> Vec<u8> {
        self.files(writer, round).into_values().flatten().collect()
    }
}

fn below(random: &mut Random, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).unwrap_or_default()
}
