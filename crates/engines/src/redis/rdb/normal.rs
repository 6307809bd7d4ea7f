//! What a value means, whichever encoding a server keeps it in: the same bytes for the same value.
//!
//! Members of sets and hashes stand in the order of their bytes, those of sorted sets from the greatest score down. Reads
//! the canonical form, in which hash tables are sorted already; what small values are packed into is sorted here.

use std::io::Read;

use super::blob::{self, Elements};
use super::code::{Kind, kind};
use super::error::RdbError;
use super::input::Input;
use super::value::{read_length, read_string, stream_string};

/// What follows an element of which it is not known how many there are.
const END: u64 = u64::MAX;
/// A member that never expires.
const NEVER: u64 = 0;

/// Takes the bytes of normal forms.
pub type Take<'t> = dyn FnMut(&[u8]) + 't;

/// Gives the normal form of a value of this type to `out`. Members that expire at `cutoff_ms` or before are left out. Tells
/// whether anything is left of it.
///
/// # Errors
/// `Malformed`, and what reading fails with.
pub fn normal<R: Read>(
    input: &mut Input<R>,
    code: u8,
    cutoff_ms: u64,
    out: &mut Take<'_>,
) -> Result<bool, RdbError> {
    let found = Kind::of(code).ok_or(RdbError::Type { code, offset: input.offset() })?;
    out(found.name().as_bytes());
    match found {
        Kind::String => string(input, out)?,
        Kind::List => list(input, code, out)?,
        Kind::Set => set(input, code, out)?,
        Kind::SortedSet => sorted_set(input, code, out)?,
        Kind::Hash => return hash(input, code, cutoff_ms, out),
        Kind::Stream => stream(input, code, out)?,
        Kind::Module => {
            out(&read_length(input)?.to_le_bytes());
            let mut bytes = Forward(out);
            super::copy::copy_module(input, &mut bytes)?;
        }
    }
    Ok(true)
}

/// Writes to who takes.
struct Forward<'f, 't>(&'f mut Take<'t>);

