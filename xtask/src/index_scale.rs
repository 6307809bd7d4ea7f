//! `cargo xtask index-scale`: an index of 100 million chunks, which is a repository of some 6 TB, and a listing of 10,000
//! snapshots. What is made up is loaded the way that a real index is; each step is a process of its own, so that its peak
//! of memory is told.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::checkout::{cargo, output, root};

/// What is to hold.
const OPEN_SECONDS: f64 = 2.0;
const LOOKUPS_A_SECOND: f64 = 1e6;
const BYTES_A_CHUNK: f64 = 8.0;
const LISTING_SECONDS: f64 = 0.2;
const MARKS_A_SECOND: f64 = 1e6;
/// How often what takes short is measured; the median counts.
const ROUNDS: usize = 7;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Chunks of the index
    #[arg(long, default_value_t = 100_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    chunks: u64,
    /// The bound on memory, MiB
    #[arg(long, default_value_t = 512)]
    memory_mib: u64,
    /// Lookups of each kind
    #[arg(long, default_value_t = 5_000_000)]
    lookups: u64,
    /// Snapshots of the repository that is listed; 0 for none
    #[arg(long, default_value_t = 10_000)]
    snapshots: u64,
    /// Chunks of the repository that a prune marks, and its snapshots; 0 for none
    #[arg(long, default_value_t = 1_000_000)]
    marked_chunks: u64,
    /// Snapshots of that repository
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    marked_snapshots: u64,
    /// Only find out whether all is right, and memory within the bound: for machines with other things to do
    #[arg(long)]
    untimed: bool,
    /// Where all of it is kept for the time of the measurement (some 90 bytes a chunk, and half as much again while it is
    /// made) [default: the system's folder for temporary files]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// What was measured, and what of it is not as it should be.
struct Report {
    untimed: bool,
    has_failed: bool,
}

