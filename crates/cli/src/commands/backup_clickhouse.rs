//! `backup clickhouse`, and how its servers are named.

use std::path::PathBuf;

use anyhow::Context as _;
use strongroom_engines::Engine as _;
use strongroom_engines::clickhouse::{ClickHouse, Selection};
use strongroom_engines::http::HttpTarget;

use super::backup::{self, Asked, MOST_JOBS, Told};
use crate::arguments::BackupClickHouse;
use crate::context::Context;
use crate::exit::{Outcome, Usage};

/// Of the HTTP interface.
const PORT: u16 = 8123;
const TLS_PORT: u16 = 8443;
/// The server sends one while this side stores the other.
const JOBS: usize = 2;

pub(super) fn run(context: &Context<'_>, arguments: &BackupClickHouse) -> anyhow::Result<Outcome> {
    let part = backup::part_of_engine(&arguments.group)?;
    let names = &arguments.database;
    let engine = ClickHouse {
        target: target(&arguments.url, arguments.ca_file.clone())?,
        selection: Selection {
            databases: names.clone(),
            tables: arguments.table.clone(),
            exclude_tables: arguments.exclude_table.clone(),
        },
        jobs: arguments.common.jobs.unwrap_or(JOBS).clamp(1, MOST_JOBS),
        fingerprints: !arguments.no_fingerprints,
        share: arguments.group.shard,
    };
    let source =
        if names.is_empty() { engine.name().to_owned() } else { format!("clickhouse:{}", names.join(",")) };
    let asked = names.iter().chain(&arguments.table).map(|name| name.as_bytes().to_vec()).collect();
    let asked = Asked { source: &source, words: asked, force: arguments.force, part };
    backup::run_as(context, &engine, &arguments.common, asked, &Told::default).context("no snapshot was made")
}

/// The server of a URL, with the login that the environment has where the URL has none.
pub(super) fn target(url: &str, ca_file: Option<PathBuf>) -> anyhow::Result<HttpTarget> {
    // A variable that is set to nothing is not set.
    let url = if url.is_empty() { "http://localhost" } else { url };
    let port = if url.starts_with("https://") { TLS_PORT } else { PORT };
    let target = HttpTarget::parse(url, port).map_err(|error| Usage(error.to_string()))?;
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut target = target.with_login(variable("CLICKHOUSE_USER"), variable("CLICKHOUSE_PASSWORD"));
    target.ca_file = ca_file.filter(|file| !file.as_os_str().is_empty());
    Ok(target)
}
