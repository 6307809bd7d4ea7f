//! What small values are packed into: listpacks, ziplists, sets of numbers, zipmaps.
//!
//! Every length in them is checked against what is there; an element that reaches beyond the end makes the whole wrong.

use std::ops::Range;

/// Elements one behind the other: `at` of one text.
#[derive(Debug, Default)]
pub(super) struct Elements {
    text: Vec<u8>,
    at: Vec<Range<usize>>,
}

impl Elements {
    fn with_room(bytes: usize, count: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), at: Vec::with_capacity(count) }
    }

    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    pub(super) fn element(&self, number: usize) -> &[u8] {
        self.at.get(number).and_then(|at| self.text.get(at.clone())).unwrap_or_default()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.at.iter().map(|at| &self.text[at.clone()])
    }

    fn push(&mut self, bytes: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(bytes);
        self.at.push(start..self.text.len());
    }

    fn push_number(&mut self, number: i64) {
        self.push(number.to_string().as_bytes());
    }
}

/// What is left of a blob.
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32_le(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.array()?)).ok()
    }

    fn number<const N: usize>(&mut self) -> Option<i64> {
        let bytes = self.array::<N>()?;
        let is_negative = bytes.last().is_some_and(|last| *last >= 0x80);
        let mut wide = [if is_negative { 0xff } else { 0 }; 8];
        wide.get_mut(..N)?.copy_from_slice(&bytes);
        Some(i64::from_le_bytes(wide))
    }
}

/// Of a listpack; none if it is wrong.
pub(super) fn listpack(blob: &[u8]) -> Option<Elements> {
    let mut rest = Rest(blob);
    if rest.u32_le()? != blob.len() {
        return None;
    }
    let count = u16::from_le_bytes(rest.array()?);
    let mut elements = Elements::with_room(blob.len(), usize::from(count).min(blob.len()));
    loop {
        let before = rest.0.len();
        let first = rest.byte()?;
        match first {
            0x00..=0x7f => elements.push_number(i64::from(first)),
            0x80..=0xbf => elements.push(rest.take(usize::from(first & 0x3f))?),
            0xc0..=0xdf => {
                let number = i64::from(first & 0x1f) << 8 | i64::from(rest.byte()?);
                elements.push_number(if number >= 1 << 12 { number - (1 << 13) } else { number });
            }
            0xe0..=0xef => {
                let length = usize::from(first & 0xf) << 8 | usize::from(rest.byte()?);
                elements.push(rest.take(length)?);
            }
            0xf0 => {
                let length = rest.u32_le()?;
                elements.push(rest.take(length)?);
            }
            0xf1 => elements.push_number(rest.number::<2>()?),
            0xf2 => elements.push_number(rest.number::<3>()?),
            0xf3 => elements.push_number(rest.number::<4>()?),
            0xf4 => elements.push_number(rest.number::<8>()?),
            0xff if rest.0.is_empty() && (count == u16::MAX || usize::from(count) == elements.len()) => {
                return Some(elements);
            }
            _ => return None,
        }
        // How long it is stands behind it, for who reads backwards.
        rest.take(match before - rest.0.len() {
            0..=127 => 1,
            128..=16382 => 2,
            16383..=2_097_150 => 3,
            2_097_151..=268_435_454 => 4,
            _ => 5,
        })?;
    }
}

