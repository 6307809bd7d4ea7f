//! Of commands that look after a repository.

use clap::{Args, Subcommand};

use super::parsers::{parse_duration, parse_percent};

#[derive(Debug, Args)]
pub(crate) struct Journal {
    #[command(subcommand)]
    pub(crate) action: JournalAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JournalAction {
    /// Declare that void and unreadable entries up to now have been looked at: checks mention them no more
    Settle,
}

#[derive(Debug, Args)]
pub(crate) struct Repair {
    #[command(subcommand)]
    pub(crate) action: RepairAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RepairAction {
    /// Bring back what was overwritten or deleted in a bucket that keeps older versions
    Versions {
        /// Only tell what would be brought back
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ObjectLock {
    #[command(subcommand)]
    pub(crate) action: ObjectLockAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ObjectLockAction {
    /// Lock what snapshots still need for the policy's time from now on
    Extend,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Also read every pack and compare its hash with its name
    #[arg(long)]
    pub(crate) packs: bool,
    /// Also open every frame and verify every chunk
    #[arg(long)]
    pub(crate) read_data: bool,
    /// Read the data of so many packs, chosen by chance: `5%`
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub(crate) sample: Option<u8>,
    /// Also open every wrapped key
    #[arg(long)]
    pub(crate) keys: bool,
    /// Threads (default: one a processor)
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// Snapshots
    #[arg(required = true, value_name = "ID")]
    pub(crate) snapshots: Vec<String>,
    /// Tag to add; may be repeated
    #[arg(long, value_name = "TAG")]
    pub(crate) add: Vec<String>,
    /// Tag to take off; may be repeated
    #[arg(long, value_name = "TAG")]
    pub(crate) remove: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Forget {
    /// Snapshots
    #[arg(required = true, value_name = "ID")]
    pub(crate) snapshots: Vec<String>,
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT", default_value = "by hand")]
    pub(crate) reason: String,
    /// Change nothing
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// How long what is retired stays in the store, for restores that began before: 0, 12h, 2d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    pub(crate) grace: std::time::Duration,
    /// How old leftovers of runs that did not finish must be
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = parse_duration)]
    pub(crate) orphan_age: std::time::Duration,
    /// Change nothing
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}
