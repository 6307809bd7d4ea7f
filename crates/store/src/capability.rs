//! What some stores can do beyond [`Store`](crate::Store): keep older versions, refuse to delete, hold data in cold
//! storage. A store that cannot says so by `None`.

use std::time::Duration;

use crate::error::StoreError;
use crate::name::ObjectName;

/// A store that keeps what was written over or deleted, as versioned buckets do.
///
/// Nothing of this project replaces an object; somebody with more rights than that may have. What they replaced is
/// still there as an older version.
pub trait History: Send + Sync {
    /// The versions of one name, newest first. None is no error.
    ///
    /// # Errors
    /// As [`Store::list`](crate::Store::list).
    fn versions(&self, name: &ObjectName) -> Result<Vec<Version>, StoreError>;

    /// The names under a prefix of which there are versions, but the newest says that it was deleted; in no order.
    /// None is no error.
    ///
    /// # Errors
    /// As [`Store::list`](crate::Store::list).
    fn deleted(&self, prefix: &str) -> Result<Vec<ObjectName>, StoreError>;

    /// The whole of one version.
    ///
    /// # Errors
    /// As [`Store::get`](crate::Store::get); [`StoreError::NotFound`] for a delete marker as well.
    fn get_version(&self, name: &ObjectName, id: &str, max_length_bytes: u64) -> Result<Vec<u8>, StoreError>;

    /// Copies a version over its own name, so that every reader is given it again: the only write that replaces.
    /// The versions in between stay. Needs rights that no writer has.
    ///
    /// # Errors
    /// As [`Store::put_if_absent`](crate::Store::put_if_absent); [`StoreError::NotFound`].
    fn make_newest(&self, name: &ObjectName, id: &str) -> Result<(), StoreError>;
}

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The store's own name for it.
    pub id: String,
    /// Its length; 0 for a delete marker.
    pub length_bytes: u64,
    /// When it was written, by the store's clock: milliseconds since 1970-01-01T00:00:00Z.
    pub modified_ms: u64,
    /// Whether it is what [`Store::get`](crate::Store::get) reads.
    pub is_newest: bool,
    /// Whether it says that the object was deleted, and has no bytes.
    pub is_delete_marker: bool,
}

/// A store that can be told to refuse to delete an object, or a version of it, for some time (S3 Object Lock).
pub trait Retention: Send + Sync {
    /// What every later put asks for; nothing at first. `None` ends that, and releases nothing.
    ///
    /// Each name gets what [`ObjectLock::duration_of`] says. A put whose bucket has no Object Lock fails with
    /// [`StoreError::NotLockable`].
    fn set(&self, lock: Option<ObjectLock>);

    /// Retains the newest version until at least `until_ms` (milliseconds since 1970), in the stricter of the mode that
    /// was [`set`](Retention::set) (governance if none) and that which it has. One retained for longer stays as it is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::NotLockable`], [`StoreError::PermissionDenied`], ...
    fn extend(&self, name: &ObjectName, until_ms: u64) -> Result<(), StoreError>;

    /// Until when the newest version is retained, in milliseconds since 1970, if at all, and if this user may know.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::PermissionDenied`], ...
    fn retain_until(&self, name: &ObjectName) -> Result<Option<u64>, StoreError>;
}

/// For how long what is put is retained, and against whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLock {
    /// Who may end it early.
    pub mode: LockMode,
    /// Of packs, index objects, parity and log archives.
    pub data: Duration,
    /// Of what everything else hangs on: config, keys, journal and checkpoints.
    pub keys: Duration,
}

/// Who may delete a retained version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Whoever has a special right (`s3:BypassGovernanceRetention`).
    Governance,
    /// Nobody, the account's root included.
    Compliance,
}

impl ObjectLock {
    /// How long a new object of this name is retained; `None` for those that may go at any time: `parts/`,
    /// `running/`, and whatever no other rule names.
    #[must_use]
    pub fn duration_of(&self, name: &ObjectName) -> Option<Duration> {
        match name.as_str().split_once('/').map_or(name.as_str(), |(folder, _)| folder) {
            "config" | "keys" | "journal" | "checkpoints" => Some(self.keys),
            "packs" | "meta" | "index" | "parity" | "wal" => Some(self.data),
            _ => None,
        }
    }
}

/// A store some of whose objects must be asked for hours before they can be read (Glacier, Deep Archive).
pub trait Archive: Send + Sync {
    /// Asks for a readable copy that is kept for `days`. Returns at once: the copy takes hours. Asking again, or for
    /// what can be read already, does no harm.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::PermissionDenied`], ...
    fn thaw(&self, name: &ObjectName, days: u32) -> Result<(), StoreError>;

    /// Whether the object can be read.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::PermissionDenied`], ...
    fn state(&self, name: &ObjectName) -> Result<ThawState, StoreError>;
}

/// Whether an object can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThawState {
    /// Now.
    Ready,
    /// When the copy that was asked for is there.
    Thawing,
    /// Not before somebody calls [`Archive::thaw`].
    Frozen,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_object_has_its_retention() {
        let (data, keys) = (Duration::from_secs(1), Duration::from_secs(2));
        let lock = ObjectLock { mode: LockMode::Compliance, data, keys };
        let duration = |name| lock.duration_of(&ObjectName::new(name).unwrap());
        for name in ["config", "keys/0a/1", "journal/1", "checkpoints/ffff"] {
            assert_eq!(duration(name), Some(keys), "{name}");
        }
        for name in ["packs/3f/3f09", "meta/3f/3f09", "index/a/b", "parity/1", "wal/1"] {
            assert_eq!(duration(name), Some(data), "{name}");
        }
        for name in ["parts/g/1", "running/1", "packsx/1", "conformance/config"] {
            assert_eq!(duration(name), None, "{name}");
        }
    }
}
