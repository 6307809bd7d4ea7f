//! Whether a node runs on a data directory, as far as locks tell.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::error::LedgerError;
use super::scan::scan;
use crate::files::Excludes;

/// The bytes of a file of SQLite that its locks are on.
const SQLITE_LOCKS: (u64, u64) = (0x4000_0000, 512);
/// RocksDB and LevelDB lock all of it.
const STORE_LOCK: &str = "LOCK";

/// Refuses a directory whose databases another process holds locked.
///
/// A database in rollback mode that nobody reads or writes at the moment is not locked, and so is not seen.
///
/// # Errors
/// `InUse`; `Root` where it cannot be read.
pub(super) fn refuse_if_in_use(target: &Path) -> Result<(), LedgerError> {
    let found = scan(target, &Excludes::default())?;
    let of_sqlite = found.sqlite.iter().map(|path| (path.clone(), SQLITE_LOCKS));
    let of_stores = found.stores.iter().map(|folder| (folder.join(STORE_LOCK), (0, 0)));
    for (path, bytes) in of_sqlite.chain(of_stores) {
        if let Some(process) = holder(&path, bytes) {
            let file = path.strip_prefix(target).unwrap_or(&path).to_owned();
            return Err(LedgerError::InUse { target: target.to_owned(), file, process });
        }
    }
    Ok(())
}

/// Who holds a lock on these bytes (0 is all to the end): none if nobody does, with its number where the kernel tells it.
fn holder(path: &Path, (start, length): (u64, u64)) -> Option<Option<u32>> {
    let file = File::open(path).ok()?;
    let probe =
        Flock { start, length, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
    // A file system without locks has none.
    let found = fcntl_getlk(file.as_fd(), &probe).ok()??;
    Some(found.pid.and_then(|pid| u32::try_from(pid.as_raw_pid()).ok()))
}
