//! What is known of the data of a group, from what each of its workers knew of its part.

use strongroom_repository::Repository;
use strongroom_repository::backup::group::{CommitOptions, Group, GroupCommit};
use strongroom_repository::monitor::Monitor;

use crate::clickhouse;
use crate::engine::EngineError;
use crate::redis;
#[cfg(feature = "clouds")]
use crate::s3;

/// Why the facts of parts cannot be joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Its backups have no parts.
    #[error("parts of the engine `{engine}` cannot be joined by this version of strongroom; use a newer one")]
    Engine {
        /// The engine.
        engine: String,
    },
    /// What a part knows of its data cannot be read.
    #[error("what part {number} of the group knows of its data cannot be read")]
    Facts {
        /// The part.
        number: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// Parts are of different things.
    #[error(
        "part {number} of the group has {what} {found}, and {expected} is expected: back all of it up again, as another group"
    )]
    Disagreement {
        /// The part.
        number: usize,
        /// What they do not agree on.
        what: &'static str,
        /// What that part has.
        found: String,
        /// What the first has.
        expected: String,
    },
}

/// Commits a group.
///
/// # Errors
/// `Join` when parts are not of one thing; what the repository fails with.
pub fn commit(
    repository: &mut Repository,
    group: &Group,
    options: &CommitOptions,
    monitor: &dyn Monitor,
) -> Result<GroupCommit, EngineError> {
    let engine = group.engine().to_owned();
    repository.commit_group(group, options, monitor, |entries, facts| match engine.as_str() {
        #[cfg(feature = "clouds")]
        s3::ENGINE => {
            let mut joined = s3::JoinedFacts::of(&facts)?;
            while let Some(entry) = entries.next_entry()? {
                joined.add(&entry);
            }
            Ok(joined.finish())
        }
        redis::ENGINE => redis::join(&facts),
        clickhouse::ENGINE => clickhouse::join(&facts),
        _ => Err(JoinError::Engine { engine }.into()),
    })
}

/// The facts of each part.
///
/// # Errors
/// `Facts`.
pub(crate) fn decoded<T: serde::de::DeserializeOwned>(facts: &[Vec<u8>]) -> Result<Vec<T>, JoinError> {
    let decode = |(number, json): (usize, &Vec<u8>)| {
        serde_json::from_slice(json).map_err(|source| JoinError::Facts { number, source })
    };
    (1..).zip(facts).map(decode).collect()
}

/// Whether all parts have the same.
///
/// # Errors
/// `Disagreement`.
pub(crate) fn agree<T>(parts: &[T], what: &'static str, of: impl Fn(&T) -> String) -> Result<(), JoinError> {
    let Some(expected) = parts.first().map(&of) else { return Ok(()) };
    for (number, part) in (1..).zip(parts) {
        let found = of(part);
        if found != expected {
            return Err(JoinError::Disagreement { number, what, found, expected });
        }
    }
    Ok(())
}
