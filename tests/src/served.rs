//! A running `serve`: what it says on standard output, and what it answers.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails here")]

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::patience::PATIENCE;
use crate::sandbox::{Ran, Running, Sandbox, start};

const POLL: Duration = Duration::from_millis(50);

type Lines = Arc<(Mutex<Vec<Value>>, Condvar)>;

/// A `serve` on a free port of the loopback.
pub struct Served {
    /// `None` once it was told to stop.
    running: Option<Running>,
    lines: Lines,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// The rest.
    pub body: String,
}

impl Reply {
    /// A field of its head.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a metric, as it is named with its labels.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        let line =
            self.body.lines().find(|line| line.rsplit_once(' ').is_some_and(|(known, _)| known == name))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }
}

impl Served {
    /// Starts it, and waits until it listens.
    #[must_use]
    #[track_caller]
    pub fn start(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        let words =
            ["serve", "--json", "--listen", "127.0.0.1:0"].into_iter().chain(arguments.iter().copied());
        let mut running = start(&mut sandbox.command(words));
        let lines = Lines::default();
        let (stdout, told) = (running.stdout(), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                told.0.lock().expect("a test panicked").push(value);
                told.1.notify_all();
            }
        });
        let mut served =
            Self { running: Some(running), lines, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let listening = served.wait_for(|line| line["type"] == "serve");
        let address = listening["address"].as_str().expect("it says where it listens");
        served.address = address.parse().expect("it is an address");
        served
    }

    /// Waits for a line of its standard output, said before or not yet.
    #[track_caller]
    pub fn wait_for(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.lines.0.lock().expect("a test panicked");
        loop {
            if let Some(line) = lines.iter().find(|line| is_it(line)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it never said so: {lines:?}");
            lines = self.lines.1.wait_timeout(lines, left).expect("a test panicked").0;
        }
    }

    /// Asks for a page.
    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], "")
    }

    /// Asks for anything.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let stream = TcpStream::connect(self.address).expect("it does not listen");
        ask_over(stream, method, path, headers, body)
    }

    /// Asks again and again until the answer is as it should be.
    #[track_caller]
    pub fn until(&self, path: &str, is_it: impl Fn(&Reply) -> bool) -> Reply {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reply = self.get(path);
            if is_it(&reply) {
                return reply;
            }
            assert!(Instant::now() < deadline, "{path} never became what it should be: {reply:?}");
            std::thread::sleep(POLL);
        }
    }

    /// Sends a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        self.running.as_ref().expect("it was stopped").signal(signal);
    }

    /// Tells it to stop, and waits for its end.
    #[track_caller]
    pub fn stop(self) -> Ran {
        self.stop_by(Signal::TERM)
    }

    /// Tells it so by another signal.
    #[track_caller]
    pub fn stop_by(mut self, signal: Signal) -> Ran {
        let running = self.running.take().expect("it was stopped");
        running.signal(signal);
        running.wait()
    }
}

/// A test that fails leaves none behind.
impl Drop for Served {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
        }
    }
}

/// One request over a connection of any kind.
#[track_caller]
pub fn ask_over(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "host") {
        request.push_str("host: localhost\r\n");
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).expect("it does not read");
    let mut answer = Vec::new();
    // TLS may end without a farewell.
    let _ended = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("it answers nothing");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("it has a status");
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Reply { status, headers: headers.collect(), body: body.to_owned() }
}
