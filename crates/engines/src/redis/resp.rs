//! Answers as servers write them.

use std::io::{self, BufRead, ErrorKind, Read};

/// The longest answer that is taken, bytes.
const LONGEST: usize = 64 << 20;
const LONGEST_LINE: u64 = 64 << 10;
/// How deep answers lie in answers.
const DEEPEST: u32 = 8;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// A word, like `OK`.
    Word(String),
    /// That it cannot be done, and why.
    Error(String),
    Number(i64),
    Bytes(Vec<u8>),
    Nothing,
    List(Vec<Value>),
}

impl Value {
    /// The next answer.
    pub(super) fn read(input: &mut impl BufRead) -> io::Result<Self> {
        Self::read_at(input, 0)
    }

    fn read_at(input: &mut impl BufRead, depth: u32) -> io::Result<Self> {
        let text = line(input)?;
        let Some((kind, rest)) = text.split_at_checked(1) else { return Err(wrong("an empty line")) };
        let number = || rest.parse::<i64>().map_err(|_| wrong("no number where one is expected"));
        Ok(match kind {
            "+" => Self::Word(rest.to_owned()),
            "-" => Self::Error(rest.to_owned()),
            ":" => Self::Number(number()?),
            "$" => match usize::try_from(number()?) {
                Err(_) => Self::Nothing,
                Ok(length) if length > LONGEST => return Err(wrong("an answer that is too long")),
                Ok(length) => {
                    let mut bytes = Vec::new();
                    input.take(length as u64).read_to_end(&mut bytes)?;
                    let mut end = [0; 2];
                    input.read_exact(&mut end)?;
                    if bytes.len() != length || end != *b"\r\n" {
                        return Err(wrong("an answer that does not end"));
                    }
                    Self::Bytes(bytes)
                }
            },
            "*" if depth < DEEPEST => match usize::try_from(number()?) {
                Err(_) => Self::Nothing,
                Ok(length) if length > LONGEST => return Err(wrong("an answer that is too long")),
                Ok(length) => {
                    let mut list = Vec::new();
                    for _ in 0..length {
                        list.push(Self::read_at(input, depth + 1)?);
                    }
                    Self::List(list)
                }
            },
            _ => return Err(wrong("an answer of no known kind")),
        })
    }

    /// As text; nothing for a list.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Word(text) | Self::Error(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Nothing | Self::List(_) => String::new(),
        }
    }
}

/// Up to the end of a line, without it.
pub(super) fn line(input: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    input.take(LONGEST_LINE).read_until(b'\n', &mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Value> {
        Value::read(&mut &bytes[..])
    }

    #[test]
    fn answers_are_words_numbers_bytes_and_lists() {
        assert_eq!(read(b"+OK\r\n").unwrap(), Value::Word("OK".into()));
        assert_eq!(read(b"-ERR no\r\n").unwrap(), Value::Error("ERR no".into()));
        let list = vec![Value::Number(-7), Value::Bytes(b"a\r\nb".to_vec()), Value::Nothing];
        assert_eq!(read(b"*3\r\n:-7\r\n$4\r\na\r\nb\r\n$-1\r\n").unwrap(), Value::List(list));
        for wrong in [&b"$3\r\nab\r\n"[..], b"*1\r\n", b"?\r\n", b"", b"$99999999999\r\n", b"\r\n"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_an_answer_or_none(bytes in prop::collection::vec(prop::sample::select(&b"*$:+-019\r\nab"[..]), 0..64)) {
            let _ = read(&bytes);
        }
    }
}
