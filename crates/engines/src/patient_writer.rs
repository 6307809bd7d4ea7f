//! Writing into a pipe whose reader may stop reading for ever.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};

/// How long it may take until somebody who gives up is heard.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Waits for room only until `gives_up` says so; then every write fails.
pub(crate) struct PatientWriter<W, F> {
    inner: W,
    gives_up: F,
}

impl<W: Write + AsFd, F: Fn() -> bool> PatientWriter<W, F> {
    /// # Errors
    /// When the pipe cannot be had to say that it is full.
    pub(crate) fn new(inner: W, gives_up: F) -> io::Result<Self> {
        ioctl_fionbio(&inner, true)?;
        Ok(Self { inner, gives_up })
    }
}

impl<W: Write + AsFd, F: Fn() -> bool> Write for PatientWriter<W, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            if (self.gives_up)() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            match self.inner.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            match poll(&mut [PollFd::new(&self.inner, PollFlags::OUT)], Some(&PATIENCE)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Read;

    use super::*;

    #[test]
    fn a_reader_that_stopped_is_waited_for_until_somebody_gives_up() {
        let (mut reader, writer) = io::pipe().unwrap();
        let asked = Cell::new(0);
        let mut writer = PatientWriter::new(writer, || {
            asked.set(asked.get() + 1);
            asked.get() > 100
        })
        .unwrap();
        let error = writer.write_all(&vec![7; 8 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        drop(writer);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(!read.is_empty() && read.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn everything_arrives() {
        let (mut reader, writer) = io::pipe().unwrap();
        let written: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let read = std::thread::scope(|scope| {
            let writing = scope.spawn(|| PatientWriter::new(writer, || false)?.write_all(&written));
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            writing.join().unwrap().unwrap();
            read
        });
        assert!(read == written);
    }
}
