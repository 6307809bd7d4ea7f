//! A value brought into the canonical form.

use std::io::{Read, Write};

use super::code::kind;
use super::error::RdbError;
use super::input::Input;
use super::members::{Give, Members};
use super::output::{write_length, write_string};
use super::value::{copy_length, copy_string, read_length, read_string};

/// Copies a value of this type: strings uncompressed, members of hash tables sorted, all else as it is. `members` is what
/// they are sorted in.
///
/// # Errors
/// `Type` for a type that is not known; what reading and writing fails with.
pub fn copy_value<R: Read>(
    input: &mut Input<R>,
    code: u8,
    members: &mut dyn Members,
    out: &mut impl Write,
) -> Result<(), RdbError> {
    match code {
        kind::STRING
        | kind::HASH_ZIPMAP
        | kind::LIST_ZIPLIST
        | kind::SET_INTSET
        | kind::ZSET_ZIPLIST
        | kind::HASH_ZIPLIST
        | kind::HASH_LISTPACK
        | kind::ZSET_LISTPACK
        | kind::SET_LISTPACK => copy_string(input, out),
        kind::LIST | kind::LIST_QUICKLIST => {
            for _ in 0..copy_length(input, out)? {
                copy_string(input, out)?;
            }
            Ok(())
        }
        kind::LIST_QUICKLIST_2 => {
            for _ in 0..copy_length(input, out)? {
                copy_length(input, out)?;
                copy_string(input, out)?;
            }
            Ok(())
        }
        kind::SET => sorted(input, members, out, |_, _| Ok(()), |_, _| Ok(())),
        kind::HASH => sorted(input, members, out, |_, _| Ok(()), copy_string),
        kind::HASH_EXPIRING => {
            input.copy(8, out)?;
            sorted(input, members, out, |input, body| copy_length(input, body).map(drop), copy_string)
        }
        kind::HASH_LISTPACK_EXPIRING => {
            input.copy(8, out)?;
            copy_string(input, out)
        }
        kind::ZSET => {
            for _ in 0..copy_length(input, out)? {
                copy_string(input, out)?;
                let length = input.byte()?;
                put(out, &[length])?;
                // Above: no number, or an infinite one.
                input.copy(if length < 253 { u64::from(length) } else { 0 }, out)?;
            }
            Ok(())
        }
        kind::ZSET_2 => {
            for _ in 0..copy_length(input, out)? {
                copy_string(input, out)?;
                input.copy(8, out)?;
            }
            Ok(())
        }
        kind::MODULE_2 => {
            copy_length(input, out)?;
            copy_module(input, out)
        }
        kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => copy_stream(input, code, out),
        code => Err(RdbError::Type { code, offset: input.offset() }),
    }
}

/// Reads over a value of this type.
///
/// # Errors
/// As [`copy_value`].
pub(crate) fn skip_value<R: Read>(input: &mut Input<R>, code: u8) -> Result<(), RdbError> {
    copy_value(input, code, &mut Nobody, &mut std::io::sink())
}

/// Keeps no members.
struct Nobody;

impl Members for Nobody {
    fn add(&mut self, _: &[u8], _: &[u8], _: usize) -> Result<(), RdbError> {
        Ok(())
    }

    fn drain(&mut self, _: &mut Give<'_>) -> Result<(), RdbError> {
        Ok(())
    }
}

/// What a module wrote, up to its end.
pub(super) fn copy_module<R: Read>(input: &mut Input<R>, out: &mut impl Write) -> Result<(), RdbError> {
    loop {
        match copy_length(input, out)? {
            0 => return Ok(()),
            1 | 2 => copy_length(input, out).map(drop)?,
            3 => input.copy(4, out)?,
            4 => input.copy(8, out)?,
            5 => copy_string(input, out)?,
            _ => return Err(input.malformed("what a module wrote")),
        }
    }
}

/// Members with what belongs to each: what stands before it, and behind.
fn sorted<R: Read>(
    input: &mut Input<R>,
    members: &mut dyn Members,
    out: &mut impl Write,
    before: impl Fn(&mut Input<R>, &mut Vec<u8>) -> Result<(), RdbError>,
    behind: impl Fn(&mut Input<R>, &mut Vec<u8>) -> Result<(), RdbError>,
) -> Result<(), RdbError> {
    let count = read_length(input)?;
    write_length(out, count).map_err(RdbError::Write)?;
    let (mut member, mut body) = (Vec::new(), Vec::new());
    for _ in 0..count {
        body.clear();
        before(input, &mut body)?;
        let split = body.len();
        read_string(input, &mut member)?;
        behind(input, &mut body)?;
        members.add(&member, &body, split)?;
    }
    members.drain(&mut |member, body, split| {
        put(out, body.get(..split).unwrap_or_default())?;
        write_string(out, member).map_err(RdbError::Write)?;
        put(out, body.get(split..).unwrap_or_default())
    })
}

fn copy_stream<R: Read>(input: &mut Input<R>, code: u8, out: &mut impl Write) -> Result<(), RdbError> {
    for _ in 0..copy_length(input, out)? {
        copy_string(input, out)?;
        copy_string(input, out)?;
    }
    // Entries, the last ID; from the second version on the first ID, the greatest deleted one, and how many were added.
    for _ in 0..if code == kind::STREAM { 3 } else { 8 } {
        copy_length(input, out)?;
    }
    for _ in 0..copy_length(input, out)? {
        copy_string(input, out)?;
        for _ in 0..if code == kind::STREAM { 2 } else { 3 } {
            copy_length(input, out)?;
        }
        for _ in 0..copy_length(input, out)? {
            input.copy(16 + 8, out)?;
            copy_length(input, out)?;
        }
        for _ in 0..copy_length(input, out)? {
            copy_string(input, out)?;
            input.copy(if code == kind::STREAM_3 { 16 } else { 8 }, out)?;
            for _ in 0..copy_length(input, out)? {
                input.copy(16, out)?;
            }
        }
    }
    Ok(())
}

fn put(out: &mut impl Write, bytes: &[u8]) -> Result<(), RdbError> {
    out.write_all(bytes).map_err(RdbError::Write)
}
