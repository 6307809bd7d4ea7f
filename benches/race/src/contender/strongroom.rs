//! strongroom's commands.

use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Place, Task, output};
use crate::data::Source;

pub(super) fn commands(task: &Task<'_>, place: &Place<'_>, new: impl Fn() -> Command) -> Vec<Command> {
    let new = || settled(new(), place);
    let mut command = new();
    match task {
        Task::Initialize => command.arg("init").arg("--key-file").arg(place.key()),
        Task::BackUp { source: Source::Stream { name, .. }, .. } => {
            command.args(["backup", "stdin", "--name", name])
        }
        Task::BackUp { source: Source::Tree(tree), .. } => command.args(["backup", "files"]).arg(tree),
        Task::Restore { source: Source::Stream { name, .. }, .. } => command.args(["cat", "latest", name]),
        Task::Restore { source: Source::Tree(tree), .. } => {
            command.args(["restore", "latest", "--subtree"]).arg(tree).arg("--target").arg(place.restored())
        }
        Task::Check => command.args(["check", "--read-data"]),
        Task::ForgetAndPrune { old } => {
            command.arg("forget").args(old);
            let mut prune = new();
            prune.args(["prune", "--grace", "0", "--orphan-age", "0"]);
            return vec![command, prune];
        }
    };
    vec![command]
}

/// The IDs of all snapshots but the latest.
pub(super) fn old_snapshots(mut command: Command, place: &Place<'_>) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Line {
        id: String,
    }
    command = settled(command, place);
    let said = output(command.arg("snapshots"))?;
    let ids = said.lines().map(|line| serde_json::from_str(line).map(|Line { id }| id));
    let mut ids: Vec<String> =
        ids.collect::<Result<_, _>>().context("the list of snapshots is not as expected")?;
    // They are listed from the oldest on.
    ids.pop();
    Ok(ids)
}

/// With `--timings`: how long each stage took.
fn settled(mut command: Command, place: &Place<'_>) -> Command {
    command
        .env("STRONGROOM_REPO", place.repository())
        .env("STRONGROOM_KEY_FILE", place.key())
        .env("STRONGROOM_CACHE_DIR", place.cache())
        .args(["--json", "--timings"]);
    command
}
