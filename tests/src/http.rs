//! Just enough HTTP/1.1 to talk to the servers that tests start, and to stand in front of them.
//!
//! Blocking, a thread a connection: everything here is on the loopback. [`connection`] reads and writes messages,
//! [`server`] answers or passes them on, and [`send`] is a client of one request a connection. Only [`tls`] encrypts.

pub mod connection;
pub mod message;
pub mod server;
pub mod tls;

use std::io::{self, Write};
use std::net::SocketAddr;

use connection::Connection;
use message::{Request, Response};

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status and headers.
    pub head: Response,
    /// The body, without its transfer encoding.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What stands between the first `<tag>` and `</tag>`, without entities being resolved.
    #[must_use]
    pub fn xml(&self, tag: &str) -> Option<String> {
        let text = self.text();
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        Some(rest.split_once(&format!("</{tag}>"))?.0.to_owned())
    }
}

/// Sends one request on a connection of its own and reads the whole answer; `Host`, `Content-Length` and
/// `Connection` are added.
///
/// # Errors
/// When nobody listens, or what comes back is no HTTP, or ends early.
pub fn send(address: SocketAddr, request: &Request, body: &[u8]) -> io::Result<Answer> {
    let mut request = request.clone();
    if request.headers.first("host").is_none() {
        request.headers.set("Host", &address.to_string());
    }
    request.headers.set("Content-Length", &body.len().to_string());
    request.headers.set("Connection", "close");
    let mut connection = Connection::open(address)?;
    connection.write_request(&request)?;
    // Who refuses a request without reading its body answers all the same.
    let written = connection.stream().write_all(body);
    match connection.read_answer(&request.method) {
        Ok(answer) => Ok(answer),
        Err(error) => Err(written.err().unwrap_or(error)),
    }
}

/// Percent-encodes what may not stand in a path or a query as it is; `/` only when asked to.
#[must_use]
pub fn percent_encoded(text: &str, slash_too: bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (byte == b'/' && !slash_too);
        if plain {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The reverse of [`percent_encoded`]; what is no valid encoding stays as it is.
#[must_use]
pub fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while let Some(&byte) = bytes.get(position) {
        let pair = text.get(position + 1..position + 3).filter(|_| byte == b'%');
        if let Some(value) = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            decoded.push(value);
            position += 3;
        } else {
            decoded.push(byte);
            position += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Text as it stands in XML.
#[must_use]
pub fn xml_escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_goes_both_ways() {
        assert_eq!(percent_encoded("a b/ü~", false), "a%20b/%C3%BC~");
        assert_eq!(percent_encoded("a/b", true), "a%2Fb");
        assert_eq!(percent_decoded("a%20b/%c3%BC~"), "a b/ü~");
        assert_eq!(percent_decoded("100%"), "100%");
        assert_eq!(percent_decoded("%zz%4"), "%zz%4");
    }

    #[test]
    fn xml_is_picked_apart() {
        let answer = Answer { head: Response::new(200), body: b"<a><Code>X</Code></a>".to_vec() };
        assert_eq!(answer.xml("Code").as_deref(), Some("X"));
        assert_eq!(answer.xml("Key"), None);
    }
}
