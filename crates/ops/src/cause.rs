//! Of what kind it was that went wrong: so that somebody who reads notes can count, and does not have to read words.

use serde::{Deserialize, Serialize};
use strongroom_engines::EngineError;
use strongroom_keys::KeysError;
use strongroom_repository::RepositoryError;

/// A class of causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The key management service: away, or it refused.
    Kms,
    /// Another key: there is none, or not the right one.
    Key,
    /// The store: away, full, or it refused.
    Store,
    /// What is stored is not what it should be.
    Damage,
    /// It took too long.
    Timeout,
    /// Somebody ended it.
    Interrupted,
    /// It was asked for in a way that makes no sense.
    Usage,
    /// All else: the server that is backed up, or that is restored into.
    #[serde(other)]
    Other,
}

impl Cause {
    /// Of what a repository failed with.
    #[must_use]
    pub fn of_repository(error: &RepositoryError) -> Self {
        match error {
            RepositoryError::Unlock { source, .. }
            | RepositoryError::DataKey { source, .. }
            | RepositoryError::Wrap { source, .. } => Self::of_keys(source),
            RepositoryError::NoSigner { .. } | RepositoryError::Fingerprint { .. } => Self::Key,
            RepositoryError::Store(_) => Self::Store,
            RepositoryError::Interrupted => Self::Interrupted,
            RepositoryError::Damaged { .. }
            | RepositoryError::Inconsistent { .. }
            | RepositoryError::ChunkUnavailable { .. }
            | RepositoryError::LogFileUnavailable { .. }
            | RepositoryError::Rollback { .. } => Self::Damage,
            RepositoryError::TooLittleMemory { .. } => Self::Usage,
            _ => Self::Other,
        }
    }

    /// Of why keys were not to be had.
    #[must_use]
    pub fn of_keys(error: &KeysError) -> Self {
        match error {
            KeysError::Kms(_) => Self::Kms,
            KeysError::Store(error) if !error.is_not_found() => Self::Store,
            _ => Self::Key,
        }
    }

    /// Of what an engine failed with.
    #[must_use]
    pub fn of_engine(error: &EngineError) -> Self {
        match error {
            EngineError::Repository(error) => Self::of_repository(error),
            _ => Self::Other,
        }
    }

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kms => "kms",
            Self::Key => "key",
            Self::Store => "store",
            Self::Damage => "damage",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::Usage => "usage",
            Self::Other => "other",
        }
    }

    /// From how it is written.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        let all =
            [Self::Kms, Self::Key, Self::Store, Self::Damage, Self::Timeout, Self::Interrupted, Self::Usage];
        all.into_iter().find(|cause| cause.name() == name).unwrap_or(Self::Other)
    }

    /// Whether it says nothing of what was tried: somebody ended it, or it made no sense.
    #[must_use]
    pub fn is_of_people(self) -> bool {
        matches!(self, Self::Interrupted | Self::Usage)
    }
}
