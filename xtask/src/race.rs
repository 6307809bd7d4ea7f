//! `cargo xtask race`: strongroom against restic and borg, over the same data, in the same run.
//!
//! What makes it fair: every tool encrypts and compresses with zstd at about level 3, reads the data from a pipe
//! and writes to a directory; tools alternate within each operation, and start in another order each round; the
//! disk is idle when an operation starts; every restore is compared, byte by byte, with what was backed up. What
//! counts is the median, beside its range.

mod contenders;
pub(crate) mod measure;
mod report;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use strongroom_tests::dump::{self, Dump};
use tempfile::TempDir;

use crate::checkout::output;
use crate::services::TIME;
use contenders::{Contender, Tool};
use measure::{Measurement, Streams};
use report::Results;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Race over this file, instead of a generated dump
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// How often to run everything
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The size of the generated dump
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..))]
    size_mb: u64,
    /// Race only these
    #[arg(long, value_delimiter = ',', default_values = ["strongroom", "restic", "borg"])]
    only: Vec<Tool>,
    /// Where data and repositories are kept for the time of the race (some 5 times the data) [default: the
    /// system's folder for temporary files]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// What is measured, in this order, each on what the one before it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    FirstBackup,
    SameAgain,
    NextDay,
    Restore,
    Check,
}

const OPERATIONS: [Operation; 5] =
    [Operation::FirstBackup, Operation::SameAgain, Operation::NextDay, Operation::Restore, Operation::Check];

/// The data of two days.
struct Data {
    first_day: PathBuf,
    next_day: PathBuf,
}

impl Operation {
    fn label(self) -> &'static str {
        match self {
            Self::FirstBackup => "first backup",
            Self::SameAgain => "same data again",
            Self::NextDay => "next day, 1% changed",
            Self::Restore => "restore to a pipe",
            Self::Check => "check, reading all data",
        }
    }

    fn streams(self, data: &Data) -> Streams<'_> {
        match self {
            Self::FirstBackup | Self::SameAgain => Streams { feed: Some(&data.first_day), expect: None },
            Self::NextDay => Streams { feed: Some(&data.next_day), expect: None },
            Self::Restore => Streams { feed: None, expect: Some(&data.next_day) },
            Self::Check => Streams { feed: None, expect: None },
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let time = TIME.ensure()?;
    let mut contenders = Vec::new();
    for tool in &arguments.only {
        contenders.push(Contender::ready(*tool)?);
    }
    let folder = match &arguments.folder {
        Some(parent) => tempfile::Builder::new().prefix("strongroom-race-").tempdir_in(parent),
        None => tempfile::Builder::new().prefix("strongroom-race-").tempdir(),
    };
    let folder = folder.context("no folder for the race")?;
    let data = prepare(arguments, folder.path())?;
    let mut results = Results::default();
    for round in 0..arguments.rounds {
        eprintln!("round {} of {}", round + 1, arguments.rounds);
        run_round(&time, &contenders, folder.path(), &data, &mut results)?;
        contenders.rotate_left(1);
    }
    for contender in &contenders {
        println!("{}: {}", contender.tool(), contender.version()?);
    }
    let length = std::fs::metadata(&data.first_day).context("the data is gone")?.len();
    println!("data: {:.1} MB; median of {} rounds\n", report::megabytes(length), arguments.rounds);
    print!("{}", results.table(arguments.only[0]));
    Ok(ExitCode::SUCCESS)
}

fn run_round(
    time: &Path,
    contenders: &[Contender],
    folder: &Path,
    data: &Data,
    results: &mut Results,
) -> Result<()> {
    let mut places = Vec::new();
    for contender in contenders {
        let place = TempDir::new_in(folder).context("no folder for a repository")?;
        contender.initialize(place.path())?;
        places.push(place);
    }
    for operation in OPERATIONS {
        for (contender, place) in contenders.iter().zip(&places) {
            // What was written before goes to the disk now, and not while the next one is measured.
            output(&mut Command::new("sync"))?;
            let command = contender.command(operation, place.path());
            let label = || format!("{}: {}", contender.tool(), operation.label());
            let run = measure::run(time, &command, operation.streams(data)).with_context(label)?;
            let stored_bytes = measure::stored_bytes(&Contender::repository(place.path()))?;
            eprintln!("  {:45} {:7.2} s {:7} MiB", label(), run.seconds, run.peak_mib);
            results.add(operation, contender.tool(), Measurement { stored_bytes, ..run });
        }
    }
    Ok(())
}

fn prepare(arguments: &Arguments, folder: &Path) -> Result<Data> {
    eprintln!("preparing the data");
    let next_day = folder.join("next-day");
    let Some(input) = &arguments.input else {
        let first_day = folder.join("first-day");
        let dump = Dump::new(arguments.size_mb * 1_000_000);
        write_file(&first_day, |file| dump.write_to(file))?;
        write_file(&next_day, |file| dump.on_day(2).write_to(file))?;
        return Ok(Data { first_day, next_day });
    };
    ensure!(input.is_file(), "{} is no file", input.display());
    let source = File::open(input).with_context(|| format!("cannot open {}", input.display()))?;
    write_file(&next_day, |file| dump::change_one_percent(&mut BufReader::new(source), file))?;
    Ok(Data { first_day: input.clone(), next_day })
}

fn write_file(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut file = BufWriter::new(file);
    write(&mut file).and_then(|()| file.flush()).with_context(|| format!("cannot write {}", path.display()))
}
