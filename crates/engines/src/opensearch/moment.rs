//! A shard as it is at one moment, while it is written to.
//!
//! Its primary is asked where the server knows how: replicas may lag behind what is known of the primary.
//!
//! A point in time where the server knows it (OpenSearch from 2.4 on, Elasticsearch from 7.10 on), else a scroll. Documents come in
//! the order of their last changes (`_seq_no`), which is the same on every copy of a shard, after a restart and after its files were
//! merged: so what was there already comes in the same order again, and what is new comes last.

use serde_json::{Value, json};

use super::catalog::Definition;
use super::error::OpensearchError;
use super::session::{Server, Session};
use crate::http::encoded;

/// For how long after each page the server keeps it.
const KEEP: &str = "5m";
/// What a page should have, bytes, and the documents of one: at first, and at most, of a point in time and of a scroll.
pub(super) const PAGE_BYTES: u64 = 8 << 20;
const MOST_DOCUMENTS: usize = 10_000;
const SCROLL_DOCUMENTS: usize = 1000;
/// The largest page of which a smaller one can be asked for, bytes.
const TOO_MUCH: u64 = 4 * PAGE_BYTES;
/// The largest other one, bytes: documents have up to 100 MB.
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
    /// The most documents that a page may have.
    most_documents: usize,
}

impl<'s, 'm> Moment<'s, 'm> {
    /// Now. `by_scroll` is for roles that may search and make no points in time.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub(super) fn new(
        session: &'s Session<'m>,
        (index, definition): (&str, &Definition),
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
        let most_documents = most_documents(way, mean_bytes(session, index)?, definition.max_result_window());
        let mut moment =
            Self { session, index: index.to_owned(), shard, way, id: None, last: -1, most_documents };
        if way != Way::Scroll {
            let path = format!(
                "/{}/{path}?keep_alive={KEEP}&preference={}",
                encoded(index),
                preference(server, shard)
            );
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
        let most = if self.may_change_size() && size > 1 { TOO_MUCH } else { MOST_BYTES };
        // An index may have a pipeline that changes what searches find.
        let pipeline =
            if self.session.server.is_opensearch_from((2, 9)) { "search_pipeline=_none" } else { "" };
        // An index that nothing was written to knows no fields at all.
        let sort = json!([{ "_seq_no": { "order": "asc", "unmapped_type": "long" } }]);
        let mut ask = json!({
            "size": size, "sort": sort, "track_total_hits": true, "timeout": KEEP,
        });
        match (self.way, &self.id) {
            (Way::Scroll, None) => {
                let path = format!(
                    "/{}/_search?scroll={KEEP}&preference={}&{pipeline}",
                    encoded(&self.index),
                    preference(&self.session.server, self.shard)
                );
                self.session.send_again("POST", &path, Some(&ask), most)
            }
            // It goes on with every time that it is asked.
            (Way::Scroll, Some(id)) => {
                let ask = json!({ "scroll": KEEP, "scroll_id": id }).to_string();
                self.session.send("POST", "/_search/scroll", ask.as_bytes(), JSON, most)
            }
            (_, id) => {
                ask["pit"] = json!({ "id": id, "keep_alive": KEEP });
                ask["search_after"] = json!([self.last]);
                self.session.send_again("POST", &format!("/_search?{pipeline}"), Some(&ask), most)
            }
        }
    }

    /// Whether the size of a page can be chosen again: a scroll keeps that of its first.
    pub(super) fn may_change_size(&self) -> bool {
        self.way != Way::Scroll
    }

    /// The most documents that a page may have.
    pub(super) fn most_documents(&self) -> usize {
        self.most_documents
    }

    /// The page has been taken: it ended with this change.
    pub(super) fn go_on(&mut self, id: Option<&str>, last: i64) {
        self.last = last;
        if let Some(id) = id {
            self.id = Some(id.to_owned());
        }
    }
}

/// Which copy of a shard is asked. OpenSearch knows `_primary` from 2.8 on, Elasticsearch no more.
fn preference(server: &Server, shard: u32) -> String {
    match server.is_opensearch_from((2, 8)) {
        true => format!("_shards:{shard}|_primary"),
        false => format!("_shards:{shard}"),
    }
}

/// What a document of the index takes on the server's disk, bytes; as it is given it is of that kind.
fn mean_bytes(session: &Session<'_>, index: &str) -> Result<u64, OpensearchError> {
    let index = encoded(index);
    let counted: Value = session.get(&format!("/{index}/_count"))?;
    let stats: Value = session.get(&format!("/{index}/_stats/store"))?;
    let documents = counted.get("count").and_then(Value::as_u64).unwrap_or_default();
    let bytes = stats.pointer("/_all/primaries/store/size_in_bytes").and_then(Value::as_u64);
    Ok(bytes.unwrap_or_default() / documents.max(1))
}

/// So many that a page of documents of that size is none too large. `window` is what the index allows.
fn most_documents(way: Way, mean_bytes: u64, window: usize) -> usize {
    // A scroll cannot be asked for less later: other documents may be larger than these.
    let (bytes, most) = match way {
        Way::Scroll => (PAGE_BYTES / 2, SCROLL_DOCUMENTS),
        _ => (TOO_MUCH, MOST_DOCUMENTS),
    };
    let fitting = usize::try_from(bytes / mean_bytes.max(1)).unwrap_or(most);
    fitting.min(most).min(window).max(1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_large_as_documents_and_the_index_allow() {
        assert_eq!(most_documents(Way::PointInTime, 100, 10_000), 10_000);
        assert_eq!(most_documents(Way::PointInTime, 100, 50), 50);
        assert_eq!(most_documents(Way::PointInTime, 1 << 20, 10_000), 32);
        assert_eq!(most_documents(Way::ElasticPointInTime, 100 << 20, 10_000), 1);
        assert_eq!(most_documents(Way::Scroll, 0, 10_000), 1000);
        assert_eq!(most_documents(Way::Scroll, 0, 500), 500);
        assert_eq!(most_documents(Way::Scroll, 1 << 20, 500), 4);
    }

    #[test]
    fn the_primary_is_asked_where_the_server_knows_how() {
        let server = |distribution: &str, version: &str| Server {
            distribution: distribution.into(),
            version: version.into(),
            cluster_uuid: String::new(),
        };
        assert_eq!(preference(&server("opensearch", "2.19.1"), 3), "_shards:3|_primary");
        assert_eq!(preference(&server("opensearch", "2.7.0"), 3), "_shards:3");
        assert_eq!(preference(&server("elasticsearch", "7.17.0"), 3), "_shards:3");
    }
}
