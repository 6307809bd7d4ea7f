//! What can go wrong with a store.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

#[cfg(feature = "clouds")]
use crate::aws::AwsError;
use crate::name::{NameReason, ObjectName, PREFIX_MAX_BYTES};

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
        /// What a service answered; it may name the right that is missing.
        source: Option<Box<dyn Error + Send + Sync>>,
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
        "cannot create {object} safely: {location} cannot refuse a name that is taken (file systems need hard links \
         or a rename that replaces nothing, object stores conditional writes); use another place"
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
    /// The service failed, was busy, or the connection broke, in a way that another attempt may not meet.
    #[error("cannot {operation} {object} at {location} at present")]
    Transient {
        /// What was tried.
        operation: Operation,
        /// Object or prefix.
        object: String,
        /// The store.
        location: String,
        /// Whether the service asked for fewer requests.
        throttled: bool,
        /// What was answered.
        source: Box<dyn Error + Send + Sync>,
    },
    /// No connection: the request was never sent.
    #[error("no connection to {location}; check the endpoint, the network and the service")]
    Unreachable {
        /// The store.
        location: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Who answers there cannot prove to be the one it should be.
    #[error(
        "the certificate of {location} is not trusted; if it has an authority of its own, name its CA bundle"
    )]
    Untrusted {
        /// The store.
        location: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The bucket or container does not exist.
    #[error(
        "the bucket or container of {location} does not exist; create it, or check its name and the endpoint"
    )]
    NoSuchBucket {
        /// The store.
        location: String,
    },
    /// The bucket lies in another region than was asked.
    #[error("{location} is in {}; give that region", Region(region.as_deref()))]
    WrongRegion {
        /// The store.
        location: String,
        /// Where it is, if the service says so.
        region: Option<String>,
    },
    /// The store does not know who is asking.
    #[error("{location} cannot be used: {reason}")]
    Credentials {
        /// The store.
        location: String,
        /// What is wrong with them.
        reason: CredentialsReason,
        /// What was answered.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The object is in cold storage, and must be thawed before it can be read.
    #[error("{object} is in cold storage; ask for it to be thawed, which takes hours, and read it then")]
    Archived {
        /// The object asked for.
        object: ObjectName,
    },
    /// The store refuses to delete what is retained.
    #[error("{object} at {location} is retained and cannot be deleted yet")]
    Retained {
        /// The object.
        object: ObjectName,
        /// The store.
        location: String,
    },
    /// Retention was asked for, and the bucket has no Object Lock.
    #[error(
        "{object} cannot be retained: the bucket of {location} has no Object Lock; enable it on the bucket, or do \
         without"
    )]
    NotLockable {
        /// The object.
        object: ObjectName,
        /// The store.
        location: String,
    },
    /// The AWS client cannot be set up.
    #[cfg(feature = "clouds")]
    #[error("cannot open {location}")]
    Aws {
        /// The store.
        location: String,
        /// Why not.
        source: AwsError,
    },
    /// Not the URL of a store.
    #[error("{url:?} names no store: {reason}")]
    InvalidUrl {
        /// The URL as given, without secrets.
        url: String,
        /// What is wrong with it.
        reason: UrlReason,
    },
    /// An option that this store cannot do anything with.
    #[error("{value:?} is no {option} for {location}")]
    InvalidOption {
        /// Which.
        option: &'static str,
        /// Its value.
        value: String,
        /// The store.
        location: String,
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

/// Why credentials do not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsReason {
    /// There are none.
    #[error(
        "there are no credentials; give them by environment, profile, web identity, or the role of this machine"
    )]
    Missing,
    /// The service does not know them.
    #[error("the service does not know these credentials; check the access key and the endpoint")]
    Unknown,
    /// The secret does not fit the access key.
    #[error("the secret does not fit the access key, or something on the way changed the request")]
    Signature,
    /// They were good once.
    #[error("the credentials have expired; get new ones and run again")]
    Expired,
    /// This machine's clock is wrong, so that nothing it signs is believed.
    #[error("this machine's clock and the service's differ by too much; set the clock and run again")]
    Clock,
}

/// Why a URL names no store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlReason {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// No such kind of store.
    #[error("use a path, file:///PATH, s3://BUCKET/PREFIX, azure://CONTAINER/PREFIX or gs://BUCKET/PREFIX")]
    UnknownScheme,
    /// `s3:` without `//`.
    #[error("// must follow the scheme")]
    NoAuthority,
    /// `s3://` alone.
    #[error("the name of the bucket or container is missing")]
    NoBucket,
    /// What no bucket can be called.
    #[error("the bucket, container or account has a name that none can have")]
    InvalidBucket,
    /// A user or password, which would show in messages and process lists.
    #[error("credentials do not belong into a URL; give them by environment or profile")]
    Credentials,
    /// A host in front of the path of a file.
    #[error("a file URL needs three slashes and an absolute path: file:///PATH")]
    NotLocal,
    /// `%` not followed by two hexadecimal digits, or bytes that are no text.
    #[error("a % escape in it is wrong")]
    InvalidEscape,
    /// `?` or `#`.
    #[error("it has a ? or #, which no store URL has; options are given beside it")]
    Query,
    /// An empty component, `.` or `..`, a backslash or a control character.
    #[error("its prefix has an empty component, . or .., a backslash, or a control character")]
    InvalidPrefix,
    /// So long that object names would not fit.
    #[error("its prefix is longer than {PREFIX_MAX_BYTES} bytes")]
    TooLong,
}

/// For messages.
struct Region<'a>(Option<&'a str>);

impl fmt::Display for Region<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(region) => write!(f, "the region {region}"),
            None => f.write_str("another region, which the service does not name"),
        }
    }
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
    /// [`History::versions`](crate::History::versions)
    Versions,
    /// [`History::make_newest`](crate::History::make_newest)
    MakeNewest,
    /// [`Retention::extend`](crate::Retention::extend)
    Retain,
    /// [`Archive::thaw`](crate::Archive::thaw)
    Thaw,
}

impl Operation {
    /// Whether the call changes what is stored.
    #[must_use]
    pub fn is_mutation(self) -> bool {
        matches!(self, Self::Create | Self::Put | Self::Delete | Self::MakeNewest | Self::Retain | Self::Thaw)
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
            Self::Versions => "list the versions of",
            Self::MakeNewest => "restore a version of",
            Self::Retain => "retain",
            Self::Thaw => "thaw",
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
        !matches!(self, Self::Io { .. } | Self::Transient { .. })
    }

    /// Whether the same call may well succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. } | Self::Unreachable { .. })
    }

    /// Whether the service asked for fewer requests.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        matches!(self, Self::Transient { throttled: true, .. })
    }
}

/// What went wrong, and each cause that the text before it does not already end with.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.map(ToString::to_string).fold(error.to_string(), |message, cause| {
        if message.ends_with(&cause) { message } else { format!("{message}: {cause}") }
    })
}
