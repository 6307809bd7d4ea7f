//! The `strongroom` binary under test.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Names the binary to test; `cargo xtask test` sets it.
pub const BINARY_VARIABLE: &str = "STRONGROOM_TEST_BINARY";

/// A command that runs the `strongroom` under test against nothing of the caller's: no variable of the
/// environment that names a repository, a key or a configuration reaches it.
///
/// # Errors
/// When the binary has not been built: `cargo test` of this package alone does not build it.
pub fn strongroom() -> Result<Command> {
    let path = match std::env::var_os(BINARY_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => beside_this_executable()?,
    };
    ensure!(path.is_file(), "{} is not there: run `cargo build -p strongroom` first", path.display());
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
    Ok(command)
}

fn is_setting(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("STRONGROOM_") && !name.starts_with("STRONGROOM_TEST_")
}

/// Test executables lie in `target/PROFILE/deps/`, the binaries of the workspace in `target/PROFILE/`.
fn beside_this_executable() -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot tell where this test executable is")?;
    let folder = this.parent().and_then(Path::parent).context("the test executable has no target folder")?;
    Ok(folder.join("strongroom"))
}
