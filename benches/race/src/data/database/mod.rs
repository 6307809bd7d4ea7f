//! Three days of a payments platform's database, as `pg_dump` writes them to a pipe (`-Fc -Z0`: the backup tool
//! compresses).
//!
//! The rows are the same every time; where they lie is PostgreSQL's doing, without the chance of autovacuum.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use strongroom_tests::services::postgres::Postgres;

use super::Data;
use super::cached::CachedFiles;

pub(crate) const DATABASE: &str = "platform";
const DAYS: [(&str, &str); 3] = [
    ("1-first.dump", include_str!("first_day.sql")),
    ("2-mixed.dump", include_str!("mixed_day.sql")),
    ("3-uniform.dump", include_str!("uniform_day.sql")),
];
/// What autovacuum and shared scans would do at a time of their own, and a time zone that every machine has.
const SETTINGS: [(&str, &str); 6] = [
    ("autovacuum", "off"),
    ("synchronize_seqscans", "off"),
    ("timezone", "UTC"),
    ("jit", "off"),
    ("shared_buffers", "512MB"),
    ("maintenance_work_mem", "256MB"),
];
/// How many customers, with their accounts, transactions and events, a megabyte of dump has.
const CUSTOMERS_PER_MEGABYTE: u32 = 186;

pub(crate) fn prepare(megabytes: u32, cache: &Path) -> Result<Data> {
    let [first, mixed, uniform] = days(megabytes);
    let days = [(DAYS[0].0, first), (DAYS[1].0, mixed), (DAYS[2].0, uniform)];
    let files = CachedFiles {
        cache,
        name: format!("database-{megabytes}"),
        recipe: format!("{SETTINGS:?}{days:?}"),
        files: &DAYS.map(|(file, _)| file),
    };
    let days = files.ensure(|folder| {
        let server = Postgres::start_with(&SETTINGS)?.context("PostgreSQL is not installed")?;
        server.psql(&format!("CREATE DATABASE {DATABASE}"))?;
        for (file, sql) in &days {
            eprintln!("  {file}");
            server.psql_in(DATABASE, sql).with_context(|| format!("cannot make {file}"))?;
            dump(&server, &folder.join(file))?;
        }
        Ok(())
    })?;
    Ok(Data::Streams { name: "platform.dump", days })
}

/// The SQL of each day, of a database whose dump has about so many megabytes.
pub(crate) fn days(megabytes: u32) -> [String; 3] {
    let customers = (CUSTOMERS_PER_MEGABYTE * megabytes).to_string();
    DAYS.map(|(_, sql)| sql.replace(":customers", &customers))
}

/// Through a pipe, as a backup gets it: into a file, `pg_dump` would write the places of tables as well.
fn dump(server: &Postgres, path: &Path) -> Result<()> {
    let mut command = server.pg_dump(&["--format=custom", "--compress=0", DATABASE]);
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run pg_dump")?;
    let mut stdout = child.stdout.take().context("pg_dump has no standard output")?;
    let file = File::create(path).and_then(|mut file| std::io::copy(&mut stdout, &mut file));
    file.with_context(|| format!("cannot write {}", path.display()))?;
    let status = child.wait().context("cannot wait for pg_dump")?;
    ensure!(status.success(), "pg_dump: {status}");
    Ok(())
}
