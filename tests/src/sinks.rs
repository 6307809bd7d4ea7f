//! Where alerts go: a mail server and a web server that take all that they are sent, and give it to the test.
//!
//! Dropping one closes its port: who tells it something then cannot reach it.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails here")]

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use base64::Engine as _;
use serde_json::Value;

use crate::http::Answer;
use crate::http::message::{Request, Response};
use crate::http::server::Server;
use crate::patience::PATIENCE;

/// A web server that says 200 to everything.
#[derive(Debug)]
pub struct HttpSink {
    server: Server,
    received: Receiver<Posted>,
}

/// A request that came.
#[derive(Debug)]
pub struct Posted {
    /// Its head.
    pub request: Request,
    /// Its body.
    pub body: String,
}

impl Posted {
    /// The body as JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("the body is no JSON")
    }
}

impl HttpSink {
    /// Starts it on a free port of the loopback.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        let (taken, received) = channel();
        let server = Server::start(None, move |exchange| {
            let body = String::from_utf8_lossy(exchange.body()?).into_owned();
            // A test that has ended wants nothing more.
            let _wanted = taken.send(Posted { request: exchange.request.clone(), body });
            exchange.answer(&Answer { head: Response::new(200), body: Vec::new() })
        });
        Self { server: server.expect("no free port"), received }
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        self.server.endpoint()
    }

    /// The next request, when it comes.
    #[must_use]
    #[track_caller]
    pub fn next(&self) -> Posted {
        self.received.recv_timeout(PATIENCE).expect("nothing was posted")
    }

    /// One that has come and was not asked for yet.
    #[must_use]
    pub fn another(&self) -> Option<Posted> {
        self.received.try_recv().ok()
    }
}

/// A mail server without TLS that takes any password.
#[derive(Debug)]
pub struct MailSink {
    address: SocketAddr,
    received: Receiver<Letter>,
    is_over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

/// A letter that came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Letter {
    /// User and password, where it was sent by somebody who has one.
    pub login: Option<(String, String)>,
    /// To whom, as the server was told.
    pub to: Vec<String>,
    /// Head and body, each of their lines whole.
    pub text: String,
}

impl MailSink {
    /// Starts it on a free port of the loopback.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("no free port");
        let address = listener.local_addr().expect("it has an address");
        let is_over = Arc::new(AtomicBool::new(false));
        let (taken, received) = channel();
        let of_acceptor = Arc::clone(&is_over);
        let acceptor = std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if of_acceptor.load(Ordering::SeqCst) {
                    return;
                }
                // A client that goes away is the client's trouble.
                let _ended = take_letters(client, &taken);
            }
        });
        Self { address, received, is_over, acceptor: Some(acceptor) }
    }

    /// `127.0.0.1:PORT`
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Of a user, as configurations have it.
    #[must_use]
    pub fn url_of(&self, user: &str) -> String {
        format!("smtp://{user}@{}?tls=none", self.address)
    }

    /// The next letter, when it comes.
    #[must_use]
    #[track_caller]
    pub fn next(&self) -> Letter {
        self.received.recv_timeout(PATIENCE).expect("no letter came")
    }

    /// One that has come and was not asked for yet.
    #[must_use]
    pub fn another(&self) -> Option<Letter> {
        self.received.try_recv().ok()
    }
}

impl Drop for MailSink {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then closes the listener.
        let _woken = TcpStream::connect(self.address);
        let _ended = self.acceptor.take().map(JoinHandle::join);
    }
}

/// RFC 5321, and RFC 4954 for who it is.
fn take_letters(client: TcpStream, taken: &Sender<Letter>) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    let mut answer = client.try_clone()?;
    let mut say = |text: &str| answer.write_all(format!("{text}\r\n").as_bytes());
    let mut letter = Letter::default();
    let mut is_letter = false;
    say("220 sink")?;
    for line in BufReader::new(client).lines() {
        let line = line?;
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word.to_ascii_uppercase().as_str() {
            "." if is_letter => {
                is_letter = false;
                let done = std::mem::take(&mut letter);
                letter.login = done.login.clone();
                let _wanted = taken.send(Letter { text: whole_lines(&done.text), ..done });
                say("250 taken")?;
            }
            _ if is_letter => letter.text.push_str(&format!("{line}\n")),
            "EHLO" => say("250-sink\r\n250 AUTH PLAIN")?,
            "AUTH" => {
                letter.login = login(rest);
                say(if letter.login.is_some() { "235 welcome" } else { "535 who?" })?;
            }
            "RCPT" => {
                letter.to.extend(rest.split(['<', '>']).nth(1).map(str::to_owned));
                say("250 ok")?;
            }
            "DATA" => {
                is_letter = true;
                say("354 go on")?;
            }
            "QUIT" => return say("221 bye"),
            _ => say("250 ok")?,
        }
    }
    Ok(())
}

/// `PLAIN` and what RFC 4616 has it say.
fn login(text: &str) -> Option<(String, String)> {
    let (_, said) = text.split_once(' ')?;
    let said = String::from_utf8(base64::prelude::BASE64_STANDARD.decode(said).ok()?).ok()?;
    let mut parts = said.split('\0').skip(1).map(str::to_owned);
    Some((parts.next()?, parts.next()?))
}

/// Lines of a head go on in the next that begins with a space (RFC 5322), those of a body where one ends in `=` (RFC 2045).
fn whole_lines(text: &str) -> String {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    format!("{}\n\n{}", head.replace("\n ", " "), body.replace("=\n", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_taken_from_whoever_logs_in() {
        let sink = MailSink::start();
        let mut client = TcpStream::connect(sink.address()).unwrap();
        let said = base64::prelude::BASE64_STANDARD.encode("\0me\0s3cret");
        let lines = [
            "EHLO me",
            &format!("AUTH PLAIN {said}"),
            "MAIL FROM:<a@x>",
            "RCPT TO:<b@x>",
            "DATA",
            "Subject: one",
            " line",
            "",
            "one=",
            " line",
            ".",
            "QUIT",
        ];
        client.write_all((lines.join("\r\n") + "\r\n").as_bytes()).unwrap();
        let letter = sink.next();
        assert_eq!(letter.login, Some(("me".into(), "s3cret".into())));
        assert_eq!((letter.to, letter.text), (vec!["b@x".into()], "Subject: one line\n\none line\n".into()));
    }
}
