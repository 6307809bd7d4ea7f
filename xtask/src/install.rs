//! Installing by the machine's own package clients: Debian's packages for the system, PyPI's in virtual
//! environments of the tools folder, all others in folders of it that name their version.

mod release;
mod relocated;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::checkout::{cargo, output, tools_folder};
pub(crate) use release::ReleasePackage;
pub(crate) use relocated::Relocated;

/// Written into a virtual environment last: an interrupted install has none and is done again.
const STAMP: &str = "installed";

/// Installs Debian packages, as root or by a `sudo` that asks nothing.
pub(crate) fn debian(packages: &[&str]) -> Result<()> {
    let Some(mut install) = apt_get() else {
        bail!(
            "cannot install {} here: that needs apt-get, and root or a sudo without password",
            packages.join(" ")
        )
    };
    eprintln!("installing Debian's {}", packages.join(" "));
    let _lock = lock("apt")?;
    let arguments = ["install", "--yes", "--no-install-recommends"];
    if output(install.args(arguments).args(packages)).is_ok() {
        return Ok(());
    }
    // A new machine has no package lists, an old one has stale ones.
    let (Some(mut update), Some(mut again)) = (apt_get(), apt_get()) else { bail!("apt-get went away") };
    output(update.arg("update"))?;
    output(again.args(arguments).args(packages))?;
    Ok(())
}

/// A virtual environment of the tools folder.
pub(crate) struct PythonEnvironment {
    /// The name of its folder.
    pub(crate) name: &'static str,
    /// What it holds, as pip writes it.
    pub(crate) requirements: &'static [&'static str],
}

impl PythonEnvironment {
    /// The folder of its programs, if an earlier run installed exactly these requirements.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        let folder = tools_folder().ok()?.join(self.name);
        let installed = std::fs::read_to_string(folder.join(STAMP)).ok()?;
        (installed == self.requirements.join("\n")).then(|| folder.join("bin"))
    }

    /// Makes it anew, unless another run does so meanwhile.
    pub(crate) fn install(&self) -> Result<()> {
        let _lock = lock(self.name)?;
        if self.find().is_some() {
            return Ok(());
        }
        eprintln!("installing PyPI's {}", self.requirements.join(" "));
        let folder = tools_folder()?.join(self.name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        make_environment(&folder)?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        output(pip.args(self.requirements))?;
        let stamp = folder.join(STAMP);
        std::fs::write(&stamp, self.requirements.join("\n"))
            .with_context(|| format!("cannot write {}", stamp.display()))
    }
}

/// A program that is built of a Go module, into `NAME-VERSION/` of the tools folder.
pub(crate) struct GoProgram {
    /// The name of the program: the last part of the module's.
    pub(crate) name: &'static str,
    /// The module.
    pub(crate) module: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
}

impl GoProgram {
    /// Builds it, unless another run does so meanwhile.
    pub(crate) fn install(&self) -> Result<()> {
        let module = format!("{}@{}", self.module, self.version);
        install_versioned(self.name, self.version, &format!("the Go module {module}"), |folder| {
            let go = on_path("go").context("Go is not installed")?;
            let mut install = Command::new(go);
            // What is built runs here: nothing of this machine's other settings for cross-compiling.
            install.args(["install", &module]).env("GOBIN", folder).env_remove("GOOS").env_remove("GOARCH");
            output(&mut install).map(drop)
        })
    }
}

/// A program that is built of a crate, into `NAME-VERSION/bin/` of the tools folder.
pub(crate) struct CargoProgram {
    /// The name of the program.
    pub(crate) name: &'static str,
    /// The crate.
    pub(crate) package: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
}

impl CargoProgram {
    /// The program, if it is there.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        let folder = tools_folder().ok()?.join(format!("{}-{}", self.name, self.version));
        Some(folder.join("bin").join(self.name)).filter(|program| program.is_file())
    }

    /// Builds it, unless another run does so meanwhile.
    pub(crate) fn install(&self) -> Result<()> {
        let what = format!("the crate {} {} (minutes)", self.package, self.version);
        install_versioned(self.name, self.version, &what, |folder| {
            let mut install = cargo()?;
            install.args(["install", "--quiet", "--locked", "--version", self.version, "--root"]).arg(folder);
            // Not among this checkout's own.
            install.arg("--target-dir").arg(folder.join("target")).arg(self.package);
            output(&mut install)?;
            std::fs::remove_dir_all(folder.join("target")).context("cannot remove what was built on the way")
        })
    }
}

