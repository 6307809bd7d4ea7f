//! What is said over the socket: a line of JSON each way.

use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Longest line, bytes.
const LINE_LIMIT_BYTES: u64 = 64 << 10;

/// A file that is to be pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// All that decides what an agent does: one that was told otherwise is another.
    pub configuration: String,
    /// The file, from the root.
    pub path: PathBuf,
    /// Whose log it is.
    pub source: String,
    /// The database system, where the file does not say.
    pub system: Option<u64>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is durable in the repository.
    Done,
    /// It is not.
    Failed {
        /// Why, for people.
        message: String,
        /// The exit code that says so.
        code: u8,
    },
    /// This agent does not do that: it was told otherwise, or is ending.
    NotMine,
}

/// Asks the agent behind a socket, and waits until it answers.
///
/// # Errors
/// What the kernel says when nobody is there, or when whoever was there is no more.
pub fn ask(socket: &Path, request: &Request) -> io::Result<Reply> {
    let stream = UnixStream::connect(socket)?;
    write_line(&stream, request)?;
    read_line(&stream)
}

pub(super) fn write_line(mut stream: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)
}

pub(super) fn read_line<T: for<'de> Deserialize<'de>>(stream: &UnixStream) -> io::Result<T> {
    let mut line = Vec::new();
    BufReader::new(stream.take(LINE_LIMIT_BYTES)).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}
