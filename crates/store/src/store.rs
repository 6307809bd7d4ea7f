//! The seam between a repository and the place its objects live in.

use std::sync::Arc;

use crate::capability::{Archive, History, Retention};
use crate::error::StoreError;
use crate::name::ObjectName;

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum PutOutcome {
    /// The object is there, with these bytes, durably.
    Created,
    /// The name was taken, durably; perhaps with these very bytes, after an earlier attempt whose answer was lost.
    AlreadyExists,
}

/// What a store knows of an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Length of the object.
    pub length_bytes: u64,
    /// When it was created, by the store's clock: milliseconds since 1970-01-01T00:00:00Z.
    pub modified_ms: u64,
    /// Days from its creation that the store bills it for at least; 0 for as long as it is there. What the store does not
    /// tell, the options with which it was opened do.
    pub billed_days: u16,
}

/// A set of named immutable objects, shared by many hosts without coordination.
///
/// Every method may be called from many threads at once. Any may fail in passing ([`StoreError::is_transient`]), or
/// for reasons that concern the whole store (credentials, an unknown bucket).
/// [`conformance::suite`](crate::conformance::suite) says in code what is said here.
pub trait Store: Send + Sync {
    /// Creates an object, unless the name is taken. Nothing is ever replaced: of several callers at most one is told
    /// [`PutOutcome::Created`].
    ///
    /// The object appears whole or not at all, to other callers and after a crash; either outcome is durable
    /// when it is returned.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`], [`StoreError::PermissionDenied`], [`StoreError::ReadOnly`],
    /// [`StoreError::NoAtomicCreate`] and all others of which [`StoreError::is_without_effect`] says so: nothing was
    /// created. [`StoreError::Io`], [`StoreError::Transient`]: unknown, read the name back.
    fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError>;

    /// The whole object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::TooLarge`] before anything is allocated when it is longer than
    /// `max_length_bytes`; [`StoreError::PermissionDenied`], [`StoreError::Io`].
    fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError>;

    /// Exactly `length` bytes of the object, from byte `offset` on. No bytes may be asked for, at its end at most.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Truncated`] before anything is allocated when the object ends
    /// earlier; [`StoreError::PermissionDenied`], [`StoreError::Io`].
    fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError>;

    /// Length and time of the object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::PermissionDenied`], [`StoreError::Io`].
    fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError>;

    /// Calls `visit` with every object whose name begins with `prefix`, in the order of the names' bytes.
    ///
    /// A prefix is text, not a folder: `packs/3` finds `packs/3f/…`, and the empty one everything. What is there
    /// from before the call until its end is visited once; what comes or goes meanwhile, once or not at all.
    /// Unfinished objects and files that are no objects are never visited. A prefix that nothing has is no error.
    ///
    /// # Errors
    /// [`StoreError::InvalidName`] for a prefix no name can have; [`StoreError::PermissionDenied`],
    /// [`StoreError::Io`]; and whatever `visit` answers, which ends the list.
    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Like [`Store::list`], of what comes behind `after` only. Stores that list in pages begin with the page that
    /// holds it, so that a list that was cut off goes on where it ended.
    ///
    /// # Errors
    /// Those of [`Store::list`].
    fn list_after(
        &self,
        prefix: &str,
        after: &ObjectName,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.list(prefix, &mut |name, info| if name > *after { visit(name, info) } else { Ok(()) })
    }

    /// Deletes the object. A crash soon after may bring it back: whoever relies on its absence lists again.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::PermissionDenied`], [`StoreError::ReadOnly`], [`StoreError::Io`].
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError>;

    /// Where the store is, for messages: a path or URL without secrets.
    fn location(&self) -> String;

    /// Its older versions, if it keeps them.
    fn history(&self) -> Option<&dyn History> {
        None
    }

    /// Its means against deletion, if it has them.
    fn retention(&self) -> Option<&dyn Retention> {
        None
    }

    /// Its cold storage, if it has any.
    fn archive(&self) -> Option<&dyn Archive> {
        None
    }
}

macro_rules! forward {
    ($($pointer:ty),+) => {$(
        impl<S: Store + ?Sized> Store for $pointer {
            fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
                (**self).put_if_absent(name, bytes)
            }

            fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
                (**self).get(name, max_length_bytes)
            }

            fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
                (**self).get_range(name, offset, length)
            }

            fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
                (**self).stat(name)
            }

            fn list(
                &self,
                prefix: &str,
                visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
            ) -> Result<(), StoreError> {
                (**self).list(prefix, visit)
            }

            fn list_after(
                &self,
                prefix: &str,
                after: &ObjectName,
                visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
            ) -> Result<(), StoreError> {
                (**self).list_after(prefix, after, visit)
            }

            fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
                (**self).delete(name)
            }

            fn location(&self) -> String {
                (**self).location()
            }

            fn history(&self) -> Option<&dyn History> {
                (**self).history()
            }

            fn retention(&self) -> Option<&dyn Retention> {
                (**self).retention()
            }

            fn archive(&self) -> Option<&dyn Archive> {
                (**self).archive()
            }
        }
    )+};
}

forward!(Arc<S>, Box<S>, &S);
