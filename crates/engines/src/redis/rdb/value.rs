//! Lengths and strings as the format has them.

use std::io::{Read, Write};

use super::error::RdbError;
use super::input::Input;
use super::output::write_length;

/// The longest string that a server takes, bytes; far more than its usual bound.
const LONGEST_STRING: u64 = 1 << 40;
/// How far back a compressed string refers, bytes.
const WINDOW_BYTES: usize = 8 << 10;
/// What of a string that is decompressed is held, bytes.
const PIECE_BYTES: usize = 64 << 10;

/// A length, or how a string is written instead.
enum Length {
    Plain(u64),
    Encoded(u8),
}

fn length_or_encoding<R: Read>(input: &mut Input<R>) -> Result<Length, RdbError> {
    let first = input.byte()?;
    Ok(match first >> 6 {
        0 => Length::Plain(u64::from(first & 0x3f)),
        1 => Length::Plain(u64::from(first & 0x3f) << 8 | u64::from(input.byte()?)),
        2 if first == 0x80 => Length::Plain(u64::from(u32::from_be_bytes(input.array()?))),
        2 if first == 0x81 => Length::Plain(u64::from_be_bytes(input.array()?)),
        3 => Length::Encoded(first & 0x3f),
        _ => return Err(input.malformed("a length")),
    })
}

/// A number that is no encoding.
pub(super) fn read_length<R: Read>(input: &mut Input<R>) -> Result<u64, RdbError> {
    match length_or_encoding(input)? {
        Length::Plain(length) => Ok(length),
        Length::Encoded(_) => Err(input.malformed("a length")),
    }
}

/// Copies a number.
pub(super) fn copy_length<R: Read>(input: &mut Input<R>, out: &mut impl Write) -> Result<u64, RdbError> {
    let length = read_length(input)?;
    write_length(out, length).map_err(RdbError::Write)?;
    Ok(length)
}

/// A string's bytes, in place of what was in `out`.
pub(crate) fn read_string<R: Read>(input: &mut Input<R>, out: &mut Vec<u8>) -> Result<(), RdbError> {
    out.clear();
    append_string(input, out)
}

/// A string's bytes, behind what is in `out`.
pub(super) fn append_string<R: Read>(input: &mut Input<R>, out: &mut Vec<u8>) -> Result<(), RdbError> {
    stream_string(input, |_| Ok(()), &mut |piece| {
        out.extend_from_slice(piece);
        Ok(())
    })
}

/// The type of the next key's value, and before it when the key expires, if it does.
pub(crate) fn read_expiry<R: Read>(input: &mut Input<R>, opcode: u8) -> Result<(Option<u64>, u8), RdbError> {
    let first = input.byte()?;
    if first != opcode {
        return Ok((None, first));
    }
    let expires_ms = u64::from_le_bytes(input.array()?);
    Ok((Some(expires_ms), input.byte()?))
}

/// Copies a string: its bytes as they are, whether they were compressed or not.
pub(super) fn copy_string<R: Read>(input: &mut Input<R>, out: &mut impl Write) -> Result<(), RdbError> {
    match length_or_encoding(input)? {
        Length::Plain(length) => {
            check(input, length)?;
            write_length(out, length).map_err(RdbError::Write)?;
            input.copy(length, out)
        }
        Length::Encoded(encoding @ 0..=2) => {
            out.write_all(&[0xc0 | encoding]).map_err(RdbError::Write)?;
            input.copy(1 << encoding, out)
        }
        Length::Encoded(3) => {
            let (packed, length) = (read_length(input)?, read_length(input)?);
            check(input, length)?;
            write_length(out, length).map_err(RdbError::Write)?;
            decompress(input, packed, length, &mut |piece| out.write_all(piece).map_err(RdbError::Write))
        }
        Length::Encoded(_) => Err(input.malformed("a string")),
    }
}

