//! What the race is told.

use std::path::PathBuf;

use crate::contender::Tool;
use crate::scenario::Scenario;

/// The arguments of `cargo xtask race`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Run only these scenarios [default: all]
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',', num_args = 1..)]
    only: Vec<Scenario>,
    /// Race only these
    #[arg(long, value_name = "TOOL", value_delimiter = ',', num_args = 1.., default_values = ["strongroom", "restic", "rustic", "borg"])]
    pub tools: Vec<Tool>,
    /// How often to run everything; what counts is the median
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// The size of the database's dump
    #[arg(long, default_value_t = 415, value_parser = clap::value_parser!(u32).range(5..=100_000))]
    pub size_mb: u32,
    /// Generate a tree of this size for the scenario `files`, instead of unpacking the Linux sources (1.5 GB)
    #[arg(long)]
    pub tree_mb: Option<u32>,
    /// The size of the dump of Redis
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub redis_mb: u32,
    /// Race over this file and a day's changes to it, and over nothing else
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    pub input: Option<PathBuf>,
    /// Where data and repositories are kept for the time of the race (some 6 times the data of a scenario, which
    /// should fit into memory, or the disk is measured) [default: the system's folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Write every figure to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Arguments {
    /// What is to be run, in this order.
    #[must_use]
    pub fn scenarios(&self) -> Vec<Scenario> {
        match (&self.input, self.only.as_slice()) {
            (Some(_), _) => vec![Scenario::Input],
            (None, []) => vec![Scenario::Database, Scenario::Files, Scenario::Redis],
            (None, only) => only.to_vec(),
        }
    }
}