impl std::io::Write for Forward<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        (self.0)(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn element(bytes: &[u8], out: &mut Take<'_>) {
    out(&(bytes.len() as u64).to_le_bytes());
    out(bytes);
}

fn end(out: &mut Take<'_>) {
    out(&END.to_le_bytes());
}

/// However long it is, it is never held: its length stands behind it.
fn string<R: Read>(input: &mut Input<R>, out: &mut Take<'_>) -> Result<(), RdbError> {
    let mut length = 0;
    let tell = |told| {
        length = told;
        Ok(())
    };
    stream_string(input, tell, &mut |piece| {
        out(piece);
        Ok(())
    })?;
    out(&length.to_le_bytes());
    Ok(())
}

fn unpack<R: Read>(
    input: &mut Input<R>,
    blob: &mut Vec<u8>,
    read: fn(&[u8]) -> Option<Elements>,
) -> Result<Elements, RdbError> {
    read_string(input, blob)?;
    read(blob).ok_or_else(|| input.malformed("a packed value"))
}

fn list<R: Read>(input: &mut Input<R>, code: u8, out: &mut Take<'_>) -> Result<(), RdbError> {
    let mut blob = input.take_scratch();
    let nodes = if code == kind::LIST_ZIPLIST { 1 } else { read_length(input)? };
    for _ in 0..nodes {
        let is_plain = match code {
            kind::LIST => true,
            kind::LIST_QUICKLIST_2 => match read_length(input)? {
                1 => true,
                2 => false,
                _ => return Err(input.malformed("a node of a list")),
            },
            _ => false,
        };
        if is_plain {
            read_string(input, &mut blob)?;
            element(&blob, out);
            continue;
        }
        let read = if code == kind::LIST_QUICKLIST_2 { blob::listpack } else { blob::ziplist };
        unpack(input, &mut blob, read)?.iter().for_each(|one| element(one, out));
    }
    input.give_scratch(blob);
    end(out);
    Ok(())
}

fn set<R: Read>(input: &mut Input<R>, code: u8, out: &mut Take<'_>) -> Result<(), RdbError> {
    let mut blob = input.take_scratch();
    if code == kind::SET {
        for _ in 0..read_length(input)? {
            read_string(input, &mut blob)?;
            element(&blob, out);
        }
    } else {
        let read = if code == kind::SET_INTSET { blob::intset } else { blob::listpack };
        let elements = unpack(input, &mut blob, read)?;
        let mut sorted: Vec<&[u8]> = elements.iter().collect();
        sorted.sort_unstable();
        sorted.into_iter().for_each(|one| element(one, out));
    }
    input.give_scratch(blob);
    end(out);
    Ok(())
}

fn score(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn scored(member: &[u8], score: f64, out: &mut Take<'_>) {
    element(member, out);
    // Nothing tells the zeros apart.
    out(&(score + 0.0).to_le_bytes());
}

fn sorted_set<R: Read>(input: &mut Input<R>, code: u8, out: &mut Take<'_>) -> Result<(), RdbError> {
    let mut blob = input.take_scratch();
    match code {
        kind::ZSET_2 => {
            for _ in 0..read_length(input)? {
                read_string(input, &mut blob)?;
                scored(&blob, f64::from_le_bytes(input.array()?), out);
            }
        }
        // Of servers before 4.0, in the order of a hash table.
        kind::ZSET => {
            let mut members = Vec::new();
            for _ in 0..read_length(input)? {
                read_string(input, &mut blob)?;
                let score = match input.byte()? {
                    253 => f64::NAN,
                    254 => f64::INFINITY,
                    255 => f64::NEG_INFINITY,
                    length => {
                        let mut text = Vec::new();
                        input.append(u64::from(length), &mut text)?;
                        score(&text).ok_or_else(|| input.malformed("a score"))?
                    }
                };
                members.push((blob.clone(), score));
            }
            members.sort_by(|(one, of_one), (other, of_other)| {
                of_other.total_cmp(of_one).then_with(|| other.cmp(one))
            });
            members.iter().for_each(|(member, score)| scored(member, *score, out));
        }
        code => {
            let read = if code == kind::ZSET_ZIPLIST { blob::ziplist } else { blob::listpack };
            let elements = unpack(input, &mut blob, read)?;
            for number in (0..elements.len() / 2).rev() {
                let score =
                    score(elements.element(2 * number + 1)).ok_or_else(|| input.malformed("a score"))?;
                scored(elements.element(2 * number), score, out);
            }
        }
    }
    input.give_scratch(blob);
    end(out);
    Ok(())
}

fn hash<R: Read>(
    input: &mut Input<R>,
    code: u8,
    cutoff_ms: u64,
    out: &mut Take<'_>,
) -> Result<bool, RdbError> {
    let (mut field, mut value) = (Vec::new(), input.take_scratch());
    let mut left = 0_u64;
    let mut give = |field: &[u8], value: &[u8], expires_ms: u64, out: &mut Take<'_>| {
        if expires_ms == NEVER || expires_ms > cutoff_ms {
            element(field, out);
            element(value, out);
            out(&expires_ms.to_le_bytes());
            left += 1;
        }
    };
    match code {
        kind::HASH => {
            for _ in 0..read_length(input)? {
                read_string(input, &mut field)?;
                read_string(input, &mut value)?;
                give(&field, &value, NEVER, out);
            }
        }
        kind::HASH_EXPIRING => {
            // Each says how much later than the first of them it expires, and one.
            let first = u64::from_le_bytes(input.array()?);
            for _ in 0..read_length(input)? {
                let later = read_length(input)?;
                read_string(input, &mut field)?;
                read_string(input, &mut value)?;
                let expires = if later == 0 { NEVER } else { first.saturating_add(later - 1) };
                give(&field, &value, expires, out);
            }
        }
        code => {
            let (read, width): (fn(&[u8]) -> _, _) = match code {
                kind::HASH_ZIPMAP => (blob::zipmap, 2),
                kind::HASH_ZIPLIST => (blob::ziplist, 2),
                kind::HASH_LISTPACK => (blob::listpack, 2),
                _ => {
                    let _first = input.array::<8>()?;
                    (blob::listpack, 3)
                }
            };
            let elements = unpack(input, &mut value, read)?;
            let mut sorted: Vec<usize> = (0..elements.len() / width).map(|number| number * width).collect();
            sorted.sort_unstable_by_key(|at| elements.element(*at));
            for at in sorted {
                let expires = match width {
                    3 => {
                        std::str::from_utf8(elements.element(at + 2)).ok().and_then(|text| text.parse().ok())
                    }
                    _ => Some(NEVER),
                };
                let expires = expires.ok_or_else(|| input.malformed("when a field expires"))?;
                give(elements.element(at), elements.element(at + 1), expires, out);
            }
        }
    }
    input.give_scratch(value);
    end(out);
    Ok(left > 0)
}

/// Entries as they lie in their nodes, and what each group has still to acknowledge. When a consumer was seen last changes
/// by itself, and what the first version does not know cannot be compared.
fn stream<R: Read>(input: &mut Input<R>, code: u8, out: &mut Take<'_>) -> Result<(), RdbError> {
    let mut bytes = Vec::new();
    let number = |input: &mut Input<R>, out: &mut Take<'_>| -> Result<u64, RdbError> {
        let number = read_length(input)?;
        out(&number.to_le_bytes());
        Ok(number)
    };
    for _ in 0..number(input, out)? {
        for _ in 0..2 {
            read_string(input, &mut bytes)?;
            element(&bytes, out);
        }
    }
    for _ in 0..3 {
        number(input, out)?;
    }
    for _ in 0..if code == kind::STREAM { 0 } else { 5 } {
        read_length(input)?;
    }
    for _ in 0..number(input, out)? {
        read_string(input, &mut bytes)?;
        element(&bytes, out);
        number(input, out)?;
        number(input, out)?;
        if code != kind::STREAM {
            read_length(input)?;
        }
        for _ in 0..number(input, out)? {
            out(&input.array::<24>()?);
            number(input, out)?;
        }
        for _ in 0..number(input, out)? {
            read_string(input, &mut bytes)?;
            element(&bytes, out);
            input.pass(if code == kind::STREAM_3 { 16 } else { 8 }, &mut |_| Ok(()))?;
            for _ in 0..number(input, out)? {
                out(&input.array::<16>()?);
            }
        }
    }
    Ok(())
}
