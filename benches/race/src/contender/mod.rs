//! Who races, and by which commands: a file a tool.

mod borg;
mod restic;
mod rustic;
mod strongroom;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::data::Source;

/// Protects nothing: the data is generated, and deleted with the repository.
const PASSPHRASE: &str = "race";

/// A backup tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// This project's
    Strongroom,
    /// restic
    Restic,
    /// rustic
    Rustic,
    /// borg
    Borg,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Strongroom => "strongroom",
            Self::Restic => "restic",
            Self::Rustic => "rustic",
            Self::Borg => "borg",
        })
    }
}

/// Where a tool keeps everything in one round.
pub(crate) struct Place<'a>(pub(crate) &'a Path);

impl Place<'_> {
    pub(crate) fn repository(&self) -> PathBuf {
        self.0.join("repository")
    }

    /// Made anew for each restore of a tree.
    pub(crate) fn restored(&self) -> PathBuf {
        self.0.join("restored")
    }

    fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    fn key(&self) -> PathBuf {
        self.0.join("key")
    }
}

/// What a tool is to do.
pub(crate) enum Task<'a> {
    Initialize,
    /// The number counts a repository's snapshots, from 1.
    BackUp {
        source: Source<'a>,
        number: usize,
    },
    /// The latest snapshot, which has this number: a stream to standard output, a tree to [`Place::restored`].
    Restore {
        source: Source<'a>,
        number: usize,
    },
    Check,
    /// All but the latest; `old` names them, for a tool that wants names.
    ForgetAndPrune {
        old: Vec<String>,
    },
}

/// A tool that is installed.
pub(crate) struct Contender {
    pub(crate) tool: Tool,
    pub(crate) version: String,
    program: PathBuf,
}

impl Contender {
    pub(crate) fn new(tool: Tool, program: PathBuf) -> Result<Self> {
        let argument = if tool == Tool::Restic { "version" } else { "--version" };
        let said = output(Command::new(&program).arg(argument))?;
        let version = said.lines().next().unwrap_or_default().to_owned();
        Ok(Self { tool, version, program })
    }

    /// One after the other; together they are the operation.
    pub(crate) fn commands(&self, task: &Task<'_>, place: &Place<'_>) -> Vec<Command> {
        let new = || self.in_place(place);
        match self.tool {
            Tool::Strongroom => strongroom::commands(task, place, new),
            Tool::Restic => restic::commands(task, place, new),
            Tool::Rustic => rustic::commands(task, place, new),
            Tool::Borg => borg::commands(task, place, new),
        }
    }

    /// Runs a task that is not measured.
    pub(crate) fn perform(&self, task: &Task<'_>, place: &Place<'_>) -> Result<()> {
        for mut command in self.commands(task, place) {
            output(&mut command).with_context(|| format!("{} fails", self.tool))?;
        }
        Ok(())
    }

    /// The names of all snapshots but the latest, if [`Task::ForgetAndPrune`] needs them.
    pub(crate) fn old_snapshots(&self, place: &Place<'_>) -> Result<Vec<String>> {
        match self.tool {
            Tool::Strongroom => strongroom::old_snapshots(self.in_place(place), place),
            Tool::Restic | Tool::Rustic | Tool::Borg => Ok(Vec::new()),
        }
    }

    /// Where the tree lies after it was restored: not every tool leaves out the folders above it.
    pub(crate) fn restored_tree(&self, place: &Place<'_>, tree: &Path) -> PathBuf {
        match self.tool {
            Tool::Strongroom | Tool::Restic | Tool::Rustic => place.restored(),
            Tool::Borg => place.restored().join(tree.strip_prefix("/").unwrap_or(tree)),
        }
    }

    fn in_place(&self, place: &Place<'_>) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(place.0);
        // Nothing of the user's own settings.
        command.env("XDG_CONFIG_HOME", place.0.join("config")).env("XDG_CACHE_HOME", place.cache());
        command
    }
}

/// Runs a command; what it printed, or an error that quotes what it said.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {}: {}", output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(tool: Tool) -> Contender {
        Contender { tool, version: String::new(), program: "tool".into() }
    }

    fn lines(tool: Tool, task: &Task<'_>) -> Vec<String> {
        let commands = contender(tool).commands(task, &Place(Path::new("/place")));
        let words = |command: &Command| {
            let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
            words.join(" ")
        };
        commands.iter().map(words).collect()
    }

    #[test]
    fn streams_come_from_a_pipe_and_go_to_one() {
        let source = Source::Stream { name: "x.dump", file: Path::new("/data/x") };
        for tool in [Tool::Strongroom, Tool::Restic, Tool::Rustic, Tool::Borg] {
            for task in [Task::BackUp { source, number: 3 }, Task::Restore { source, number: 3 }] {
                let lines = lines(tool, &task);
                assert_eq!(lines.len(), 1, "{tool}");
                assert!(lines[0].contains("x.dump") && !lines[0].contains("/data"), "{tool}: {lines:?}");
            }
        }
    }

    #[test]
    fn all_but_the_latest_go() {
        let task = Task::ForgetAndPrune { old: vec!["a1".into(), "b2".into()] };
        assert!(lines(Tool::Strongroom, &task)[0].ends_with("forget a1 b2"));
        for tool in [Tool::Restic, Tool::Rustic, Tool::Borg] {
            assert!(lines(tool, &task)[0].contains("--keep-last 1"), "{tool}");
        }
    }

    #[test]
    fn trees_are_found_after_their_restore() {
        let (place, tree) = (Place(Path::new("/place")), Path::new("/scratch/tree"));
        assert_eq!(contender(Tool::Restic).restored_tree(&place, tree), Path::new("/place/restored"));
        let expected = Path::new("/place/restored/scratch/tree");
        assert_eq!(contender(Tool::Borg).restored_tree(&place, tree), expected);
    }
}
