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
mod timings;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::arguments::Arguments;
use crate::exit::Outcome;
use crate::timings::{Timings, is_stage};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let arguments = Arguments { global: arguments.global.without_empty(), ..arguments };
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_filter(tracing_subscriber::EnvFilter::from_env("STRONGROOM_LOG"));
    let timings = arguments.global.timings.then(Timings::default);
    // One that filters for itself, so that a stage that nobody measures costs nothing.
    let measured = timings.clone().map(|timings| timings.with_filter(filter_fn(is_stage)));
    tracing_subscriber::registry().with(log).with(measured).init();
    let outcome = match commands::run(&arguments) {
        Ok(outcome) => outcome,
        Err(error) => exit::report(&error, arguments.global.json),
    };
    if let Some(timings) = timings {
        timings.report(arguments.global.json);
    }
    signals::exit_if_killed();
    match outcome {
        Outcome::Code(code) => ExitCode::from(code),
        Outcome::Done if output::has_failed() => ExitCode::from(exit::FAILED),
        Outcome::Done => ExitCode::SUCCESS,
    }
}
