//! One end of a connection: messages in and out, bodies copied as they come.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::Answer;
use super::message::{Framing, Request, Response, invalid, parse_request, parse_response};
use crate::patience::PATIENCE;

/// Large, so that a body of megabytes takes few system calls.
const BUFFER_BYTES: usize = 256 << 10;
const LARGEST_HEAD_BYTES: usize = 64 << 10;
const LONGEST_CHUNK_LINE_BYTES: usize = 1 << 10;
/// Largest body that is held in memory: the largest object of a repository, and some.
const LARGEST_BODY_BYTES: u64 = 256 << 20;

/// A connection and what was read ahead from it.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    /// Over a stream that is connected.
    ///
    /// # Errors
    /// When it no longer is.
    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::with_capacity(BUFFER_BYTES, stream) })
    }

    /// The stream, to write to.
    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// Whether the other side is still there and has sent nothing unasked.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let stream = self.stream();
        if !self.reader.buffer().is_empty() || stream.set_nonblocking(true).is_err() {
            return false;
        }
        let peeked = stream.peek(&mut [0]);
        let blocking = stream.set_nonblocking(false);
        blocking.is_ok() && matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The next request; `None` when the client has closed.
    ///
    /// # Errors
    /// When it ends in the middle, or is no HTTP.
    pub fn read_request(&mut self) -> io::Result<Option<Request>> {
        self.read_head(parse_request)
    }

    /// The next answer that is no interim one (100 Continue).
    ///
    /// # Errors
    /// When there is none, or it is no HTTP.
    pub fn read_response(&mut self) -> io::Result<Response> {
        loop {
            let response = self.read_head(parse_response)?;
            let response = response.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            if response.status >= 200 {
                return Ok(response);
            }
        }
    }

    /// An answer with its body.
    ///
    /// # Errors
    /// As [`Connection::read_response`], and when the body ends early.
    pub fn read_answer(&mut self, method: &str) -> io::Result<Answer> {
        let head = self.read_response()?;
        let body = self.read_body(head.framing(method)?)?;
        Ok(Answer { head, body })
    }

    /// A body without its transfer encoding.
    ///
    /// # Errors
    /// When it ends early, or is larger than any object of a repository.
    pub fn read_body(&mut self, framing: Framing) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if framing == Framing::Chunked {
            while let Some(length) = self.read_chunk_line()?.1 {
                let largest = LARGEST_BODY_BYTES - u64::try_from(body.len()).map_err(invalid)?;
                if length > largest {
                    return Err(invalid("a body that is too large to hold"));
                }
                self.copy_exactly(length, &mut body)?;
                self.read_line()?;
            }
            while self.read_line()? != b"\r\n" {}
        } else {
            let limit = LARGEST_BODY_BYTES + 1;
            let expected = match framing {
                Framing::Length(length) => length,
                Framing::Empty => 0,
                Framing::UntilClose | Framing::Chunked => limit,
            };
            Read::by_ref(&mut self.reader).take(expected.min(limit)).read_to_end(&mut body)?;
            let length = u64::try_from(body.len()).map_err(invalid)?;
            if length == limit {
                return Err(invalid("a body that is too large to hold"));
            }
            if framing != Framing::UntilClose && length < expected {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(body)
    }

    /// Copies a body as it is, transfer encoding included.
    ///
    /// # Errors
    /// When it ends early, or cannot be written.
    pub fn copy_body(&mut self, framing: Framing, to: &mut impl Write) -> io::Result<()> {
        match framing {
            Framing::Empty => Ok(()),
            Framing::Length(length) => self.copy_exactly(length, to),
            Framing::UntilClose => loop {
                let bytes = self.reader.fill_buf()?;
                if bytes.is_empty() {
                    return Ok(());
                }
                to.write_all(bytes)?;
                let length = bytes.len();
                self.reader.consume(length);
            },
            Framing::Chunked => {
                loop {
                    let (line, length) = self.read_chunk_line()?;
                    to.write_all(&line)?;
                    let Some(length) = length else { break };
                    // The line break after the chunk goes with it.
                    self.copy_exactly(length + 2, to)?;
                }
                loop {
                    let trailer = self.read_line()?;
                    to.write_all(&trailer)?;
                    if trailer == b"\r\n" {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Writes a head.
    ///
    /// # Errors
    /// When the other side is gone.
    pub fn write_request(&self, request: &Request) -> io::Result<()> {
        self.stream().write_all(&request.text())
    }

    /// Writes a head.
    ///
    /// # Errors
    /// When the other side is gone.
    pub fn write_response(&self, response: &Response) -> io::Result<()> {
        self.stream().write_all(&response.text())
    }

    fn read_head<T>(
        &mut self,
        parse: impl Fn(&[u8]) -> io::Result<Option<(T, usize)>>,
    ) -> io::Result<Option<T>> {
        let mut head = Vec::new();
        loop {
            let bytes = self.reader.fill_buf()?;
            if bytes.is_empty() {
                return if head.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            let before = head.len();
            head.extend_from_slice(&bytes[..bytes.len().min(LARGEST_HEAD_BYTES)]);
            let added = head.len() - before;
            if let Some((parsed, length)) = parse(&head)? {
                self.reader.consume(length - before);
                return Ok(Some(parsed));
            }
            if head.len() > LARGEST_HEAD_BYTES {
                return Err(invalid("a head that is too long"));
            }
            self.reader.consume(added);
        }
    }

    fn copy_exactly(&mut self, length: u64, to: &mut impl Write) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            let bytes = self.reader.fill_buf()?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            to.write_all(&bytes[..count])?;
            self.reader.consume(count);
            left -= u64::try_from(count).map_err(invalid)?;
        }
        Ok(())
    }

    /// The line before a chunk, and the chunk's length; none for the last.
    fn read_chunk_line(&mut self) -> io::Result<(Vec<u8>, Option<u64>)> {
        let line = self.read_line()?;
        let text = String::from_utf8_lossy(&line);
        let digits = text.split(';').next().unwrap_or_default().trim();
        let length = u64::from_str_radix(digits, 16).map_err(|_| invalid("a chunk without a length"))?;
        Ok((line, Some(length).filter(|length| *length > 0)))
    }

    fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let limit = u64::try_from(LONGEST_CHUNK_LINE_BYTES).map_err(invalid)?;
        Read::by_ref(&mut self.reader).take(limit).read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\r\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn reading(bytes: &[u8]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let bytes = bytes.to_owned();
        std::thread::spawn(move || client.write_all(&bytes).unwrap());
        Connection::over(server).unwrap()
    }

    #[test]
    fn chunks_are_copied_raw_and_read_plain() {
        let text = b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: 1\r\n\r\n";
        let mut raw = Vec::new();
        let mut connection = reading(&[text, &b"rest"[..]].concat());
        connection.copy_body(Framing::Chunked, &mut raw).unwrap();
        assert_eq!(raw, text);
        assert_eq!(connection.read_body(Framing::Length(4)).unwrap(), b"rest");
        assert_eq!(reading(text).read_body(Framing::Chunked).unwrap(), b"hello!");
    }

    #[test]
    fn early_ends_are_errors() {
        assert!(reading(b"abc").read_body(Framing::Length(4)).is_err());
        assert!(reading(b"5\r\nabc").read_body(Framing::Chunked).is_err());
        let copied = reading(b"abc").copy_body(Framing::Length(4), &mut Vec::new());
        assert!(copied.is_err());
        assert!(reading(b"GET / HT").read_request().is_err());
        assert_eq!(reading(b"").read_request().unwrap(), None);
        assert_eq!(reading(b"abc").read_body(Framing::UntilClose).unwrap(), b"abc");
    }

    #[test]
    fn requests_follow_each_other_on_a_connection() {
        let mut connection =
            reading(b"PUT /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nxyGET /b HTTP/1.1\r\n\r\n");
        let first = connection.read_request().unwrap().unwrap();
        assert_eq!(connection.read_body(first.framing().unwrap()).unwrap(), b"xy");
        assert_eq!(connection.read_request().unwrap().unwrap().target, "/b");
        assert_eq!(connection.read_request().unwrap(), None);
    }

    #[test]
    fn a_head_that_never_ends_is_refused() {
        let long = [b"GET / HTTP/1.1\r\nA: ".to_vec(), vec![b'a'; 1 << 20]].concat();
        assert!(reading(&long).read_request().is_err());
    }

    #[test]
    fn interim_answers_are_passed_over() {
        let mut connection =
            reading(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
        assert_eq!(connection.read_answer("GET").unwrap().body, b"x");
    }
}
