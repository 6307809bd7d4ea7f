//! The chores of this repository: `cargo xtask COMMAND`, one file a command.
//!
//! It is a tool for developers and CI and no part of what is shipped. It downloads nothing but named packages of
//! Debian, PyPI, Go and Node by their own clients, and keeps what is slow to install in one folder outside the checkout.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool prints")]

mod checkout;
mod distance;
mod drill;
mod fixture;
mod fuzz;
mod index_scale;
mod install;
mod race;
mod services;
mod simulate;
mod static_program;
mod test;
mod thrash;
mod tidy;
mod vectors;
mod wal_rate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The chores of this repository")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the real servers that the tests need, then run every test
    Test(test::Arguments),
    /// List, install or start the real servers and tools
    Services(services::Arguments),
    /// Check the house rules that the compiler does not
    Tidy,
    /// Race strongroom against restic, rustic and borg over the same data
    Race(strongroom_race::Arguments),
    /// Race `backup postgres --physical` against pgBackRest over a running cluster
    RaceCluster(strongroom_race::cluster::ClusterArguments),
    /// Lose everything but the repository and the recovery key, and measure how long all takes to come back
    Drill(drill::Arguments),
    /// Measure what a slow way to the store costs
    Distance(distance::Arguments),
    /// Measure a very large index, and a listing of very many snapshots
    IndexScale(index_scale::Arguments),
    /// Play hosts that fail at any write against a model, with more seeds than the tests
    Simulate(simulate::Arguments),
    /// Kill writers, a pruner and a checker of one repository at any moment, and restore all in the end
    Thrash(thrash::Arguments),
    /// Measure how fast a server gets rid of its log
    WalRate(wal_rate::Arguments),
    /// Write the vectors of the specification, or compare them
    Vectors(vectors::Arguments),
    /// Write a repository with today's build, to be kept in tests/fixtures
    Fixture(fixture::Arguments),
    /// Build the static program of the image, look that it is one, and try it
    Static,
    /// Fuzz the decoders (needs a nightly toolchain)
    Fuzz(fuzz::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Test(arguments) => test::run(&arguments),
        Command::Services(arguments) => services::run(&arguments),
        Command::Tidy => tidy::run(),
        Command::Race(arguments) => race::run(&arguments),
        Command::RaceCluster(arguments) => race::run_cluster(&arguments),
        Command::Drill(arguments) => drill::run(&arguments),
        Command::Distance(arguments) => distance::run(&arguments),
        Command::IndexScale(arguments) => index_scale::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Thrash(arguments) => thrash::run(&arguments),
        Command::WalRate(arguments) => wal_rate::run(&arguments),
        Command::Vectors(arguments) => vectors::run(&arguments),
        Command::Fixture(arguments) => fixture::run(&arguments),
        Command::Static => static_program::run(),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
