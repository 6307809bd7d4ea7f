//! Deterministic CBOR (RFC 8949 section 4.2.1), the subset the format uses: integers, byte strings, text,
//! arrays, and maps with unsigned integer keys. No floats, tags, simple values or indefinite lengths.
//!
//! The decoder accepts exactly what the encoder can write, so no object has two encodings.

use crate::FormatError;

/// Deepest nesting of arrays and maps.
pub const DEPTH_LIMIT: u8 = 16;
/// Keys from here on may be ignored by a reader that does not know them.
pub const FIRST_IGNORABLE_KEY: u64 = 128;

/// Writes values one after another.
#[derive(Debug, Default)]
pub struct Encoder {
    out: Vec<u8>,
}

impl Encoder {
    fn head(&mut self, major: u8, value: u64) {
        let major = major << 5;
        let bytes = value.to_be_bytes();
        match value {
            0..24 => self.out.push(major | bytes[7]),
            24..0x100 => self.out.extend_from_slice(&[major | 24, bytes[7]]),
            0x100..0x1_0000 => {
                self.out.push(major | 25);
                self.out.extend_from_slice(&bytes[6..]);
            }
            0x1_0000..0x1_0000_0000 => {
                self.out.push(major | 26);
                self.out.extend_from_slice(&bytes[4..]);
            }
            _ => {
                self.out.push(major | 27);
                self.out.extend_from_slice(&bytes);
            }
        }
    }

    /// Writes an unsigned integer.
    pub fn uint(&mut self, value: u64) {
        self.head(0, value);
    }

    /// Writes a signed integer.
    pub fn int(&mut self, value: i64) {
        if value < 0 { self.head(1, !value.cast_unsigned()) } else { self.head(0, value.cast_unsigned()) }
    }

    /// Writes a byte string.
    pub fn bytes(&mut self, value: &[u8]) {
        self.head(2, value.len() as u64);
        self.out.extend_from_slice(value);
    }

    /// Writes a text string.
    pub fn text(&mut self, value: &str) {
        self.head(3, value.len() as u64);
        self.out.extend_from_slice(value.as_bytes());
    }

    /// Writes an array: each of `items` must write exactly one value.
    pub fn array<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Encoder, &T)) {
        self.head(4, items.len() as u64);
        for item in items {
            write(self, item);
        }
    }

    /// Begins an array of `length` values, which the caller writes next.
    pub fn array_head(&mut self, length: u64) {
        self.head(4, length);
    }

    /// Writes a map; fields may come in any order and are sorted.
    pub fn map(&mut self, fill: impl FnOnce(&mut MapEncoder)) {
        let mut map = MapEncoder { fields: Vec::new() };
        fill(&mut map);
        map.fields.sort_by_key(|(key, _)| *key);
        debug_assert!(map.fields.windows(2).all(|pair| pair[0].0 != pair[1].0), "a key twice");
        self.head(5, map.fields.len() as u64);
        for (key, value) in map.fields {
            self.uint(key);
            self.out.extend_from_slice(&value);
        }
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }
}

/// Collects the fields of a map.
#[derive(Debug)]
pub struct MapEncoder {
    fields: Vec<(u64, Vec<u8>)>,
}

impl MapEncoder {
    /// A field whose value `write` writes.
    pub fn field(&mut self, key: u64, write: impl FnOnce(&mut Encoder)) {
        let mut encoder = Encoder::default();
        write(&mut encoder);
        self.fields.push((key, encoder.out));
    }

    /// An unsigned field.
    pub fn uint(&mut self, key: u64, value: u64) {
        self.field(key, |e| e.uint(value));
    }

    /// A signed field.
    pub fn int(&mut self, key: u64, value: i64) {
        self.field(key, |e| e.int(value));
    }

    /// A field of bytes.
    pub fn bytes(&mut self, key: u64, value: &[u8]) {
        self.field(key, |e| e.bytes(value));
    }

    /// A field of text.
    pub fn text(&mut self, key: u64, value: &str) {
        self.field(key, |e| e.text(value));
    }
}

/// Reads values one after another, refusing whatever [`Encoder`] would not have written.
#[derive(Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
    depth: u8,
}

const fn broken(rule: &'static str) -> FormatError {
    FormatError::Cbor { rule }
}

