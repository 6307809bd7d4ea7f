//! `cargo xtask distance`: what a slow way to the store costs. The same backup and restores against MinIO, with and
//! without a delay of every request, side by side in one run.
//!
//! Requests should overlap: with 50 ms, half as long again is the most that either may take.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use strongroom_race::measure::{self, Measurement, Output, Streams};
use strongroom_tests::dump::Dump;
use strongroom_tests::proxy::delay::DelayProxy;
use strongroom_tests::services::minio::Minio;

use crate::checkout::{cargo, output, root};
use crate::services::{MINIO, TIME};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The size of the generated dump
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    size_mb: u64,
    /// The delay of every request
    #[arg(long, default_value_t = 50)]
    delay_ms: u64,
    /// How often to run everything
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

const OPERATIONS: [&str; 3] = ["first backup", "restore to a pipe", "restore to a folder"];

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let time = TIME.ensure()?;
    MINIO.ensure()?;
    let built =
        cargo()?.args(["build", "--release", "--quiet", "--locked", "--package", "strongroom"]).status();
    if !built.context("cannot run cargo")?.success() {
        return Ok(ExitCode::FAILURE);
    }
    let server = Minio::start()?.context("MinIO does not start")?;
    let client = server.client();
    let folder = tempfile::Builder::new().prefix("strongroom-distance-").tempdir().context("no folder")?;
    let data = folder.path().join("data");
    let mut file = BufWriter::new(File::create(&data).context("cannot make the data")?);
    Dump::new(arguments.size_mb * 1_000_000).write_to(&mut file).and_then(|()| file.flush())?;
    let delays = [0, arguments.delay_ms].map(Duration::from_millis);
    let mut seconds: [[Vec<f64>; 2]; 3] = Default::default();
    for round in 0..arguments.rounds {
        for (at, delay) in delays.into_iter().enumerate() {
            let proxy = DelayProxy::start(server.address(), delay)?;
            let bucket = format!("distance-{round}-{at}");
            client.create_bucket(&bucket)?;
            let place = Place {
                program: root()?.join("target/release/strongroom"),
                folder: folder.path().join(&bucket),
                repository: format!("s3://{bucket}"),
                environment: server.root().environment(),
                endpoint: proxy.endpoint(),
            };
            let runs = place.run(&time, &data)?;
            for (operation, run) in runs.into_iter().enumerate() {
                let Measurement { seconds: took, cpu_seconds, peak_mib, .. } = run;
                let what = OPERATIONS[operation];
                eprintln!(
                    "{:>4} ms  {what:20} {took:7.2} s  {cpu_seconds:6.2} s CPU  {peak_mib:5} MiB",
                    delay.as_millis()
                );
                seconds[operation][at].push(took);
            }
            std::fs::remove_dir_all(&place.folder).context("cannot clean up")?;
        }
    }
    println!("{} MB, median seconds of {} rounds\n", arguments.size_mb, arguments.rounds);
    println!("{:20} {:>8} {:>8} {:>6}", "", "0 ms", format!("{} ms", arguments.delay_ms), "ratio");
    for (operation, [near, far]) in OPERATIONS.into_iter().zip(&mut seconds) {
        let (near, far) = (median(near), median(far));
        println!("{operation:20} {near:8.2} {far:8.2} {:6.2}", far / near);
    }
    Ok(ExitCode::SUCCESS)
}

struct Place {
    program: PathBuf,
    folder: PathBuf,
    repository: String,
    environment: Vec<(&'static str, String)>,
    endpoint: String,
}

impl Place {
    fn run(&self, time: &Path, data: &Path) -> Result<[Measurement; 3]> {
        std::fs::create_dir_all(&self.folder).context("no folder")?;
        output(&mut self.command(&["init"]))?;
        let measured = |arguments: &[&str], streams| {
            output(&mut Command::new("sync"))?;
            measure::run(time, &self.command(arguments), streams)
        };
        let none = Streams::default();
        let backup = measured(
            &["backup", "stdin", "--quiet", "--name", "dump"],
            Streams { feed: Some(data), ..none },
        )?;
        let pipe = measured(&["cat", "latest", "--quiet"], Streams { output: Output::Same(data), ..none })?;
        let restored = self.folder.join("restored");
        let target = restored.to_string_lossy().into_owned();
        let folder = measured(&["restore", "latest", "--quiet", "--target", &target], none)?;
        output(Command::new("cmp").arg(data).arg(restored.join("dump")))?;
        Ok([backup, pipe, folder])
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--repo", &self.repository, "--endpoint", &self.endpoint]);
        command.envs(self.environment.iter().cloned());
        command.env("XDG_CONFIG_HOME", self.folder.join("config"));
        command.env("XDG_CACHE_HOME", self.folder.join("cache"));
        command
    }
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
