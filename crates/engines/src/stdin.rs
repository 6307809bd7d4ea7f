//! One stream from standard input, or from any reader.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use strongroom_repository::backup::Sink;

use crate::engine::{Engine, EngineError, read_stream};
use crate::patient_reader::{GiveUp, PatientReader};

/// Bytes a pipe should hold: with the usual 64 KiB the pipe bounds the backup.
const PIPE_BYTES: usize = 1 << 20;

/// Reads a stream.
pub struct Stdin {
    /// The stream's name in the snapshot.
    pub name: String,
    /// Keep a stream without a byte.
    pub allow_empty: bool,
    /// Where it comes from.
    pub input: Mutex<File>,
}

impl Engine for Stdin {
    fn name(&self) -> &'static str {
        "stdin"
    }

    fn backup(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        let input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let monitor = sink.monitor();
        // Whoever feeds the pipe may be silent for ever.
        let interrupted = || monitor.is_cancelled().then_some(GiveUp::Fail(ErrorKind::Interrupted));
        let mut input = PatientReader::new(&*input, interrupted);
        read_stream(sink, &self.name, &mut input, |bytes| {
            if bytes == 0 && !self.allow_empty {
                Err(EngineError::EmptyStream { name: self.name.clone() })
            } else {
                Ok(())
            }
        })
    }
}

/// Widens a pipe, where it is one and the system allows it.
pub(crate) fn widen_pipe(fd: impl AsFd) {
    let _ = rustix::pipe::fcntl_setpipe_size(fd, PIPE_BYTES);
}

impl Stdin {
    /// Reads this process's standard input.
    ///
    /// # Errors
    /// What the kernel says when it is closed.
    pub fn of_process(name: String, allow_empty: bool) -> io::Result<Self> {
        let stdin = io::stdin();
        widen_pipe(&stdin);
        // The descriptor itself, without the buffer of `Stdin`: reads are large already.
        let input = File::from(stdin.as_fd().try_clone_to_owned()?);
        Ok(Self { name, allow_empty, input: Mutex::new(input) })
    }
}
