//! A package of another Debian release than the machine's: fetched by an `apt-get` with settings of its own, from the
//! mirror that the machine is set up for, and unpacked into the tools folder. Nothing of the system changes, and no root
//! is needed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{install_versioned, on_path};
use crate::checkout::{output, tools_folder};

const SOURCES: &str = "/etc/apt";
/// What signs all of Debian's releases.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A package that needs no others, in `NAME-RELEASE/` of the tools folder.
pub(crate) struct ReleasePackage {
    /// The package.
    pub(crate) name: &'static str,
    /// The code name of the release.
    pub(crate) release: &'static str,
}

impl ReleasePackage {
    /// A file of it, by its path from the root, if it is installed.
    pub(crate) fn find(&self, file: &str) -> Option<PathBuf> {
        let folder = tools_folder().ok()?.join(format!("{}-{}", self.name, self.release));
        Some(folder.join(file)).filter(|file| file.is_file())
    }

    /// Unpacks it, unless another run does so meanwhile.
    pub(crate) fn install(&self) -> Result<()> {
        let what = format!("{} of Debian {}", self.name, self.release);
        install_versioned(self.name, self.release, &what, |folder| {
            if on_path("apt-get").is_none() || on_path("dpkg-deb").is_none() {
                bail!("{what} needs apt-get and dpkg-deb");
            }
            let release = Release::open(self.release)?;
            for package in release.download(self.name, WithNeeded::No)? {
                extract(&package, folder)?;
            }
            Ok(())
        })
    }
}

/// Unpacks a package as if `folder` were the root.
pub(super) fn extract(package: &Path, folder: &Path) -> Result<()> {
    output(Command::new("dpkg-deb").arg("--extract").arg(package).arg(folder)).map(drop)
}

/// Whether what a package needs is downloaded too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WithNeeded {
    Yes,
    No,
}

/// What a release of Debian has, as an `apt-get` of its own knows it.
pub(super) struct Release {
    own: tempfile::TempDir,
}

impl Release {
    pub(super) fn open(name: &str) -> Result<Self> {
        let own =
            tempfile::Builder::new().prefix("strongroom-apt-").tempdir().context("no temporary folder")?;
        let mirror = configured_mirror()?;
        let line = format!("deb [signed-by={KEYRING}] {mirror} {name} main\n");
        std::fs::write(own.path().join("sources.list"), line).context("cannot write a list of sources")?;
        // Nothing is installed there.
        std::fs::write(own.path().join("status"), "").context("cannot write a list of packages")?;
        for folder in ["state/lists/partial", "cache/archives/partial", "package"] {
            std::fs::create_dir_all(own.path().join(folder)).context("cannot make apt-get's folders")?;
        }
        let release = Self { own };
        output(release.apt_get().arg("update"))?;
        Ok(release)
    }

    fn apt_get(&self) -> Command {
        let mut command = Command::new("apt-get");
        let set = |name: &str, file: &str| format!("{name}={}", self.own.path().join(file).display());
        command.current_dir(self.own.path().join("package")).args(["--option", "Dir::Etc::SourceParts=-"]);
        for option in [
            set("Dir::Etc::SourceList", "sources.list"),
            set("Dir::State", "state"),
            set("Dir::State::status", "status"),
            set("Dir::Cache", "cache"),
            // The folder belongs to whoever runs this, and not to apt-get's own user.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.args(["--option", &option]);
        }
        command
    }

    /// The files of a package, and of what it needs.
    pub(super) fn download(&self, package: &str, needed: WithNeeded) -> Result<Vec<PathBuf>> {
        let folder = match needed {
            WithNeeded::No => {
                output(self.apt_get().args(["download", package]))?;
                self.own.path().join("package")
            }
            WithNeeded::Yes => {
                let only = ["install", "--yes", "--no-install-recommends", "--download-only", package];
                output(self.apt_get().args(only))?;
                self.own.path().join("cache/archives")
            }
        };
        let entries = std::fs::read_dir(&folder).context("cannot list what was downloaded")?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "deb"));
        files.sort();
        match files.is_empty() {
            true => bail!("apt-get downloaded nothing"),
            false => Ok(files),
        }
    }
}

/// Where this machine gets its own release from.
fn configured_mirror() -> Result<String> {
    let release = std::fs::read_to_string("/etc/os-release").context("which Debian is this?")?;
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let name = name.context("which Debian is this?")?.trim_matches('"');
    let parts = std::fs::read_dir(Path::new(SOURCES).join("sources.list.d")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = parts.map(|entry| entry.path()).collect();
    files.sort();
    files.insert(0, Path::new(SOURCES).join("sources.list"));
    let mirror = files.iter().find_map(|file| {
        let text = std::fs::read_to_string(file).ok()?;
        let is_deb822 = file.extension().is_some_and(|extension| extension == "sources");
        if is_deb822 { mirror_of_stanzas(&text, name) } else { mirror_of_lines(&text, name) }
    });
    mirror.with_context(|| format!("no source of {name} in {SOURCES}"))
}

/// `deb [options] URI suite components...`
fn mirror_of_lines(text: &str, release: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let line = line.trim().strip_prefix("deb ")?.trim_start();
        let line = match line.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => line,
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let [uri, suite, components @ ..] = words.as_slice() else { return None };
        (*suite == release && components.contains(&"main")).then(|| (*uri).to_owned())
    })
}

/// Stanzas of `Field: value`, with empty lines between them.
fn mirror_of_stanzas(text: &str, release: &str) -> Option<String> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| {
            let values = stanza.lines().filter_map(|line| line.split_once(':'));
            values.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
        };
        let has =
            |name, word| field(name).is_some_and(|value| value.split_whitespace().any(|one| one == word));
        let uri = field("URIs")?.split_whitespace().next()?;
        (has("Types", "deb") && has("Suites", release) && has("Components", "main")).then(|| uri.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_the_mirror() {
        let text = "# deb http://old/debian bookworm main\n\
                    deb http://other/tools bookworm-tools main\n\
                    deb-src http://source/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/a.gpg] http://mirror/debian bookworm main contrib\n";
        assert_eq!(mirror_of_lines(text, "bookworm").as_deref(), Some("http://mirror/debian"));
        assert_eq!(mirror_of_lines(text, "trixie"), None);
        assert_eq!(mirror_of_lines("deb http://mirror/debian bookworm contrib", "bookworm"), None);
    }

    #[test]
    fn stanzas_name_the_mirror() {
        let text = "Types: deb\nURIs: http://other/node\nSuites: nodistro\nComponents: main\n\n\
                    Types: deb deb-src\n# http://snapshot/debian\nURIs: http://mirror/debian\n\
                    Suites: bookworm bookworm-updates\nComponents: main\n\n\
                    Types: deb\nURIs: http://mirror/security\nSuites: bookworm-security\nComponents: main\n";
        assert_eq!(mirror_of_stanzas(text, "bookworm").as_deref(), Some("http://mirror/debian"));
        assert_eq!(mirror_of_stanzas(text, "bookworm-security").as_deref(), Some("http://mirror/security"));
        assert_eq!(mirror_of_stanzas(text, "trixie"), None);
    }
}
