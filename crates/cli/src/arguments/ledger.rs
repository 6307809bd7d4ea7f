//! Of `backup ledger`, and of restoring one.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use strongroom_ops::config::parse_duration;

use super::BackupCommon;
use super::parsers::path_parser;

#[derive(Debug, Args)]
pub(crate) struct BackupLedger {
    /// The node's data directory
    #[arg(value_name = "PATH", value_parser = path_parser())]
    pub(crate) path: PathBuf,
    /// JSON file in which the node writes height and head (default: the topmost metadata.json in PATH)
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub(crate) metadata: Option<PathBuf>,
    /// SQLite file that holds the chain (default: the first with a table of blocks)
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub(crate) chain_db: Option<PathBuf>,
    /// Query for the height, and in a second column the hash of the head (default: the highest block of the table)
    #[arg(long, value_name = "SQL")]
    pub(crate) height_query: Option<String>,
    /// Table of blocks (default: blocks, block or chain)
    #[arg(long, value_name = "TABLE")]
    pub(crate) blocks_table: Option<String>,
    /// Its columns of height, hash and previous hash (default: found by their usual names)
    #[arg(long, value_name = "HEIGHT,HASH,PREVIOUS", value_parser = parse_columns)]
    pub(crate) link_columns: Option<Columns>,
    /// Number of blocks, from the top, whose links to the previous block are checked; `verify` checks all of them
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) verify_links: u64,
    /// How SQLite files are checked before they are stored; `verify` does the full check in any case
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Integrity::None)]
    pub(crate) integrity_check: Integrity,
    /// Fail if the files cannot be shown to be of one moment
    #[arg(long)]
    pub(crate) require_one_moment: bool,
    /// How long to wait for an SQLite file that another process has locked
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) lock_timeout: Duration,
    /// Exclude paths that match (gitignore rules); may be repeated
    #[arg(long, short = 'e', value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Read every file, even if it seems unchanged since the last snapshot
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) common: BackupCommon,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Integrity {
    /// `PRAGMA integrity_check`
    Full,
    /// `PRAGMA quick_check`: without comparing indexes with their tables
    Quick,
    /// Nothing
    None,
}

/// Names of columns.
#[derive(Debug, Clone)]
pub(crate) struct Columns(pub(crate) [String; 3]);

fn parse_columns(text: &str) -> Result<Columns, String> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    let names: [String; 3] = names.try_into().map_err(|_| "write HEIGHT,HASH,PREVIOUS")?;
    if names.iter().any(String::is_empty) {
        return Err("write HEIGHT,HASH,PREVIOUS".into());
    }
    Ok(Columns(names))
}
