//! A stream of blocks on its way into the repository.

use std::io::{self, Read};

use super::native::{NativeError, Scanner};
use super::session::exception_in;

/// How much of the end of a stream is remembered, for what the server may say there, bytes.
const TAIL_BYTES: usize = 16 << 10;
/// How much is read behind what is no block, to hear what the server says, bytes.
const BEHIND_BYTES: u64 = 64 << 10;

/// Passes bytes on, and follows them.
pub(super) struct Followed<R> {
    inner: R,
    scanner: Option<Scanner>,
    tail: Vec<u8>,
    wrong: Option<NativeError>,
}

/// What is wrong with a stream, and what the server says of it.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) why: NativeError,
    pub(super) said: Option<String>,
}

impl<R: Read> Followed<R> {
    /// Without a number of columns, it is only looked at for exceptions.
    pub(super) fn new(inner: R, columns: Option<usize>) -> Self {
        let scanner = columns.map(|columns| Scanner::new(Some(columns)));
        Self { inner, scanner, tail: Vec::new(), wrong: None }
    }

    /// Rows of a whole stream, if they could be followed.
    ///
    /// # Errors
    /// When it is not whole.
    pub(super) fn finish(&self) -> Result<Option<u64>, Wrong> {
        let said = exception_in(&self.tail);
        let rows = match (&self.wrong, &self.scanner) {
            (Some(why), _) => Err(why.clone()),
            (None, Some(scanner)) => scanner.finish().map(Some),
            (None, None) if said.is_some() => Err(NativeError::CutOff { rows: 0 }),
            (None, None) => Ok(None),
        };
        rows.map_err(|why| Wrong { why, said })
    }

    /// What the server says at its end.
    pub(super) fn said(&self) -> Option<String> {
        exception_in(&self.tail)
    }

    fn remember(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(TAIL_BYTES);
        let excess = (self.tail.len() + kept).saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess.min(self.tail.len()));
        self.tail.extend_from_slice(bytes.get(bytes.len() - kept..).unwrap_or_default());
    }
}

impl<R: Read> Read for Followed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        let bytes = out.get(..read).unwrap_or_default();
        self.remember(bytes);
        if let Some(scanner) = &mut self.scanner
            && let Err(why) = scanner.feed(bytes)
        {
            self.wrong = Some(why);
            let mut behind = Vec::new();
            // It may break off, too: what came is enough.
            let _ = self.inner.by_ref().take(BEHIND_BYTES).read_to_end(&mut behind);
            self.remember(&behind);
            return Err(io::Error::other("the stream is none of whole blocks"));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of one column of bytes.
    fn block(rows: u8) -> Vec<u8> {
        let mut out = vec![1, rows, 1, b'n', 5];
        out.extend_from_slice(b"UInt8");
        out.extend(vec![7; usize::from(rows)]);
        out
    }

    fn follow(stream: &[u8], columns: Option<usize>) -> (io::Result<u64>, Result<Option<u64>, Wrong>) {
        let mut followed = Followed::new(stream, columns);
        (io::copy(&mut followed, &mut io::sink()), followed.finish())
    }

    #[test]
    fn whole_blocks_are_counted() {
        let (copied, rows) = follow(&[block(9), block(100)].concat(), Some(1));
        assert_eq!((copied.unwrap(), rows.unwrap()), (129, Some(109)));
    }

    #[test]
    fn an_exception_in_the_middle_is_heard() {
        let said = b"Code: 241, e.displayText() = DB::Exception: Memory limit, e.what() = DB::Exception";
        for columns in [Some(1), None] {
            let (_, rows) = follow(&[&block(9), &said[..]].concat(), columns);
            assert!(rows.unwrap_err().said.unwrap().starts_with("Code: 241"));
        }
        let (_, rows) = follow(&block(9)[..15], Some(1));
        assert!(matches!(rows.unwrap_err(), Wrong { why: NativeError::CutOff { .. }, said: None }));
    }
}
