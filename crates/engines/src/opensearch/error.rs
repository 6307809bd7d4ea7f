//! Why OpenSearch could not be read or restored.

use strongroom_format::SnapshotId;

use crate::http::HttpError;

/// What went wrong, on which index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpensearchError {
    /// The server does not answer, or says no.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It answers what makes no sense.
    #[error("the answer of {server} to {what} makes no sense: {why}")]
    Answer {
        /// The server.
        server: String,
        /// What it was asked.
        what: String,
        /// What was wrong.
        why: String,
    },
    /// It is too old, or something else.
    #[error("{server} is {what}: OpenSearch from 1.0 on and Elasticsearch 7 are known")]
    NotSupported {
        /// The server.
        server: String,
        /// What it says it is.
        what: String,
    },
    /// Nothing matches.
    #[error("no index matches {patterns}; {there}")]
    NoIndex {
        /// What was asked for.
        patterns: String,
        /// What there is, in words.
        there: String,
    },
    /// Documents cannot be had as they were given.
    #[error(
        "index {index} does not keep its documents' _source as it was given ({why}): it cannot be backed up"
    )]
    NoSource {
        /// The index.
        index: String,
        /// Why.
        why: String,
    },
    /// Not all of a shard was read.
    #[error("shard {shard} of index {index} was not read whole: {why}")]
    Shard {
        /// The index.
        index: String,
        /// Its number.
        shard: u32,
        /// Why.
        why: String,
    },
    /// Another engine's.
    #[error("snapshot {snapshot} is not one of OpenSearch")]
    NotOpensearch {
        /// It.
        snapshot: SnapshotId,
    },
    /// What would be overwritten.
    #[error("{there} already: nothing was restored")]
    InTheWay {
        /// `index a is there`.
        there: String,
    },
    /// The server is older than that the snapshot came from.
    #[error("the snapshot is of {snapshot}, and {server} is older: {version}; nothing was restored")]
    Older {
        /// Name and version.
        snapshot: String,
        /// The server.
        server: String,
        /// Its name and version.
        version: String,
    },
    /// Two indices would become one, or a name is none.
    #[error("{why}: nothing was restored")]
    Rename {
        /// What is wrong.
        why: String,
    },
    /// Nothing would make it a data stream.
    #[error("{server} has no index template that makes {stream} a data stream: nothing was restored")]
    NoTemplate {
        /// The server.
        server: String,
        /// As which it was to be restored.
        stream: String,
    },
    /// What would replace an index cannot be made.
    #[error(
        "index {index} stays as it is, because one like the snapshot's cannot be made: nothing was restored"
    )]
    NotMade {
        /// The index.
        index: String,
        /// Why.
        source: Box<OpensearchError>,
    },
    /// No node may have its shards.
    #[error("no node of the cluster may have shard {shard} of index {index}: {why}")]
    Unassigned {
        /// The index.
        index: String,
        /// Its number.
        shard: u32,
        /// In the server's words.
        why: String,
    },
    /// It broke off in the middle.
    #[error("{left}")]
    Partial {
        /// What is there now, and what is not.
        left: String,
        /// Why.
        source: Box<crate::engine::EngineError>,
    },
    /// The server did not take a document.
    #[error("document {id} is refused ({status}): {why}{others}")]
    Document {
        /// The first.
        id: String,
        /// The code.
        status: u16,
        /// In the server's words.
        why: String,
        /// `; 3 others too`.
        others: String,
    },
    /// What the server then has is not what it was given.
    #[error("the server counts {there} documents in index {index}, which has {should}")]
    Count {
        /// The index.
        index: String,
        /// What it counts.
        there: u64,
        /// What was written.
        should: u64,
    },
}

/// A list as text.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 20;
    let names: Vec<&str> = names.into_iter().collect();
    let more = if names.len() > MOST { format!(" and {} more", names.len() - MOST) } else { String::new() };
    format!("{}{more}", names.iter().take(MOST).copied().collect::<Vec<_>>().join(", "))
}
