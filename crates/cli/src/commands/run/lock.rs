//! Locks of what runs here. A lock ends with its process, a note in the journal does not: within the bounds of one folder of state,
//! the lock domain, what began and did not end was killed.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};
use strongroom_keys::random::{OsRandom, Random as _};
use strongroom_ops::run::Work;

use crate::context::Context;

/// Names a lock domain in place of the folder's: where something else sees to it that no two run at once, as a Job of Kubernetes does
/// of its pods, each of which has a folder of its own.
const VARIABLE: &str = "STRONGROOM_LOCK_DOMAIN";
/// The folder's own, beside its locks.
const FILE: &str = "domain";

/// The lock of one thing that is done of a repository, until it is dropped; `None` where another process has it.
pub(super) fn take(context: &Context<'_>, work: Work, source: Option<&str>) -> anyhow::Result<Option<File>> {
    let of = format!("{} {} {}", context.url()?, work.name(), source.unwrap_or_default());
    let path = folder(context)?.join(&blake3::hash(of.as_bytes()).to_hex()[..32]);
    let lock = File::create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(lock)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be locked", path.display())),
    }
}

/// The domain of these locks.
pub(in crate::commands) fn domain(context: &Context<'_>) -> anyhow::Result<String> {
    match std::env::var(VARIABLE).ok().filter(|name| !name.is_empty()) {
        Some(name) => Ok(name),
        None => domain_of(&folder(context)?),
    }
}

fn folder(context: &Context<'_>) -> anyhow::Result<PathBuf> {
    let folder = context.state_folder()?.join("run");
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(folder)
}

/// Made once, whoever comes first.
fn domain_of(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join(FILE);
    let read = || match std::fs::read_to_string(&path) {
        Ok(id) => Ok(Some(id)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    if let Some(id) = read()? {
        return Ok(id);
    }
    let mut id = [0; 16];
    OsRandom.fill(&mut id)?;
    let id = hex::encode(id);
    let made = || format!("{} cannot be made", path.display());
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(made)?;
    file.write_all(id.as_bytes()).with_context(made)?;
    match file.persist_noclobber(&path) {
        Ok(_) => Ok(id),
        Err(lost) if lost.error.kind() == ErrorKind::AlreadyExists => Ok(read()?.unwrap_or(id)),
        Err(lost) => Err(lost.error).with_context(made),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_domain_whoever_comes_first() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let of = |folder: &Path| {
            std::thread::scope(|scope| {
                let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| domain_of(folder).unwrap())).collect();
                let mut told: Vec<String> = asking.into_iter().map(|asking| asking.join().unwrap()).collect();
                told.dedup();
                told
            })
        };
        let told: Vec<Vec<String>> = folders.iter().map(|folder| of(folder.path())).collect();
        assert!(told.iter().all(|told| told.len() == 1 && told[0].len() == 32), "{told:?}");
        assert_ne!(told[0], told[1]);
        assert_eq!(of(folders[0].path()), told[0]);
    }
}
