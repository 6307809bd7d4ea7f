//! Lengths and strings as the format writes them.

use std::io::{self, Write};

/// The longest text of a 32-bit number.
const LONGEST_INTEGER: usize = 11;

/// Writes a length, in as few bytes as it takes.
pub(crate) fn write_length(out: &mut impl Write, length: u64) -> io::Result<()> {
    if let Some(short) = u8::try_from(length).ok().filter(|short| *short < 1 << 6) {
        return out.write_all(&[short]);
    }
    if let Some(middle) = u16::try_from(length).ok().filter(|middle| *middle < 1 << 14) {
        return out.write_all(&(middle | 0x4000).to_be_bytes());
    }
    match u32::try_from(length) {
        Ok(long) => {
            out.write_all(&[0x80])?;
            out.write_all(&long.to_be_bytes())
        }
        Err(_) => {
            out.write_all(&[0x81])?;
            out.write_all(&length.to_be_bytes())
        }
    }
}

/// Writes a string as the server would without compression: what reads as a number of 32 bits, as that.
pub(crate) fn write_string(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    if let Some(number) = integer_of(bytes) {
        if let Ok(number) = i8::try_from(number) {
            let [byte] = number.to_le_bytes();
            return out.write_all(&[0xc0, byte]);
        }
        if let Ok(number) = i16::try_from(number) {
            out.write_all(&[0xc1])?;
            return out.write_all(&number.to_le_bytes());
        }
        out.write_all(&[0xc2])?;
        return out.write_all(&number.to_le_bytes());
    }
    write_length(out, bytes.len() as u64)?;
    out.write_all(bytes)
}

/// The number that these bytes are the one way to write.
fn integer_of(bytes: &[u8]) -> Option<i32> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let is_shortest = match digits {
        [] => false,
        [b'0'] => bytes.len() == 1,
        [first, ..] => *first != b'0',
    };
    if bytes.len() > LONGEST_INTEGER || !is_shortest || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_string(&mut out, bytes).unwrap();
        out
    }

    #[test]
    fn numbers_are_written_as_numbers_and_nothing_else_is() {
        assert_eq!(string(b"0"), [0xc0, 0]);
        assert_eq!(string(b"-128"), [0xc0, 0x80]);
        assert_eq!(string(b"300"), [0xc1, 0x2c, 1]);
        assert_eq!(string(b"-2147483648"), [0xc2, 0, 0, 0, 0x80]);
        for text in ["", "-", "-0", "00", "01", "+1", "1 ", "2147483648", "a"] {
            assert_eq!(string(text.as_bytes())[1..], *text.as_bytes(), "{text}");
        }
    }

    #[test]
    fn lengths_take_as_few_bytes_as_they_may() {
        for (length, bytes) in [(63, 1), (64, 2), (16383, 2), (16384, 5), (1 << 32, 9)] {
            let mut out = Vec::new();
            write_length(&mut out, length).unwrap();
            assert_eq!(out.len(), bytes, "{length}");
        }
    }
}
