//! Snapshots as a folder that nothing can be written to (FUSE), to look around in and to copy single files out of.

mod file;
mod fuse;
mod inodes;
mod view;

use std::io;
use std::path::Path;

use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use strongroom_repository::RepositoryError;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use self::file::Ahead;
use self::fuse::{Handles, Snapshots};
use self::inodes::Inodes;
use self::view::{Shown, View};

/// Questions of the kernel that are answered at once.
const THREADS: usize = 4;

/// A folder that shows snapshots, until it is unmounted.
pub struct Mounted {
    session: BackgroundSession,
}

impl Mounted {
    /// Whether somebody else has unmounted it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.session.guard.is_finished()
    }

    /// Unmounts it.
    ///
    /// # Errors
    /// When it is in use.
    pub fn unmount(self) -> io::Result<()> {
        if self.has_ended() { self.session.join() } else { self.session.umount_and_join() }
    }
}

/// Shows `snapshots`, oldest first, in a folder; `allow_other`: to everybody who may see the files by their modes, and not
/// only to this user.
///
/// The reader lives as long as the process does, because what the kernel still asks is answered out of it. What cannot be read is
/// told to `say`: a number is all that the kernel passes on.
///
/// # Errors
/// When there is no FUSE, or it may not be used.
pub fn mount(
    reader: &'static Reader<'static>,
    snapshots: Vec<Snapshot>,
    folder: &Path,
    allow_other: bool,
    say: Box<dyn Fn(&RepositoryError) + Send + Sync>,
) -> io::Result<Mounted> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let shown = |snapshot: Snapshot| Shown {
        id: snapshot.id(),
        source: snapshot.manifest.source,
        started_ns: snapshot.manifest.started_ns,
        tree: snapshot.manifest.tree,
    };
    let snapshots = Snapshots {
        view: View::new(snapshots.into_iter().map(shown).collect()),
        reader,
        say,
        ahead: Ahead::start(reader, threads),
        inodes: Inodes::default(),
        open: Handles::default(),
        listings: Handles::default(),
        owner: (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()),
    };
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoDev,
        MountOption::NoSuid,
        MountOption::NoAtime,
        MountOption::FSName("strongroom".into()),
        MountOption::Subtype("strongroom".into()),
    ];
    if allow_other {
        config.acl = SessionACL::All;
        config.mount_options.push(MountOption::DefaultPermissions);
    }
    config.n_threads = Some(THREADS);
    config.clone_fd = true;
    let session = fuser::spawn_mount2(snapshots, folder, &config)?;
    Ok(Mounted { session })
}
