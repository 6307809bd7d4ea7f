//! The race: strongroom against restic, rustic and borg, over the same data, in the same run. `cargo xtask race` is
//! the one command.
//!
//! It installs nothing: `cargo xtask` says where the programs are ([`Equipment`]). It never judges a tool by another
//! machine's figures, save kopia, which is in no registry: its bar is the measured restic times what kopia took of
//! restic's figure where both were measured (`bars`).
//!
//! What makes it fair: every tool encrypts and compresses with zstd at level 3 or its own default that comes to that,
//! reads a stream from a pipe of 1 MiB, writes to a directory and has a cache of its own; repositories are new in
//! each round; tools alternate within each operation, and start in another order each round; the disk is idle when an
//! operation starts; every restore is compared, byte by byte, with what was backed up. What counts is the median,
//! beside its range.
//!
//! What is not the same for all: strongroom opens its repository by a key file, as hosts that back up unattended do; the
//! others know only passphrases, and derive a key from one each time they start, which short operations show.
//!
//! The way through it: a [`Scenario`] makes its `data` (days of a database, of a tree, of a cache server), `rounds`
//! runs the steps of each round by the commands of each `contender` under [`measure`], `standing` holds the figures
//! against the `bars`, `table` prints them. Start reading at `rounds`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it reports to whoever runs it")]

mod arguments;
mod bars;
pub mod cluster;
mod contender;
mod data;
pub mod measure;
mod operation;
mod report;
mod results;
mod rounds;
mod scenario;
mod spread;
mod standing;
mod table;
mod warm;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

pub use arguments::Arguments;
use contender::Contender;
pub use contender::Tool;
use report::Report;
pub use scenario::Scenario;

/// The programs that race, and what the race needs besides.
#[derive(Debug)]
pub struct Equipment {
    /// GNU time.
    pub time: PathBuf,
    /// Who races.
    pub tools: Vec<(Tool, PathBuf)>,
    /// The archive of the Linux sources; needed by the scenario `files`, unless its tree is generated.
    pub linux_sources: Option<PathBuf>,
    /// Where data that is slow to generate is kept from one race to the next.
    pub cache: PathBuf,
}

/// Races, and prints a table a scenario.
///
/// # Errors
/// When a tool fails or restores something else than was backed up, and when the data cannot be made.
pub fn run(arguments: &Arguments, equipment: &Equipment) -> Result<()> {
    let mut contenders = Vec::new();
    for (tool, program) in &equipment.tools {
        contenders.push(Contender::new(*tool, program.clone())?);
    }
    ensure!(!contenders.is_empty(), "nobody races");
    let parent = arguments.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new().prefix("strongroom-race-").tempdir_in(&parent);
    let folder = folder.with_context(|| format!("no folder for the race in {}", parent.display()))?;
    let mut reports = Vec::new();
    for scenario in arguments.scenarios() {
        eprintln!("{scenario}: preparing the data");
        let mut data = scenario.prepare(arguments, equipment, folder.path())?;
        let results = rounds::run(
            &equipment.time,
            &mut contenders,
            scenario,
            &mut data,
            arguments.rounds,
            folder.path(),
        )?;
        let report = Report::new(scenario, &data, &contenders, arguments.rounds, results);
        print!("{}", report.text());
        reports.push(report);
        // After each scenario: what was measured is kept when a later one fails.
        if let Some(path) = &arguments.json {
            report::write_json(path, &reports)?;
        }
    }
    Ok(())
}
