//! The checkout that `cargo xtask` works on, and the folder outside it that outlives it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use strongroom_tests::services::tools;

/// The root of the checkout.
pub(crate) fn root() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(manifest.parent().context("xtask lies in no workspace")?.to_owned())
}

/// The folder of slow installs, made if need be.
pub(crate) fn tools_folder() -> Result<PathBuf> {
    let folder = tools::tools_folder()
        .with_context(|| format!("neither {} nor HOME is set", tools::TOOLS_VARIABLE))?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The files of the project, relative to its root: the tracked ones, and the new ones that are not ignored.
pub(crate) fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listing = String::from_utf8(output(&mut git)?.stdout).context("a file name is not UTF-8")?;
    let mut files: Vec<PathBuf> = listing.split_terminator('\0').map(PathBuf::from).collect();
    // What was deleted and not yet committed as deleted is still listed.
    files.retain(|file| root.join(file).is_file());
    files.sort();
    files.dedup();
    Ok(files)
}

/// `cargo`, in the root of the checkout: the one that runs this xtask.
pub(crate) fn cargo() -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // `cargo run` tells this xtask about its own package; a cargo below must not take it for its own.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command.current_dir(root()?);
    Ok(command)
}

/// Runs a command quietly; its output, or an error that quotes what it said.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stdin(std::process::Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    ensure!(output.status.success(), "{name}: {}: {}", output.status, said.join("\n"));
    Ok(output)
}
