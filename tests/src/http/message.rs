//! Heads of requests and answers, and how long their bodies are.

use std::io;

use super::percent_decoded;

/// Headers in the order they came. Values are Latin-1, so that whatever a client signed comes out as it went in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of that name, whatever its case.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    /// Adds one; those of that name stay.
    pub fn add(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// Replaces those of that name by one.
    pub fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.add(name, value);
    }

    /// Removes those of that name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn says(&self, name: &str, token: &str) -> bool {
        self.first(name)
            .is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    }

    pub(super) fn says_close(&self) -> bool {
        self.says("connection", "close")
    }

    fn framing(&self) -> io::Result<Option<Framing>> {
        if self.says("transfer-encoding", "chunked") {
            return Ok(Some(Framing::Chunked));
        }
        let Some(length) = self.first("content-length") else { return Ok(None) };
        let length = length.trim().parse().map_err(|_| invalid("a Content-Length that is no number"))?;
        Ok(Some(if length == 0 { Framing::Empty } else { Framing::Length(length) }))
    }
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// So many bytes.
    Length(u64),
    /// By a chunk of no bytes.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `PUT`, ...
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Its headers.
    pub headers: Headers,
}

impl Request {
    /// Without headers.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Headers::default() }
    }

    /// With one header more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.add(name, value);
        self
    }

    /// The path, as sent.
    #[must_use]
    pub fn raw_path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The path, decoded.
    #[must_use]
    pub fn path(&self) -> String {
        percent_decoded(self.raw_path())
    }

    /// Names and values of the query, decoded.
    #[must_use]
    pub fn query(&self) -> Vec<(String, String)> {
        let Some((_, query)) = self.target.split_once('?') else { return Vec::new() };
        let decoded = |text: &str| percent_decoded(&text.replace('+', " "));
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decoded(name), decoded(value))
        };
        query.split('&').filter(|part| !part.is_empty()).map(pair).collect()
    }

    /// The value of one name of the query; empty when it has none.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query().into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// How its body ends.
    ///
    /// # Errors
    /// When its length is no number.
    pub fn framing(&self) -> io::Result<Framing> {
        Ok(self.headers.framing()?.unwrap_or(Framing::Empty))
    }

    /// Whether the client waits to be told that its body is wanted.
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.headers.says("expect", "100-continue")
    }

    pub(super) fn text(&self) -> Vec<u8> {
        head(&format!("{} {} HTTP/1.1", self.method, self.target), &self.headers)
    }
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 200, 404, ...
    pub status: u16,
    /// Its headers.
    pub headers: Headers,
}

impl Response {
    /// Without headers.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self { status, headers: Headers::default() }
    }

    /// With one header more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.add(name, value);
        self
    }

    /// How the body of this answer to a request of that method ends.
    ///
    /// # Errors
    /// When its length is no number.
    pub fn framing(&self, method: &str) -> io::Result<Framing> {
        if method == "HEAD" || self.status < 200 || [204, 304].contains(&self.status) {
            return Ok(Framing::Empty);
        }
        Ok(self.headers.framing()?.unwrap_or(Framing::UntilClose))
    }

    pub(super) fn text(&self) -> Vec<u8> {
        let reason = match self.status {
            100 => "Continue",
            200 => "OK",
            206 => "Partial Content",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            412 => "Precondition Failed",
            500 => "Internal Server Error",
            503 => "Service Unavailable",
            _ => "-",
        };
        head(&format!("HTTP/1.1 {} {reason}", self.status), &self.headers)
    }
}

fn head(start: &str, headers: &Headers) -> Vec<u8> {
    let mut text = format!("{start}\r\n");
    for (name, value) in headers.iter() {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    // Latin-1 again; what is beyond it was never read, and is not written.
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

/// A request, once `bytes` hold all of its head; with the length of the head.
pub(super) fn parse_request(bytes: &[u8]) -> io::Result<Option<(Request, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = parsed.parse(bytes).map_err(invalid)? else { return Ok(None) };
    let method = parsed.method.unwrap_or_default().to_owned();
    let target = parsed.path.unwrap_or_default().to_owned();
    Ok(Some((Request { method, target, headers: collected(parsed.headers) }, length)))
}

/// An answer, as [`parse_request`].
pub(super) fn parse_response(bytes: &[u8]) -> io::Result<Option<(Response, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = parsed.parse(bytes).map_err(invalid)? else { return Ok(None) };
    let mut headers = collected(parsed.headers);
    // HTTP/1.0 closes after each answer, unless told otherwise.
    if parsed.version == Some(0) && !headers.says("connection", "keep-alive") {
        headers.set("Connection", "close");
    }
    Ok(Some((Response { status: parsed.code.unwrap_or_default(), headers }, length)))
}

const MOST_HEADERS: usize = 96;

fn collected(headers: &[httparse::Header<'_>]) -> Headers {
    let latin = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect();
    Headers(headers.iter().map(|header| (header.name.to_owned(), latin(header.value))).collect())
}

pub(super) fn invalid(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_and_written_as_it_was() {
        let text = b"PUT /b/k%20y?x&list-type=2 HTTP/1.1\r\nHost: h\r\nX-Amz-Meta-A: \xfc\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(parse_request(&text[..40]).unwrap(), None);
        let (request, length) = parse_request(text).unwrap().unwrap();
        assert_eq!(&text[length..], b"abc");
        assert_eq!(request.text(), &text[..length]);
        assert_eq!(request.path(), "/b/k y");
        assert_eq!(request.parameter("x").as_deref(), Some(""));
        assert_eq!(request.parameter("list-type").as_deref(), Some("2"));
        assert_eq!(request.parameter("y"), None);
        assert_eq!(request.framing().unwrap(), Framing::Length(3));
        assert!(parse_request(b"\x00\x01 nonsense\r\n\r\n").is_err());
    }

    #[test]
    fn the_end_of_an_answer_is_known() {
        let framing = |text: &str, method: &str| {
            parse_response(text.as_bytes()).unwrap().unwrap().0.framing(method).unwrap()
        };
        assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "GET"), Framing::Length(5));
        assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD"), Framing::Empty);
        assert_eq!(framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET"), Framing::Chunked);
        assert_eq!(framing("HTTP/1.1 204 No Content\r\n\r\n", "DELETE"), Framing::Empty);
        assert_eq!(framing("HTTP/1.0 200 OK\r\n\r\n", "GET"), Framing::UntilClose);
        let (old, _) = parse_response(b"HTTP/1.0 200 OK\r\n\r\n").unwrap().unwrap();
        assert!(old.headers.says_close());
    }
}
