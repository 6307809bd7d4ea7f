//! The command line of Strongroom: arguments, rendering, exit codes. The only crate that prints.
//!
//! Data goes to standard output, all else to standard error. Start reading at [`arguments`], then [`commands`].

#![allow(clippy::print_stderr, reason = "this is the crate that prints")]

mod arguments;
mod commands;
mod context;
mod credentials;
mod exit;
mod output;
mod progress;
mod recipients;
mod render;
mod selector;
mod signals;
mod thawing;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;
use crate::exit::Outcome;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("STRONGROOM_LOG"))
        .init();
    let arguments = Arguments::parse();
    let arguments = Arguments { global: arguments.global.without_empty(), ..arguments };
    let outcome = match commands::run(&arguments) {
        Ok(outcome) => outcome,
        Err(error) => exit::report(&error, arguments.global.json),
    };
    signals::exit_if_killed();
    match outcome {
        Outcome::Code(code) => ExitCode::from(code),
        Outcome::Done if output::has_failed() => ExitCode::from(exit::FAILED),
        Outcome::Done => ExitCode::SUCCESS,
    }
}
