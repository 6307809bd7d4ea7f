//! Documents into an index, many at once.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::Deserialize;
use serde_json::Value;
use strongroom_repository::monitor::Monitor;

use super::error::OpensearchError;
use super::session::Session;
use crate::engine::EngineError;
use crate::http::{HttpTarget, encoded};
use crate::stop::Stop;

/// What a request has, bytes, unless a document is larger; servers take up to 100 MB.
const REQUEST_BYTES: usize = 4 << 20;
/// The largest answer, bytes.
const MOST_BYTES: u64 = 256 << 20;
/// How often what a busy server did not take is sent again, and how long is waited before the first time.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(250);
const LINES: (&str, &str) = ("content-type", "application/x-ndjson");
const INDEX: &[u8] = b"{\"index\":";
const CREATE: &[u8] = b"{\"create\":";

/// Where documents go.
pub(super) struct Load<'l> {
    pub(super) target: &'l HttpTarget,
    /// An index, or a data stream.
    pub(super) index: &'l str,
    pub(super) is_data_stream: bool,
    /// Connections.
    pub(super) jobs: usize,
}

/// A request: whole documents.
struct Batch {
    lines: Vec<u8>,
    documents: u64,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    items: Vec<Value>,
}

impl Load<'_> {
    /// Loads what `give` writes, as [`super::documents`] has it. Gives how many documents the server took.
    ///
    /// # Errors
    /// `Document`; as [`Session::send`]; what `give` fails with. With the number of those that it took until then.
    pub(super) fn run(
        &self,
        monitor: &dyn Monitor,
        give: impl FnOnce(&mut dyn Write, &dyn Monitor) -> Result<(), EngineError>,
    ) -> (u64, Result<(), EngineError>) {
        let stop = Stop::new(monitor);
        let (taken, failure) = (Mutex::new(0), Mutex::new(None));
        let given = std::thread::scope(|scope| {
            let (batches, batches_in) = bounded(1);
            for _ in 0..self.jobs.max(1) {
                let batches_in = batches_in.clone();
                scope.spawn(|| {
                    if let Err(error) = self.send_all(batches_in, &stop, &taken) {
                        stop.stop();
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                });
            }
            drop(batches_in);
            let mut writer =
                BatchWriter { batches, buffer: Vec::new(), whole: 0, documents: 0, is_within: false };
            give(&mut writer, &stop)?;
            writer.finish()
        });
        let taken = taken.into_inner().unwrap_or_else(PoisonError::into_inner);
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => (taken, Err(EngineError::from(error))),
            None => (taken, given),
        }
    }

    fn send_all(
        &self,
        batches: Receiver<Batch>,
        monitor: &dyn Monitor,
        taken: &Mutex<u64>,
    ) -> Result<(), OpensearchError> {
        let session = Session::open(self.target, monitor)?;
        for batch in batches {
            let documents = self.send(&session, batch)?;
            *taken.lock().unwrap_or_else(PoisonError::into_inner) += documents;
        }
        Ok(())
    }

    /// Until all of it is taken, or something is refused.
    fn send(&self, session: &Session<'_>, batch: Batch) -> Result<u64, OpensearchError> {
        // What a document went through it has gone through already.
        let path = format!(
            "/{}/_bulk?pipeline=_none&filter_path=items.*._id,items.*.status,items.*.error",
            encoded(self.index)
        );
        let mut lines = if self.is_data_stream { created(&batch.lines) } else { batch.lines };
        let (mut left, mut pause) = (batch.documents, PAUSE);
        for attempt in 1..=ATTEMPTS {
            let bytes = session.send("POST", &path, &lines, LINES, MOST_BYTES)?;
            let answer: Answer = serde_json::from_slice(&bytes)
                .map_err(|error| session.nonsense("POST", &path, &error.to_string()))?;
            if answer.items.len() as u64 != left {
                let why = format!("{left} documents were sent, and it tells of {}", answer.items.len());
                return Err(session.nonsense("POST", &path, &why));
            }
            let (busy, refused) = judge(&answer.items);
            if let Some((id, status, why)) = refused.first() {
                let others = match refused.len() {
                    1 => String::new(),
                    several => format!("; {} others of this request too", several - 1),
                };
                return Err(OpensearchError::Document {
                    id: id.clone(),
                    status: *status,
                    why: why.clone(),
                    others,
                });
            }
            if busy.is_empty() {
                return Ok(batch.documents);
            }
            if attempt < ATTEMPTS {
                lines = only(&lines, &busy);
                left = busy.len() as u64;
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSE * 40);
            }
        }
        let why = format!("it was busy {ATTEMPTS} times");
        Err(session.nonsense("POST", &path, &why))
    }
}

type Refused = (String, u16, String);

