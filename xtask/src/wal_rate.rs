//! `cargo xtask wal-rate`: how fast a server gets rid of its log. Segments that a real server wrote under `pgbench` are ready
//! one behind the other, and `wal-push` is run for each as a server's archiver does it: one, and then the next.
//!
//! With an agent, which pushes ahead, 20 a second and 50 ms each are what it must do.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use strongroom_tests::services::postgres::Postgres;

use crate::checkout::{cargo, output, root};

/// Bytes of a segment.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Where its header has its place in the log.
const POSITION_AT: std::ops::Range<usize> = 8..16;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Segments of 16 MiB
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(2..=10_000))]
    segments: u64,
    /// Segments that differ: each is pushed again under other names
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=1000))]
    different: u64,
    /// So many are pushed a second, as a server writes its log (default: each as soon as the one before is done)
    #[arg(long, value_name = "N")]
    a_second: Option<u32>,
    /// Push without an agent
    #[arg(long)]
    alone: bool,
    /// The program (default: a release build of this checkout)
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let program = match &arguments.program {
        Some(program) => std::path::absolute(program)?,
        None => {
            let mut build = cargo()?;
            build.args(["build", "--release", "--quiet", "--locked", "--package", "strongroom"]);
            ensure!(build.status().context("cannot run cargo")?.success(), "it cannot be built");
            root()?.join("target/release/strongroom")
        }
    };
    let folder = tempfile::Builder::new().prefix("strongroom-wal-rate-").tempdir().context("no folder")?;
    let place = Place { program, folder: folder.path().to_owned() };
    let written = write_log(&place.folder.join("written"), arguments.different)?;
    place.make_ready(&written, arguments.segments)?;
    output(&mut place.command(&["init"]))?;
    output(&mut Command::new("sync"))?;
    let (mut took, began) = (Vec::new(), Instant::now());
    let pause = arguments.a_second.map(|rate| Duration::from_secs(1) / rate.max(1));
    for number in 0..arguments.segments {
        if let Some(due) = pause.and_then(|pause| pause.checked_mul(u32::try_from(number).ok()?)) {
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        took.push(place.push(number, arguments.alone)?);
    }
    report(&mut took, began.elapsed());
    Ok(ExitCode::SUCCESS)
}

/// What a server writes while `pgbench` fills and changes its tables.
fn write_log(folder: &Path, count: u64) -> Result<Vec<PathBuf>> {
    let settings = [("full_page_writes", "on"), ("wal_keep_size", "32GB"), ("autovacuum", "off")];
    let server = Postgres::start_with(&settings)?.context("there is no PostgreSQL")?;
    std::fs::create_dir(folder).context("no folder")?;
    output(server.client("pgbench").args(["--initialize", "--scale=20", "--quiet", "postgres"]))?;
    let mut written = Vec::new();
    while (written.len() as u64) < count {
        output(server.client("pgbench").args(["--client=4", "--transactions=20000", "postgres"]))?;
        let current = server.psql("SELECT pg_walfile_name(pg_current_wal_lsn())")?;
        let entries = server.data_directory().join("pg_wal").read_dir().context("no log")?;
        written = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
        let is_whole = |path: &PathBuf| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.len() == 24 && name < &*current)
        };
        written.retain(is_whole);
        written.sort();
    }
    // The last ones: the first are of the filling.
    let skipped = written.len() - usize::try_from(count)?;
    let mut kept = Vec::new();
    for path in &written[skipped..] {
        let copy = folder.join(path.file_name().context("no name")?);
        std::fs::copy(path, &copy).with_context(|| format!("cannot copy {}", path.display()))?;
        kept.push(copy);
    }
    Ok(kept)
}

/// A data directory and a repository.
struct Place {
    program: PathBuf,
    folder: PathBuf,
}

impl Place {
    fn pg_wal(&self) -> PathBuf {
        self.folder.join("data/pg_wal")
    }

    fn name(number: u64) -> String {
        let segments_of_high = (1 << 32) / SEGMENT_BYTES;
        format!("00000001{:08X}{:08X}", 1 + number / segments_of_high, number % segments_of_high)
    }

    /// Each under its own name, and with the place of that in its first page.
    fn make_ready(&self, written: &[PathBuf], count: u64) -> Result<()> {
        let status = self.pg_wal().join("archive_status");
        std::fs::create_dir_all(&status).context("no folder")?;
        for (number, source) in (0..count).zip(written.iter().cycle()) {
            let mut bytes =
                std::fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
            let position = (1_u64 << 32) + number * SEGMENT_BYTES;
            bytes.get_mut(POSITION_AT).context("no segment")?.copy_from_slice(&position.to_le_bytes());
            let name = Self::name(number);
            let mut file = File::create(self.pg_wal().join(&name)).context("cannot write a segment")?;
            file.write_all(&bytes).context("cannot write a segment")?;
            File::create(status.join(name).with_extension("ready")).context("cannot write")?;
        }
        Ok(())
    }

    /// As a server's archiver does it.
    fn push(&self, number: u64, alone: bool) -> Result<Duration> {
        let path = format!("pg_wal/{}", Self::name(number));
        let mut command = self.command(&["wal-push", &path]);
        if !alone {
            command.arg("--agent=1s");
        }
        // The agent stays, and must not be waited for.
        command.stdout(Stdio::null()).stderr(Stdio::inherit()).current_dir(self.folder.join("data"));
        let began = Instant::now();
        let status = command.status().context("cannot run the program")?;
        let took = began.elapsed();
        ensure!(status.success(), "{path}: {status}");
        let ready = self.pg_wal().join("archive_status").join(Self::name(number)).with_extension("ready");
        std::fs::rename(&ready, ready.with_extension("done")).context("cannot rename")?;
        Ok(took)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--repo").arg(self.folder.join("repository"));
        for (variable, name) in [
            ("HOME", "home"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_RUNTIME_DIR", "run"),
        ] {
            let folder = self.folder.join(name);
            // What cannot be made the program finds out.
            let _ = std::fs::create_dir(&folder);
            command.env(variable, folder);
        }
        command
    }
}

fn report(took: &mut [Duration], all: Duration) {
    let first = took[0];
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    #[expect(clippy::cast_precision_loss, reason = "a count of segments")]
    let rate = took.len() as f64 / all.as_secs_f64();
    let slow = took.iter().filter(|one| one.as_millis() >= 50).count();
    println!("{} segments of 16 MiB in {:.1} s: {rate:.1} a second", took.len(), all.as_secs_f64());
    println!(
        "the first {:.0} ms; median {:.1} ms, 95% {:.1} ms, 99% {:.1} ms, the slowest {:.0} ms; {slow} took 50 ms or more",
        first.as_secs_f64() * 1000.0,
        at(50),
        at(95),
        at(99),
        at(100)
    );
}
