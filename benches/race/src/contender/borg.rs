//! borg's commands. An archive of borg's has a name of its own: here its number.

use std::process::Command;

use super::{PASSPHRASE, Place, Task};
use crate::data::Source;

pub(super) fn commands(task: &Task<'_>, place: &Place<'_>, new: impl Fn() -> Command) -> Vec<Command> {
    let new = || {
        let mut command = new();
        command
            .env("BORG_REPO", place.repository())
            .env("BORG_PASSPHRASE", PASSPHRASE)
            .env("BORG_BASE_DIR", place.cache());
        command
    };
    let create = |number: &usize| {
        let mut command = new();
        command.args(["create", "--compression", "zstd,3"]);
        (command, format!("::{number}"))
    };
    let command = match task {
        Task::Initialize => {
            let mut command = new();
            command.args(["init", "--encryption", "repokey-blake2"]);
            command
        }
        Task::BackUp { source: Source::Stream { name, .. }, number } => {
            let (mut command, archive) = create(number);
            command.args(["--stdin-name", name, &archive, "-"]);
            command
        }
        Task::BackUp { source: Source::Tree(tree), number } => {
            let (mut command, archive) = create(number);
            command.arg(archive).arg(tree);
            command
        }
        Task::Restore { source: Source::Stream { name, .. }, number } => {
            let mut command = new();
            command.args(["extract", "--stdout", &format!("::{number}"), name]);
            command
        }
        Task::Restore { source: Source::Tree(_), number } => {
            let mut command = new();
            // It restores to where it runs.
            command.current_dir(place.restored()).args(["extract", &format!("::{number}")]);
            command
        }
        Task::Check => {
            let mut command = new();
            command.args(["check", "--verify-data"]);
            command
        }
        Task::ForgetAndPrune { .. } => {
            let (mut prune, mut compact) = (new(), new());
            prune.args(["prune", "--keep-last", "1"]);
            compact.arg("compact");
            return vec![prune, compact];
        }
    };
    vec![command]
}
