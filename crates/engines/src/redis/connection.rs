//! A connection to one server: commands, answers, and bytes as they come.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use strongroom_repository::monitor::Monitor;

use super::error::RedisError;
use super::resp::Value;
use super::sentinel;
use super::target::{Place, Target};
use super::tls;

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(20);
/// How long a server may be silent. One that makes a dump for a replica says every second that it still does.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long it may take until somebody who gives up is heard.
const POLL: Duration = Duration::from_millis(100);
const BUFFER_BYTES: usize = 64 << 10;

enum Stream {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Unix(UnixStream),
}

/// Waits for a server until it was silent for too long, or somebody gives up.
struct Patient<'m> {
    stream: Stream,
    monitor: &'m dyn Monitor,
}

impl Patient<'_> {
    fn wait(&mut self, mut act: impl FnMut(&mut Stream) -> io::Result<usize>) -> io::Result<usize> {
        let began = Instant::now();
        loop {
            match act(&mut self.stream) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.monitor.is_cancelled() {
                        return Err(io::Error::other("it was given up"));
                    }
                    if began.elapsed() > PATIENCE {
                        let silence = format!("it was silent for {} s", PATIENCE.as_secs());
                        return Err(io::Error::new(ErrorKind::TimedOut, silence));
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(|stream| match stream {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        })
    }
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(|stream| match stream {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.wait(|stream| match stream {
            Stream::Tcp(stream) => stream.flush().map(|()| 0),
            Stream::Tls(stream) => stream.flush().map(|()| 0),
            Stream::Unix(stream) => stream.flush().map(|()| 0),
        });
        flushed.map(drop)
    }
}

/// A connection.
pub(super) struct Connection<'m> {
    stream: BufReader<Patient<'m>>,
    /// Who is at the other end.
    pub(super) server: String,
}

impl<'m> Connection<'m> {
    /// Connects and says who this is. Where sentinels are named, to the master that they know.
    ///
    /// # Errors
    /// `Connect`, `Tls`, `Refused`, `NoMaster`.
    pub(super) fn open(target: &Target, monitor: &'m dyn Monitor) -> Result<Self, RedisError> {
        if let Place::Sentinel { sentinels, master } = &target.place {
            return Self::open(&sentinel::master_of(target, sentinels, master, monitor)?, monitor);
        }
        let mut connection = Self::bare(target, monitor)?;
        connection.authenticate(target)?;
        Ok(connection)
    }

    /// As [`Connection::open`], without saying who this is.
    ///
    /// # Errors
    /// `Connect`, `Tls`.
    pub(super) fn bare(target: &Target, monitor: &'m dyn Monitor) -> Result<Self, RedisError> {
        let server = target.to_string();
        let wrong = |source| RedisError::Connect { server: server.clone(), source };
        let stream = match &target.place {
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(wrong)?;
                stream
                    .set_read_timeout(Some(POLL))
                    .and_then(|()| stream.set_write_timeout(Some(POLL)))
                    .map_err(wrong)?;
                Stream::Unix(stream)
            }
            Place::Tcp { host, port } => {
                let socket = reach(host, *port).map_err(wrong)?;
                let set = |read: Duration| {
                    socket.set_read_timeout(Some(read)).and_then(|()| socket.set_write_timeout(Some(read)))
                };
                if target.has_tls {
                    set(CONNECT).map_err(wrong)?;
                    let copy = socket.try_clone().map_err(wrong)?;
                    let stream = tls::over(target, host, copy)?;
                    set(POLL).map_err(wrong)?;
                    Stream::Tls(Box::new(stream))
                } else {
                    set(POLL).map_err(wrong)?;
                    Stream::Tcp(socket)
                }
            }
            Place::Sentinel { .. } => return Err(RedisError::Url { why: "sentinels are no servers" }),
        };
        Ok(Self { stream: BufReader::with_capacity(BUFFER_BYTES, Patient { stream, monitor }), server })
    }

    fn authenticate(&mut self, target: &Target) -> Result<(), RedisError> {
        match (&target.user, &target.password) {
            (Some(user), Some(password)) => {
                self.ask(&[b"AUTH", user.as_bytes(), password.as_bytes()]).map(drop)
            }
            (None, Some(password)) => self.ask(&[b"AUTH", password.as_bytes()]).map(drop),
            (Some(_), None) => Err(RedisError::Url { why: "it names a user, and there is no password" }),
            (None, None) => Ok(()),
        }
    }

    /// A command, and its answer.
    ///
    /// # Errors
    /// `Refused` when it is an error; `Broken`, `Answer`.
    pub(super) fn ask(&mut self, words: &[&[u8]]) -> Result<Value, RedisError> {
        let mut command = Vec::new();
        write_command(&mut command, words);
        self.send(&command)?;
        match self.receive()? {
            Value::Error(said) => Err(self.refused(words, said)),
            value => Ok(value),
        }
    }

    pub(super) fn refused(&self, words: &[&[u8]], said: String) -> RedisError {
        // The words behind it may be a password.
        let command =
            words.first().map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default();
        RedisError::Refused { server: self.server.clone(), command, said }
    }

    /// Commands whose answers are received later.
    ///
    /// # Errors
    /// `Broken`.
    pub(super) fn send(&mut self, commands: &[u8]) -> Result<(), RedisError> {
        let stream = self.stream.get_mut();
        let sent = stream.write_all(commands).and_then(|()| stream.flush());
        sent.map_err(|source| self.broken("it was asked", source))
    }

    /// An answer.
    ///
    /// # Errors
    /// `Broken`, `Answer`.
    pub(super) fn receive(&mut self) -> Result<Value, RedisError> {
        Value::read(&mut self.stream).map_err(|source| self.broken("it answered", source))
    }

    /// A line of an answer that is not in the form of one.
    ///
    /// # Errors
    /// `Broken`.
    pub(super) fn line(&mut self) -> Result<String, RedisError> {
        super::resp::line(&mut self.stream).map_err(|source| self.broken("it answered", source))
    }

    pub(super) fn broken(&self, doing: &'static str, source: io::Error) -> RedisError {
        RedisError::Broken { server: self.server.clone(), doing, source }
    }
}

impl Read for Connection<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

/// Appends a command as servers take it.
pub(super) fn write_command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// By any of its addresses.
fn reach(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