impl<'a> Decoder<'a> {
    /// Reads from the front of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, depth: 0 }
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may follow.
    ///
    /// # Errors
    /// `Trailing`.
    pub fn end(&self, what: &'static str) -> Result<(), FormatError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FormatError::Trailing { what }) }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], FormatError> {
        let length = usize::try_from(length).map_err(|_| broken("cut short"))?;
        let (head, rest) = self.rest.split_at_checked(length).ok_or(broken("cut short"))?;
        self.rest = rest;
        Ok(head)
    }

    fn head(&mut self) -> Result<(u8, u64), FormatError> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 31);
        let extra = match info {
            0..24 => return Ok((major, info.into())),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            31 => return Err(broken("indefinite length")),
            _ => return Err(broken("reserved head")),
        };
        let value = self.take(extra)?.iter().fold(0_u64, |sum, b| sum << 8 | u64::from(*b));
        let smallest = match extra {
            1 => 24,
            2 => 0x100,
            4 => 0x1_0000,
            _ => 0x1_0000_0000,
        };
        if value < smallest {
            Err(broken("an integer is not in its shortest form"))
        } else {
            Ok((major, value))
        }
    }

    fn expect(&mut self, major: u8, rule: &'static str) -> Result<u64, FormatError> {
        let (found, value) = self.head()?;
        if found == major { Ok(value) } else { Err(broken(rule)) }
    }

    /// Reads an unsigned integer.
    ///
    /// # Errors
    /// `Cbor`.
    pub fn uint(&mut self) -> Result<u64, FormatError> {
        self.expect(0, "an unsigned integer is expected")
    }

    /// Reads a signed integer.
    ///
    /// # Errors
    /// `Cbor`, also for what does not fit 64 bits.
    pub fn int(&mut self) -> Result<i64, FormatError> {
        let (major, value) = self.head()?;
        let value = i64::try_from(value).map_err(|_| broken("an integer beyond 63 bits"))?;
        match major {
            0 => Ok(value),
            1 => Ok(!value),
            _ => Err(broken("an integer is expected")),
        }
    }

    /// Reads a byte string.
    ///
    /// # Errors
    /// `Cbor`.
    pub fn bytes(&mut self) -> Result<&'a [u8], FormatError> {
        let length = self.expect(2, "a byte string is expected")?;
        self.take(length)
    }

    /// Reads a text string.
    ///
    /// # Errors
    /// `Cbor`, also for text that is not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, FormatError> {
        let length = self.expect(3, "a text string is expected")?;
        std::str::from_utf8(self.take(length)?).map_err(|_| broken("text is not UTF-8"))
    }

    /// Whether the next value is an array (and not, say, a byte string).
    #[must_use]
    pub fn at_array(&self) -> bool {
        self.rest.first().is_some_and(|b| b >> 5 == 4)
    }

    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, FormatError>,
    ) -> Result<T, FormatError> {
        if self.depth >= DEPTH_LIMIT {
            return Err(broken("nested deeper than 16"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Reads an array, each value by `read`.
    ///
    /// # Errors
    /// `Cbor`, and what `read` fails with.
    pub fn array<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, FormatError>,
    ) -> Result<Vec<T>, FormatError> {
        let length = self.expect(4, "an array is expected")?;
        if length > self.rest.len() as u64 {
            return Err(broken("cut short"));
        }
        self.nested(|decoder| (0..length).map(|_| read(decoder)).collect())
    }

    /// Reads an array of exactly `length` values by one call of `read`.
    ///
    /// # Errors
    /// `Cbor`, and what `read` fails with.
    pub fn tuple<T>(
        &mut self,
        length: u64,
        read: impl FnOnce(&mut Self) -> Result<T, FormatError>,
    ) -> Result<T, FormatError> {
        if self.expect(4, "an array is expected")? != length {
            return Err(broken("an array of another length is expected"));
        }
        self.nested(read)
    }

    /// Reads a map. `field` is given each key and reads its value; it says `false` for a key it does not know,
    /// having read nothing.
    ///
    /// # Errors
    /// `Cbor`; `UnknownField` for an unknown key below 128; and what `field` fails with.
    pub fn map(
        &mut self,
        what: &'static str,
        mut field: impl FnMut(u64, &mut Self) -> Result<bool, FormatError>,
    ) -> Result<(), FormatError> {
        let length = self.expect(5, "a map is expected")?;
        self.nested(|decoder| {
            let mut last = None;
            for _ in 0..length {
                let key = decoder.uint()?;
                if last.is_some_and(|last| key <= last) {
                    return Err(broken("map keys are not in ascending order, or one is there twice"));
                }
                last = Some(key);
                if !field(key, decoder)? {
                    if key < FIRST_IGNORABLE_KEY {
                        return Err(FormatError::UnknownField { what, key });
                    }
                    decoder.skip()?;
                }
            }
            Ok(())
        })
    }

    /// Reads one value of any kind and forgets it; it must be deterministic all the same.
    ///
    /// # Errors
    /// `Cbor`.
    pub fn skip(&mut self) -> Result<(), FormatError> {
        match self.rest.first().ok_or(broken("cut short"))? >> 5 {
            0 => self.uint().map(drop),
            1 => self.int().map(drop),
            2 => self.bytes().map(drop),
            3 => self.text().map(drop),
            4 => self.array(Self::skip).map(drop),
            5 => self.map("ignored", |_, value| value.skip().map(|()| true)),
            6 => Err(broken("a tag")),
            _ => Err(broken("a float or simple value")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(write: impl FnOnce(&mut Encoder)) -> String {
        let mut encoder = Encoder::default();
        write(&mut encoder);
        hex::encode(encoder.into_bytes())
    }

    #[test]
    fn examples_of_rfc_8949_appendix_a() {
        for (value, bytes) in [
            (23, "17"),
            (24, "1818"),
            (255, "18ff"),
            (256, "190100"),
            (1_000_000, "1a000f4240"),
            (u64::MAX, "1bffffffffffffffff"),
        ] {
            assert_eq!(encoded(|e| e.uint(value)), bytes);
        }
        for (value, bytes) in [(-1, "20"), (-24, "37"), (-25, "3818"), (-1000, "3903e7")] {
            assert_eq!(encoded(|e| e.int(value)), bytes);
        }
    }

    #[test]
    fn each_rule_broken_once() {
        let cases = [
            ("1817", "an integer is not in its shortest form"),
            ("190018", "an integer is not in its shortest form"),
            ("1a00000100", "an integer is not in its shortest form"),
            ("1b0000000000010000", "an integer is not in its shortest form"),
            ("5f4100ff", "indefinite length"),
            ("9f00ff", "indefinite length"),
            ("c000", "a tag"),
            ("f90000", "a float or simple value"),
            ("f6", "a float or simple value"),
            ("1c", "reserved head"),
            ("62c328", "text is not UTF-8"),
            ("4200", "cut short"),
            ("a202000100", "map keys are not in ascending order, or one is there twice"),
            ("a201000100", "map keys are not in ascending order, or one is there twice"),
            ("a1616100", "an unsigned integer is expected"),
            ("9b00ffffffffffffff", "cut short"),
        ];
        for (bytes, rule) in cases {
            let bytes = hex::decode(bytes).unwrap();
            assert_eq!(
                Decoder::new(&bytes).skip(),
                Err(FormatError::Cbor { rule }),
                "{}",
                hex::encode(&bytes)
            );
        }
        let deep = [0x81; 18];
        assert_eq!(Decoder::new(&deep).skip(), Err(FormatError::Cbor { rule: "nested deeper than 16" }));
    }

    #[test]
    fn unknown_fields() {
        let mut known = Decoder::new(&[0xa1, 0x18, 0x80, 0x00]);
        assert_eq!(known.map("m", |_, _| Ok(false)), Ok(()));
        let mut critical = Decoder::new(&[0xa1, 0x18, 0x7f, 0x00]);
        assert_eq!(
            critical.map("m", |_, _| Ok(false)),
            Err(FormatError::UnknownField { what: "m", key: 127 })
        );
    }

    proptest! {
        #[test]
        fn integers_round_trip(value: u64, signed: i64, bytes: Vec<u8>) {
            let mut encoder = Encoder::default();
            encoder.uint(value);
            encoder.int(signed);
            encoder.bytes(&bytes);
            let out = encoder.into_bytes();
            let mut decoder = Decoder::new(&out);
            prop_assert_eq!(decoder.uint(), Ok(value));
            prop_assert_eq!(decoder.int(), Ok(signed));
            prop_assert_eq!(decoder.bytes(), Ok(&bytes[..]));
            prop_assert_eq!(decoder.end("all"), Ok(()));
        }

        #[test]
        fn any_bytes_are_refused_or_read_without_panic(bytes: Vec<u8>) {
            let _ = Decoder::new(&bytes).skip();
        }
    }
}