impl Report {
    fn line(&mut self, what: &str, measured: &str, limit: &str, holds: bool, is_of_time: bool) {
        let verdict = match (holds, is_of_time && self.untimed) {
            (_, true) => "",
            (true, false) => "PASS",
            (false, false) => "FAIL",
        };
        self.has_failed |= verdict == "FAIL";
        println!("{what:34} {measured:>16}   {limit:22} {verdict}");
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut build = cargo()?;
    build.args(["build", "--release", "--quiet", "--locked", "--package", "strongroom-repository"]);
    let mut all = vec![build.args(["--example", "scale"])];
    let mut binary = cargo()?;
    if arguments.snapshots > 0 {
        all.push(binary.args(["build", "--release", "--quiet", "--locked", "--package", "strongroom"]));
    }
    for command in all {
        if !command.status().context("cannot run cargo")?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    let mut folder = tempfile::Builder::new();
    let folder = folder.prefix("strongroom-index-scale-");
    let folder = match &arguments.folder {
        Some(parent) => folder.tempdir_in(parent),
        None => folder.tempdir(),
    };
    let folder = folder.context("no folder for the index")?;
    let mut report = Report { untimed: arguments.untimed, has_failed: false };
    index(arguments, folder.path(), &mut report)?;
    if arguments.snapshots > 0 {
        listing(arguments, folder.path(), &mut report)?;
    }
    if arguments.marked_chunks > 0 {
        marking(arguments, folder.path(), &mut report)?;
    }
    Ok(if report.has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn index(arguments: &Arguments, folder: &Path, report: &mut Report) -> Result<()> {
    let cache = folder.join("cache");
    let memory = arguments.memory_mib << 20;
    let [place, chunks, bound] =
        [cache.display().to_string(), arguments.chunks.to_string(), memory.to_string()];
    eprintln!("making an index of {chunks} chunks");
    let built = Said::of(&["build", &place, &chunks, &bound])?;
    // Loading leaves the files in the system's memory, which is what warm means.
    let found = Said::of(&["look-up", &place, &chunks, &bound, &arguments.lookups.to_string()])?;
    let bytes = strongroom_race::measure::stored_bytes(&cache)?;
    std::fs::remove_dir_all(&cache).context("cannot clean up")?;
    let entries = found.number("entries")?;
    ensure!(entries == arguments.chunks as f64, "{entries} of {chunks} chunks are in the index");
    let mebibytes = |bytes: f64| format!("{:.0} MiB", bytes / f64::from(1 << 20));
    let bound = format!("at most {} MiB", arguments.memory_mib);
    println!("{chunks} chunks, in {} runs; {} on disk\n", found.number("runs")?, mebibytes(bytes as f64));
    let seconds = built.number("seconds")?;
    report.line("load all of it", &format!("{seconds:.1} s"), "", true, true);
    for (what, said) in [("  peak of memory", &built), ("look up: peak of memory", &found)] {
        let peak = said.number("peak")?;
        report.line(what, &mebibytes(peak), &bound, peak <= memory as f64, false);
    }
    report.line("  of that, the journal's state", &mebibytes(found.number("state")?), "", true, false);
    let resident = found.number("resident")?;
    let each = resident / entries;
    let limit = format!("at most {BYTES_A_CHUNK} bytes each");
    report.line("  and the index", &format!("{each:.2} bytes each"), &limit, each <= BYTES_A_CHUNK, false);
    let open = found.number("open")?;
    let limit = format!("below {OPEN_SECONDS} s");
    report.line("open, warm", &format!("{open:.2} s"), &limit, open < OPEN_SECONDS, true);
    for (what, name) in [
        ("chunks that are there, in no order", "hits"),
        ("chunks that are not", "misses"),
        ("chunks in the order of a stream", "stream"),
    ] {
        let rate = found.number(name)?;
        let limit = format!("at least {:.0} M/s", LOOKUPS_A_SECOND / 1e6);
        report.line(what, &format!("{:.2} M/s", rate / 1e6), &limit, rate >= LOOKUPS_A_SECOND, true);
    }
    Ok(())
}

fn listing(arguments: &Arguments, folder: &Path, report: &mut Report) -> Result<()> {
    eprintln!("making {} snapshots", arguments.snapshots);
    let place = folder.join("listing");
    std::fs::create_dir_all(&place).context("no folder for the repository")?;
    let _made = Said::of(&["snapshots", &place.display().to_string(), &arguments.snapshots.to_string()])?;
    let command = || -> Result<Command> {
        let mut command = Command::new(root()?.join("target/release/strongroom"));
        command.args(["snapshots", "--quiet"]).env("HOME", &place);
        command
            .env("STRONGROOM_REPO", place.join("repository"))
            .env("STRONGROOM_KEY_FILE", place.join("key"));
        command.env("STRONGROOM_CACHE_DIR", place.join("cache"));
        Ok(command)
    };
    let mut seconds = Vec::new();
    for _ in 0..=ROUNDS {
        let started = Instant::now();
        let listed = output(&mut command()?)?;
        seconds.push(started.elapsed().as_secs_f64());
        let lines = listed.stdout.split(|byte| *byte == b'\n').count() as u64;
        ensure!(lines > arguments.snapshots, "only {lines} lines were listed");
    }
    // The first one is there to warm up.
    seconds.remove(0);
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let limit = format!("below {:.0} ms", LISTING_SECONDS * 1e3);
    let what = format!("list {} snapshots", arguments.snapshots);
    report.line(&what, &format!("{:.0} ms", median * 1e3), &limit, median < LISTING_SECONDS, true);
    Ok(())
}

/// Marks what the snapshots of a large repository need. Its folder is removed.
fn marking(arguments: &Arguments, folder: &Path, report: &mut Report) -> Result<()> {
    let (chunks, snapshots) = (arguments.marked_chunks, arguments.marked_snapshots);
    eprintln!("making {snapshots} snapshots of {chunks} chunks");
    let place = folder.join("marking");
    std::fs::create_dir_all(&place).context("no folder for the repository")?;
    let place_text = place.display().to_string();
    let _made = Said::of(&["make", &place_text, &chunks.to_string(), &snapshots.to_string()])?;
    let found = Said::of(&["mark", &place_text])?;
    std::fs::remove_dir_all(&place).context("cannot clean up")?;
    // Each snapshot but the first has one file more, of as many chunks as the others.
    let marked = (chunks + (snapshots - 1) * 1000) as f64;
    let rate = marked / found.number("marking")?;
    let limit = format!("at least {:.0} M/s", MARKS_A_SECOND / 1e6);
    let what = format!("prune: mark {:.1} M chunks", marked / 1e6);
    report.line(&what, &format!("{:.2} M/s", rate / 1e6), &limit, rate >= MARKS_A_SECOND, true);
    let (peak, bound) = (found.number("peak")?, (arguments.memory_mib << 20) as f64);
    let limit = format!("at most {} MiB", arguments.memory_mib);
    report.line(
        "  peak of memory",
        &format!("{:.0} MiB", peak / f64::from(1 << 20)),
        &limit,
        peak <= bound,
        false,
    );
    report.line("  all of the prune", &format!("{:.2} s", found.number("seconds")?), "", true, true);
    Ok(())
}

/// The pairs of names and values that a process printed.
struct Said(Vec<String>);

impl Said {
    fn of(arguments: &[&str]) -> Result<Self> {
        let example = root()?.join("target/release/examples/scale");
        let said = output(Command::new(example).args(arguments))?;
        let said = String::from_utf8(said.stdout).context("it printed what is no text")?;
        Ok(Self(said.split_whitespace().map(str::to_owned).collect()))
    }

    fn number(&self, name: &str) -> Result<f64> {
        let pair = self.0.chunks_exact(2).find(|pair| pair[0] == name);
        let value = pair.with_context(|| format!("it did not say {name}: {:?}", self.0))?;
        value[1].parse().with_context(|| format!("{name} is no number: {}", value[1]))
    }
}
