//! A shard as it is at one moment, while it is written to.
//!
//! A point in time where the server knows it (OpenSearch from 2.4 on, Elasticsearch from 7.10 on), else a scroll. Documents come in
//! the order of their last changes (`_seq_no`), which is the same on every copy of a shard, after a restart and after its files were
//! merged: so what was there already comes in the same order again, and what is new comes last.

use serde_json::{Value, json};

use super::error::OpensearchError;
use super::session::Session;
use crate::http::encoded;

/// For how long after each page the server keeps it.
const KEEP: &str = "5m";
/// The largest page, bytes: documents have up to 100 MB.
const MOST_BYTES: u64 = 1 << 30;
const JSON: (&str, &str) = ("content-type", "application/json");

/// How a server keeps a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `/_search/point_in_time`
    PointInTime,
    /// `/_pit`
    ElasticPointInTime,
    /// `/_search?scroll`
    Scroll,
}

/// Dropped, it is given up at the server.
pub(super) struct Moment<'s, 'm> {
    session: &'s Session<'m>,
    index: String,
    shard: u32,
    way: Way,
    /// As the server calls it; a scroll has none before its first page.
    id: Option<String>,
    /// The number of the last change that was read.
    last: i64,
}

impl<'s, 'm> Moment<'s, 'm> {
    /// Now. `by_scroll` is for roles that may search and make no points in time.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub(super) fn new(
        session: &'s Session<'m>,
        index: &str,
        shard: u32,
        by_scroll: bool,
    ) -> Result<Self, OpensearchError> {
        let server = &session.server;
        let (way, path) = match server.number() {
            _ if by_scroll => (Way::Scroll, ""),
            number if server.is_elasticsearch() && number >= (7, 10) => (Way::ElasticPointInTime, "_pit"),
            number if !server.is_elasticsearch() && number >= (2, 4) => {
                (Way::PointInTime, "_search/point_in_time")
            }
            _ => (Way::Scroll, ""),
        };
        let mut moment = Self { session, index: index.to_owned(), shard, way, id: None, last: -1 };
        if way != Way::Scroll {
            let path = format!("/{}/{path}?keep_alive={KEEP}&preference=_shards:{shard}", encoded(index));
            // One that was made while its answer was lost is given up by the server, a little later.
            let made = session.send_again("POST", &path, None, MOST_BYTES)?;
            let made: Value = serde_json::from_slice(&made).unwrap_or_default();
            let id = made.get("pit_id").or_else(|| made.get("id")).and_then(Value::as_str);
            let none = || session.nonsense("POST", &path, "it has no pit_id");
            moment.id = Some(id.ok_or_else(none)?.to_owned());
        }
        Ok(moment)
    }

    /// The server's answer with the next so many documents, as it is.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub(super) fn page(&self, size: usize) -> Result<Vec<u8>, OpensearchError> {
        let mut ask = json!({
            "size": size, "sort": [{ "_seq_no": "asc" }], "track_total_hits": true, "timeout": KEEP,
        });
        match (self.way, &self.id) {
            (Way::Scroll, None) => {
                let path = format!(
                    "/{}/_search?scroll={KEEP}&preference=_shards:{}",
                    encoded(&self.index),
                    self.shard
                );
                self.session.send_again("POST", &path, Some(&ask), MOST_BYTES)
            }
            // It goes on with every time that it is asked.
            (Way::Scroll, Some(id)) => {
                let ask = json!({ "scroll": KEEP, "scroll_id": id }).to_string();
                self.session.send("POST", "/_search/scroll", ask.as_bytes(), JSON, MOST_BYTES)
            }
            (_, id) => {
                ask["pit"] = json!({ "id": id, "keep_alive": KEEP });
                ask["search_after"] = json!([self.last]);
                self.session.send_again("POST", "/_search", Some(&ask), MOST_BYTES)
            }
        }
    }

    /// Whether the size of a page can be chosen again: a scroll keeps that of its first.
    pub(super) fn may_change_size(&self) -> bool {
        self.way != Way::Scroll
    }

    /// The page has been taken: it ended with this change.
    pub(super) fn go_on(&mut self, id: Option<&str>, last: i64) {
        self.last = last;
        if let Some(id) = id {
            self.id = Some(id.to_owned());
        }
    }
}

impl Drop for Moment<'_, '_> {
    fn drop(&mut self) {
        let Some(id) = &self.id else { return };
        let (path, body) = match self.way {
            Way::PointInTime => ("/_search/point_in_time", json!({ "pit_id": [id] })),
            Way::ElasticPointInTime => ("/_pit", json!({ "id": id })),
            Way::Scroll => ("/_search/scroll", json!({ "scroll_id": [id] })),
        };
        // The server gives it up by itself, a little later.
        let _: Result<Value, _> = self.session.ask("DELETE", path, Some(&body));
    }
}
