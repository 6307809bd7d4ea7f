//! `backup postgres` and `restore --to` of a large database, against what `pg_dump` and `pg_restore` take by themselves.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use strongroom_tests::services::postgres::Postgres;

use super::contender::Strongroom;
use super::{ClusterEquipment, Figure, MB};
use crate::contender::output;
use crate::data::database::DATABASE;
use crate::measure::{self, Measurement, Output, Streams};
use crate::spread::Spread;

/// Linux counts so for programs, on every processor.
const TICKS_A_SECOND: f64 = 100.0;
/// For a server to see that those who served a command have ended.
const SETTLING: Duration = Duration::from_millis(500);
/// Where what was dumped is restored to.
const RESTORED: &str = "restored";

const PLAIN: &str = "pg_dump -Fc -Z0 > /dev/null";
const TO_FILE: &str = "pg_dump -Fc to a file";
const FIRST: &str = "first backup";
const AGAIN: &str = "backup again";
const PG_RESTORE: &str = "pg_restore of a file";
const RESTORE: &str = "restore --to";

/// Measures all of it once.
pub(super) fn one_round(
    round: u32,
    equipment: &ClusterEquipment,
    server: &Postgres,
    folder: &Path,
) -> Result<Vec<Figure>> {
    let ours = Strongroom::new(&equipment.strongroom, server, &folder.join("dumps"))?;
    let file = folder.join("platform.dump");
    let mut figures = Vec::new();
    let mut measure = |tool, row, command: &Command, what| -> Result<Measurement> {
        output(&mut Command::new("sync"))?;
        let streams = Streams { output: what, ..Streams::default() };
        let before = server_cpu_seconds(server)?;
        let mut measured = measure::run(&equipment.time, command, streams).context(row)?;
        // Our own runs pg_dump too, so that of the plain one only the server's share is to be added to it.
        if row == PLAIN {
            measured.cpu_seconds = server_cpu_seconds(server)? - before;
        }
        eprintln!("  {row:40} {:7.2} s {:7.2} s of processors", measured.seconds, measured.cpu_seconds);
        figures.push(Figure {
            round,
            tool,
            row,
            seconds: measured.seconds,
            cpu_seconds: measured.cpu_seconds,
            peak_mib: measured.peak_mib,
            stored_bytes: 0,
        });
        Ok(measured)
    };
    let dump = |more: &[&str]| server.pg_dump(&[&["--format=custom", DATABASE][..], more].concat());
    // Once unmeasured: tables are in memory then, for all alike.
    let file_name = file.to_string_lossy();
    output(&mut dump(&["--compress=0", "--file", &file_name]))?;
    measure("pg_dump", PLAIN, &dump(&["--compress=0"]), Output::Dropped)?;
    measure("strongroom", FIRST, &ours.backup_of(DATABASE), Output::Said)?;
    measure("pg_dump", TO_FILE, &dump(&["--file", &file_name]), Output::Said)?;
    measure("strongroom", AGAIN, &ours.backup_of(DATABASE), Output::Said)?;
    output(&mut dump(&["--compress=0", "--file", &file_name]))?;

    let anew = || -> Result<()> {
        server.psql(&format!("DROP DATABASE IF EXISTS {RESTORED}"))?;
        server.psql(&format!("CREATE DATABASE {RESTORED} TEMPLATE template0"))?;
        server.psql("CHECKPOINT").map(drop)
    };
    let mut pg_restore = server.client("pg_restore");
    pg_restore.args(["--dbname", RESTORED]).arg(&file);
    let restore = ours.restore_to(&server.url(RESTORED), DATABASE);
    let mut both = [("pg_dump", PG_RESTORE, pg_restore), ("strongroom", RESTORE, restore)];
    if round.is_multiple_of(2) {
        both.reverse();
    }
    for (tool, row, command) in &both {
        anew()?;
        measure(*tool, *row, command, Output::Said)?;
    }
    server.psql(&format!("DROP DATABASE {RESTORED}"))?;
    Ok(figures)
}

/// What the processes of the server that have ended took, beside those that GNU time sees.
fn server_cpu_seconds(server: &Postgres) -> Result<f64> {
    // Whoever served the last command takes a moment to end.
    std::thread::sleep(SETTLING);
    let pid = std::fs::read_to_string(server.data_directory().join("postmaster.pid"))?;
    let stat =
        std::fs::read_to_string(format!("/proc/{}/stat", pid.lines().next().unwrap_or_default().trim()))?;
    // Behind the name in parentheses: cutime and cstime are fields 16 and 17 (proc(5)).
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    let ticks = behind.split_whitespace().skip(13).take(2).map(str::parse::<u64>);
    let ticks: Vec<u64> = ticks.collect::<Result<_, _>>().context("/proc has no times")?;
    Ok(ticks.iter().sum::<u64>() as f64 / TICKS_A_SECOND)
}

/// Ratios of medians, each beside what it may be.
pub(super) fn table(figures: &[Figure]) -> String {
    let median = |row, figure: fn(&Figure) -> f64| {
        let all = figures.iter().filter(|one| one.row == row).map(figure);
        Spread::of(all).map_or(0.0, |spread| spread.median)
    };
    let seconds = |row| median(row, |one| one.seconds);
    let both = f64::midpoint(median(PLAIN, |one| one.cpu_seconds), median(FIRST, |one| one.cpu_seconds));
    let rows = [
        (AGAIN, seconds(AGAIN), PLAIN, seconds(PLAIN), 1.0 / 0.9),
        (
            FIRST,
            seconds(FIRST),
            "half the processors' seconds of the server, pg_dump and our own",
            both,
            1.15,
        ),
        (FIRST, seconds(FIRST), TO_FILE, seconds(TO_FILE), 1.05),
        (RESTORE, seconds(RESTORE), PG_RESTORE, seconds(PG_RESTORE), 1.05),
    ];
    let mut text =
        String::from("\n| dumps | strongroom | against | | ratio | bar |\n|---|---|---|---|---|---|\n");
    for (row, ours, what, theirs, bar) in rows {
        let ratio = ours / theirs;
        text.push_str(&format!("| {row} | {ours:.2} s | {what} | {theirs:.2} s | {ratio:.2} | {bar:.2} |\n"));
    }
    text
}

/// Of a database.
pub(super) fn describe(server: &Postgres) -> Result<String> {
    let bytes = server.psql(&format!("SELECT pg_database_size('{DATABASE}')"))?;
    let bytes: f64 = bytes.parse().context("the server does not say how large it is")?;
    Ok(format!("  the database has {:.0} MB", bytes / MB))
}
