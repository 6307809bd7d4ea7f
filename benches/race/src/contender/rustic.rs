//! rustic's commands.

use std::process::Command;

use super::restic::subtree;
use super::{PASSPHRASE, Place, Task};
use crate::data::Source;

pub(super) fn commands(task: &Task<'_>, place: &Place<'_>, new: impl Fn() -> Command) -> Vec<Command> {
    let mut command = new();
    command
        .env("RUSTIC_REPOSITORY", place.repository())
        .env("RUSTIC_PASSWORD", PASSPHRASE)
        .env("RUSTIC_CACHE_DIR", place.cache())
        .args(["--no-progress", "--log-level", "warn"]);
    match task {
        Task::Initialize => command.args(["init", "--set-compression", "3"]),
        // Without --force it takes over the last stream of that name unread, whatever comes (0.11.4).
        Task::BackUp { source: Source::Stream { name, .. }, .. } => {
            command.args(["backup", "--force", "--stdin-filename", name, "-"])
        }
        Task::BackUp { source: Source::Tree(tree), .. } => command.arg("backup").arg(tree),
        Task::Restore { source: Source::Stream { name, .. }, .. } => {
            command.args(["dump", &format!("latest:{name}")])
        }
        Task::Restore { source: Source::Tree(tree), .. } => {
            command.arg("restore").arg(subtree(tree)).arg(place.restored())
        }
        Task::Check => command.args(["check", "--read-data"]),
        // By default it deletes a day later.
        Task::ForgetAndPrune { .. } => {
            command.args(["forget", "--keep-last", "1", "--prune", "--instant-delete"])
        }
    };
    vec![command]
}