/// Tells a string's length, and then gives its bytes, piece by piece.
pub(super) fn stream_string<R: Read>(
    input: &mut Input<R>,
    tell: impl FnOnce(u64) -> Result<(), RdbError>,
    out: &mut dyn FnMut(&[u8]) -> Result<(), RdbError>,
) -> Result<(), RdbError> {
    let number = match length_or_encoding(input)? {
        Length::Plain(length) => {
            check(input, length)?;
            tell(length)?;
            return input.pass(length, out);
        }
        Length::Encoded(3) => {
            let (packed, length) = (read_length(input)?, read_length(input)?);
            check(input, length)?;
            tell(length)?;
            return decompress(input, packed, length, out);
        }
        Length::Encoded(0) => i32::from(i8::from_le_bytes(input.array()?)),
        Length::Encoded(1) => i32::from(i16::from_le_bytes(input.array()?)),
        Length::Encoded(2) => i32::from_le_bytes(input.array()?),
        Length::Encoded(_) => return Err(input.malformed("a string")),
    };
    let text = number.to_string();
    tell(text.len() as u64)?;
    out(text.as_bytes())
}

fn check<R: Read>(input: &Input<R>, length: u64) -> Result<(), RdbError> {
    if length > LONGEST_STRING { Err(input.malformed("the length of a string")) } else { Ok(()) }
}

/// LZF: a byte below 32 says how many bytes follow as they are, any other how far back to copy from, and how many.
fn decompress<R: Read>(
    input: &mut Input<R>,
    packed: u64,
    length: u64,
    out: &mut dyn FnMut(&[u8]) -> Result<(), RdbError>,
) -> Result<(), RdbError> {
    let end = input.offset().checked_add(packed).ok_or_else(|| input.malformed("a compressed string"))?;
    let mut held = input.take_scratch();
    let (mut given, mut total) = (0, 0_u64);
    while input.offset() < end {
        let control = input.byte()?;
        if control < 32 {
            let count = u64::from(control) + 1;
            input.append(count, &mut held)?;
            total += count;
        } else {
            let mut count = usize::from(control >> 5);
            if count == 7 {
                count += usize::from(input.byte()?);
            }
            count += 2;
            let back = (usize::from(control & 0x1f) << 8 | usize::from(input.byte()?)) + 1;
            let from = held.len().checked_sub(back).ok_or_else(|| input.malformed("a compressed string"))?;
            if count <= back {
                held.extend_from_within(from..from + count);
            } else {
                // What it copies, it has just written.
                for at in from..from + count {
                    held.push(held[at]);
                }
            }
            total += count as u64;
        }
        if total > length {
            break;
        }
        if held.len() >= PIECE_BYTES {
            out(&held[given..])?;
            held.drain(..held.len() - WINDOW_BYTES);
            given = held.len();
        }
    }
    if total != length || input.offset() != end {
        return Err(input.malformed("a compressed string"));
    }
    out(&held[given..])?;
    input.give_scratch(held);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Result<Vec<u8>, RdbError> {
        let mut out = Vec::new();
        read_string(&mut Input::new(bytes), &mut out)?;
        let mut copied = Vec::new();
        copy_string(&mut Input::new(bytes), &mut copied)?;
        let mut again = Vec::new();
        read_string(&mut Input::new(&copied[..]), &mut again)?;
        assert_eq!(out, again);
        Ok(out)
    }

    #[test]
    fn strings_come_in_five_ways() {
        assert_eq!(string(b"\x03abc").unwrap(), b"abc");
        assert_eq!(string(b"\x40\x03abc").unwrap(), b"abc");
        assert_eq!(string(&[0xc0, 0xff]).unwrap(), b"-1");
        assert_eq!(string(&[0xc2, 0, 0, 0, 0x80]).unwrap(), b"-2147483648");
        // "aaaaaaaaaa": one as it is, nine from one back.
        assert_eq!(string(&[0xc3, 5, 10, 0, b'a', 0xe0, 0, 0]).unwrap(), b"aaaaaaaaaa");
    }

    #[test]
    fn strings_that_lie_are_refused() {
        for bytes in [
            &[0xc3, 5, 11, 0, b'a', 0xe0, 0, 0][..],
            &[0xc3, 5, 9, 0, b'a', 0xe0, 0, 0],
            &[0xc3, 4, 10, 0, b'a', 0xe0, 0, 0],
            &[0xc3, 3, 10, 0x20, 1, 0],
            &[0xc4],
            &[0x82],
            &[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0],
            &[5, b'a'],
            &[],
        ] {
            assert!(string(bytes).is_err(), "{bytes:?}");
        }
    }
}
