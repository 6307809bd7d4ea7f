//! The documents of a shard, as lines that the server takes back.
//!
//! ```text
//! {"index":{"_id":"1","routing":"a"}}
//! {"the":"document, as it was given"}
//! ```

use std::io::Read;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::OpensearchError;
use super::moment::{Moment, PAGE_BYTES};
use crate::fingerprint::Fingerprint;

/// The documents of the first page.
const FIRST_DOCUMENTS: usize = 100;
/// Blocks that are read ahead.
const AHEAD: usize = 2;
/// What a block has, bytes, unless a document is larger.
const BLOCK_BYTES: usize = 1 << 20;

/// What was read of a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) documents: u64,
    pub(super) bytes: u64,
    /// What they come to, in any order.
    pub(super) fingerprint: String,
}

/// Lines.
type Block = Result<Vec<u8>, OpensearchError>;

#[derive(Deserialize)]
struct Page<'p> {
    #[serde(borrow, default)]
    pit_id: Option<std::borrow::Cow<'p, str>>,
    #[serde(borrow, default, rename = "_scroll_id")]
    scroll_id: Option<std::borrow::Cow<'p, str>>,
    timed_out: bool,
    #[serde(rename = "_shards")]
    shards: Shards,
    #[serde(borrow)]
    hits: Hits<'p>,
}

#[derive(Deserialize)]
struct Shards {
    total: u32,
    successful: u32,
    #[serde(default)]
    failures: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Hits<'p> {
    #[serde(default)]
    total: Option<Total>,
    #[serde(borrow)]
    hits: Vec<Hit<'p>>,
}

#[derive(Deserialize)]
struct Total {
    value: u64,
}

#[derive(Deserialize)]
struct Hit<'p> {
    #[serde(borrow, rename = "_id")]
    id: &'p RawValue,
    #[serde(borrow, default, rename = "_routing")]
    routing: Option<&'p RawValue>,
    #[serde(borrow, default, rename = "_source")]
    source: Option<&'p RawValue>,
    sort: Vec<i64>,
}

/// Reads all of a shard, while `take` is given it as a stream.
///
/// # Errors
/// `Shard` when not all of it came, `NoSource`, as [`Moment::page`]; and what `take` fails with.
pub(super) fn read<E: From<OpensearchError>>(
    moment: Moment<'_, '_>,
    index: &str,
    shard: u32,
    take: impl FnOnce(&mut dyn Read) -> Result<u64, E>,
) -> Result<Tally, E> {
    std::thread::scope(|scope| {
        let (blocks, blocks_in) = bounded(AHEAD);
        let producer = Producer { moment, index, shard, blocks };
        scope.spawn(move || producer.run());
        let mut stream = Stream::new(blocks_in);
        let taken = take(&mut stream);
        // What it read of a stream that broke off is an error of the stream.
        if let Some(error) = stream.error.take() {
            return Err(error.into());
        }
        let bytes = taken?;
        Ok(Tally { documents: stream.documents, bytes, fingerprint: stream.fingerprint.to_hex() })
    })
}

/// The documents of the page after one of so many bytes and documents.
fn next_size(bytes: usize, found: usize, size: usize) -> usize {
    let average = (bytes / found.max(1)).max(1);
    usize::try_from(PAGE_BYTES).map_or(size, |page| page / average).clamp(1, size.saturating_mul(4))
}

/// Asks for the next page while the last one is stored.
struct Producer<'s, 'm, 'i> {
    moment: Moment<'s, 'm>,
    index: &'i str,
    shard: u32,
    blocks: Sender<Block>,
}

