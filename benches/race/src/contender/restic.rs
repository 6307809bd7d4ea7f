//! restic's commands. Its default compression is zstd's at level 3.

use std::path::Path;
use std::process::Command;

use super::{PASSPHRASE, Place, Task};
use crate::data::Source;

pub(super) fn commands(task: &Task<'_>, place: &Place<'_>, new: impl Fn() -> Command) -> Vec<Command> {
    let mut command = new();
    command
        .env("RESTIC_REPOSITORY", place.repository())
        .env("RESTIC_PASSWORD", PASSPHRASE)
        .env("RESTIC_CACHE_DIR", place.cache())
        .arg("--quiet");
    match task {
        Task::Initialize => command.arg("init"),
        Task::BackUp { source: Source::Stream { name, .. }, .. } => {
            command.args(["backup", "--stdin", "--stdin-filename", name])
        }
        Task::BackUp { source: Source::Tree(tree), .. } => command.arg("backup").arg(tree),
        Task::Restore { source: Source::Stream { name, .. }, .. } => command.args(["dump", "latest", name]),
        Task::Restore { source: Source::Tree(tree), .. } => {
            command.arg("restore").arg(subtree(tree)).arg("--target").arg(place.restored())
        }
        Task::Check => command.args(["check", "--read-data"]),
        Task::ForgetAndPrune { .. } => command.args(["forget", "--keep-last", "1", "--prune"]),
    };
    vec![command]
}

/// `latest:/the/tree`, which restores what is in it without the folders above.
pub(super) fn subtree(tree: &Path) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from("latest:");
    text.push(tree);
    text
}
