//! The race over a whole cluster of PostgreSQL that is running: `backup postgres --physical` against pgBackRest.
//!
//! pgBackRest bundles files, stores blocks incrementally, compresses with zstd at level 3, encrypts with AES and has two
//! processes. It leaves the log to `archive_command`; ours has in each snapshot what it needs of it, so that its bytes
//! count against us. What is restored of ours is started and its rows are counted.
//!
//! And over dumps of its database, against `pg_dump` and `pg_restore` by themselves ([`dumps`]).

mod contender;
mod dumps;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use strongroom_tests::services::postgres::Postgres;

use crate::contender::output;
use crate::data::database::{DATABASE, days};
use crate::measure::{self, Streams};
use crate::spread::Spread;
use contender::{Contender, PgBackRest, Strongroom};

/// What a server does in its own time, and how it writes its log.
const SETTINGS: [(&str, &str); 8] = [
    ("autovacuum", "off"),
    ("synchronize_seqscans", "off"),
    ("timezone", "UTC"),
    ("jit", "off"),
    ("shared_buffers", "512MB"),
    ("maintenance_work_mem", "256MB"),
    ("max_wal_size", "4GB"),
    ("archive_mode", "off"),
];
/// A cluster is so much larger than the dump of its data: indexes, and the system's own tables.
const DUMP_PERCENT: u32 = 62;
const MB: f64 = 1e6;

