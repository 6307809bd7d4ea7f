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
            Ok(0) | Err(_) => self.taken_ms(self.manifest.origin.map_or_else(
                || self.manifest.finished_ns / 1_000_000,
                |origin| i64::try_from(origin.time_ms).unwrap_or(i64::MAX),
            )),
            Ok(time_ms) => self.taken_ms(time_ms),
        }
    }

    /// The same, where it is known when its entry was appended: a copy is as old as what it was copied from.
    pub(crate) fn taken_ms(&self, appended_ms: i64) -> i64 {
        let origin = self.manifest.origin.and_then(|origin| i64::try_from(origin.time_ms).ok());
        origin.map_or(appended_ms, |origin_ms| origin_ms.min(appended_ms))
    }
}

impl Repository {
    /// The one snapshot that `selector` means; `query` is how the user said it.
    ///
    /// # Errors
    /// `NoSuchSnapshot`, `AmbiguousSnapshot`, `SnapshotIdTooShort`.
    pub fn select(&self, query: &str, selector: &Selector) -> Result<&Snapshot, RepositoryError> {
        let snapshots = &self.state.snapshots;
        match selector {
            Selector::Latest { source, until_ms } => snapshots
                .iter()
                .rfind(|s| {
                    source.as_ref().is_none_or(|source| s.manifest.source == *source)
                        && until_ms.is_none_or(|until| s.time_ms() <= until)
                })
                .ok_or_else(|| no_such(snapshots, query)),
            Selector::Prefix(prefix) => by_prefix(snapshots, query, &prefix.to_lowercase()),
        }
    }
}

/// The one snapshot whose ID begins with `prefix`: lowercase hexadecimal.
fn by_prefix<'s>(
    snapshots: &'s [Snapshot],
    query: &str,
    prefix: &str,
) -> Result<&'s Snapshot, RepositoryError> {
    if prefix.is_empty()
        || prefix.len() > SnapshotId::LENGTH * 2
        || !prefix.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return Err(no_such(snapshots, query));
    }
    if prefix.len() < SHORTEST_PREFIX {
        return Err(RepositoryError::SnapshotIdTooShort { query: query.to_owned() });
    }
    let matching: Vec<&Snapshot> = snapshots.iter().filter(|s| s.id().to_hex().starts_with(prefix)).collect();
    match matching[..] {
        [] => Err(no_such(snapshots, query)),
        [one] => Ok(one),
        _ => Err(RepositoryError::AmbiguousSnapshot {
            query: query.to_owned(),
            candidates: matching.into_iter().map(label).collect(),
        }),
    }
}

fn no_such(snapshots: &[Snapshot], query: &str) -> RepositoryError {
    RepositoryError::NoSuchSnapshot {
        query: query.to_owned(),
        candidates: snapshots.iter().rev().take(5).map(label).collect(),
    }
}

fn label(snapshot: &Snapshot) -> String {
    format!("{} ({})", &snapshot.id().to_hex()[..16], snapshot.manifest.source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::example::snapshot as example;

    fn snapshot(first: [u8; 3]) -> Snapshot {
        let mut snapshot = example();
        snapshot.state.id.0 = [7; 32];
        snapshot.state.id.0[..3].copy_from_slice(&first);
        snapshot
    }

    #[test]
    fn prefixes_unique_ambiguous_short_and_unknown() {
        let snapshots = [snapshot([0xab, 0xcd, 0x01]), snapshot([0xab, 0xcd, 0x02]), snapshot([0xff, 0, 0])];
        let find = |prefix: &str| by_prefix(&snapshots, prefix, prefix).map(Snapshot::id);
        assert_eq!(find("abcd01").unwrap(), snapshots[0].id());
        assert_eq!(find("ff00").unwrap(), snapshots[2].id());
        match find("abcd") {
            Err(RepositoryError::AmbiguousSnapshot { candidates, .. }) => {
                assert_eq!(candidates, ["abcd010707070707 (db)", "abcd020707070707 (db)"]);
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(find("abc"), Err(RepositoryError::SnapshotIdTooShort { .. })));
        assert!(
            matches!(find("1234"), Err(RepositoryError::NoSuchSnapshot { candidates, .. }) if candidates.len() == 3)
        );
        assert!(matches!(find("xyzt"), Err(RepositoryError::NoSuchSnapshot { .. })));
        assert!(matches!(find(&"a".repeat(65)), Err(RepositoryError::NoSuchSnapshot { .. })));
    }
}
