//! Where the programs of servers are.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

/// Names the folder of slow installs, outside the checkout; `~/.cache/strongroom-tools` when unset.
pub const TOOLS_VARIABLE: &str = "STRONGROOM_TOOLS_DIR";

/// The folder of slow installs; `None` where neither [`TOOLS_VARIABLE`] nor `HOME` is set.
#[must_use]
pub fn tools_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(TOOLS_VARIABLE).or_else(|| Some(set("HOME")?.join(".cache/strongroom-tools")))
}

/// The program that `variable` names, or else the one that `cargo xtask services install` put at `place` in the
/// tools folder. Not one on `PATH`: that may be of any version.
///
/// # Errors
/// When it is not there.
pub(super) fn program(variable: &str, place: impl AsRef<Path>) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "{variable} names {}, and there is no such program", path.display());
        return Ok(path);
    }
    let place = place.as_ref();
    match tools_folder().map(|folder| folder.join(place)) {
        Some(path) if path.is_file() => Ok(path),
        _ => bail!("{} is not in the tools folder (`cargo xtask test` installs it)", place.display()),
    }
}
