//! Reading a pipe whose writer may be silent for ever, or never stop.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// How long it may take until somebody who gives up is heard.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
const NONE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// What is read at most of a pipe that is drained, bytes: a pipe holds no more.
const DRAIN_BYTES: usize = 1 << 20;

/// How to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GiveUp {
    /// At once, with this error.
    Fail(ErrorKind),
    /// Once what lies in the pipe now is read: that is the end.
    Drain,
}

/// Waits for more only until `gives_up` says something.
pub(crate) struct PatientReader<R, F> {
    inner: R,
    gives_up: F,
    left_to_drain_bytes: usize,
}

impl<R: Read + AsFd, F: Fn() -> Option<GiveUp>> PatientReader<R, F> {
    pub(crate) fn new(inner: R, gives_up: F) -> Self {
        Self { inner, gives_up, left_to_drain_bytes: DRAIN_BYTES }
    }

    fn is_ready(&self, patience: Timespec) -> io::Result<bool> {
        let mut files = [PollFd::new(&self.inner, PollFlags::IN)];
        match poll(&mut files, Some(&patience)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl<R: Read + AsFd, F: Fn() -> Option<GiveUp>> Read for PatientReader<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match (self.gives_up)() {
                None if self.is_ready(PATIENCE)? => return self.inner.read(buffer),
                None => {}
                Some(GiveUp::Fail(kind)) => return Err(kind.into()),
                Some(GiveUp::Drain) => {
                    let wanted = buffer.len().min(self.left_to_drain_bytes);
                    if wanted == 0 || !self.is_ready(NONE)? {
                        return Ok(0);
                    }
                    let read = self.inner.read(&mut buffer[..wanted])?;
                    self.left_to_drain_bytes -= read;
                    return Ok(read);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write;

    use super::*;

    #[test]
    fn a_silent_writer_is_waited_for_until_somebody_gives_up() {
        let (reader, mut writer) = io::pipe().unwrap();
        let asked = Cell::new(0);
        let mut reader = PatientReader::new(reader, || {
            asked.set(asked.get() + 1);
            (asked.get() > 3).then_some(GiveUp::Fail(ErrorKind::Interrupted))
        });
        writer.write_all(b"abc").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(reader.read(&mut buffer).unwrap(), 3);
        assert_eq!(reader.read(&mut buffer).unwrap_err().kind(), ErrorKind::Interrupted);
        writer.write_all(b"d").unwrap();
        assert_eq!(reader.read(&mut buffer).unwrap_err().kind(), ErrorKind::Interrupted);
    }

    #[test]
    fn what_was_written_is_drained_before_the_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"last words").unwrap();
        let mut read = Vec::new();
        PatientReader::new(reader, || Some(GiveUp::Drain)).read_to_end(&mut read).unwrap();
        assert_eq!(read, b"last words");
    }

    #[test]
    fn a_writer_that_never_stops_is_drained_of_so_much_and_no_more() {
        let zeros = std::fs::File::open("/dev/zero").unwrap();
        let mut read = Vec::new();
        PatientReader::new(zeros, || Some(GiveUp::Drain)).read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), DRAIN_BYTES);
    }
}
