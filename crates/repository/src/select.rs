//! Choosing snapshots: by ID prefix, `latest`, `latest:SOURCE`, as of a time.

use strongroom_format::SnapshotId;

use crate::error::RepositoryError;
use crate::repository::Repository;
use crate::state::Snapshot;

const SHORTEST_PREFIX: usize = 4;

/// Which snapshot is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// Whose ID begins so.
    Prefix(String),
    /// The newest: of a source, not younger than a time.
    Latest {
        /// Only of this source.
        source: Option<String>,
        /// Only not younger than this, ms since 1970.
        until_ms: Option<i64>,
    },
}

impl Snapshot {
    /// When it was taken, ms since 1970: the store's time of its entry where that is known, else the client's.
    #[must_use]
    pub fn time_ms(&self) -> i64 {
        match i64::try_from(self.state.time_ms) {
            Ok(0) | Err(_) => self.manifest.finished_ns / 1_000_000,
            Ok(time_ms) => time_ms,
        }
    }
}

impl Repository {
    /// The one snapshot that `selector` means; `query` is how the user said it.
    ///
    /// # Errors
    /// `NoSuchSnapshot`, `AmbiguousSnapshot`, `SnapshotIdTooShort`.
    pub fn select(&self, query: &str, selector: &Selector) -> Result<&Snapshot, RepositoryError> {
        let snapshots = &self.state.snapshots;
        let none = || RepositoryError::NoSuchSnapshot {
            query: query.to_owned(),
            candidates: snapshots.iter().rev().take(5).map(label).collect(),
        };
        match selector {
            Selector::Latest { source, until_ms } => snapshots
                .iter()
                .rfind(|s| {
                    source.as_ref().is_none_or(|source| s.manifest.source == *source)
                        && until_ms.is_none_or(|until| s.time_ms() <= until)
                })
                .ok_or_else(none),
            Selector::Prefix(prefix) => {
                let prefix = prefix.to_lowercase();
                if prefix.is_empty()
                    || prefix.len() > SnapshotId::LENGTH * 2
                    || !prefix.bytes().all(|b| b.is_ascii_hexdigit())
                {
                    return Err(none());
                }
                if prefix.len() < SHORTEST_PREFIX {
                    return Err(RepositoryError::SnapshotIdTooShort { query: query.to_owned() });
                }
                let matching: Vec<&Snapshot> =
                    snapshots.iter().filter(|s| s.id().to_hex().starts_with(&prefix)).collect();
                match matching[..] {
                    [] => Err(none()),
                    [one] => Ok(one),
                    _ => Err(RepositoryError::AmbiguousSnapshot {
                        query: query.to_owned(),
                        candidates: matching.into_iter().map(label).collect(),
                    }),
                }
            }
        }
    }
}

fn label(snapshot: &Snapshot) -> String {
    format!("{} ({})", &snapshot.id().to_hex()[..16], snapshot.manifest.source)
}
