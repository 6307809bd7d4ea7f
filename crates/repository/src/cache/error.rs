//! What can go wrong with a cache.

use crate::error::RepositoryError;

/// Why a cache failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The database.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// A file beside it.
    #[error("{what}")]
    File {
        /// What was done with which file.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A file is not what was written.
    #[error("{what} is damaged")]
    Damaged {
        /// Which.
        what: String,
    },
    /// It is at the end of what its files can number.
    #[error("it holds too much")]
    Full,
}

impl CacheError {
    /// For those who use the cache that lies there.
    pub(super) fn at(self, path: String) -> RepositoryError {
        match self {
            Self::Database(source) => RepositoryError::Cache { path, source },
            source => RepositoryError::CacheFile { path, source },
        }
    }

    pub(super) fn file(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::File { what, source }
    }
}