impl Producer<'_, '_, '_> {
    fn run(mut self) {
        if let Err(error) = self.read() {
            // Nobody listens when the other side failed first.
            let _ = self.blocks.send(Err(error));
        }
    }

    fn read(&mut self) -> Result<(), OpensearchError> {
        let most = self.moment.most_documents();
        let mut size = if self.moment.may_change_size() { FIRST_DOCUMENTS.min(most) } else { most };
        let (mut documents, mut total) = (0, None);
        loop {
            let bytes = match self.moment.page(size) {
                // These are larger than those before.
                Err(error) if error.is_too_much() && self.moment.may_change_size() && size > 1 => {
                    size /= 2;
                    continue;
                }
                page => page?,
            };
            let page: Page<'_> = serde_json::from_slice(&bytes)
                .map_err(|error| self.broken(format!("a page is no such: {error}")))?;
            page.require_whole().map_err(|why| self.broken(why))?;
            total = total.or(page.hits.total.as_ref().map(|total| total.value));
            let Some(last) = page.hits.hits.last() else { break };
            let last = *last.sort.first().ok_or_else(|| self.broken("a page has no order".into()))?;
            let found = page.hits.hits.len();
            documents += found as u64;
            if !self.give(&page)? {
                return Ok(());
            }
            let id = page.pit_id.as_deref().or(page.scroll_id.as_deref()).map(str::to_owned);
            self.moment.go_on(id.as_deref(), last);
            if self.moment.may_change_size() {
                size = next_size(bytes.len(), found, size).min(most);
            }
        }
        match total {
            Some(total) if total == documents => Ok(()),
            Some(total) => Err(self.broken(format!("{documents} of {total} documents came"))),
            None => Err(self.broken("the server does not say how many documents there are".into())),
        }
    }

    /// Whether somebody still wants them.
    fn give(&self, page: &Page<'_>) -> Result<bool, OpensearchError> {
        let mut block = Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 8);
        for hit in &page.hits.hits {
            let no_source = || OpensearchError::NoSource {
                index: self.index.to_owned(),
                why: format!("document {}", hit.id),
            };
            write_line(&mut block, hit, hit.source.ok_or_else(no_source)?);
            if block.len() >= BLOCK_BYTES {
                let full = std::mem::replace(&mut block, Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 8));
                if self.blocks.send(Ok(full)).is_err() {
                    return Ok(false);
                }
            }
        }
        Ok(block.is_empty() || self.blocks.send(Ok(block)).is_ok())
    }

    fn broken(&self, why: String) -> OpensearchError {
        OpensearchError::Shard { index: self.index.to_owned(), shard: self.shard, why }
    }
}

impl Page<'_> {
    /// Whether the shard answered, and with all that was asked for.
    fn require_whole(&self) -> Result<(), String> {
        if self.timed_out {
            return Err("the server gave up after 5 minutes".into());
        }
        if self.shards.total == 1 && self.shards.successful == 1 {
            return Ok(());
        }
        let reason =
            self.shards.failures.iter().find_map(|failure| failure.pointer("/reason/reason")?.as_str());
        Err(reason.unwrap_or("the shard does not answer").to_owned())
    }
}

