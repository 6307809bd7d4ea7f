//! `cargo xtask thrash`: writers, a pruner and a checker of one repository, real processes of the release binary, all of
//! them killed at any moment and started again. What was committed and not forgotten must restore byte for byte in the
//! end, and a check must find nothing but leftovers.

mod actors;
mod contents;
mod ledger;
mod place;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use strongroom_tests::services::minio::Minio;

use self::contents::Contents;
use self::ledger::Ledger;
use self::place::Place;
use crate::checkout::{cargo, root};
use crate::services::MINIO;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// For how long; divided among the stores
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// The same in seconds
    #[arg(long, conflicts_with = "minutes", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// How many back up side by side
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=64))]
    writers: u64,
    /// Of the data and of the moments of the kills; a failed run names its own [default: by the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Where the repository is
    #[arg(long, value_enum, default_value_t = Stores::Both)]
    store: Stores,
    /// The binary [default: the release build of this checkout, made if need be]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stores {
    /// A temporary folder
    Local,
    /// A bucket of a MinIO that is started for it
    Minio,
    /// One after the other
    Both,
}

/// What all threads of a run share.
struct Run {
    place: Place,
    contents: Contents,
    ledger: Ledger,
    seed: u64,
    stops: AtomicBool,
    failures: Mutex<Vec<String>>,
}

impl Run {
    fn is_over(&self) -> bool {
        self.stops.load(Ordering::Relaxed)
    }

    /// Everybody stops; the first failure is the one to look at.
    fn fail(&self, actor: &str, error: &anyhow::Error) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{actor}: {error:#}"));
        self.stops.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let program = match &arguments.program {
        Some(program) => std::path::absolute(program).context("no such program")?,
        None => build()?,
    };
    let by_clock = || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.as_secs()
    };
    let seed = arguments.seed.unwrap_or_else(by_clock);
    let names: &[&str] = match arguments.store {
        Stores::Local => &["local"],
        Stores::Minio => &["minio"],
        Stores::Both => &["local", "minio"],
    };
    let seconds = arguments.seconds.unwrap_or(arguments.minutes * 60).div_ceil(names.len() as u64);
    for name in names {
        let folder = tempfile::Builder::new().prefix("strongroom-thrash-").tempdir().context("no folder")?;
        let mut place = Place::new(program.clone(), folder.path())?;
        let _server = if *name == "minio" {
            MINIO.ensure()?;
            let server = Minio::start()?.context("MinIO does not start")?;
            server.client().create_bucket("thrash")?;
            place.on_s3("s3://thrash", &server.endpoint(), server.root().environment());
            Some(server)
        } else {
            None
        };
        eprintln!("{name}: {} writers for {seconds} s, seed {seed}", arguments.writers);
        let run = Run {
            place,
            contents: Contents::new(seed),
            ledger: Ledger::new(arguments.writers),
            seed,
            stops: AtomicBool::new(false),
            failures: Mutex::default(),
        };
        if let Err(error) = thrash(&run, arguments.writers, Duration::from_secs(seconds)) {
            let kept = folder.keep();
            bail!(
                "{name}: {error:#}\nagain: cargo xtask thrash --store {name} --writers {} --seconds {seconds} --seed {seed}\nit all lies in {}",
                arguments.writers,
                kept.display()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn thrash(run: &Run, writers: u64, time: Duration) -> Result<()> {
    run.place.init()?;
    let started = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            scope.spawn(move || actors::write(run, writer));
        }
        scope.spawn(|| actors::prune(run));
        scope.spawn(|| actors::check(run));
        while started.elapsed() < time && !run.is_over() {
            std::thread::sleep(Duration::from_millis(50));
        }
        run.stops.store(true, Ordering::Relaxed);
    });
    let failures = run.failures.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if !failures.is_empty() {
        bail!("{}", failures.join("\n\n"));
    }
    // What a killed process had sent already may still arrive.
    std::thread::sleep(Duration::from_secs(2));
    let verdict = verdict::of(run)?;
    println!("{}\n{verdict}", run.ledger.counts());
    Ok(())
}

fn build() -> Result<PathBuf> {
    let built =
        cargo()?.args(["build", "--release", "--quiet", "--locked", "--package", "strongroom"]).status();
    if !built.context("cannot run cargo")?.success() {
        bail!("strongroom does not build");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Ok(root()?.join(target).join("release/strongroom"))
}