/// The arguments of `cargo xtask race-cluster`.
#[derive(Debug, clap::Args)]
pub struct ClusterArguments {
    /// How often to run everything; what counts is the median
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// About the size of the cluster
    #[arg(long, default_value_t = 568, value_parser = clap::value_parser!(u32).range(50..=100_000))]
    size_mb: u32,
    /// Where repositories and what is restored are kept for the time of the race [default: the system's folder for temporary
    /// files]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Write every figure to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The programs.
#[derive(Debug)]
pub struct ClusterEquipment {
    /// GNU time.
    pub time: PathBuf,
    /// Ours.
    pub strongroom: PathBuf,
    /// The other.
    pub pgbackrest: PathBuf,
}

/// What is measured, with the part of pgBackRest's time, and of its bytes, that we may take.
struct Row {
    label: &'static str,
    seconds_bar: f64,
    bytes_bar: Option<f64>,
}

const ROWS: [Row; 6] = [
    Row { label: "full", seconds_bar: 0.7, bytes_bar: None },
    Row { label: "nothing changed", seconds_bar: 0.7, bytes_bar: None },
    Row { label: "day 2", seconds_bar: 0.7, bytes_bar: Some(0.3) },
    Row { label: "1% of all rows updated", seconds_bar: 0.7, bytes_bar: Some(0.3) },
    Row { label: "restore", seconds_bar: 0.7, bytes_bar: None },
    Row { label: "delta restore", seconds_bar: 0.7, bytes_bar: None },
];

/// One figure of one round.
#[derive(Debug, Serialize)]
struct Figure {
    round: u32,
    tool: &'static str,
    row: &'static str,
    seconds: f64,
    cpu_seconds: f64,
    peak_mib: u64,
    stored_bytes: u64,
}

/// Races, and prints a table.
///
/// # Errors
/// When a tool fails, or what was restored does not start or has other rows.
pub fn run(arguments: &ClusterArguments, equipment: &ClusterEquipment) -> Result<()> {
    let parent = arguments.folder.clone().unwrap_or_else(std::env::temp_dir);
    let mut figures = Vec::new();
    for round in 1..=arguments.rounds {
        eprintln!("cluster: round {round} of {}", arguments.rounds);
        let folder = tempfile::Builder::new().prefix("strongroom-race-").tempdir_in(&parent);
        let folder = folder.with_context(|| format!("no folder for the race in {}", parent.display()))?;
        figures.extend(one_round(round, arguments.size_mb, equipment, folder.path())?);
    }
    if let Some(path) = &arguments.json {
        let json = serde_json::to_vec_pretty(&figures).context("figures are no JSON")?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    print!("{}", table(&figures));
    Ok(())
}

fn one_round(round: u32, size_mb: u32, equipment: &ClusterEquipment, folder: &Path) -> Result<Vec<Figure>> {
    let server = Postgres::start_with(&SETTINGS)?.context("PostgreSQL is not installed")?;
    server.psql(&format!("CREATE DATABASE {DATABASE}"))?;
    let [first, mixed, uniform] = days(size_mb * DUMP_PERCENT / 100);
    let ours = Strongroom::new(&equipment.strongroom, &server, &folder.join("strongroom"))?;
    let theirs = PgBackRest::new(&equipment.pgbackrest, &server, &folder.join("pgbackrest"))?;
    let mut contenders: [&dyn Contender; 2] = [&ours, &theirs];
    if round.is_multiple_of(2) {
        contenders.reverse();
    }
    let mut figures = Vec::new();
    let mut measure = |contender: &dyn Contender, row: &Row, command: &Command| -> Result<()> {
        let before_bytes = measure::stored_bytes(&contender.repository())?;
        output(&mut Command::new("sync"))?;
        let label = format!("{}: {}", contender.name(), row.label);
        let measured = measure::run(&equipment.time, command, Streams::default()).context(label.clone())?;
        let stored_bytes = measure::stored_bytes(&contender.repository())?.saturating_sub(before_bytes);
        eprintln!(
            "  {label:40} {:7.2} s {:6} MiB {:9.2} MB more",
            measured.seconds,
            measured.peak_mib,
            stored_bytes as f64 / MB
        );
        figures.push(Figure {
            round,
            tool: contender.name(),
            row: row.label,
            seconds: measured.seconds,
            cpu_seconds: measured.cpu_seconds,
            peak_mib: measured.peak_mib,
            stored_bytes,
        });
        Ok(())
    };
    let [full, nothing, day, scattered, restore, delta] = &ROWS;
    for (row, sql) in [(full, Some(first)), (nothing, None), (day, Some(mixed)), (scattered, Some(uniform))] {
        if let Some(sql) = sql {
            server.psql_in(DATABASE, &sql)?;
        }
        for contender in contenders {
            // Whoever comes first does not write what was changed.
            server.psql("CHECKPOINT")?;
            measure(contender, row, &contender.backup())?;
        }
    }
    let bytes = server.psql("SELECT sum(pg_database_size(oid)) FROM pg_database")?;
    let bytes: f64 = bytes.parse().context("the server does not say how large it is")?;
    eprintln!("  the cluster has {:.0} MB", bytes / MB);
    eprintln!("{}", dumps::describe(&server)?);
    let logical = dumps::one_round(round, equipment, &server, folder)?;
    let rows = rows(&server)?;
    for contender in contenders {
        let data = folder.join(format!("restored-{}", contender.name()));
        std::fs::create_dir(&data).context("no folder to restore to")?;
        measure(contender, restore, &contender.restore(&data, false))?;
        measure(contender, delta, &contender.restore(&data, true))?;
    }
    let mut outcome = Ok(());
    let restored =
        server.start_restored(|data| outcome = output(&mut ours.restore(data, false)).map(drop))?;
    outcome?;
    ensure!(self::rows(&restored)? == rows, "what was restored has other rows");
    figures.extend(logical);
    Ok(figures)
}

fn rows(server: &Postgres) -> Result<String> {
    server.psql_in(
        DATABASE,
        "SELECT count(*), sum(hashtext(accounts::text)::bigint) FROM accounts; SELECT count(*) FROM transactions",
    )
}

fn table(figures: &[Figure]) -> String {
    let of = |tool: &str, row: &Row, figure: fn(&Figure) -> f64| {
        let all = figures.iter().filter(|one| one.tool == tool && one.row == row.label).map(figure);
        Spread::of(all).map_or(0.0, |spread| spread.median)
    };
    let mut text = String::from(
        "\n| cluster | strongroom | pgBackRest | ratio | bar | MB stored | pgBackRest | ratio | bar |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in &ROWS {
        let [ours, theirs] = ["strongroom", "pgBackRest"].map(|tool| of(tool, row, |one| one.seconds));
        let bytes =
            ["strongroom", "pgBackRest"].map(|tool| of(tool, row, |one| one.stored_bytes as f64 / MB));
        let bytes_bar = row.bytes_bar.map_or(String::new(), |bar| format!("{bar:.1}"));
        text.push_str(&format!(
            "| {} | {ours:.2} s | {theirs:.2} s | {:.2} | {:.1} | {:.1} | {:.1} | {} | {bytes_bar} |\n",
            row.label,
            ours / theirs,
            row.seconds_bar,
            bytes[0],
            bytes[1],
            if bytes[1] > 0.0 { format!("{:.2}", bytes[0] / bytes[1]) } else { String::new() },
        ));
    }
    text.push_str(&dumps::table(figures));
    let peak =
        |tool: &str| figures.iter().filter(|one| one.tool == tool).map(|one| one.peak_mib).max().unwrap_or(0);
    text.push_str(&format!(
        "peak memory: {} MiB, {} MiB a process\n",
        peak("strongroom"),
        peak("pgBackRest")
    ));
    text
}
