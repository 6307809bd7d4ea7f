//! What can go wrong with a store.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::name::{NameReason, ObjectName};

/// A call on a [`Store`](crate::Store) that failed, or a store that could not be opened.
///
/// After any error of `put_if_absent` or `delete` but those that say that nothing was done
/// ([`StoreError::is_without_effect`]) the object may or may not be there: read it back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such object.
    #[error("{object} is not in the store")]
    NotFound {
        /// The object asked for.
        object: ObjectName,
    },
    /// The object is longer than the caller is ready to hold; nothing was allocated.
    #[error(
        "{object} is {length_bytes} bytes long, more than the {limit_bytes} that such an object may have"
    )]
    TooLarge {
        /// The object asked for.
        object: ObjectName,
        /// Its length.
        length_bytes: u64,
        /// The caller's bound.
        limit_bytes: u64,
    },
    /// The object ends before the bytes that were asked for: it is damaged, or what names them is.
    #[error(
        "{object} ends at byte {length_bytes}, but {wanted_bytes} bytes from byte {offset} on were asked for"
    )]
    Truncated {
        /// The object asked for.
        object: ObjectName,
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        wanted_bytes: u64,
        /// Length the object has.
        length_bytes: u64,
    },
    /// The disk is full or a quota is used up. The object was not created, and what was written of it is removed.
    #[error("no space left (or quota used up) at {location} for {object}; make room there and run again")]
    NoSpace {
        /// Object, or path of a store to be created.
        object: String,
        /// The store.
        location: String,
    },
    /// The store does not let this user do this.
    #[error(
        "no permission to {operation} {object} at {location}; check owner and mode, or the role of this host"
    )]
    PermissionDenied {
        /// What was tried.
        operation: Operation,
        /// Object, prefix or path.
        object: String,
        /// The store.
        location: String,
    },
    /// The store cannot be written to at all at present.
    #[error("cannot {operation} {object}: {location} is read-only")]
    ReadOnly {
        /// What was tried.
        operation: Operation,
        /// Object or path.
        object: String,
        /// The store.
        location: String,
    },
    /// The store cannot create an object without the risk of replacing one, so it cannot be written to.
    #[error(
        "cannot create {object} safely: the file system of {location} has neither hard links nor a rename that \
         replaces nothing; use another file system"
    )]
    NoAtomicCreate {
        /// The object.
        object: ObjectName,
        /// The store.
        location: String,
    },
    /// Anything else that the operating system or the service answered.
    #[error("cannot {operation} {object} at {location}")]
    Io {
        /// What was tried.
        operation: Operation,
        /// Object, prefix or path.
        object: String,
        /// The store.
        location: String,
        /// What was answered.
        source: io::Error,
    },
    /// No store can be opened, or created, there.
    #[error("{} {reason}", path.display())]
    NotAStore {
        /// The path asked for.
        path: PathBuf,
        /// Why not.
        reason: NotAStoreReason,
    },
    /// Not the name of an object, or not a prefix of one.
    #[error("{name:?} names no object: {reason}")]
    InvalidName {
        /// The name as given.
        name: String,
        /// The rule it breaks.
        reason: NameReason,
    },
}

/// Why a path holds no store, or cannot become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAStoreReason {
    /// Nothing is there; perhaps a disk is not mounted.
    #[error("does not exist; is the disk mounted?")]
    Missing,
    /// Something is there, but no folder.
    #[error("is not a folder")]
    NotAFolder,
    /// A new store needs an empty folder.
    #[error("is not empty; choose a new or empty folder")]
    NotEmpty,
}

/// A call on a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Operation {
    /// Make a new store.
    Create,
    /// Open a store.
    Open,
    /// [`Store::put_if_absent`](crate::Store::put_if_absent)
    Put,
    /// [`Store::get`](crate::Store::get)
    Get,
    /// [`Store::get_range`](crate::Store::get_range)
    GetRange,
    /// [`Store::stat`](crate::Store::stat)
    Stat,
    /// [`Store::list`](crate::Store::list)
    List,
    /// [`Store::delete`](crate::Store::delete)
    Delete,
}

impl Operation {
    /// Whether the call changes what is stored.
    #[must_use]
    pub fn is_mutation(self) -> bool {
        matches!(self, Self::Create | Self::Put | Self::Delete)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::Put => "write",
            Self::Get | Self::GetRange => "read",
            Self::Stat => "look up",
            Self::List => "list",
            Self::Delete => "delete",
        })
    }
}

impl StoreError {
    /// Whether this says that the object is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the call certainly changed nothing. When not, a put or delete may have taken effect all the same.
    #[must_use]
    pub fn is_without_effect(&self) -> bool {
        !matches!(self, Self::Io { .. })
    }
}