/// Of a ziplist; none if it is wrong.
pub(super) fn ziplist(blob: &[u8]) -> Option<Elements> {
    let mut rest = Rest(blob);
    if rest.u32_le()? != blob.len() {
        return None;
    }
    let (_tail, count) = (rest.u32_le()?, u16::from_le_bytes(rest.array()?));
    let mut elements = Elements::default();
    loop {
        match rest.byte()? {
            0xff if rest.0.is_empty() && (count == u16::MAX || usize::from(count) == elements.len()) => {
                return Some(elements);
            }
            0xff => return None,
            // How long the element before it is.
            0xfe => {
                rest.take(4)?;
            }
            _ => {}
        }
        let first = rest.byte()?;
        match first {
            0x00..=0x3f => elements.push(rest.take(usize::from(first))?),
            0x40..=0x7f => {
                let length = usize::from(first & 0x3f) << 8 | usize::from(rest.byte()?);
                elements.push(rest.take(length)?);
            }
            0x80..=0xbf => {
                let length = usize::try_from(u32::from_be_bytes(rest.array()?)).ok()?;
                elements.push(rest.take(length)?);
            }
            0xc0 => elements.push_number(rest.number::<2>()?),
            0xd0 => elements.push_number(rest.number::<4>()?),
            0xe0 => elements.push_number(rest.number::<8>()?),
            0xf0 => elements.push_number(rest.number::<3>()?),
            0xfe => elements.push_number(rest.number::<1>()?),
            0xf1..=0xfd => elements.push_number(i64::from(first & 0xf) - 1),
            _ => return None,
        }
    }
}

/// Of a set of numbers; none if it is wrong.
pub(super) fn intset(blob: &[u8]) -> Option<Elements> {
    let mut rest = Rest(blob);
    let (width, count) = (rest.u32_le()?, rest.u32_le()?);
    if ![2, 4, 8].contains(&width) || count.checked_mul(width)? != rest.0.len() {
        return None;
    }
    let mut elements = Elements::default();
    for _ in 0..count {
        elements.push_number(match width {
            2 => rest.number::<2>()?,
            4 => rest.number::<4>()?,
            _ => rest.number::<8>()?,
        });
    }
    Some(elements)
}

/// Of a zipmap; none if it is wrong.
pub(super) fn zipmap(blob: &[u8]) -> Option<Elements> {
    let mut rest = Rest(blob);
    let _count = rest.byte()?;
    let mut elements = Elements::default();
    loop {
        let is_value = elements.len() % 2 == 1;
        let length = match rest.byte()? {
            0xff => return Some(elements).filter(|_| rest.0.is_empty() && !is_value),
            0xfe => rest.u32_le()?,
            short => usize::from(short),
        };
        let unused = if is_value { usize::from(rest.byte()?) } else { 0 };
        elements.push(rest.take(length)?);
        rest.take(unused)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(elements: Option<Elements>) -> Vec<String> {
        elements.unwrap().iter().map(|element| String::from_utf8_lossy(element).into_owned()).collect()
    }

    #[test]
    fn listpacks_hold_texts_and_numbers() {
        let mut blob = vec![0, 0, 0, 0, 5, 0];
        blob.extend([0x7f, 1]);
        blob.extend([0x83, b'a', b'b', b'c', 4]);
        blob.extend([0xdf, 0xff, 2]);
        blob.extend([0xf2, 0, 0, 0x80, 4]);
        blob.extend([0xf1, 0x2c, 1, 3, 0xff]);
        blob[0] = u8::try_from(blob.len()).unwrap();
        assert_eq!(texts(listpack(&blob)), ["127", "abc", "-1", "-8388608", "300"]);
        blob[4] = 4;
        assert!(listpack(&blob).is_none());
    }

    #[test]
    fn older_forms_are_read_too() {
        let mut list = vec![0, 0, 0, 0, 0, 0, 0, 0, 3, 0];
        list.extend([0, 2, b'h', b'i', 4, 0xf3, 2, 0xc0, 0xfe, 0xff, 0xff]);
        list[0] = u8::try_from(list.len()).unwrap();
        assert_eq!(texts(ziplist(&list)), ["hi", "2", "-2"]);
        assert_eq!(texts(intset(&[2, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 5, 0])), ["-1", "5"]);
        assert_eq!(texts(zipmap(&[1, 1, b'k', 2, 1, b'v', b'w', 0, 0xff])), ["k", "vw"]);
        assert!(intset(&[2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0]).is_none());
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for read in [listpack, ziplist, intset, zipmap] {
                let _ = read(&bytes);
                let mut sized = bytes.clone();
                if let Some(length) = sized.get_mut(..4) {
                    length.copy_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
                }
                let _ = read(&sized);
            }
        }
    }
}