fn write_line(block: &mut Vec<u8>, hit: &Hit<'_>, source: &RawValue) {
    block.extend_from_slice(br#"{"index":{"_id":"#);
    block.extend_from_slice(hit.id.get().as_bytes());
    if let Some(routing) = hit.routing {
        block.extend_from_slice(br#","routing":"#);
        block.extend_from_slice(routing.get().as_bytes());
    }
    block.extend_from_slice(b"}}\n");
    let at = block.len();
    block.extend_from_slice(source.get().as_bytes());
    // Between a document's values only: within a text it would be no JSON.
    for byte in block.iter_mut().skip(at) {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    block.push(b'\n');
}

/// What is read while it comes; counts what passes.
struct Stream {
    blocks: Receiver<Block>,
    block: Vec<u8>,
    /// What of the block has been read.
    read: usize,
    documents: u64,
    fingerprint: Fingerprint,
    error: Option<OpensearchError>,
}

impl Stream {
    fn new(blocks: Receiver<Block>) -> Self {
        Self {
            blocks,
            block: Vec::new(),
            read: 0,
            documents: 0,
            fingerprint: Fingerprint::default(),
            error: None,
        }
    }
}

/// Whole documents, two lines each, the second without insignificant spaces at its ends. Gives how many.
pub(super) fn count_documents(block: &[u8], fingerprint: &mut Fingerprint) -> u64 {
    let mut documents = 0;
    let mut rest = block;
    while let Some(end) = memchr::memchr(b'\n', rest).and_then(|first| {
        memchr::memchr(b'\n', rest.get(first + 1..).unwrap_or_default()).map(|second| first + 1 + second)
    }) {
        let (document, behind) = rest.split_at(end);
        fingerprint.add(document);
        fingerprint.end();
        documents += 1;
        rest = behind.get(1..).unwrap_or_default();
    }
    documents
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.read == self.block.len() {
            match self.blocks.recv() {
                Ok(Ok(block)) => (self.block, self.read) = (block, 0),
                Ok(Err(error)) => {
                    self.error = Some(error);
                    return Err(std::io::Error::other("the server's answer is not whole"));
                }
                // The last has been read.
                Err(_) => return Ok(0),
            }
            self.documents += count_documents(&self.block, &mut self.fingerprint);
        }
        let left = self.block.get(self.read..).unwrap_or_default();
        let length = left.len().min(out.len());
        out[..length].copy_from_slice(&left[..length]);
        self.read += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"{"pit_id":"p","took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},
        "hits":{"total":{"value":2,"relation":"eq"},"max_score":null,"hits":[
        {"_index":"a","_id":"1\n","_score":null,"_source":{"a" :
  "b\n"},"sort":[3]},{"_index":"a","_id":"2","_routing":"r","_score":null,"_source":{},"sort":[7]}]}}"#;

    #[test]
    fn documents_are_lines_as_they_were_given() {
        let page: Page<'_> = serde_json::from_str(PAGE).unwrap();
        page.require_whole().unwrap();
        let mut block = Vec::new();
        for hit in &page.hits.hits {
            write_line(&mut block, hit, hit.source.unwrap());
        }
        let lines = "{\"index\":{\"_id\":\"1\\n\"}}\n{\"a\" :   \"b\\n\"}\n{\"index\":{\"_id\":\"2\",\"routing\":\"r\"}}\n{}\n";
        assert_eq!(String::from_utf8(block.clone()).unwrap(), lines);
        let mut fingerprint = Fingerprint::default();
        assert_eq!(count_documents(&block, &mut fingerprint), 2);
        let mut other = Fingerprint::default();
        let (first, second) = lines.split_at(lines.find("{\"index\":{\"_id\":\"2").unwrap());
        assert_eq!(
            count_documents(second.as_bytes(), &mut other) + count_documents(first.as_bytes(), &mut other),
            2
        );
        assert_eq!(fingerprint.to_hex(), other.to_hex());
    }

    #[test]
    fn pages_become_larger_slowly_and_smaller_at_once() {
        assert_eq!(next_size(10_000, 100, 100), 400);
        assert_eq!(next_size(100 << 20, 100, 100), 8);
        assert_eq!(next_size(100 << 20, 1, 100), 1);
    }

    #[test]
    fn a_shard_that_does_not_answer_is_told() {
        let failed = PAGE.replace(
            r#""successful":1,"skipped":0,"failed":0"#,
            r#""successful":0,"failed":1,"failures":[{"reason":{"type":"x","reason":"no such index [a]"}}]"#,
        );
        let page: Page<'_> = serde_json::from_str(&failed).unwrap();
        assert_eq!(page.require_whole().unwrap_err(), "no such index [a]");
        let late = PAGE.replace(r#""timed_out":false"#, r#""timed_out":true"#);
        let page: Page<'_> = serde_json::from_str(&late).unwrap();
        assert!(page.require_whole().is_err());
    }
}