/// Which of a request's documents are to be sent again, and which are refused.
fn judge(items: &[Value]) -> (Vec<usize>, Vec<Refused>) {
    let (mut busy, mut refused) = (Vec::new(), Vec::new());
    for (number, item) in items.iter().enumerate() {
        let item = item.as_object().and_then(|item| item.values().next());
        let status = item.and_then(|item| item.get("status")?.as_u64()).unwrap_or_default();
        match status {
            200 | 201 => {}
            429 | 503 => busy.push(number),
            status => {
                let text =
                    |pointer: &str| item.and_then(|item| item.pointer(pointer)?.as_str()).unwrap_or_default();
                let (reason, cause) = (text("/error/reason"), text("/error/caused_by/reason"));
                let why = if cause.is_empty() { reason.to_owned() } else { format!("{reason}: {cause}") };
                refused.push((text("/_id").to_owned(), u16::try_from(status).unwrap_or_default(), why));
            }
        }
    }
    (busy, refused)
}

/// The documents of these numbers, which are in order.
fn only(lines: &[u8], numbers: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut wanted = numbers.iter().peekable();
    for (number, document) in documents_of(lines).enumerate() {
        if wanted.peek() == Some(&&number) {
            wanted.next();
            out.extend_from_slice(document);
        }
    }
    out
}

/// For a data stream, in which nothing is replaced.
fn created(lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len() + lines.len() / 64);
    for document in documents_of(lines) {
        match document.strip_prefix(INDEX) {
            Some(rest) => {
                out.extend_from_slice(CREATE);
                out.extend_from_slice(rest);
            }
            None => out.extend_from_slice(document),
        }
    }
    out
}

/// Each with its two lines.
pub(super) fn documents_of(mut lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let first = memchr::memchr(b'\n', lines)? + 1;
        let second = memchr::memchr(b'\n', lines.get(first..)?)? + 1;
        let (document, rest) = lines.split_at(first + second);
        lines = rest;
        Some(document)
    })
}

/// Cuts a stream between documents.
struct BatchWriter {
    batches: Sender<Batch>,
    buffer: Vec<u8>,
    /// Where the last whole document ends.
    whole: usize,
    documents: u64,
    /// Whether the first line of a document is there.
    is_within: bool,
}

impl BatchWriter {
    fn send(&mut self) -> std::io::Result<()> {
        let rest = self.buffer.split_off(self.whole);
        let lines = std::mem::replace(&mut self.buffer, rest);
        let documents = std::mem::take(&mut self.documents);
        self.whole = 0;
        // Whoever sends has failed, and says why.
        let gone = |_| std::io::Error::other("nobody sends any more");
        self.batches.send(Batch { lines, documents }).map_err(gone)
    }

    fn finish(mut self) -> Result<(), EngineError> {
        let write = |source| strongroom_repository::RepositoryError::Write { source };
        if self.whole > 0 {
            self.send().map_err(write)?;
        }
        match self.buffer.is_empty() {
            true => Ok(()),
            false => Err(write(std::io::Error::other("the last document is not whole")).into()),
        }
    }
}

impl Write for BatchWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let at = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        for newline in memchr::memchr_iter(b'\n', bytes) {
            if self.is_within {
                self.whole = at + newline + 1;
                self.documents += 1;
            }
            self.is_within = !self.is_within;
        }
        if self.whole >= REQUEST_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LINES: &[u8] = b"{\"index\":{\"_id\":\"1\"}}\n{}\n{\"index\":{\"_id\":\"2\"}}\n{\"a\":1}\n";

    #[test]
    fn every_item_is_looked_at() {
        let items = [
            json!({ "index": { "_id": "1", "status": 201 } }),
            json!({ "index": { "_id": "2", "status": 429, "error": { "reason": "full" } } }),
            json!({ "index": { "_id": "3", "status": 400, "error": { "reason": "no number", "caused_by": { "reason": "x" } } } }),
            json!({}),
        ];
        let (busy, refused) = judge(&items);
        assert_eq!(busy, [1]);
        assert_eq!(refused, [("3".into(), 400, "no number: x".into()), (String::new(), 0, String::new())]);
    }

    #[test]
    fn what_was_not_taken_is_sent_again_alone() {
        assert_eq!(only(LINES, &[1]), b"{\"index\":{\"_id\":\"2\"}}\n{\"a\":1}\n");
        assert!(only(LINES, &[]).is_empty());
        assert_eq!(
            created(LINES),
            b"{\"create\":{\"_id\":\"1\"}}\n{}\n{\"create\":{\"_id\":\"2\"}}\n{\"a\":1}\n"
        );
    }

    #[test]
    fn requests_end_between_documents() {
        let (batches, batches_in) = bounded(100);
        let mut writer =
            BatchWriter { batches, buffer: Vec::new(), whole: 0, documents: 0, is_within: false };
        let document = format!("{{\"index\":{{}}}}\n{{\"a\":\"{}\"}}\n", "x".repeat(1_000_000));
        let all = document.repeat(9);
        for piece in all.as_bytes().chunks(77_777) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap();
        let batches: Vec<Batch> = batches_in.try_iter().collect();
        assert_eq!(batches.iter().map(|batch| batch.documents).collect::<Vec<_>>(), [5, 4]);
        assert_eq!(batches.iter().flat_map(|batch| batch.lines.clone()).collect::<Vec<u8>>(), all.as_bytes());
    }
}
