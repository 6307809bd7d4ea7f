//! What kind of data is raced over, and in which steps.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::data::{self, Data};
use crate::operation::Operation;
use crate::{Arguments, Equipment};

/// A kind of data, with the operations that matter for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// Dumps of PostgreSQL, through standard input
    Database,
    /// A tree of many files
    Files,
    /// Dumps of Redis before and after a restart, through standard input
    Redis,
    /// A file of the user's, through standard input
    #[value(skip)]
    Input,
}

/// An operation, on the data of a day: 0 is the first.
pub(crate) type Step = (Operation, usize);

const DATABASE: [Step; 9] = [
    (Operation::FirstBackup, 0),
    (Operation::SameAgain, 0),
    (Operation::NextDay, 1),
    (Operation::Restore, 1),
    (Operation::Check, 1),
    (Operation::UniformDay, 2),
    (Operation::RestoreUniform, 2),
    (Operation::CheckUniform, 2),
    (Operation::ForgetAndPrune, 2),
];

const TWO_DAYS: [Step; 6] = [
    (Operation::FirstBackup, 0),
    (Operation::SameAgain, 0),
    (Operation::NextDay, 1),
    (Operation::Restore, 1),
    (Operation::Check, 1),
    (Operation::ForgetAndPrune, 1),
];

const REDIS: [Step; 3] = [(Operation::FirstBackup, 0), (Operation::NextDay, 1), (Operation::Restore, 1)];

impl Scenario {
    /// In the order in which they are done, each on what the one before it left.
    pub(crate) fn steps(self) -> &'static [Step] {
        match self {
            Self::Database => &DATABASE,
            Self::Files | Self::Input => &TWO_DAYS,
            Self::Redis => &REDIS,
        }
    }

    /// How people call the operation here.
    pub(crate) fn label(self, operation: Operation) -> &'static str {
        match (self, operation) {
            (_, Operation::FirstBackup) => "first backup",
            (_, Operation::SameAgain) => "same again",
            (Self::Database, Operation::NextDay) => "day 2, mixed changes",
            (Self::Redis, Operation::NextDay) => "after a restart",
            (Self::Files, Operation::NextDay) => "day 2, 1% of the files",
            (Self::Input, Operation::NextDay) => "day 2, 1% scattered",
            (_, Operation::UniformDay) => "day 3, 1% of all rows",
            (Self::Files, Operation::Restore) => "restore to files",
            (_, Operation::Restore) => "restore to a pipe",
            (_, Operation::RestoreUniform) => "day 3: restore to a pipe",
            (_, Operation::Check) => "check, reading all data",
            (_, Operation::CheckUniform) => "day 3: check, reading all data",
            (_, Operation::ForgetAndPrune) => "forget and prune",
        }
    }

    /// Generates the data, or takes it from the cache.
    pub(crate) fn prepare(self, arguments: &Arguments, equipment: &Equipment, folder: &Path) -> Result<Data> {
        match self {
            Self::Database => data::database::prepare(arguments.size_mb, &equipment.cache),
            Self::Files => match (arguments.tree_mb, &equipment.linux_sources) {
                (Some(megabytes), _) => data::tree::generate(megabytes, folder),
                (None, Some(archive)) => data::tree::unpack(archive, folder),
                (None, None) => anyhow::bail!("no Linux sources: use --tree-mb to generate a tree"),
            },
            Self::Redis => data::redis::prepare(arguments.redis_mb, &equipment.cache),
            Self::Input => {
                let input = arguments.input.as_deref().context("no input")?;
                data::input::prepare(input, folder)
            }
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "database",
            Self::Files => "files",
            Self::Redis => "redis",
            Self::Input => "input",
        })
    }
}
