//! Small file systems of a test's own, to be full in.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};

use crate::services::unavailable;

/// A mounted tmpfs; dropping it unmounts it.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts a tmpfs of so many bytes on `path`, which is made; `None` where the test may not mount, which is then
    /// already counted as a skipped test.
    ///
    /// # Errors
    /// When mounting is impossible in CI.
    pub fn mount(path: &Path, bytes: u64) -> Result<Option<Self>> {
        std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        let (uid, gid) = (uzers::get_effective_uid(), uzers::get_effective_gid());
        let options = format!("size={bytes},mode=700,uid={uid},gid={gid}");
        let mut mount = privileged("mount");
        match mount.args(["-t", "tmpfs", "-o", &options, "strongroom-test"]).arg(path).output() {
            Ok(Output { status, .. }) if status.success() => Ok(Some(Self { path: path.to_owned() })),
            Ok(output) => {
                unavailable("a small disk", String::from_utf8_lossy(&output.stderr).trim()).map(|()| None)
            }
            Err(error) => unavailable("a small disk", &error.to_string()).map(|()| None),
        }
    }

    /// A path on it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Fills it to the last byte; gives the file that does, which may be deleted to make room again.
    ///
    /// # Errors
    /// When writing fails for another reason than a full disk.
    pub fn fill(&self) -> Result<PathBuf> {
        use std::io::Write;
        let path = self.path("filler");
        let mut file = std::fs::File::create(&path).context("cannot make the filler")?;
        for length in [1 << 16, 1 << 12, 1] {
            loop {
                match file.write_all(&vec![0; length]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("cannot fill the disk"),
                }
            }
        }
        Ok(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a destructor has nobody to tell that something is still open.
        let _unmounted = privileged("umount").arg("-l").arg(&self.path).output();
    }
}

/// A program run as root: directly, or by a `sudo` that asks for nothing.
fn privileged(program: &str) -> Command {
    if uzers::get_effective_uid() == 0 {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", program]);
    sudo
}
