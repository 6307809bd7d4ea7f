//! The command line of Strongroom: arguments, rendering, exit codes. The only crate that prints.
//!
//! Data goes to standard output, all else to standard error. Start reading at [`arguments`], then [`commands`].

#![allow(clippy::print_stderr, reason = "this is the crate that prints")]

mod again;
mod arguments;
mod audit;
mod clickhouse_hint;
mod clock;
mod commands;
mod configured;
mod context;
mod credentials;
#[cfg(test)]
mod documented;
mod exit;
mod hooks;
mod ledger_hint;
mod opensearch_hint;
mod output;
mod postgres_hint;
mod progress;
mod recipients;
mod redis_hint;
mod render;
mod s3_hint;
mod selector;
mod signals;
mod status_lines;
mod thawing;
mod timings;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::arguments::{Arguments, Command, Global};
use crate::configured::Configured;
use crate::exit::Outcome;
use crate::timings::{Timings, is_stage};

fn main() -> ExitCode {
    let words = std::env::args_os().collect();
    let Configured { words, own } = match configured::words(words) {
        Ok(configured) => configured,
        Err(error) => return exit::unconfigured(&error),
    };
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    let global = Global { own_words: own, ..arguments.global.without_empty() };
    let arguments = Arguments { global, ..arguments };
    let is_for_recovery = matches!(arguments.command, Command::WalGet(_));
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_filter(tracing_subscriber::EnvFilter::from_env("STRONGROOM_LOG"));
    let timings = arguments.global.timings.then(Timings::default);
    // One that filters for itself, so that a stage that nobody measures costs nothing.
    let measured = timings.clone().map(|timings| timings.with_filter(filter_fn(is_stage)));
    tracing_subscriber::registry().with(log).with(measured).init();
    let run = || match commands::run(&arguments) {
        Ok(outcome) => outcome,
        Err(error) => match exit::report(&error, arguments.global.json) {
            // Whoever recovers a server must not take it for the end of its log.
            Outcome::Code(code) if is_for_recovery => Outcome::Code(exit::beyond_recovery(code)),
            outcome => outcome,
        },
    };
    let outcome = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(outcome) => outcome,
        Err(_) if is_for_recovery => Outcome::Code(exit::beyond_recovery(exit::FAILED)),
        Err(panic) => std::panic::resume_unwind(panic),
    };
    if let Some(timings) = timings {
        timings.report(arguments.global.json);
    }
    signals::exit_if_killed();
    exit::of(outcome)
}
