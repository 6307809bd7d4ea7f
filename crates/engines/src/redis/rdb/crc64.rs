//! CRC-64 as Redis has it: the polynomial of Jones, reflected, nothing inverted.

/// Reflected.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// What eight bytes at once come to.
static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0_u64; 256]; 8];
    let mut at = 0;
    let mut first = 0_u64;
    while at < 256 {
        let mut crc = first;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][at] = crc;
        at += 1;
        first += 1;
    }
    at = 0;
    while at < 256 {
        let mut table = 1;
        while table < 8 {
            let before = tables[table - 1][at];
            tables[table][at] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            table += 1;
        }
        at += 1;
    }
    tables
}

/// Of bytes that come one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Crc64(u64);

impl Crc64 {
    /// The next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut crc = self.0;
        for word in words {
            let bytes = (crc ^ u64::from_le_bytes(*word)).to_le_bytes();
            crc = 0;
            for (table, byte) in TABLES.iter().rev().zip(bytes) {
                crc ^= table[usize::from(byte)];
            }
        }
        for byte in rest {
            let [low, ..] = (crc ^ u64::from(*byte)).to_le_bytes();
            crc = TABLES[0][usize::from(low)] ^ (crc >> 8);
        }
        self.0 = crc;
    }

    /// What all of them come to.
    #[must_use]
    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc64(bytes: &[u8]) -> u64 {
        let mut crc = Crc64::default();
        crc.update(bytes);
        crc.value()
    }

    #[test]
    fn it_is_what_redis_says_it_is() {
        // The one that `crc64.c` names.
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        let text: Vec<u8> = (0..=255).collect();
        let mut pieces = Crc64::default();
        text.chunks(7).for_each(|piece| pieces.update(piece));
        assert_eq!(pieces.value(), crc64(&text));
    }
}
