//! A store whose clock the test sets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::locked;
use crate::http::message::Request;
use crate::http::percent_decoded;
use crate::http::server::Server;

/// In front of an S3: whatever is written through it was written at the time that the test has set, in the head of an object and in
/// listings. Signatures go by the real time, which no answer hides.
#[derive(Debug)]
pub struct ClockProxy {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    now: Timestamp,
    /// By bucket and key, as paths have them.
    written: HashMap<String, Timestamp>,
}

impl ClockProxy {
    /// In front of `upstream`, as of `now`.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start(upstream: SocketAddr, now: Timestamp) -> Result<Self> {
        let state = Arc::new(Mutex::new(State { now, written: HashMap::new() }));
        let of_server = Arc::clone(&state);
        let server = Server::start(Some(upstream), move |exchange| {
            let path = exchange.request.path();
            let is_write = is_write(&exchange.request);
            if is_write {
                // Before it is there: nobody sees another time of it meanwhile.
                locked(&of_server).begin(&path);
            }
            let mut answer = exchange.fetch()?;
            let mut state = locked(&of_server);
            if is_write && answer.head.status == 200 {
                let now = state.now;
                state.written.insert(path, now);
            } else if exchange.request.parameter("list-type").is_some() {
                answer.body = state.listing(&path, &answer.text()).into_bytes();
            } else if let Some(time) = state.written.get(&path)
                && answer.head.headers.first("last-modified").is_some()
            {
                let date = DateTimePrinter::new().timestamp_to_rfc9110_string(time);
                answer.head.headers.set("Last-Modified", &date.map_err(std::io::Error::other)?);
            }
            drop(state);
            exchange.answer(&answer)
        });
        Ok(Self { server: server.context("no port for a proxy")?, state })
    }

    /// What is written from now on is written then.
    pub fn set(&self, now: Timestamp) {
        locked(&self.state).now = now;
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }
}

/// Whether it makes an object, if it succeeds: at once, or of parts.
fn is_write(request: &Request) -> bool {
    let has = |name| request.parameter(name).is_some();
    match request.method.as_str() {
        "PUT" => !has("partNumber") && !has("retention"),
        "POST" => has("uploadId"),
        _ => false,
    }
}

impl State {
    /// Of something that was never written: what is refused because it is there keeps its time.
    fn begin(&mut self, path: &str) {
        let now = self.now;
        self.written.entry(path.to_owned()).or_insert(now);
    }

    /// Of `ListObjectsV2`, with the times of what was written through here.
    fn listing(&self, bucket: &str, xml: &str) -> String {
        let mut parts = xml.split("<Contents>");
        let mut all = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            all.push_str("<Contents>");
            all.push_str(&self.listed(bucket, part).unwrap_or_else(|| part.to_owned()));
        }
        all
    }

    fn listed(&self, bucket: &str, object: &str) -> Option<String> {
        let (_, rest) = object.split_once("<Key>")?;
        let (key, _) = rest.split_once("</Key>")?;
        let path = format!("{}/{}", bucket.trim_end_matches('/'), percent_decoded(key));
        let time = self.written.get(&path)?;
        let (before, rest) = object.split_once("<LastModified>")?;
        let (_, after) = rest.split_once("</LastModified>")?;
        Some(format!("{before}<LastModified>{time}</LastModified>{after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::message::Response;
    use crate::http::{Answer, send};

    #[test]
    fn what_is_written_was_written_when_the_test_says() {
        let store = Server::start(None, |exchange| {
            let _body = exchange.body()?;
            let head = Response::new(200).with("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT");
            let one = |key| {
                format!("<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>1</Size></Contents>")
            };
            let body = format!("<L>{}{}</L>", one("j%2F1"), one("other"));
            exchange.answer(&Answer { head, body: body.into_bytes() })
        })
        .unwrap();
        let proxy = ClockProxy::start(store.address(), "2020-02-02T02:00:00Z".parse().unwrap()).unwrap();
        let ask = |method, target| send(proxy.server.address(), &Request::new(method, target), b"").unwrap();
        ask("PUT", "/b/j/1");
        proxy.set("2021-01-01T00:00:00Z".parse().unwrap());
        let time =
            |method, target| ask(method, target).head.headers.first("last-modified").unwrap().to_owned();
        assert_eq!(time("GET", "/b/j/1"), "Sun, 02 Feb 2020 02:00:00 GMT");
        assert_eq!(time("HEAD", "/b/j/1"), "Sun, 02 Feb 2020 02:00:00 GMT");
        assert_eq!(time("GET", "/b/other"), "Thu, 01 Jan 2026 00:00:00 GMT");
        let listed = ask("GET", "/b?list-type=2").text();
        assert!(
            listed.contains("<Key>j%2F1</Key><LastModified>2020-02-02T02:00:00Z</LastModified><Size>"),
            "{listed}"
        );
        assert!(listed.contains("<Key>other</Key><LastModified>2026-01-01T00:00:00.000Z<"), "{listed}");
        ask("PUT", "/b/j/1");
        assert_eq!(time("GET", "/b/j/1"), "Fri, 01 Jan 2021 00:00:00 GMT");
    }
}
