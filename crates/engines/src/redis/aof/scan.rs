//! Where the last whole command of an append-only file ends.

use std::io::Read;

use crate::redis::rdb::{Input, Part, RdbError, RdbReader, skip_value};

/// The longest line, bytes.
const LONGEST_LINE: usize = 1024;
/// The words of the longest command.
const MOST_WORDS: u64 = 1 << 31;

/// What of a file is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Up to the end of the last whole command that is in no unfinished transaction.
    pub(super) bytes: u64,
    /// Of the dump that it begins with.
    pub(super) keys: u64,
    pub(super) commands: u64,
}

/// Reads it to its end, or to where a command does not end.
///
/// # Errors
/// What is wrong with it.
pub(super) fn scan(mut file: impl Read) -> Result<Scanned, RdbError> {
    let mut head = Vec::new();
    (&mut file).take(5).read_to_end(&mut head).map_err(RdbError::Read)?;
    let is_dump = head == b"REDIS";
    let whole = std::io::Cursor::new(head).chain(file);
    if !is_dump {
        return commands(&mut Input::new(whole), Scanned::default());
    }
    let mut reader = RdbReader::new(whole)?;
    let (mut keys, mut name) = (0, Vec::new());
    loop {
        match reader.next_part()? {
            Part::Key { code, .. } => {
                reader.key(&mut name)?;
                skip_value(reader.input(), code)?;
                keys += 1;
            }
            Part::End => break,
            _ => {}
        }
    }
    let bytes = reader.input().offset();
    commands(reader.input(), Scanned { bytes, keys, commands: 0 })
}

fn commands<R: Read>(input: &mut Input<R>, mut found: Scanned) -> Result<Scanned, RdbError> {
    let (mut is_in_transaction, mut of_transaction) = (false, 0);
    loop {
        match command(input) {
            Ok(None) => return Ok(found),
            // It was being written.
            Err(RdbError::Truncated { .. }) => return Ok(found),
            Ok(Some(word)) => {
                of_transaction += u64::from(!word.is_empty());
                match word.as_slice() {
                    b"MULTI" => is_in_transaction = true,
                    b"EXEC" => is_in_transaction = false,
                    _ => {}
                }
                if !is_in_transaction {
                    found.bytes = input.offset();
                    found.commands += std::mem::take(&mut of_transaction);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// The first word of a command in capitals; an empty one for a note of the time.
fn command<R: Read>(input: &mut Input<R>) -> Result<Option<Vec<u8>>, RdbError> {
    if input.is_at_end()? {
        return Ok(None);
    }
    let mut line = Vec::new();
    read_line(input, &mut line)?;
    if line.first() == Some(&b'#') {
        return Ok(Some(Vec::new()));
    }
    let words = number(input, &line, b'*')?;
    if words == 0 || words > MOST_WORDS {
        return Err(input.malformed("a command"));
    }
    let mut first = Vec::new();
    for word in 0..words {
        read_line(input, &mut line)?;
        let length = number(input, &line, b'$')?;
        if word == 0 && length <= 16 {
            input.append(length, &mut first)?;
            first.make_ascii_uppercase();
        } else {
            input.pass(length, &mut |_| Ok(()))?;
        }
        if input.array::<2>()? != *b"\r\n" {
            return Err(input.malformed("a command"));
        }
    }
    if first.is_empty() {
        first.push(b'?');
    }
    Ok(Some(first))
}

fn read_line<R: Read>(input: &mut Input<R>, line: &mut Vec<u8>) -> Result<(), RdbError> {
    line.clear();
    loop {
        match input.byte()? {
            b'\n' if line.pop_if(|last| *last == b'\r').is_some() => return Ok(()),
            byte => line.push(byte),
        }
        if line.len() > LONGEST_LINE {
            return Err(input.malformed("a line of a command"));
        }
    }
}

fn number<R: Read>(input: &Input<R>, line: &[u8], mark: u8) -> Result<u64, RdbError> {
    let digits = line.strip_prefix(&[mark]).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| input.malformed("a command"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n\r\n\r\n";

    fn of(text: &str) -> (u64, u64) {
        let found = scan(text.as_bytes()).unwrap();
        (found.bytes, found.commands)
    }

    #[test]
    fn it_ends_behind_the_last_whole_command() {
        let length = SET.len() as u64;
        for cut in 0..SET.len() {
            assert_eq!(of(&format!("{SET}{}", &SET[..cut])), (length, 1), "{cut}");
        }
        assert_eq!(of(&format!("#TS:1\r\n{SET}{SET}")), (2 * length + 7, 2));
        assert_eq!(of(""), (0, 0));
        assert!(scan(&b"*3\r\n$3\r\nSETxx"[..]).is_err() && scan(&b"hello world\r\n"[..]).is_err());
    }

    #[test]
    fn an_unfinished_transaction_is_left_out() {
        let multi = "*1\r\n$5\r\nMULTI\r\n";
        let open = format!("{SET}{multi}{SET}");
        assert_eq!(of(&open), (SET.len() as u64, 1));
        let closed = format!("{open}*1\r\n$4\r\nexec\r\n");
        assert_eq!(of(&closed), (closed.len() as u64, 4));
    }

    proptest! {
        #[test]
        fn whatever_it_is_it_is_scanned_or_refused(bytes in prop::collection::vec(prop::sample::select(&b"*$#019\r\nREDIS\xff"[..]), 0..80)) {
            if let Ok(found) = scan(&bytes[..]) {
                prop_assert!(found.bytes <= bytes.len() as u64);
            }
        }
    }
}