/// A package of Node's registry, in `NAME-VERSION/` of the tools folder.
pub(crate) struct NodePackage {
    /// The package.
    pub(crate) name: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
}

impl NodePackage {
    /// Installs it, unless another run does so meanwhile.
    pub(crate) fn install(&self) -> Result<()> {
        let package = format!("{}@{}", self.name, self.version);
        install_versioned(self.name, self.version, &format!("Node's {package}"), |folder| {
            if on_path("npm").is_none() {
                debian(&["nodejs", "npm"])?;
            }
            let mut npm = Command::new("npm");
            npm.args(["install", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]);
            npm.arg("--prefix").arg(folder).arg(&package).current_dir(folder);
            output(&mut npm).map(drop)
        })
    }
}

/// A package of Maven Central with what it depends on, in `NAME-VERSION/lib/` of the tools folder.
pub(crate) struct MavenPackage {
    /// `GROUP:ARTIFACT`
    pub(crate) name: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
}

impl MavenPackage {
    /// Installs it, unless another run does so meanwhile.
    pub(crate) fn install(&self) -> Result<()> {
        let (group, artifact) = self.name.split_once(':').context("a package of Maven has a group")?;
        let what = format!("Maven's {} {}", self.name, self.version);
        install_versioned(artifact, self.version, &what, |folder| {
            if on_path("mvn").is_none() {
                debian(&["maven"])?;
            }
            let project = format!(
                "<project><modelVersion>4.0.0</modelVersion><groupId>tools</groupId><artifactId>tools</artifactId><version>1</version>\
                <dependencies><dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{}</version></dependency></dependencies></project>",
                self.version
            );
            std::fs::write(folder.join("pom.xml"), project).context("cannot write a project for Maven")?;
            let mut maven = Command::new("mvn");
            maven.args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "-DincludeScope=runtime"]);
            output(maven.arg("-DoutputDirectory=lib").current_dir(folder)).map(drop)
        })
    }
}

/// Makes `NAME-VERSION/` of the tools folder by `install`, which gets a folder of another name: what is there under
/// the right name is whole.
fn install_versioned(
    name: &str,
    version: &str,
    what: &str,
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    install_versioned_in(&tools_folder()?, name, version, what, install)
}

/// As [`install_versioned`], in another folder.
fn install_versioned_in(
    tools: &Path,
    name: &str,
    version: &str,
    what: &str,
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let _lock = lock(name)?;
    let folder = tools.join(format!("{name}-{version}"));
    if folder.exists() {
        return Ok(());
    }
    eprintln!("installing {what}");
    let partial = folder.with_file_name(format!("{name}-{version}.partial"));
    if partial.exists() {
        std::fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    std::fs::create_dir(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    install(&partial)?;
    std::fs::rename(&partial, &folder).with_context(|| format!("cannot name {}", folder.display()))
}

/// The program of that name on `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn make_environment(folder: &Path) -> Result<()> {
    let make = || output(Command::new("python3").args(["-m", "venv"]).arg(folder));
    // Debian's python3 comes without the module; its package of that name brings it.
    make().map(drop).or_else(|error| {
        debian(&["python3", "python3-venv"]).map_err(|_| error)?;
        make().map(drop)
    })
}

fn apt_get() -> Option<Command> {
    on_path("apt-get")?;
    let is_root = output(Command::new("id").arg("-u")).is_ok_and(|said| said.stdout == b"0\n");
    let mut command = if is_root {
        Command::new("apt-get")
    } else {
        on_path("sudo")?;
        output(Command::new("sudo").args(["--non-interactive", "true"])).ok()?;
        let mut sudo = Command::new("sudo");
        sudo.args(["--non-interactive", "--preserve-env=DEBIAN_FRONTEND", "apt-get"]);
        sudo
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    Some(command)
}

/// Two runs at once install one after the other; the lock goes with the value, or with the process.
fn lock(name: &str) -> Result<File> {
    let path = tools_folder()?.join(format!("{name}.lock"));
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
